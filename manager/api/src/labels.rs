//! The labels by which machines, and what runs on them, say whose and what they are.

/// What all of our labels begin with.
pub const PREFIX: &str = "micado.";
/// The cluster a thing belongs to.
pub const CLUSTER: &str = "micado.cluster";
/// On a machine or its engine: which instance it is. On a Swarm service: which instance it is
/// pinned to.
pub const INSTANCE: &str = "micado.instance";
/// On a machine or its engine: what people call it.
pub const TAG: &str = "micado.tag";
/// On a machine or its engine: its role.
pub const LOCATION: &str = "micado.location";
/// On a machine or its engine: what it runs, as `cloudsetup.xml` names it.
pub const APPLICATION: &str = "micado.application";
/// On a machine or its engine: its size's name.
pub const FLAVOUR: &str = "micado.flavour";
/// On a machine or its engine: where it is rented.
pub const CLOUD: &str = "micado.cloud";
