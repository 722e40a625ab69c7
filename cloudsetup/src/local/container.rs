//! A machine as a container: the create request for an order, and the machine read back from the
//! engine's list.

use crate::{Flavour, LocalConfig, Machine, MachineState, Order};
use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum as State, HostConfig,
    HostConfigCgroupnsModeEnum as CgroupNs, HostConfigLogConfig, Ipam, IpamConfig,
    NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
};
use micado_api::{
    CloudName, ClusterId, InstanceId, MachineName,
    labels::{APPLICATION, CLOUD, CLUSTER, FLAVOUR, INSTANCE, LOCATION, TAG},
};
use std::{collections::HashMap, net::Ipv4Addr, str::FromStr};

/// Label: the host's CPUs that a machine is pinned to, as `0,1`.
const CPUS: &str = "micado.cpus";

/// Properties of the hosting machine that shape a new machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Number of machines pinned to each CPU.
    pub(super) pinned: Vec<usize>,
    /// Cgroup version 2, else 1.
    pub(super) unified_cgroups: bool,
    /// Capabilities that it can grant, without `CAP_`.
    pub(super) capabilities: Vec<String>,
}

impl Host {
    /// The `wanted` CPUs with the fewest pinned machines, in the kernel's notation; `None` for all.
    fn choose_cpus(&self, wanted: usize) -> Option<String> {
        if wanted >= self.pinned.len() {
            return None;
        }
        let mut cpus: Vec<usize> = (0..self.pinned.len()).collect();
        cpus.sort_by_key(|cpu| self.pinned[*cpu]);
        cpus.truncate(wanted);
        cpus.sort_unstable();
        Some(
            cpus.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
        )
    }
}

/// Number of these containers pinned to each of the host's CPUs.
pub(super) fn pinned(containers: &[ContainerSummary], cpus: usize) -> Vec<usize> {
    let mut counts = vec![0; cpus];
    let labels = containers
        .iter()
        .filter_map(|container| container.labels.as_ref()?.get(CPUS));
    for cpu in labels
        .flat_map(|label| label.split(','))
        .filter_map(|cpu| cpu.parse::<usize>().ok())
    {
        if let Some(count) = counts.get_mut(cpu) {
            *count += 1;
        }
    }
    counts
}

/// The network of the instances, labelled for this cluster, with this subnet or the engine's
/// choice.
pub(super) fn network(
    name: &str,
    cluster: &ClusterId,
    subnet: Option<&str>,
) -> NetworkCreateRequest {
    let ipam = subnet.map(|subnet| Ipam {
        config: Some(vec![IpamConfig {
            subnet: Some(subnet.to_owned()),
            gateway: first_address(subnet),
            ..IpamConfig::default()
        }]),
        ..Ipam::default()
    });
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        ipam,
        labels: Some([(CLUSTER.to_owned(), cluster.to_string())].into()),
        ..NetworkCreateRequest::default()
    }
}

/// The gateway that engines choose by default. It is set explicitly, because engine 20.10 does not
/// show the one that it chose for a given subnet.
fn first_address(subnet: &str) -> Option<String> {
    let network: Ipv4Addr = subnet.split_once('/')?.0.parse().ok()?;
    let first = u32::from(network).checked_add(1)?;
    Some(Ipv4Addr::from(first).to_string())
}

/// Label filters for the engine's list: the machines of this cluster in this cloud; without it,
/// those of any cluster.
pub(super) fn filters(of: Option<(&ClusterId, &CloudName)>) -> HashMap<String, Vec<String>> {
    let labels = match of {
        Some((cluster, cloud)) => vec![
            format!("{CLUSTER}={cluster}"),
            format!("{CLOUD}={cloud}"),
            INSTANCE.to_owned(),
        ],
        None => vec![INSTANCE.to_owned()],
    };
    [("label".to_owned(), labels)].into()
}

/// True if these labels belong to something made for this cluster.
pub(super) fn belongs(labels: Option<&HashMap<String, String>>, cluster: &ClusterId) -> bool {
    labels
        .and_then(|labels| labels.get(CLUSTER))
        .is_some_and(|label| label == cluster.as_str())
}

/// True if these labels belong to the machine with this unique name.
pub(super) fn is_machine(
    labels: Option<&HashMap<String, String>>,
    cloud: &CloudName,
    name: &str,
) -> bool {
    let Some(labels) = labels else { return false };
    let of = |(cluster, instance)| MachineName { cluster, instance }.to_string();
    labels
        .get(CLOUD)
        .is_some_and(|label| label == cloud.as_str())
        && label(labels, CLUSTER)
            .zip(label(labels, INSTANCE))
            .map(of)
            .as_deref()
            == Some(name)
}

