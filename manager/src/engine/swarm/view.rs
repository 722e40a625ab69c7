//! Conversion of the engine's answers into observations. Any field of an answer may be missing;
//! that is no error here.

use super::{hidden::without_values, labels};
use crate::engine::{SwarmNode, SwarmService, SwarmTask, TaskState, swarm_name};
use bollard::models::{
    self, EndpointPortConfig, EndpointPortConfigProtocolEnum, NodeSpecAvailabilityEnum, NodeState,
    ResourceObject, TaskStatus,
};
use micado_api::{
    ClusterId, ContainerName, InstanceId, MemoryBytes, NanoCpus, Platform, PortMapping, Protocol,
    Resources, foreign::excerpt,
};
use std::collections::{BTreeSet, HashMap};

/// Converts a node; `None` without an id.
pub(super) fn node(cluster: &ClusterId, node: models::Node) -> Option<SwarmNode> {
    let description = node.description.unwrap_or_default();
    let engine = description
        .engine
        .and_then(|engine| engine.labels)
        .unwrap_or_default();
    let status = node.status.unwrap_or_default();
    // A leading manager reports itself as 0.0.0.0; its advertised address is the true one.
    let advertised = node
        .manager_status
        .as_ref()
        .and_then(|manager| manager.addr.as_deref())
        .and_then(|addr| Some(addr.rsplit_once(':')?.0.to_owned()));
    let ours = engine
        .get(labels::CLUSTER)
        .is_some_and(|other| other == cluster.as_str());
    Some(SwarmNode {
        id: node.id?,
        hostname: description.hostname.unwrap_or_default(),
        instance: engine
            .get(labels::INSTANCE)
            .filter(|_| ours)
            .and_then(|instance| instance.parse().ok()),
        labels: engine
            .iter()
            .filter(|(key, _)| ![labels::CLUSTER, labels::INSTANCE].contains(&key.as_str()))
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(labels::PREFIX)?.to_owned(), value.clone()))
            })
            .collect(),
        ready: status.state == Some(NodeState::READY),
        active: node.spec.and_then(|spec| spec.availability)
            == Some(NodeSpecAvailabilityEnum::ACTIVE),
        manager: node.manager_status.is_some(),
        size: resources(description.resources.as_ref()),
        platform: description
            .platform
            .and_then(|platform| Some(Platform::new(&platform.os?, &platform.architecture?))),
        address: advertised
            .or(status.addr)
            .filter(|addr| !addr.is_empty() && addr != "0.0.0.0"),
    })
}

/// Converts a service of this cluster; `None` for any other, and for one with labels that are
/// incomplete or belong to another container: its name follows from them.
pub(super) fn service(cluster: &ClusterId, service: models::Service) -> Option<SwarmService> {
    let id = service.id?;
    let spec = service.spec?;
    let labels = spec.labels.unwrap_or_default();
    if labels
        .get(labels::CLUSTER)
        .is_none_or(|other| other != cluster.as_str())
    {
        return None;
    }
    let name = spec.name.unwrap_or_default();
    let is_its_own =
        |container: &ContainerName, generation| swarm_name(cluster, container, generation) == name;
    let said =
        said(&labels).filter(|(container, _, generation)| is_its_own(container, *generation));
    let view = said.map(|(container, instance, generation)| SwarmService {
        id: id.clone(),
        name: name.clone(),
        container,
        instance,
        node: labels.get(labels::NODE).cloned(),
        generation,
        edited: false,
        records: labels
            .get(labels::RECORDS)
            .map(|records| records.as_str().into()),
    });
    if view.is_none() {
        tracing::warn!(service = %id, ?name, "a service carries our cluster's label and does not say which container it is; it is left alone");
    }
    view
}

