//! What the planner looks at: machines, containers without a place, what can be rented and how much
//! of it.

use super::{Pool, Step, room::Room};
use micado_api::{
    AntiAffinity, CloudName, ContainerName, FlavourName, InstanceId, Location, MemoryBytes,
    NanoCpus, Platform, PricePerHour, Protocol, Resources, ServiceName, Tag,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A port of a machine.
pub type HostPort = (u16, Protocol);

/// State of a machine, as to the containers that it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Up and open.
    Ready,
    /// On its way: what is assigned to it starts when it joins.
    Arriving,
    /// Up and open as far as the engine knows, but its agent has gone: it may be cut off, or dead.
    Silent,
    /// Drained by the manager, which takes it back when its room is needed.
    Leaving,
    /// Drained for good.
    Draining,
    /// Not answering.
    Down,
}

impl Readiness {
    /// Whether containers may be placed on it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Ready | Self::Arriving | Self::Silent | Self::Leaving
        )
    }
}

/// Something of which a machine has nothing left, whatever is reserved on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exhausted {
    Memory,
    /// Space for images and for what containers write.
    Disk,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Disk => "disk space",
        })
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
    /// Something that it has run out of.
    pub exhausted: Option<Exhausted>,
    /// Its operating system and processor; `None` while unknown: nothing is refused for it then.
    pub platform: Option<Platform>,
    /// All it has.
    pub size: Resources,
    /// Memory of it that is never promised.
    pub reserve: MemoryBytes,
    /// Sum of the reservations on it.
    pub reserved: Resources,
    /// Number of containers on it, foreign ones included.
    pub containers: u32,
    /// Number of ports that they publish, those without a fixed machine port included.
    pub published: u32,
    /// Its ports that are taken.
    pub ports: BTreeSet<HostPort>,
    /// Volumes with a writer on it.
    pub volumes: BTreeSet<String>,
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
    /// Number of ports that it publishes, those without a fixed machine port included.
    pub published: u32,
    /// The one instance it may run on (it holds its volumes), if any.
    pub bound_to: Option<InstanceId>,
    /// An instance that it must not be placed on (it is being moved away from it), if any.
    pub avoid: Option<InstanceId>,
    /// Platforms that its image is made for; any if empty.
    pub platforms: BTreeSet<Platform>,
    /// Distance from other containers of its service.
    pub apart: AntiAffinity,
    /// Volumes that it writes: one writer per machine and volume.
    pub volumes: BTreeSet<String>,
}

/// A size of machine that can be rented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The cloud.
    pub cloud: CloudName,
    /// The flavour.
    pub flavour: FlavourName,
    /// Its operating system and processor, if known.
    pub platform: Option<Platform>,
    /// All it has.
    pub size: Resources,
    /// Memory of it that is never promised.
    pub reserve: MemoryBytes,
    /// What it costs.
    pub price: PricePerHour,
    /// Why it cannot be had right now (it failed, and its back-off runs), if so.
    pub unavailable: Option<String>,
}

/// Upper bounds for renting, in all or at one location, and the part of them that is in use.
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

impl Limits {
    /// True if so many machines more may be rented for this price per hour, in millionths.
    #[must_use]
    pub fn allow(&self, machines: u32, price: u64) -> bool {
        let room = |max: u32| machines == 0 || self.instances.saturating_add(machines) <= max;
        let money = |max: PricePerHour| price == 0 || self.price.0.saturating_add(price) <= max.0;
        self.max_instances.is_none_or(room) && self.max_price.is_none_or(money)
    }
}

impl Node {
    /// What it has for containers: its size less the reserve.
    #[must_use]
    pub fn capacity(&self) -> Resources {
        self.size
            .saturating_sub(Resources::new(self.reserve, NanoCpus(0)))
    }
}

impl Offer {
    /// Largest reservation of a container on a new machine.
    #[must_use]
    pub fn largest_container(&self) -> Resources {
        Room::of_offer(self).left()
    }

    /// What it has for containers: its size less the reserve.
    #[must_use]
    pub fn capacity(&self) -> Resources {
        self.size
            .saturating_sub(Resources::new(self.reserve, NanoCpus(0)))
    }
}

/// Containers without a place, and what can be rented for them.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Containers without a place, the one to serve first, first.
    pub waiting: &'a [Waiting],
    /// What can be rented.
    pub offers: &'a [Offer],
    /// Limits in all.
    pub limits: &'a Limits,
    /// Limits of single locations; the others have none of their own.
    pub limits_at: &'a BTreeMap<Location, Limits>,
}

/// Everything the planner looks at, for a single plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All machines, those on their way included.
    pub nodes: Vec<Node>,
    /// Containers without a place, the one to serve first, first.
    pub waiting: Vec<Waiting>,
    /// What can be rented.
    pub offers: Vec<Offer>,
    /// Limits in all.
    pub limits: Limits,
    /// Limits of single locations.
    pub limits_at: BTreeMap<Location, Limits>,
}

impl Snapshot {
    /// Plans on a pool made of these machines alone.
    #[must_use]
    pub fn plan(&self) -> Vec<Step> {
        let mut pool = Pool::default();
        self.nodes.iter().for_each(|node| pool.put(node.clone()));
        super::plan(&mut pool, &self.demand())
    }

    /// Its containers and offers.
    #[must_use]
    pub fn demand(&self) -> Demand<'_> {
        Demand {
            waiting: &self.waiting,
            offers: &self.offers,
            limits: &self.limits,
            limits_at: &self.limits_at,
        }
    }
}
