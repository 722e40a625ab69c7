//! The machines, kept from plan to plan.
//!
//! A plan tries things out on the pool itself and takes them back: what it touches, it pays for,
//! and never for machines that it did not look at.

use super::{
    Node, Offer, Readiness,
    free_index::{Entry, FreeIndex},
    kind::{Ask, Binding, Kind},
    room::{Room, Taken},
    rule::{self, Site},
    scale::Scale,
};
use micado_api::{InstanceId, Location, MemoryBytes, NanoCpus, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// Number of classes of open machines, the class that is filled first, first: running, on their
/// way, without their agent, leaving, rented by this plan.
pub(super) const CLASSES: usize = 5;

/// See [`Pool::order`]; the last part is the machine's number.
pub(super) type Order = (bool, u64, usize);

/// All machines that containers may be placed on.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    nodes: BTreeMap<InstanceId, (Node, usize)>,
    /// By number. Those that a plan would rent follow the others.
    machines: Vec<Machine>,
    /// Numbers that are free.
    vacant: Vec<usize>,
    /// By the location's number.
    places: Vec<Place>,
    sizes: Sizes,
    scale: Scale,
    /// Changes of the plan that is being made, in order.
    undo: Vec<Undo>,
}

/// A machine of the pool, or one that the plan would rent.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub site: Site,
    pub room: Room,
    location: usize,
    /// Order between machines with equal room: the same after a restart.
    tie: u64,
    rented: bool,
}

/// The machines of one location.
#[derive(Debug, Clone)]
struct Place {
    location: Location,
    open: [FreeIndex; CLASSES],
    /// Draining ones before those that are down.
    closed: BTreeSet<(bool, u64, usize)>,
}

/// How many machines have each capacity, so that the largest is known.
#[derive(Debug, Clone, Default)]
struct Sizes {
    memory: BTreeMap<u64, usize>,
    cpu: BTreeMap<u64, usize>,
}

#[derive(Debug, Clone)]
enum Undo {
    Put(usize, Taken),
    Rent,
    Close(usize, Readiness),
}

impl Undo {
    /// The machine that was changed, unless it was rented.
    fn machine(&self) -> Option<usize> {
        match self {
            Self::Put(number, _) | Self::Close(number, _) => Some(*number),
            Self::Rent => None,
        }
    }
}

impl Pool {
    /// Inserts a machine, or replaces it whole.
    pub fn put(&mut self, node: Node) {
        self.remove(&node.instance);
        let machine = Machine {
            site: Site::of_node(&node),
            room: Room::of_node(&node),
            location: self.location(&node.location),
            tie: tie(&node.instance),
            rented: false,
        };
        let number = self.vacant.pop().unwrap_or(self.machines.len());
        match self.machines.get_mut(number) {
            Some(vacant) => *vacant = machine,
            None => self.machines.push(machine),
        }
        self.index(number);
        self.sizes.add(node.capacity());
        self.nodes.insert(node.instance.clone(), (node, number));
    }

    /// Removes a machine.
    pub fn remove(&mut self, id: &InstanceId) {
        if let Some((node, number)) = self.nodes.remove(id) {
            self.unindex(number);
            self.sizes.remove(node.capacity());
            self.vacant.push(number);
        }
    }

    /// One machine.
    #[must_use]
    pub fn node(&self, id: &InstanceId) -> Option<&Node> {
        self.nodes.get(id).map(|(node, _)| node)
    }

