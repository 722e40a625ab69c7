//! The labels by which things in the Swarm say that they are ours, and what they are.

/// On the Swarm, its nodes' engines, services, networks, volumes and containers: the cluster they belong to.
pub(crate) const CLUSTER: &str = "micado.cluster";
/// On an engine: which instance it runs on. On a service: which instance it is pinned to.
pub(crate) const INSTANCE: &str = "micado.instance";
/// On a service: the container's name.
pub(crate) const CONTAINER: &str = "micado.container";
/// On a service: the name of what `launch` made.
pub(crate) const SERVICE: &str = "micado.service";
/// On a service: the generation of the placement.
pub(crate) const GENERATION: &str = "micado.generation";
/// On a service: our records as JSON, `[Service, Container]`.
pub(crate) const RECORDS: &str = "micado.records";
/// What all of our labels begin with.
pub(crate) const PREFIX: &str = "micado.";
