//! The labels by which things in the Swarm say that they are ours, and what they are.

pub(crate) use micado_api::labels::{CLUSTER, INSTANCE, PREFIX};

/// On a service: the container's name.
pub(crate) const CONTAINER: &str = "micado.container";
/// On a service, or a volume that is not shared: the name of what `launch` made.
pub(crate) const SERVICE: &str = "micado.service";
/// On a volume: the name that its service, or all services, mount it by.
pub(crate) const VOLUME: &str = "micado.volume";
/// On a service: the Swarm id of the node that it is pinned to.
pub(crate) const NODE: &str = "micado.node";
/// On a service: the generation of the copy.
pub(crate) const GENERATION: &str = "micado.generation";
/// On a service: our records as JSON, `[Service, Container]`.
pub(crate) const RECORDS: &str = "micado.records";
/// On the Swarm: the addresses of the network that the advertised address is the gateway of.
pub(crate) const SUBNET: &str = "micado.subnet";
/// On the Swarm: whether the manager made it, or found it.
pub(crate) const ORIGIN: &str = "micado.swarm";
/// It was made by the manager, which keeps its heartbeat as it should be.
pub(crate) const MADE: &str = "made";
/// It was there before, and its settings are its owner's.
pub(crate) const FOUND: &str = "found";
