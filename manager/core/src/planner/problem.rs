//! The snapshot made ready for planning: names become numbers, and containers that ask for the same
//! become one kind.

use super::{
    Limits, Offer, Snapshot, Waiting,
    yard::{Machine, Yard},
};
use micado_api::{InstanceId, Location, MemoryBytes, NanoCpus, Resources, ServiceName};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Add,
};

/// Containers of one service that ask for exactly the same.
#[derive(Debug)]
pub(super) struct Kind<'s> {
    /// Any of them.
    pub sample: &'s Waiting,
    /// Its location's number.
    pub location: usize,
    /// Its service's number.
    pub service: usize,
    /// The machine that it may not leave.
    pub bound_to: Binding,
    /// The machine that it may not go to.
    pub avoid: Option<usize>,
    /// Its needs as one number, see [`Scale`].
    pub size: u64,
    /// Their positions in the waiting list, ascending.
    pub members: Vec<usize>,
}

/// Whether volumes hold a container to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// They do not.
    Free,
    /// To this one.
    To(usize),
    /// To one that is not among the machines.
    Lost,
}

/// Memory and CPU as one number: the sum of both as shares of the largest machine there is or can
/// be rented. The order of rooms by it is the order of what they would have left after any given
/// container, so best fit needs no other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    memory: f64,
    cpu: f64,
}

/// What renting costs. The order is what we want least of, first: money, then machines, then size
/// that nobody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Per hour, in millionths.
    pub price: u64,
    /// How many.
    pub machines: u32,
    /// All of them together on the [`Scale`].
    pub size: u64,
}

/// Everything the parts of the planner share, and none of them changes.
#[derive(Debug)]
pub(super) struct Problem<'s> {
    /// What it was made from.
    pub snapshot: &'s Snapshot,
    /// By number.
    pub locations: Vec<&'s Location>,
    /// In packing order: those with the least choice first, then the largest.
    pub kinds: Vec<Kind<'s>>,
    /// Position in the waiting list to kind.
    pub kind_of: Vec<usize>,
    /// The machines as they are now; the first ones have the numbers of the snapshot's nodes.
    pub yard: Yard,
    /// What can be rented now, the cheapest first, the smallest of those first.
    pub offers: Vec<&'s Offer>,
    /// How memory and CPU compare.
    pub scale: Scale,
}

impl<'s> Problem<'s> {
    /// Reads a snapshot.
    pub fn new(snapshot: &'s Snapshot) -> Self {
        let scale = Scale::new(snapshot);
        let machine_of: HashMap<&InstanceId, usize> = snapshot
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (&node.instance, at))
            .collect();
        let mut names = Names::default();
        let (mut kinds, kind_of) = kinds(&snapshot.waiting, &machine_of, &mut names, scale);
        let kind_of = sort_for_packing(&mut kinds, kind_of);
        let yard = yard(snapshot, &mut names, scale);
        let mut offers: Vec<_> = snapshot
            .offers
            .iter()
            .filter(|offer| offer.unavailable.is_none())
            .collect();
        offers.sort_by_key(|offer| {
            (
                offer.price,
                scale.size(offer.capacity()),
                &offer.cloud,
                &offer.flavour,
            )
        });
        Self {
            snapshot,
            locations: names.locations,
            kinds,
            kind_of,
            yard,
            offers,
            scale,
        }
    }

    /// The cheapest offer that holds these needs, by its number in `offers`.
    pub fn cheapest_for(&self, needs: Resources) -> Option<usize> {
        self.offers
            .iter()
            .position(|offer| needs.fits_in(&offer.capacity()))
    }

    /// What one machine of this offer costs.
    pub fn cost(&self, offer: usize) -> Cost {
        let offer = self.offers[offer];
        Cost {
            price: offer.price.0,
            machines: 1,
            size: self.scale.size(offer.capacity()),
        }
    }

    /// Whether so much may be rented.
    pub fn allows(&self, cost: Cost) -> bool {
        let Limits {
            max_instances,
            instances,
            max_price,
            price,
        } = &self.snapshot.limits;
        max_instances
            .is_none_or(|max| cost.machines == 0 || instances.saturating_add(cost.machines) <= max)
            && max_price
                .is_none_or(|max| cost.price == 0 || price.0.saturating_add(cost.price) <= max.0)
    }
}

impl Kind<'_> {
    /// What each of them must be promised.
    pub fn needs(&self) -> Resources {
        self.sample.needs
    }

    /// What so many of them must be promised.
    pub fn needs_of(&self, count: usize) -> Resources {
        let needs = self.needs();
        Resources::new(
            MemoryBytes(needs.memory.0.saturating_mul(count as u64)),
            NanoCpus(needs.cpu.0.saturating_mul(count as u64)),
        )
    }

    /// How many of them, `count` at most, one machine with so much room takes. Those that ask for a
    /// port of the machine's own cannot share one.
    pub fn times_in(&self, room: Resources, count: usize) -> usize {
        let times = |room: u64, need: u64| {
            room.checked_div(need)
                .map_or(count, |times| usize::try_from(times).unwrap_or(usize::MAX))
        };
        let needs = self.needs();
        let most = if self.sample.ports.is_empty() {
            count
        } else {
            count.min(1)
        };
        most.min(times(room.memory.0, needs.memory.0))
            .min(times(room.cpu.0, needs.cpu.0))
    }

    /// Whether a machine that takes one of `other` would also take one of these, whatever machine
    /// it is.
    pub fn is_easier_than(&self, other: &Self) -> bool {
        self.location == other.location
            && self.needs().fits_in(&other.needs())
            && self.sample.ports.is_subset(&other.sample.ports)
            && (self.bound_to == Binding::Free || self.bound_to == other.bound_to)
            && (self.avoid.is_none() || self.avoid == other.avoid)
    }
}