/// The create request of this order. The flavour's memory and cores become enforced limits, capped
/// by the host's own; a flavour without a size has none.
pub(super) fn request(
    order: &Order,
    cloud: &CloudName,
    flavour: &Flavour,
    config: &LocalConfig,
    host: &Host,
) -> ContainerCreateBody {
    let mut labels: HashMap<String, String> = [
        (CLUSTER, order.cluster.to_string()),
        (INSTANCE, order.instance.to_string()),
        (TAG, order.tag.to_string()),
        (LOCATION, order.location.to_string()),
        (APPLICATION, order.application.clone()),
        (FLAVOUR, order.flavour.to_string()),
        (CLOUD, cloud.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let memory = flavour
        .size
        .and_then(|size| i64::try_from(size.memory.0).ok());
    let cores = flavour
        .size
        .map(|size| size.cpu.0.min(host.pinned.len() as u64 * 1_000_000_000));
    let cpus = cores
        .and_then(|cores| host.choose_cpus(usize::try_from(cores.div_ceil(1_000_000_000)).ok()?));
    if let Some(cpus) = &cpus {
        labels.insert(CPUS.to_owned(), cpus.clone());
    }
    let host_config = HostConfig {
        memory,
        memory_swap: memory,
        nano_cpus: cores.and_then(|cores| i64::try_from(cores).ok()),
        cpuset_cpus: cpus,
        network_mode: Some(config.network.clone()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ALWAYS),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [("max-size", "10m"), ("max-file", "2")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
        }),
        ..rights(host.unified_cgroups, host.capabilities.clone())
    };
    ContainerCreateBody {
        hostname: Some(order.tag.to_string()),
        image: Some(config.image.clone()),
        env: memory.map(|memory| vec![format!("MICADO_MEMORY={memory}")]),
        labels: Some(labels),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// Rights for an engine in a container, short of `--privileged`: that requests capabilities which
/// the host itself may lack.
pub(super) fn rights(unified_cgroups: bool, capabilities: Vec<String>) -> HostConfig {
    HostConfig {
        binds: (!unified_cgroups).then(|| vec!["/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned()]),
        cgroupns_mode: Some(if unified_cgroups {
            CgroupNs::PRIVATE
        } else {
            CgroupNs::HOST
        }),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities),
        security_opt: Some(vec![
            "seccomp=unconfined".to_owned(),
            "apparmor=unconfined".to_owned(),
        ]),
        masked_paths: Some(Vec::new()),
        readonly_paths: Some(Vec::new()),
        device_cgroup_rules: Some(vec!["a *:* rwm".to_owned()]),
        ..HostConfig::default()
    }
}

/// The machine behind this container of the engine's list; `None` for foreign containers.
pub(super) fn machine(summary: &ContainerSummary) -> Option<Machine> {
    let labels = summary.labels.as_ref()?;
    let networks = summary
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let address = networks.and_then(|networks| {
        networks
            .values()
            .find_map(|endpoint| endpoint.ip_address.clone())
    });
    Some(Machine {
        name: summary
            .names
            .as_ref()?
            .first()?
            .trim_start_matches('/')
            .to_owned(),
        instance: label::<InstanceId>(labels, INSTANCE)?,
        id: summary.id.clone()?,
        state: state(summary.state?),
        address: address.filter(|address| !address.is_empty()),
        tag: label(labels, TAG),
        location: label(labels, LOCATION),
        application: labels.get(APPLICATION).cloned(),
        flavour: label(labels, FLAVOUR),
        detail: summary.status.clone(),
    })
}

fn label<T: FromStr>(labels: &HashMap<String, String>, key: &str) -> Option<T> {
    labels.get(key)?.parse().ok()
}

/// A restarting machine is rented and comes up by itself: it counts as running.
fn state(state: State) -> MachineState {
    match state {
        State::CREATED | State::EMPTY => MachineState::Pending,
        State::RUNNING | State::PAUSED | State::RESTARTING => MachineState::Running,
        State::EXITED | State::DEAD => MachineState::Dead,
        State::REMOVING | State::STOPPING => MachineState::Stopping,
    }
}

#[cfg(test)]
mod tests;