    /// All machines, in order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|(node, _)| node)
    }

    /// The number of a machine.
    pub(super) fn number(&self, id: &InstanceId) -> Option<usize> {
        self.nodes.get(id).map(|&(_, number)| number)
    }

    /// The number of a location.
    pub(super) fn location(&mut self, name: &Location) -> usize {
        let known = self.places.iter().position(|place| place.location == *name);
        known.unwrap_or_else(|| {
            self.places.push(Place {
                location: name.clone(),
                open: Default::default(),
                closed: BTreeSet::new(),
            });
            self.places.len() - 1
        })
    }

    /// Number of machines that are there or on their way.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The number that the next rented machine gets.
    pub(super) fn next_number(&self) -> usize {
        self.machines.len()
    }

    pub(super) fn machine(&self, number: usize) -> &Machine {
        &self.machines[number]
    }

    /// Prepares for a plan with these offers. Ranks all machines anew if a larger or smaller
    /// machine has become the largest.
    pub(super) fn scale_to(&mut self, offers: &[Offer]) -> Scale {
        let offered = offers.iter().map(Offer::capacity);
        let largest = offered.fold(self.sizes.largest(), |a, b| {
            Resources::new(a.memory.max(b.memory), a.cpu.max(b.cpu))
        });
        let scale = Scale::new(largest);
        if scale != self.scale {
            let numbers: Vec<usize> = self.nodes.values().map(|&(_, number)| number).collect();
            numbers.iter().for_each(|&number| self.unindex(number));
            self.scale = scale;
            numbers.iter().for_each(|&number| self.index(number));
        }
        scale
    }

    /// How many of a kind, `count` at most, a machine takes.
    pub(super) fn takes(&self, kind: &Kind<'_>, number: usize, count: usize) -> usize {
        let machine = &self.machines[number];
        match machine.room.takes(kind, count) {
            times if times > 0 && rule::broken(&kind.ask, &machine.site).is_none() => times,
            _ => 0,
        }
    }

    /// The machines of a class that take one of this kind, with the number, `count` at most, that
    /// each takes. Those that it would fill most come first.
    pub(super) fn taking<'a>(
        &'a self,
        kind: &'a Kind<'_>,
        class: usize,
        count: usize,
    ) -> impl Iterator<Item = (Entry, usize)> + 'a {
        let index = &self.places[kind.location].open[class];
        let (free, bound) = match kind.binding {
            Binding::Free => (Some(index.fitting(kind.needs(), kind.size)), None),
            Binding::To(number) => (None, self.entry(kind.location, class, number)),
            Binding::Lost => (None, None),
        };
        let entries = free.into_iter().flatten().chain(bound);
        entries.filter_map(move |entry| {
            let times = self.takes(kind, entry.machine(), count);
            (times > 0).then_some((entry, times))
        })
    }

    /// The machines with the most room among those that take one of this kind, up to `count` of
    /// each class.
    pub(super) fn roomiest(&self, kind: &Kind<'_>, count: usize) -> Vec<usize> {
        let open = &self.places[kind.location].open;
        match kind.binding {
            Binding::Free => {
                let of_class = |index: &FreeIndex| {
                    let entries = index.fitting_descending(kind.needs());
                    let machines = entries.map(|entry| entry.machine());
                    let taking = machines.filter(|&number| self.takes(kind, number, 1) > 0);
                    taking.take(count).collect::<Vec<_>>()
                };
                open.iter().flat_map(of_class).collect()
            }
            Binding::To(number) => vec![number],
            Binding::Lost => Vec::new(),
        }
    }

    /// True if any machine takes one more of this kind.
    pub(super) fn has_room_for(&self, kind: &Kind<'_>) -> bool {
        (0..CLASSES).any(|class| self.taking(kind, class, 1).next().is_some())
    }

    /// All machines but rented ones: those of the location first, open ones with the least room
    /// first, then draining ones, those that are down, and those of other locations.
    pub(super) fn worst_first(&self, location: usize) -> impl Iterator<Item = usize> {
        let mut others: Vec<usize> = (0..self.places.len()).collect();
        others.retain(|&other| other != location);
        others.sort_by_key(|&other| &self.places[other].location);
        let places = std::iter::once(location).chain(others);
        places.flat_map(|location| {
            let Place { open, closed, .. } = &self.places[location];
            let open = open[..CLASSES - 1].iter().flat_map(FreeIndex::ascending);
            open.chain(closed.iter().map(|&(_, _, number)| number))
        })
    }

    /// The instance of a machine that is there or on its way.
    pub(super) fn instance(&self, number: usize) -> Option<&InstanceId> {
        self.machines[number].site.instance.as_ref()
    }

    /// True if no rule forbids this machine for good.
    pub(super) fn could_take(&self, ask: &Ask<'_>, id: &InstanceId) -> bool {
        let number = self.number(id);
        number.is_some_and(|number| !rule::forbidden(ask, &self.machines[number].site))
    }

    /// An order of machines that does not depend on the history of the pool.
    pub(super) fn order(&self, number: usize) -> Order {
        let machine = &self.machines[number];
        (machine.rented, machine.tie, number)
    }

    /// The class of an open machine.
    pub(super) fn class(&self, number: usize) -> Option<usize> {
        self.machines[number].class()
    }

    /// Places `count` of a kind on a machine that takes them, until it is taken back.
    pub(super) fn place(&mut self, kind: &Kind<'_>, number: usize, count: usize) {
        self.unindex(number);
        let taken = self.machines[number].room.put(kind, count);
        self.index(number);
        self.undo.push(Undo::Put(number, taken));
    }

    /// Adds a machine of this offer, until it is taken back, and returns its number.
    pub(super) fn rent(&mut self, offer: &Offer, location: usize) -> usize {
        let number = self.machines.len();
        self.machines.push(Machine {
            site: Site::of_offer(offer, &self.places[location].location),
            room: Room::of_offer(offer),
            location,
            tie: 0,
            rented: true,
        });
        self.index(number);
        self.undo.push(Undo::Rent);
        number
    }

    /// Closes a machine, until it is taken back.
    pub(super) fn close(&mut self, number: usize) {
        let before = self.machines[number].site.readiness;
        self.unindex(number);
        self.machines[number].site.readiness = Readiness::Draining;
        self.index(number);
        self.undo.push(Undo::Close(number, before));
    }

    /// The state that [`Self::roll_back`] returns to.
    pub(super) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back all that was placed, rented and closed since the mark. A machine is indexed once,
    /// however much was placed there.
    pub(super) fn roll_back(&mut self, mark: usize) {
        let undone = self.undo.split_off(mark.min(self.undo.len()));
        let rented = undone.iter().filter(|it| matches!(it, Undo::Rent)).count();
        let there = self.machines.len() - rented;
        let mut changed: Vec<usize> = undone.iter().filter_map(Undo::machine).collect();
        changed.extend(there..self.machines.len());
        changed.sort_unstable();
        changed.dedup();
        changed.iter().for_each(|&number| self.unindex(number));
        for undo in undone.into_iter().rev() {
            match undo {
                Undo::Put(number, taken) => self.machines[number].room.give_back(taken),
                Undo::Close(number, readiness) => self.machines[number].site.readiness = readiness,
                Undo::Rent => drop(self.machines.pop()),
            }
        }
        let left = changed.into_iter().filter(|&number| number < there);
        left.for_each(|number| self.index(number));
    }

    fn entry(&self, location: usize, class: usize, number: usize) -> Option<Entry> {
        let machine = &self.machines[number];
        let there = machine.location == location && machine.class() == Some(class);
        there.then(|| machine.entry(number, self.scale))
    }

    fn index(&mut self, number: usize) {
        let machine = &self.machines[number];
        let place = &mut self.places[machine.location];
        match machine.class() {
            Some(class) => place.open[class].insert(machine.entry(number, self.scale)),
            None => drop(place.closed.insert(machine.closed_rank(number))),
        }
    }

    fn unindex(&mut self, number: usize) {
        let machine = &self.machines[number];
        let place = &mut self.places[machine.location];
        match machine.class() {
            Some(class) => place.open[class].remove(machine.entry(number, self.scale).rank),
            None => drop(place.closed.remove(&machine.closed_rank(number))),
        }
    }
}

