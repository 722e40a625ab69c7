//! What containers use up on a machine: memory, CPU, ports, volumes, and what each costs beside its
//! reservation.

use super::{
    HostPort, Node, Offer,
    kind::{Claim, Kind, ServiceId},
};
use micado_api::{MemoryBytes, NanoCpus, Protocol, Resources};
use std::collections::BTreeSet;

/// Memory of an engine and its node agent before the first container. The system reserve pays for
/// it. Measured: `docs/decisions`, cost of a container.
pub const ENGINE: MemoryBytes = MemoryBytes::mib(96);

/// Memory that each container costs outside its cgroup, for its shim and the engine's records. The
/// rest of the system reserve pays for the first ones.
pub const PER_CONTAINER: MemoryBytes = MemoryBytes::mib(5);

/// Memory that each published port costs, for the engine's proxies of it: one for each version of
/// IP. Measured: `docs/decisions`, cost of a container.
pub const PER_PORT: MemoryBytes = MemoryBytes::mib(2);

/// Most containers on one machine.
pub const MOST_CONTAINERS: u32 = 250;

/// Fewest ports of one container that a reason names the cost of.
const WORTH_A_WORD: u64 = 8;

/// What is left on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Room {
    amounts: Amounts,
    /// Ports and volumes in use.
    claims: Vec<Claim>,
    /// Containers of each service.
    services: Vec<(ServiceId, u32)>,
}

/// The part of a room that is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amounts {
    /// Not reserved.
    free: Resources,
    /// Part of the system reserve, in bytes, that neither the engine nor a container uses.
    slack: u64,
    /// Containers that may still be added.
    places: u32,
}

/// The last change of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    before: Amounts,
    claims: usize,
    service: ServiceId,
    containers: u32,
}

/// Reservations of some containers together, and what they cost beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub needs: Resources,
    cost: MemoryBytes,
    containers: u32,
}

/// What a machine has too little of for a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lack {
    memory: bool,
    cpu: bool,
    places: bool,
    /// Another container of the service is there.
    apart: bool,
    ports: BTreeSet<HostPort>,
    volumes: BTreeSet<String>,
}

impl Load {
    pub fn of(kind: &Kind<'_>, count: usize) -> Self {
        Self {
            needs: kind.needs_of(count),
            cost: cost(clamped(count), published(kind).saturating_mul(count as u64)),
            containers: clamped(count),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            needs: self.needs + other.needs,
            cost: MemoryBytes(self.cost.0.saturating_add(other.cost.0)),
            containers: self.containers.saturating_add(other.containers),
        }
    }
}

impl Room {
    pub fn of_node(node: &Node) -> Self {
        let mut room = Self::empty(node.capacity(), node.reserve);
        room.amounts.take(Load {
            needs: node.reserved,
            cost: cost(node.containers, node.published.into()),
            containers: node.containers,
        });
        room.claims = Claim::all(&node.ports, &node.volumes);
        let services = node.services.iter();
        room.services = services
            .map(|(name, count)| (name.into(), *count))
            .collect();
        room
    }

    /// The room of a new machine.
    pub fn of_offer(offer: &Offer) -> Self {
        Self::empty(offer.capacity(), offer.reserve)
    }

    /// The room of a machine without containers.
    pub fn empty(free: Resources, reserve: MemoryBytes) -> Self {
        let short = Resources::new(MemoryBytes(ENGINE.0.saturating_sub(reserve.0)), NanoCpus(0));
        Self {
            amounts: Amounts {
                free: free.saturating_sub(short),
                slack: reserve.0.saturating_sub(ENGINE.0),
                places: MOST_CONTAINERS,
            },
            ..Self::default()
        }
    }

    pub fn free(&self) -> Resources {
        self.amounts.free
    }

    /// Largest reservation that one more container without ports may have.
    pub fn left(&self) -> Resources {
        self.left_after(cost(1, 0))
    }

