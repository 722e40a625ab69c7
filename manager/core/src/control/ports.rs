//! Ports that a container publishes, as the planner counts them.

use crate::planner::HostPort;
use micado_api::PortMapping;
use std::collections::BTreeSet;

/// The fixed machine ports among these.
pub(super) fn host_ports(ports: &[PortMapping]) -> BTreeSet<HostPort> {
    let fixed = ports.iter();
    fixed
        .filter_map(|port| Some((port.host?, port.protocol)))
        .collect()
}

/// Number of published ports, those that the engine chooses included.
pub(super) fn published(ports: &[PortMapping]) -> u32 {
    u32::try_from(ports.len()).unwrap_or(u32::MAX)
}
