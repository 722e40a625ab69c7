//! What the planner looks at: machines, containers without a place, what can be rented and how much
//! of it.

use micado_api::{
    CloudName, ContainerName, FlavourName, InstanceId, Location, PricePerHour, Protocol, Resources,
    ServiceName, Tag,
};
use std::collections::{BTreeMap, BTreeSet};

/// A port of a machine.
pub type HostPort = (u16, Protocol);

/// Whether, and when, a machine can take containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Up and open.
    Ready,
    /// On its way: what is assigned to it starts when it joins.
    Arriving,
    /// Up and open as far as the engine knows, but its agent has gone: it may be cut off, or dead.
    Silent,
    /// Being emptied.
    Draining,
    /// Not answering.
    Down,
}

impl Readiness {
    /// Whether containers may be placed on it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ready | Self::Arriving | Self::Silent)
    }
}

/// A machine as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which instance it is.
    pub instance: InstanceId,
    /// What people call it.
    pub tag: Tag,
    /// Its role.
    pub location: Location,
    /// Whether it takes containers.
    pub readiness: Readiness,
    /// What it has for containers: its size less the system reserve.
    pub capacity: Resources,
    /// What is promised on it.
    pub reserved: Resources,
    /// Its ports that are taken.
    pub ports: BTreeSet<HostPort>,
    /// How many containers of each service are on it.
    pub services: BTreeMap<ServiceName, u32>,
}

/// A container without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub container: ContainerName,
    /// Its service.
    pub service: ServiceName,
    /// The role it asks for.
    pub location: Location,
    /// What it must be promised.
    pub needs: Resources,
    /// The machine ports it must have.
    pub ports: BTreeSet<HostPort>,
    /// The one instance it may run on (it holds its volumes), if any.
    pub bound_to: Option<InstanceId>,
    /// An instance that it must not be placed on (it is being moved away from it), if any.
    pub avoid: Option<InstanceId>,
}

/// A size of machine that can be rented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The cloud.
    pub cloud: CloudName,
    /// The flavour.
    pub flavour: FlavourName,
    /// What it has for containers: its size less the system reserve.
    pub capacity: Resources,
    /// What it costs.
    pub price: PricePerHour,
    /// Why it cannot be had right now (it failed, and its back-off runs), if so.
    pub unavailable: Option<String>,
}

/// What may be rented at most, and how much of that is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Instances at most.
    pub max_instances: Option<u32>,
    /// Instances that are live.
    pub instances: u32,
    /// Price per hour at most, over all live instances.
    pub max_price: Option<PricePerHour>,
    /// Price per hour of the live instances.
    pub price: PricePerHour,
}

/// Everything the planner looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All machines, those on their way included.
    pub nodes: Vec<Node>,
    /// Containers without a place, the one to serve first, first.
    pub waiting: Vec<Waiting>,
    /// What can be rented.
    pub offers: Vec<Offer>,
    /// What may be rented.
    pub limits: Limits,
}