    /// Largest reservation that one more container with the ports of this kind may have.
    pub fn left_for(&self, kind: &Kind<'_>) -> Resources {
        self.left_after(cost(1, published(kind)))
    }

    fn left_after(&self, cost: MemoryBytes) -> Resources {
        let Amounts { free, slack, .. } = self.amounts;
        let memory = free.memory.0.saturating_add(slack);
        let memory = memory.saturating_sub(cost.0);
        Resources::new(MemoryBytes(memory.min(free.memory.0)), free.cpu)
    }

    /// How many of a kind, `count` at most, have room.
    pub fn takes(&self, kind: &Kind<'_>, count: usize) -> usize {
        let most = match kind.is_exclusive() {
            true if self.conflicts(kind) => return 0,
            true => count.min(1),
            false => count,
        };
        let Resources { memory, cpu } = kind.needs();
        let Amounts {
            free,
            slack,
            places,
        } = self.amounts;
        let cost = cost(1, published(kind));
        let with_cost = memory.0.saturating_add(cost.0);
        most.min(places as usize)
            .min(times(free.memory.0, memory.0))
            .min(times(free.memory.0.saturating_add(slack), with_cost))
            .min(times(free.cpu.0, cpu.0))
    }

    /// True if memory, CPU and places suffice for this load.
    pub fn holds(&self, load: Load) -> bool {
        let Amounts {
            free,
            slack,
            places,
        } = self.amounts;
        let memory = load.needs.memory.0.saturating_add(load.cost.0);
        load.needs.fits_in(&free)
            && load.containers <= places
            && memory <= free.memory.0.saturating_add(slack)
    }

    /// Adds `count` of a kind, which must have room.
    pub fn put(&mut self, kind: &Kind<'_>, count: usize) -> Taken {
        let taken = Taken {
            before: self.amounts,
            claims: self.claims.len(),
            service: kind.service,
            containers: clamped(count),
        };
        self.amounts.take(Load::of(kind, count));
        self.claims.extend(&kind.claims);
        match self.services.iter_mut().find(|(id, _)| *id == kind.service) {
            Some((_, copies)) => *copies = copies.saturating_add(taken.containers),
            None => self.services.push((kind.service, taken.containers)),
        }
        taken
    }

    /// Undoes the last change.
    pub fn give_back(&mut self, taken: Taken) {
        self.amounts = taken.before;
        self.claims.truncate(taken.claims);
        let mut services = self.services.iter();
        if let Some(at) = services.position(|(id, _)| *id == taken.service) {
            let copies = &mut self.services[at].1;
            *copies = copies.saturating_sub(taken.containers);
            if *copies == 0 {
                self.services.swap_remove(at);
            }
        }
    }

    /// Number of containers of a service.
    pub fn copies(&self, service: ServiceId) -> u32 {
        let mut services = self.services.iter();
        services
            .find(|(id, _)| *id == service)
            .map_or(0, |(_, copies)| *copies)
    }

    /// What is too little here for one of this kind; nothing if it has room. Memory and CPU are
    /// left out if more than they are missing.
    pub fn lack(&self, kind: &Kind<'_>) -> Lack {
        let (needs, left) = (kind.needs(), self.left_for(kind));
        let sample = kind.sample;
        let port = |port: &&HostPort| self.claims.contains(&Claim::port(**port));
        let volume = |name: &&String| self.claims.contains(&Claim::volume(name));
        let lasting = Lack {
            apart: kind.alone && self.copies(kind.service) > 0,
            ports: sample.ports.iter().filter(port).copied().collect(),
            volumes: sample.volumes.iter().filter(volume).cloned().collect(),
            places: self.amounts.places == 0,
            ..Lack::default()
        };
        if lasting != Lack::default() {
            return lasting;
        }
        Lack {
            memory: needs.memory > left.memory,
            cpu: needs.cpu > left.cpu,
            ..lasting
        }
    }

