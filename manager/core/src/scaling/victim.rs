//! The copies that go when a service shrinks.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
};

/// A copy of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candidate {
    /// Index of its machine; `None` while it waits for one.
    pub machine: Option<u32>,
    /// Set if it waits, or ends again and again.
    pub is_useless: bool,
    /// Never goes: `keep`, bound to a volume, or on a blind machine.
    pub is_protected: bool,
    /// CPU below 5 % of its share and no traffic for 30 s.
    pub is_quiet: bool,
    pub in_flight: f64,
    /// Mean CPU of the last 10 s, in cores.
    pub cpu: f64,
    /// Start, in milliseconds since the epoch.
    pub started_at: u64,
}

/// A machine with copies of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Host {
    /// Containers of any service on it.
    pub containers: u32,
    /// Price per hour.
    pub price: f64,
    /// Time of its order, in milliseconds since the epoch.
    pub ordered_at: u64,
    pub is_draining: bool,
}

/// Copies that shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub count: u32,
    /// Machines that the service keeps, if so many copies stay: two, so that the end of one machine
    /// does not stop it.
    pub machines: u32,
    /// Only copies without work may go.
    pub only_quiet: bool,
}

/// Returns the indexes of the copies to stop, best first; fewer if the others are protected or
/// busy. `hosts` is indexed by [`Candidate::machine`].
#[must_use]
pub fn victims(copies: &[Candidate], hosts: &[Host], wish: Wish) -> Vec<usize> {
    let mut groups: BTreeMap<Option<u32>, Group> = BTreeMap::new();
    for (at, copy) in copies.iter().enumerate() {
        let group = groups.entry(copy.machine).or_insert_with(|| Group {
            host: host_of(copy).map(|at| hosts[at]).unwrap_or_default(),
            machine: copy.machine,
            copies: 0,
            may_go: Vec::new(),
        });
        group.copies += 1;
        if may_go(copy, wish.only_quiet) {
            group.may_go.push((at, *copy));
        }
    }
    let mut machines = groups.keys().flatten().count();
    let stay = copies.len().saturating_sub(wish.count as usize);
    let floor = stay.min(wish.machines as usize).min(machines);
    let mut heap: BinaryHeap<Group> = groups.into_values().filter_map(Group::sorted).collect();
    let mut gone = Vec::with_capacity(wish.count as usize);
    while gone.len() < wish.count as usize
        && let Some(mut group) = heap.pop()
    {
        let is_last = group.machine.is_some() && group.copies == 1;
        if is_last && machines <= floor {
            continue;
        }
        let Some((at, _)) = group.may_go.pop() else {
            continue;
        };
        gone.push(at);
        machines -= usize::from(is_last);
        group.copies -= 1;
        if group.machine.is_some() {
            group.host.containers = group.host.containers.saturating_sub(1);
        }
        if !group.may_go.is_empty() {
            heap.push(group);
        }
    }
    gone
}

/// Copies of the service on one machine, or those that wait for one.
#[derive(Debug, Clone)]
struct Group {
    machine: Option<u32>,
    host: Host,
    /// All copies of the service on it that stay so far.
    copies: u32,
    /// Copies that may go, the first to go last.
    may_go: Vec<(usize, Candidate)>,
}

impl Group {
    /// Sorts its copies; `None` if none of them may go.
    fn sorted(mut self) -> Option<Self> {
        self.may_go
            .sort_unstable_by(|one, other| on_one_machine(other, one));
        (!self.may_go.is_empty()).then_some(self)
    }

    /// Order between machines: with a useless copy, draining, falling empty soonest (fewest
    /// containers, then dearest, then youngest).
    fn compare(&self, other: &Self) -> Ordering {
        let key = |group: &Self| {
            let first = group.may_go.last();
            let is_useless = first.is_some_and(|(_, copy)| copy.is_useless);
            (!is_useless, !group.host.is_draining, group.host.containers)
        };
        let age = |group: &Self| (Reverse(group.host.ordered_at), group.machine);
        key(self)
            .cmp(&key(other))
            .then_with(|| other.host.price.total_cmp(&self.host.price))
            .then_with(|| age(self).cmp(&age(other)))
    }
}

/// Order of going on one machine: useless, fewest requests in flight, least CPU, youngest.
fn on_one_machine((at, one): &(usize, Candidate), (than, other): &(usize, Candidate)) -> Ordering {
    one.is_useless
        .cmp(&other.is_useless)
        .reverse()
        .then_with(|| one.in_flight.total_cmp(&other.in_flight))
        .then_with(|| one.cpu.total_cmp(&other.cpu))
        .then_with(|| other.started_at.cmp(&one.started_at))
        .then_with(|| at.cmp(than))
}

/// The heap returns the greatest group: the first to go.
impl Ord for Group {
    fn cmp(&self, other: &Self) -> Ordering {
        other.compare(self)
    }
}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Group {}

const fn may_go(copy: &Candidate, only_quiet: bool) -> bool {
    !copy.is_protected && (!only_quiet || copy.is_quiet || copy.is_useless)
}

fn host_of(copy: &Candidate) -> Option<usize> {
    copy.machine.map(|machine| machine as usize)
}

#[cfg(test)]
mod tests;