fn said(labels: &HashMap<String, String>) -> Option<(ContainerName, InstanceId, u32)> {
    let container = labels.get(labels::CONTAINER)?.parse().ok()?;
    let instance = labels.get(labels::INSTANCE)?.parse().ok()?;
    let generation = labels.get(labels::GENERATION)?.parse().ok()?;
    Some((container, instance, generation))
}

/// Converts a task; `None` without an id.
pub(super) fn task(task: models::Task) -> Option<SwarmTask> {
    use models::TaskState as Swarm;
    let status = task.status.unwrap_or_default();
    let state = class(&status);
    let ended = matches!(
        state,
        TaskState::Complete | TaskState::Failed | TaskState::Stopped
    );
    let environment = task
        .spec
        .as_ref()
        .and_then(|spec| spec.container_spec.as_ref()?.env.as_deref())
        .unwrap_or_default();
    Some(SwarmTask {
        id: task.id?,
        service: task.service_id.unwrap_or_default(),
        node: task.node_id.filter(|node| !node.is_empty()),
        state,
        wanted: matches!(
            task.desired_state,
            Some(Swarm::READY | Swarm::RUNNING | Swarm::COMPLETE)
        ),
        // Swarm's own version counter rises with every *change*, so an old task that changes last
        // would seem the newest.
        version: task
            .created_at
            .and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok())
            .unwrap_or_default(),
        message: message(state, &status)
            .map(|text| excerpt(&without_values(&text, environment), MESSAGE)),
        exit_code: status
            .container_status
            .filter(|container| {
                ended
                    && container
                        .container_id
                        .as_ref()
                        .is_some_and(|id| !id.is_empty())
            })
            .and_then(|container| container.exit_code),
        reservation: resources(
            task.spec
                .and_then(|spec| spec.resources)
                .and_then(|resources| resources.reservations)
                .as_ref(),
        ),
        ports: if ended {
            Vec::new()
        } else {
            status
                .port_status
                .and_then(|ports| ports.ports)
                .map(ports)
                .unwrap_or_default()
        },
    })
}

/// Upper bound for a message about a task, in characters.
const MESSAGE: usize = 1000;

/// The scheduler leaves an error on a task that it finds no node for; without one, the task waits
/// for its turn.
fn class(status: &TaskStatus) -> TaskState {
    use models::TaskState as Swarm;
    let is_refused = status.err.as_ref().is_some_and(|error| !error.is_empty());
    match status.state {
        Some(Swarm::PENDING) if is_refused => TaskState::Pending,
        None | Some(Swarm::NEW | Swarm::ALLOCATED | Swarm::PENDING) => TaskState::New,
        Some(
            Swarm::ASSIGNED | Swarm::ACCEPTED | Swarm::PREPARING | Swarm::READY | Swarm::STARTING,
        ) => TaskState::Starting,
        Some(Swarm::RUNNING) => TaskState::Running,
        Some(Swarm::COMPLETE) => TaskState::Complete,
        Some(Swarm::FAILED | Swarm::REJECTED | Swarm::ORPHANED) => TaskState::Failed,
        Some(Swarm::SHUTDOWN | Swarm::REMOVE) => TaskState::Stopped,
    }
}

/// The task's error, if any; else the engine's text for its state, unless it is running.
fn message(state: TaskState, status: &TaskStatus) -> Option<String> {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    said(&status.err).or_else(|| said(&status.message).filter(|_| state != TaskState::Running))
}

fn resources(resources: Option<&ResourceObject>) -> Resources {
    let amount = |value: Option<i64>| {
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or_default()
    };
    Resources {
        memory: MemoryBytes(amount(resources.and_then(|r| r.memory_bytes))),
        cpu: NanoCpus(amount(resources.and_then(|r| r.nano_cpus))),
    }
}

/// Ports without duplicates: engines list a port for IPv4 and IPv6.
fn ports(ports: Vec<EndpointPortConfig>) -> Vec<PortMapping> {
    let unique: BTreeSet<_> = ports.into_iter().filter_map(port).collect();
    unique.into_iter().collect()
}