    fn conflicts(&self, kind: &Kind<'_>) -> bool {
        kind.claims.iter().any(|claim| self.claims.contains(claim))
            || kind.alone && self.copies(kind.service) > 0
    }
}

impl Amounts {
    fn take(&mut self, load: Load) {
        let paid = load.cost.0.min(self.slack);
        self.slack -= paid;
        let needs = load.needs + Resources::new(MemoryBytes(load.cost.0 - paid), NanoCpus(0));
        self.free = self.free.saturating_sub(needs);
        self.places = self.places.saturating_sub(load.containers);
    }
}

impl Lack {
    pub fn and(mut self, other: Self) -> Self {
        self.ports.extend(other.ports);
        self.volumes.extend(other.volumes);
        Self {
            memory: self.memory || other.memory,
            cpu: self.cpu || other.cpu,
            places: self.places || other.places,
            apart: self.apart || other.apart,
            ..self
        }
    }

    /// The words that follow the machine's name: the lack that lasts longest.
    pub fn refusal(&self, left: Resources) -> String {
        if self.apart {
            "has a container of its service".to_owned()
        } else if !self.ports.is_empty() {
            format!("has {} taken", listed(self.ports.iter().copied().map(port)))
        } else if !self.volumes.is_empty() {
            let volumes = self.volumes.iter().map(|name| format!("volume {name}"));
            format!("has {} in use", listed(volumes))
        } else if self.places {
            format!("has {MOST_CONTAINERS} containers")
        } else {
            format!("has {} left", self.amounts(left))
        }
    }

    /// The amounts of what is lacking that `resources` has; its memory if nothing is.
    pub fn amounts(&self, resources: Resources) -> String {
        listed(self.parts(resources, true))
    }

    /// What a container of this kind needs of what is lacking; its memory if nothing is.
    pub fn of(&self, kind: &Kind<'_>) -> String {
        let others = || {
            let ports = self.ports.iter().copied().map(port);
            let volumes = self.volumes.iter().map(|name| format!("volume {name}"));
            let apart = self.apart.then(|| "a machine of its own".to_owned());
            apart.into_iter().chain(ports).chain(volumes)
        };
        let nothing_else = others().next().is_none();
        let count = published(kind);
        let proxies = (self.memory && count >= WORTH_A_WORD)
            .then(|| format!("{} for {count} ports", cost_of_ports(count)));
        let amounts = self.parts(kind.needs(), nothing_else);
        listed(amounts.chain(proxies).chain(others()))
    }

    fn parts(&self, resources: Resources, something: bool) -> impl Iterator<Item = String> {
        let memory = (self.memory || something && !self.cpu).then(|| resources.memory.to_string());
        let cpu = self.cpu.then(|| format!("{} cores", resources.cpu));
        memory.into_iter().chain(cpu)
    }
}

/// Memory that containers and their published ports cost their machine.
fn cost(containers: u32, ports: u64) -> MemoryBytes {
    let containers = PER_CONTAINER.0.saturating_mul(containers.into());
    MemoryBytes(containers.saturating_add(cost_of_ports(ports).0))
}

fn cost_of_ports(count: u64) -> MemoryBytes {
    MemoryBytes(PER_PORT.0.saturating_mul(count))
}

fn published(kind: &Kind<'_>) -> u64 {
    kind.sample.published.into()
}

/// How often `need` fits into `room`.
fn times(room: u64, need: u64) -> usize {
    let times = room.checked_div(need);
    times.map_or(usize::MAX, |times| {
        usize::try_from(times).unwrap_or(usize::MAX)
    })
}

fn clamped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" and ")
}

/// A machine's port as people write it: TCP goes without saying.
fn port((port, protocol): HostPort) -> String {
    match protocol {
        Protocol::Tcp => format!("port {port}"),
        Protocol::Udp => format!("port {port}/udp"),
    }
}
