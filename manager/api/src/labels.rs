//! Labels that identify machines, and what runs on them.

/// Common prefix of our labels.
pub const PREFIX: &str = "micado.";
/// The cluster a thing belongs to.
pub const CLUSTER: &str = "micado.cluster";
/// On a machine or its engine: its instance id. On a Swarm service: the instance that it is pinned
/// to.
pub const INSTANCE: &str = "micado.instance";
/// On a machine or its engine: the name that people use.
pub const TAG: &str = "micado.tag";
/// On a machine or its engine: its role.
pub const LOCATION: &str = "micado.location";
/// On a machine or its engine: its application in `cloudsetup.xml`.
pub const APPLICATION: &str = "micado.application";
/// On a machine or its engine: the name of its flavour.
pub const FLAVOUR: &str = "micado.flavour";
/// On a machine or its engine: its cloud.
pub const CLOUD: &str = "micado.cloud";