impl Machine {
    /// Its class, if it is open.
    fn class(&self) -> Option<usize> {
        match self.site.readiness {
            Readiness::Ready => Some(0),
            Readiness::Arriving if self.rented => Some(CLASSES - 1),
            Readiness::Arriving => Some(1),
            Readiness::Silent => Some(2),
            Readiness::Leaving => Some(3),
            Readiness::Draining | Readiness::Down => None,
        }
    }

    fn entry(&self, number: usize, scale: Scale) -> Entry {
        let free = self.room.free();
        Entry {
            rank: (scale.size(free), self.tie, number),
            free,
        }
    }

    fn closed_rank(&self, number: usize) -> (bool, u64, usize) {
        (self.site.readiness == Readiness::Down, self.tie, number)
    }
}

impl Sizes {
    fn add(&mut self, size: Resources) {
        *self.memory.entry(size.memory.0).or_default() += 1;
        *self.cpu.entry(size.cpu.0).or_default() += 1;
    }

    fn remove(&mut self, size: Resources) {
        for (counts, size) in [
            (&mut self.memory, size.memory.0),
            (&mut self.cpu, size.cpu.0),
        ] {
            if let Some(count) = counts.get_mut(&size) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&size);
                }
            }
        }
    }

    fn largest(&self) -> Resources {
        let largest = |counts: &BTreeMap<u64, usize>| counts.keys().next_back().copied();
        Resources::new(
            MemoryBytes(largest(&self.memory).unwrap_or(0)),
            NanoCpus(largest(&self.cpu).unwrap_or(0)),
        )
    }
}

/// The first eight bytes of an id as a number: they are all of our ids.
fn tie(id: &InstanceId) -> u64 {
    let mut bytes = [0; 8];
    let id = id.as_ref().as_bytes();
    let length = id.len().min(8);
    bytes[..length].copy_from_slice(&id[..length]);
    u64::from_be_bytes(bytes)
}
