//! The Swarm service of a copy, built from our own records every time, and never from an inspected
//! one.

use super::{labels, template};
use crate::{
    engine::{EngineError, alias, aliases, host_label, volume_name},
    model::{Container, Copy, Service},
};
use bollard::models::{
    EndpointPortConfig, EndpointPortConfigProtocolEnum, EndpointPortConfigPublishModeEnum,
    EndpointSpec, EndpointSpecModeEnum, HealthConfig, Limit, Mount, MountTmpfsOptions, MountType,
    MountVolumeOptions, NetworkAttachmentConfig, ResourceObject, ResourcesUlimits, ServiceSpec,
    ServiceSpecMode, ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecLogDriver,
    TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum,
};
use micado_api::{
    ClusterId, HealthCheck, PortMapping, Protocol, RestartPolicy, RunOptions, ServiceName, Tmpfs,
    Ulimit, VolumeMount,
};
use std::{collections::HashMap, time::Duration};

const SECOND: i64 = 1_000_000_000;

/// Pause before a process that died is restarted.
const RESTART_DELAY: i64 = SECOND;

/// Size of a log file; each container has at most two.
const LOG_FILE: &str = "10m";

/// Builds the service of one copy, pinned to a node.
///
/// # Errors
/// `Refused` while the service's `pull` is unknown: no node could run it.
pub(super) fn service_spec(
    cluster: &ClusterId,
    service: &Service,
    container: &Container,
    copy: &Copy,
    node: &str,
) -> Result<ServiceSpec, EngineError> {
    let Some(image) = &service.pull else {
        return Err(EngineError::Refused(format!(
            "image `{}` of `{}` has no reference that nodes can pull yet",
            service.spec.image, service.name
        )));
    };
    Ok(ServiceSpec {
        name: Some(copy.swarm_name.clone()),
        labels: Some(service_labels(cluster, service, container, copy, node)?),
        task_template: Some(TaskSpec {
            container_spec: Some(container_spec(cluster, image, service, container)),
            resources: Some(resources(service)),
            restart_policy: Some(restart(service.spec.restart)),
            placement: Some(TaskSpecPlacement {
                // The node that joined as this instance, not one that claims to be it.
                constraints: Some(vec![format!("node.id=={node}")]),
                ..Default::default()
            }),
            networks: Some(vec![NetworkAttachmentConfig {
                target: Some(super::network_name(cluster)),
                aliases: Some(
                    aliases(service)
                        .iter()
                        .chain([&host_name(container)])
                        .map(|alias| template::literal(alias))
                        .collect(),
                ),
                ..Default::default()
            }]),
            log_driver: Some(TaskSpecLogDriver {
                name: Some("json-file".to_owned()),
                options: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_FILE.to_owned()),
                    ("max-file".to_owned(), "2".to_owned()),
                ])),
            }),
            ..Default::default()
        }),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..Default::default()
        }),
        // No virtual IP and no routing mesh: they need IPVS in the kernel, and host ports are
        // faster.
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: Some(copy.published(&service.spec).map(port).collect())
                .filter(|ports: &Vec<_>| !ports.is_empty()),
        }),
        ..Default::default()
    })
}

