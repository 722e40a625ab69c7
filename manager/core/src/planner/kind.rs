//! Containers that ask for exactly the same are one kind.

use super::{HostPort, Waiting};
use micado_api::{
    AntiAffinity, InstanceId, Location, MemoryBytes, NanoCpus, Platform, Resources, ServiceName,
};
use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

/// Demands on a machine that do not depend on what else is placed there: the only part of a
/// container that a [rule](super::rule) sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ask<'s> {
    /// Role of the machine.
    pub location: &'s Location,
    /// Platforms of the image; any if empty.
    pub platforms: &'s BTreeSet<Platform>,
    /// The one instance it may run on.
    pub bound_to: Option<&'s InstanceId>,
    /// The instance it must not run on.
    pub avoid: Option<&'s InstanceId>,
}

/// Containers of one service that ask for exactly the same.
#[derive(Debug)]
pub(super) struct Kind<'s> {
    /// Any of them.
    pub sample: &'s Waiting,
    pub ask: Ask<'s>,
    /// Ports and volumes, hashed: each can have one container on a machine.
    pub claims: Vec<Claim>,
    pub service: ServiceId,
    /// True if no other container of its service may be on its machine.
    pub alone: bool,
    /// Number of its location in the pool.
    pub location: usize,
    pub binding: Binding,
    /// Its needs as one number, see [`Scale`](super::scale::Scale).
    pub size: u64,
    /// Positions in the waiting list, ascending.
    pub members: Vec<usize>,
}

/// The machine that volumes hold a container to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// None.
    Free,
    /// The machine of this number.
    To(usize),
    /// A machine that is not in the pool.
    Lost,
}

/// A port or volume of a machine, by a hash of 64 bits. Should two ever collide, two containers are
/// kept apart needlessly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim(u64);

/// A service, by a hash of its name. Should two ever collide, they are taken for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServiceId(u64);

impl Claim {
    pub fn port(port: HostPort) -> Self {
        Self(hash(&port))
    }

    pub fn volume(name: &str) -> Self {
        Self(hash(name))
    }

    /// The claims of these ports and volumes.
    pub fn all(ports: &BTreeSet<HostPort>, volumes: &BTreeSet<String>) -> Vec<Self> {
        let ports = ports.iter().copied().map(Self::port);
        let volumes = volumes.iter().map(|name| Self::volume(name));
        ports.chain(volumes).collect()
    }
}

impl From<&ServiceName> for ServiceId {
    fn from(name: &ServiceName) -> Self {
        Self(hash(name))
    }
}

/// The same in every process: the hasher has fixed keys.
fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<'s> Ask<'s> {
    pub fn of(waiting: &'s Waiting) -> Self {
        Self {
            location: &waiting.location,
            platforms: &waiting.platforms,
            bound_to: waiting.bound_to.as_ref(),
            avoid: waiting.avoid.as_ref(),
        }
    }
}

impl<'s> Kind<'s> {
    /// A kind without members.
    pub fn new(sample: &'s Waiting, location: usize, binding: Binding, size: u64) -> Self {
        Self {
            sample,
            ask: Ask::of(sample),
            claims: Claim::all(&sample.ports, &sample.volumes),
            service: (&sample.service).into(),
            alone: sample.apart == AntiAffinity::Require,
            location,
            binding,
            size,
            members: Vec::new(),
        }
    }

    /// Reservation of each.
    pub fn needs(&self) -> Resources {
        self.sample.needs
    }

    /// Reservations of `count` of them.
    pub fn needs_of(&self, count: usize) -> Resources {
        let needs = self.needs();
        Resources::new(
            MemoryBytes(needs.memory.0.saturating_mul(count as u64)),
            NanoCpus(needs.cpu.0.saturating_mul(count as u64)),
        )
    }

    /// True if a machine takes at most one of them.
    pub fn is_exclusive(&self) -> bool {
        self.alone || !self.claims.is_empty()
    }

    /// True if no machine takes one of each.
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.location != other.location
            || self.claims.iter().any(|claim| other.claims.contains(claim))
            || self.service == other.service && (self.alone || other.alone)
    }

    /// True if every machine that takes one of `other` would also take one of these.
    pub fn is_easier_than(&self, other: &Self) -> bool {
        self.ask == other.ask
            && self.needs().fits_in(&other.needs())
            && self.sample.published <= other.sample.published
            && self.claims.iter().all(|claim| other.claims.contains(claim))
            && (!self.alone || other.alone && self.service == other.service)
    }
}