impl Scale {
    fn new(snapshot: &Snapshot) -> Self {
        let machines = || {
            snapshot
                .nodes
                .iter()
                .map(|node| node.capacity())
                .chain(snapshot.offers.iter().map(|offer| offer.capacity()))
        };
        let unit = |most: Option<u64>| (1_u64 << 40) as f64 / most.unwrap_or(1).max(1) as f64;
        Self {
            memory: unit(machines().map(|size| size.memory.0).max()),
            cpu: unit(machines().map(|size| size.cpu.0).max()),
        }
    }

    /// These resources as one number.
    pub fn size(self, resources: Resources) -> u64 {
        (resources.memory.0 as f64 * self.memory + resources.cpu.0 as f64 * self.cpu) as u64
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            price: self.price.saturating_add(other.price),
            machines: self.machines.saturating_add(other.machines),
            size: self.size.saturating_add(other.size),
        }
    }
}

/// The numbers given to names so far.
#[derive(Default)]
struct Names<'s> {
    locations: Vec<&'s Location>,
    location_of: HashMap<&'s Location, usize>,
    service_of: HashMap<&'s ServiceName, usize>,
}

impl<'s> Names<'s> {
    fn location(&mut self, name: &'s Location) -> usize {
        *self.location_of.entry(name).or_insert_with(|| {
            self.locations.push(name);
            self.locations.len() - 1
        })
    }

    fn service(&mut self, name: &'s ServiceName) -> usize {
        let next = self.service_of.len();
        *self.service_of.entry(name).or_insert(next)
    }
}

/// Groups the waiting list by everything but the containers' names. Neighbours are mostly copies of
/// one service, so most need no look-up.
fn kinds<'s>(
    waiting: &'s [Waiting],
    machine_of: &HashMap<&InstanceId, usize>,
    names: &mut Names<'s>,
    scale: Scale,
) -> (Vec<Kind<'s>>, Vec<usize>) {
    let mut kinds: Vec<Kind<'s>> = Vec::new();
    let mut known = HashMap::new();
    let mut kind_of: Vec<usize> = Vec::with_capacity(waiting.len());
    for (position, sample) in waiting.iter().enumerate() {
        let same_as_last = kind_of
            .last()
            .copied()
            .filter(|&last| asks(kinds[last].sample) == asks(sample));
        let kind = same_as_last.unwrap_or_else(|| {
            *known.entry(asks(sample)).or_insert_with(|| {
                kinds.push(Kind {
                    sample,
                    location: names.location(&sample.location),
                    service: names.service(&sample.service),
                    bound_to: sample.bound_to.as_ref().map_or(Binding::Free, |id| {
                        machine_of
                            .get(id)
                            .map_or(Binding::Lost, |&machine| Binding::To(machine))
                    }),
                    avoid: sample
                        .avoid
                        .as_ref()
                        .and_then(|id| machine_of.get(id).copied()),
                    size: scale.size(sample.needs),
                    members: Vec::new(),
                });
                kinds.len() - 1
            })
        });
        kinds[kind].members.push(position);
        kind_of.push(kind);
    }
    (kinds, kind_of)
}

/// Everything that planning looks at in a waiting container.
fn asks(waiting: &Waiting) -> impl Eq + std::hash::Hash {
    (
        &waiting.service,
        &waiting.location,
        waiting.needs,
        &waiting.ports,
        &waiting.bound_to,
        &waiting.avoid,
    )
}

/// Puts the kinds into packing order and renumbers `kind_of`: what is bound has one machine only,
/// what needs a port has few, and the large are harder to place than the small.
fn sort_for_packing(kinds: &mut Vec<Kind<'_>>, kind_of: Vec<usize>) -> Vec<usize> {
    let rank = |kind: &Kind<'_>| {
        (
            kind.bound_to == Binding::Free,
            kind.sample.ports.is_empty(),
            std::cmp::Reverse(kind.size),
            kind.members[0],
        )
    };
    kinds.sort_by_key(rank);
    let mut kind_of = kind_of;
    for (number, kind) in kinds.iter().enumerate() {
        for &member in &kind.members {
            kind_of[member] = number;
        }
    }
    kind_of
}

/// The machines as the snapshot shows them, with the ports and copies that matter to those that
/// wait.
fn yard<'s>(snapshot: &'s Snapshot, names: &mut Names<'s>, scale: Scale) -> Yard {
    let wanted: BTreeSet<_> = snapshot
        .waiting
        .iter()
        .flat_map(|waiting| &waiting.ports)
        .collect();
    let mut yard = Yard::new(scale);
    for node in &snapshot.nodes {
        let machine = yard.add(Machine {
            location: names.location(&node.location),
            readiness: node.readiness,
            rented: false,
            room: node.capacity().saturating_sub(node.reserved),
            ports: node
                .ports
                .iter()
                .filter(|port| wanted.contains(port))
                .copied()
                .collect(),
        });
        if node.readiness.is_open() {
            for (service, copies) in &node.services {
                if let Some(&service) = names.service_of.get(service) {
                    yard.copies.insert((service, machine), *copies);
                }
            }
        }
    }
    yard
}