/// Labels by which a manager recognises the copy. They are on the service only, so that nothing
/// inside the container can read them.
fn service_labels(
    cluster: &ClusterId,
    service: &Service,
    container: &Container,
    copy: &Copy,
    node: &str,
) -> Result<HashMap<String, String>, EngineError> {
    let kept = Container {
        log_tail: None,
        ..container.clone()
    };
    let records = serde_json::to_string(&(service, kept)).map_err(|error| {
        EngineError::Refused(format!(
            "the records of `{}` cannot be written down: {error}",
            container.name
        ))
    })?;
    Ok([
        (labels::CLUSTER, cluster.to_string()),
        (labels::CONTAINER, container.name.to_string()),
        (labels::SERVICE, service.name.to_string()),
        (labels::GENERATION, copy.generation.to_string()),
        (labels::INSTANCE, copy.instance.to_string()),
        (labels::NODE, node.to_owned()),
        (labels::RECORDS, records),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into())
}

fn container_spec(
    cluster: &ClusterId,
    image: &str,
    service: &Service,
    container: &Container,
) -> TaskSpecContainerSpec {
    let (spec, run) = (&service.spec, &service.spec.run);
    let volumes = spec.volumes.iter().map(|it| mount(cluster, service, it));
    let mounts: Vec<Mount> = volumes.chain(in_memory(run)).collect();
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let hostname = run.hostname.clone();
    let capabilities = |names: &[String]| {
        let names = names.iter().map(|name| match name.as_str() {
            "ALL" => name.clone(),
            _ => format!("CAP_{name}"),
        });
        some(&names.collect::<Vec<_>>())
    };
    TaskSpecContainerSpec {
        image: Some(image.to_owned()),
        command: spec.entrypoint.clone().map(|entrypoint| vec![entrypoint]),
        args: some(&spec.arguments),
        env: some(
            &spec
                .environment
                .iter()
                .map(|pair| template::variable(pair))
                .collect::<Vec<_>>(),
        ),
        hostname: Some(template::literal(
            &hostname.unwrap_or_else(|| host_name(container)),
        )),
        labels: Some(run.labels.clone().into_iter().collect())
            .filter(|labels: &HashMap<_, _>| !labels.is_empty()),
        dir: run.workdir.clone(),
        user: run.user.clone(),
        read_only: run.read_only.then_some(true),
        mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        stop_signal: run.stop_signal.clone(),
        stop_grace_period: Some(nanoseconds(run.stop_grace())),
        health_check: run
            .health
            .as_ref()
            .and_then(HealthCheck::by_engine)
            .map(|check| health(&check)),
        capability_add: capabilities(&run.cap_add),
        capability_drop: capabilities(&run.cap_drop),
        ulimits: Some(run.ulimits.iter().map(ulimit).collect())
            .filter(|ulimits: &Vec<_>| !ulimits.is_empty()),
        // Most images are not made to run as process 1: an init reaps orphans and forwards signals.
        init: Some(!run.no_init),
        ..Default::default()
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Folders in memory. Swarm has no option for the size of `/dev/shm`: one that is mounted takes the
/// place of the engine's.
fn in_memory(run: &RunOptions) -> impl Iterator<Item = Mount> {
    let shm = run.shm_size.map(|size| Tmpfs {
        path: "/dev/shm".to_owned(),
        size: Some(size),
    });
    let all = run.tmpfs.iter().cloned().chain(shm);
    all.map(|tmpfs| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(template::literal(&tmpfs.path)),
        tmpfs_options: tmpfs.size.map(|size| MountTmpfsOptions {
            size_bytes: Some(i64::try_from(size.0).unwrap_or(i64::MAX)),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn ulimit(limit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    }
}

/// Settings that are absent are the image's.
fn health(check: &HealthCheck) -> HealthConfig {
    let time = |ms: Option<u64>| ms.map(|ms| nanoseconds(Duration::from_millis(ms)));
    let command = check.command.clone();
    let test = match check.off {
        true => Some(vec!["NONE".to_owned()]),
        false => command.map(|command| vec!["CMD-SHELL".to_owned(), command]),
    };
    HealthConfig {
        test,
        interval: time(check.interval_ms),
        timeout: time(check.timeout_ms),
        retries: check
            .retries
            .map(|most| i64::try_from(most.get()).unwrap_or(i64::MAX)),
        start_period: time(check.start_ms),
        start_interval: None,
    }
}

fn restart(policy: RestartPolicy) -> TaskSpecRestartPolicy {
    use TaskSpecRestartPolicyConditionEnum::{ANY, NONE, ON_FAILURE};
    let (condition, most) = match policy {
        RestartPolicy::Always => (ANY, None),
        RestartPolicy::OnFailure(most) => (ON_FAILURE, most),
        RestartPolicy::No => (NONE, None),
    };
    TaskSpecRestartPolicy {
        condition: Some(condition),
        delay: Some(RESTART_DELAY),
        max_attempts: most.map(|most| i64::try_from(most.get()).unwrap_or(i64::MAX)),
        ..Default::default()
    }
}

/// Memory is reserved and limited alike; CPU is reserved and not limited.
fn resources(service: &Service) -> TaskSpecResources {
    let memory = i64::try_from(service.spec.reservation.memory.0).unwrap_or(i64::MAX);
    let cpu = i64::try_from(service.spec.reservation.cpu.0).unwrap_or(i64::MAX);
    TaskSpecResources {
        limits: Some(Limit {
            memory_bytes: Some(memory),
            pids: service
                .spec
                .run
                .most_pids()
                .map(|most| i64::try_from(most).unwrap_or(i64::MAX)),
            ..Default::default()
        }),
        reservations: Some(ResourceObject {
            memory_bytes: Some(memory),
            nano_cpus: Some(cpu),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A volume under its service's name, or the cluster's if it is shared. Labels name its owner,
/// because it outlives the container.
fn mount(cluster: &ClusterId, service: &Service, volume: &VolumeMount) -> Mount {
    let owner = (!volume.shared).then(|| (labels::SERVICE, service.name.as_str()));
    let labels = [
        (labels::CLUSTER, cluster.as_str()),
        (labels::VOLUME, &volume.name),
    ];
    let labels = labels
        .into_iter()
        .chain(owner)
        .map(|(key, value)| (key.to_owned(), template::literal(value)))
        .collect();
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(template::literal(&volume_name(
            cluster,
            &service.name,
            volume,
        ))),
        target: Some(template::literal(&volume.path)),
        volume_options: Some(MountVolumeOptions {
            labels: Some(labels),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn port(port: PortMapping) -> EndpointPortConfig {
    EndpointPortConfig {
        protocol: Some(match port.protocol {
            Protocol::Tcp => EndpointPortConfigProtocolEnum::TCP,
            Protocol::Udp => EndpointPortConfigProtocolEnum::UDP,
        }),
        target_port: Some(port.container.into()),
        published_port: port.host.map(Into::into),
        publish_mode: Some(EndpointPortConfigPublishModeEnum::HOST),
        ..Default::default()
    }
}

/// The container's name as a host name, hashed only if it is too long.
fn host_name(container: &Container) -> String {
    let label = host_label(container.name.as_str());
    if label.len() <= 63 {
        label
    } else {
        alias(&ServiceName::trusted(container.name.as_str()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use micado_api::{
        ContainerName, InstanceId, Location, MemoryBytes, NanoCpus, Resources, Timestamp,
    };

    /// A service with every field set, one container of it, and its placement.
    pub(in crate::engine::swarm) fn sample() -> (ClusterId, Service, Container, Copy) {
        let spec = micado_api::ServiceSpec {
            image: "web:1".to_owned(),
            client: "acme".to_owned(),
            location: Location::default(),
            entrypoint: Some("/bin/web".to_owned()),
            arguments: vec!["--listen".to_owned(), "8080".to_owned()],
            environment: vec!["SECRET=x".to_owned()],
            ports: vec![
                PortMapping {
                    host: Some(80),
                    container: 8080,
                    protocol: Protocol::Tcp,
                },
                PortMapping {
                    host: None,
                    container: 53,
                    protocol: Protocol::Udp,
                },
            ],
            domain: None,
            tags: Vec::new(),
            reservation: Resources {
                memory: MemoryBytes::mib(256),
                cpu: NanoCpus::millis(250),
            },
            volumes: vec![VolumeMount {
                name: "data".to_owned(),
                path: "/data".to_owned(),
                shared: false,
            }],
            restart: micado_api::RestartPolicy::default(),
            anti_affinity: micado_api::AntiAffinity::default(),
            run: Box::default(),
        };
        let pull = Some("micado-registry:5443/web@sha256:00".to_owned());
        let name = ServiceName::trusted("acme_web");
        let service = Service {
            next_number: 2,
            ..Service::new(name, spec, pull, Timestamp(1))
        };
        let copy = Copy {
            generation: 3,
            instance: InstanceId::trusted("i1"),
            swarm_name: "c-acme-web-1-3".to_owned(),
            spec: 1,
            reservation: service.spec.reservation,
            phase: crate::model::Phase::Starting,
            ports: Box::default(),
            last_end: None,
            health: None,
        };
        let container = Container {
            copies: vec![copy.clone()],
            next_generation: 4,
            log_tail: Some("a long log".to_owned()),
            ..Container::new(
                ContainerName::trusted("acme_web.1"),
                service.name.clone(),
                Timestamp(2),
            )
        };
        (ClusterId::trusted("abc"), service, container, copy)
    }

    #[test]
    fn the_whole_service() {
        let (cluster, service, container, copy) = sample();
        let spec =
            service_spec(&cluster, &service, &container, &copy, "n1").expect("the image is known");
        let sorted = serde_json::to_value(spec).expect("plain data");
        insta::assert_snapshot!(serde_json::to_string_pretty(&sorted).expect("plain data"));
    }

    #[test]
    fn options_are_those_of_swarm() {
        let (cluster, mut service, container, copy) = sample();
        service.spec.volumes.clear();
        *service.spec.run = RunOptions {
            no_init: true,
            user: Some("app:app".to_owned()),
            workdir: Some("/srv".to_owned()),
            hostname: Some("db".to_owned()),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            stop_signal: Some("SIGQUIT".to_owned()),
            stop_grace_ms: Some(15_000),
            read_only: true,
            tmpfs: vec![Tmpfs {
                path: "/run".to_owned(),
                size: None,
            }],
            shm_size: Some(MemoryBytes::mib(256)),
            cap_add: vec!["NET_ADMIN".to_owned()],
            cap_drop: vec!["ALL".to_owned()],
            ulimits: vec![Ulimit {
                name: "nofile".to_owned(),
                soft: 1024,
                hard: 2048,
            }],
            pids: Some(64),
            health: Some(HealthCheck {
                command: Some("true".to_owned()),
                interval_ms: Some(1_000),
                retries: std::num::NonZeroU64::new(2),
                ..HealthCheck::default()
            }),
        };
        let spec = service_spec(&cluster, &service, &container, &copy, "n1");
        let template = spec.expect("the image is known").task_template;
        let template = template.expect("a template");
        let shown = serde_json::to_value((template.container_spec, template.resources));
        let shown = serde_json::to_string_pretty(&shown.expect("plain data"));
        insta::assert_snapshot!(shown.expect("plain data"));
    }

    #[test]
    fn restart_policies_are_those_of_swarm() {
        let (cluster, mut service, container, copy) = sample();
        let mut said = |text: &str| {
            service.spec.restart = text.parse().expect("a policy");
            let spec = service_spec(&cluster, &service, &container, &copy, "n1");
            let policy = spec.expect("the image is known").task_template;
            let policy = policy.and_then(|task| task.restart_policy).expect("set");
            (
                policy.condition.map(|it| it.to_string()),
                policy.max_attempts,
            )
        };
        let condition = |text: &str| Some(text.to_owned());
        assert_eq!(said("always"), (condition("any"), None));
        assert_eq!(said("on-failure"), (condition("on-failure"), None));
        assert_eq!(said("on-failure:3"), (condition("on-failure"), Some(3)));
        assert_eq!(said("no"), (condition("none"), None));
    }

    #[test]
    fn a_shared_volume_is_the_same_for_all_services() {
        let (cluster, mut service, container, copy) = sample();
        let mut sources = |name: &str, shared| {
            service.name = ServiceName::trusted(name);
            service.spec.volumes[0].shared = shared;
            let mount = mount(&cluster, &service, &service.spec.volumes[0]);
            let labels = mount
                .volume_options
                .and_then(|it| it.labels)
                .expect("labels");
            assert_eq!(labels.contains_key(labels::SERVICE), !shared, "{labels:?}");
            mount.source.expect("a name")
        };
        assert_eq!(sources("acme_web", true), sources("globex_db", true));
        assert_ne!(sources("acme_web", false), sources("globex_db", false));
        drop((container, copy));
    }

    #[test]
    fn a_plain_service_has_no_empty_lists() {
        let (cluster, mut service, container, copy) = sample();
        let asked = &mut service.spec;
        (
            asked.entrypoint,
            asked.arguments,
            asked.environment,
            asked.ports,
            asked.volumes,
        ) = (None, vec![], vec![], vec![], vec![]);
        let spec =
            service_spec(&cluster, &service, &container, &copy, "n1").expect("the image is known");
        let text =
            serde_json::to_string(&(spec.task_template, spec.endpoint_spec)).expect("plain data");
        for absent in [
            "Command", "Args", "Env", "Mounts", "Ports", "null", "[]", "{}",
        ] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }

    /// Collects every text of a service spec, with its path.
    fn texts(place: &str, value: &serde_json::Value, found: &mut Vec<(String, String)>) {
        use serde_json::Value;
        match value {
            Value::String(text) => found.push((place.to_owned(), text.clone())),
            Value::Array(items) => items.iter().for_each(|item| texts(place, item, found)),
            Value::Object(fields) => fields
                .iter()
                .for_each(|(key, item)| texts(&format!("{place}.{key}"), item, found)),
            _ => {}
        }
    }

    /// Fields that Swarm expands (swarmkit, `template/expand.go`).
    const EXPANDED: [&str; 6] = [
        ".ContainerSpec.Env",
        ".ContainerSpec.Hostname",
        ".ContainerSpec.Mounts.Source",
        ".ContainerSpec.Mounts.Target",
        ".ContainerSpec.Mounts.VolumeOptions.Labels",
        ".Networks.Aliases",
    ];

    #[test]
    fn what_swarm_expands_is_what_was_typed() {
        const TYPED: &str = "{{.Service.Labels}} }} {{- json . -}}";
        let (cluster, mut service, container, copy) = sample();
        service.spec.environment = vec![format!("E={TYPED}")];
        service.spec.arguments = vec![TYPED.to_owned()];
        service.spec.entrypoint = Some(TYPED.to_owned());
        service.spec.volumes = vec![VolumeMount {
            path: format!("/{TYPED}"),
            ..service.spec.volumes[0].clone()
        }];
        let spec =
            service_spec(&cluster, &service, &container, &copy, "n1").expect("the image is known");
        let mut found = Vec::new();
        let template = serde_json::to_value(spec.task_template).expect("plain data");
        texts("", &template, &mut found);
        let mut arrived = Vec::new();
        for (place, text) in found {
            if EXPANDED.iter().any(|field| place.starts_with(field)) {
                let text = template::tests::expanded(&text);
                arrived.push(text.expect("no action but literals"));
            } else {
                arrived.push(text);
            }
        }
        for typed in [format!("E={TYPED}"), TYPED.to_owned(), format!("/{TYPED}")] {
            assert!(arrived.contains(&typed), "{typed} in {arrived:?}");
        }
        let changed: Vec<_> = arrived
            .iter()
            .filter(|text| text.contains("{{\""))
            .collect();
        assert!(
            changed.is_empty(),
            "escaped where nothing expands: {changed:?}"
        );
    }

    #[test]
    fn an_unknown_image_is_refused() {
        let (cluster, service, container, copy) = sample();
        let service = Service {
            pull: None,
            ..service
        };
        let error =
            service_spec(&cluster, &service, &container, &copy, "n1").expect_err("unknown image");
        assert_eq!(
            error,
            EngineError::Refused(
                "image `web:1` of `acme_web` has no reference that nodes can pull yet".to_owned()
            )
        );
    }

    #[test]
    fn host_names_fit() {
        let (_, _, mut container, _) = sample();
        assert_eq!(host_name(&container), "acme-web-1");
        container.name = ContainerName::trusted(format!("acme_{}.12", "x".repeat(100)));
        assert!(host_name(&container).len() <= 63);
    }
}