fn port(port: EndpointPortConfig) -> Option<PortMapping> {
    Some(PortMapping {
        host: port
            .published_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
        container: port.target_port.and_then(|port| u16::try_from(port).ok())?,
        protocol: match port.protocol {
            None
            | Some(EndpointPortConfigProtocolEnum::TCP | EndpointPortConfigProtocolEnum::EMPTY) => {
                Protocol::Tcp
            }
            Some(EndpointPortConfigProtocolEnum::UDP) => Protocol::Udp,
            Some(EndpointPortConfigProtocolEnum::SCTP) => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::swarm::spec::{service_spec, tests::sample};
    use serde_json::json;

    fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).expect("what an engine answers")
    }

    #[test]
    fn every_swarm_state_has_its_class() {
        let classes = [
            (TaskState::New, vec!["new", "allocated", "pending"]),
            (
                TaskState::Starting,
                vec!["assigned", "accepted", "preparing", "ready", "starting"],
            ),
            (TaskState::Running, vec!["running"]),
            (TaskState::Complete, vec!["complete"]),
            (TaskState::Failed, vec!["failed", "rejected", "orphaned"]),
            (TaskState::Stopped, vec!["shutdown", "remove"]),
        ];
        for (class, states) in classes {
            for state in states {
                let seen =
                    task(read(json!({"ID": "t", "Status": {"State": state}}))).expect("a task");
                assert_eq!(seen.state, class, "{state}");
            }
        }
        let refused = json!({"State": "pending", "Err": "no suitable node (port in use)"});
        let refused = task(read(json!({"ID": "t", "Status": refused}))).expect("a task");
        assert_eq!(refused.state, TaskState::Pending);
    }

    #[test]
    fn a_failed_task_has_its_exit_code_and_words() {
        let seen = task(read(json!({
            "ID": "t", "ServiceID": "s", "NodeID": "n", "CreatedAt": "2026-01-01T00:00:00.000000005Z", "DesiredState": "shutdown",
            "Status": {"State": "failed", "Message": "started", "Err": "task: non-zero exit (3)", "ContainerStatus": {"ContainerID": "c", "PID": 0, "ExitCode": 3}},
            "Spec": {"Resources": {"Reservations": {"MemoryBytes": 5, "NanoCPUs": 7}}},
        })))
        .expect("a task");
        assert_eq!(
            (seen.exit_code, seen.message.as_deref(), seen.wanted),
            (Some(3), Some("task: non-zero exit (3)"), false)
        );
        assert_eq!(
            seen.reservation,
            Resources {
                memory: MemoryBytes(5),
                cpu: NanoCpus(7)
            }
        );
        assert_eq!(seen.version % 1_000_000_000, 5);
    }

    #[test]
    fn the_message_of_a_task_shows_no_value_and_no_control_character() {
        let seen = task(read(json!({
            "ID": "t", "Status": {"State": "rejected", "Err": "invalid KEY=s3cr3t-word for user \"a\u{1b}[2Jb\nc\""},
            "Spec": {"ContainerSpec": {"Env": ["KEY=s3cr3t-word"]}},
        })))
        .expect("a task");
        assert_eq!(
            seen.message.as_deref(),
            Some(r#"invalid KEY=(value of KEY) for user "a\u{1b}[2Jb\nc""#)
        );
    }

    #[test]
    fn a_running_task_has_its_ports_once_and_no_exit_code() {
        let port = json!({"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 32768, "PublishMode": "host"});
        let seen = task(read(json!({
            "ID": "t", "DesiredState": "running",
            "Status": {"State": "running", "Message": "started", "ContainerStatus": {"ContainerID": "c", "ExitCode": 0}, "PortStatus": {"Ports": [port, port]}},
        })))
        .expect("a task");
        assert_eq!(
            seen.ports,
            [PortMapping {
                host: Some(32768),
                container: 80,
                protocol: Protocol::Tcp
            }]
        );
        assert_eq!(
            (seen.exit_code, seen.message, seen.wanted, seen.node),
            (None, None, true, None)
        );
    }

    #[test]
    fn nodes_say_which_instance_they_are_to_their_own_cluster_only() {
        let answer = json!({
            "ID": "n", "Spec": {"Availability": "pause"}, "Status": {"State": "ready", "Addr": "10.0.0.7"},
            "Description": {
                "Hostname": "application01", "Resources": {"NanoCPUs": 1_000_000_000, "MemoryBytes": 1024},
                "Engine": {"Labels": {"micado.cluster": "abc", "micado.instance": "i1", "micado.location": "application", "other": "x"}},
            },
        });
        let ours = node(&ClusterId::trusted("abc"), read(answer.clone())).expect("a node");
        assert_eq!(
            (
                ours.instance.as_ref().map(|id| id.as_str()),
                ours.ready,
                ours.active,
                ours.manager
            ),
            (Some("i1"), true, false, false)
        );
        assert_eq!(
            ours.labels,
            [("location".to_owned(), "application".to_owned())].into()
        );
        assert_eq!(
            (ours.address.as_deref(), ours.size.memory.0),
            (Some("10.0.0.7"), 1024)
        );
        assert_eq!(
            node(&ClusterId::trusted("xyz"), read(answer))
                .expect("a node")
                .instance,
            None
        );
        let leader = json!({"ID": "m", "Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Leader": true, "Addr": "10.0.0.1:2377"}});
        assert_eq!(
            node(&ClusterId::trusted("abc"), read(leader))
                .expect("a node")
                .address
                .as_deref(),
            Some("10.0.0.1")
        );
    }

    #[test]
    fn answers_with_nothing_in_them_are_read() {
        let cluster = ClusterId::trusted("abc");
        assert_eq!(node(&cluster, read(json!({}))), None);
        assert!(
            node(&cluster, read(json!({"ID": "n"})))
                .is_some_and(|node| !node.ready && !node.active)
        );
        assert_eq!(task(read(json!({}))), None);
        assert!(
            task(read(json!({"ID": "t"})))
                .is_some_and(|task| task.state == TaskState::New && !task.wanted)
        );
        assert_eq!(service(&cluster, read(json!({"ID": "s"}))), None);
        assert_eq!(
            service(
                &cluster,
                read(json!({"ID": "s", "Spec": {"Labels": {"micado.cluster": "abc"}}}))
            ),
            None
        );
    }

    #[test]
    fn our_records_come_back_from_the_labels() {
        let (cluster, record, container, copy) = sample();
        let spec =
            service_spec(&cluster, &record, &container, &copy, "n1").expect("the image is known");
        let named = |name: String| models::ServiceSpec {
            name: Some(name),
            ..spec.clone()
        };
        let name = swarm_name(&cluster, &container.name, copy.generation);
        let answer = models::Service {
            id: Some("s".to_owned()),
            spec: Some(named(name)),
            ..Default::default()
        };
        let view = service(&cluster, answer.clone()).expect("ours");
        assert_eq!(
            (&view.container, &view.instance, view.generation),
            (&container.name, &copy.instance, copy.generation)
        );
        assert_eq!(view.node.as_deref(), Some("n1"));
        let kept = crate::model::Container {
            log_tail: None,
            ..container
        };
        let records = view.records.expect("they are on the service");
        let read: (crate::model::Service, crate::model::Container) =
            serde_json::from_str(&records).expect("they are readable");
        assert_eq!(read, (record, kept));
        assert_eq!(service(&ClusterId::trusted("xyz"), answer.clone()), None);
        // Its labels are those of another container.
        let relabelled = models::Service {
            spec: Some(named("c-other-00112233".to_owned())),
            ..answer
        };
        assert_eq!(service(&cluster, relabelled), None);
    }
}
