//! Labels that mark objects in the Swarm as ours and describe them.

pub(crate) use micado_api::labels::{CLUSTER, INSTANCE, PREFIX};

/// On a service: the container's name.
pub(crate) const CONTAINER: &str = "micado.container";
/// On a service, or a volume that is not shared: the name of our service.
pub(crate) const SERVICE: &str = "micado.service";
/// On a volume: the name that its service, or all services, mount it by.
pub(crate) const VOLUME: &str = "micado.volume";
/// On a service: the Swarm id of the node that it is pinned to.
pub(crate) const NODE: &str = "micado.node";
/// On a service: the generation of the copy.
pub(crate) const GENERATION: &str = "micado.generation";
/// On a service: our records as JSON, `[Service, Container]`.
pub(crate) const RECORDS: &str = "micado.records";
/// On the Swarm: addresses of the network with the advertised address as its gateway.
pub(crate) const SUBNET: &str = "micado.subnet";
/// On the Swarm: made by the manager ([`MADE`]) or existing before ([`FOUND`]).
pub(crate) const ORIGIN: &str = "micado.swarm";
/// Made by the manager, which keeps its heartbeat as configured.
pub(crate) const MADE: &str = "made";
/// Existing before: its owner decides its settings.
pub(crate) const FOUND: &str = "found";
