//! The copies that go when a service shrinks.

use std::{cmp::Reverse, collections::BTreeSet};

/// A copy of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candidate {
    /// Index of its machine; `None` while it waits for one.
    pub machine: Option<u32>,
    /// It waits, or ends again and again.
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
    let mut hosts = hosts.to_vec();
    let mut left: Vec<usize> = (0..copies.len()).collect();
    let mut gone = Vec::with_capacity(wish.count as usize);
    let floor = machines_after(copies, &left, wish);
    for _ in 0..wish.count {
        let best = left
            .iter()
            .copied()
            .filter(|at| may_go(&copies[*at], wish.only_quiet))
            .filter(|at| !leaves_too_few(copies, &left, *at, floor))
            .min_by(|one, other| compare(&copies[*one], &copies[*other], &hosts));
        let Some(best) = best else {
            break;
        };
        if let Some(host) = host_of(&copies[best]) {
            hosts[host].containers = hosts[host].containers.saturating_sub(1);
        }
        left.retain(|at| *at != best);
        gone.push(best);
    }
    gone
}

/// Lower bound for the machines of the service afterwards: as many as wished for, if so many copies
/// stay and it has them now.
fn machines_after(copies: &[Candidate], left: &[usize], wish: Wish) -> usize {
    let stay = copies.len().saturating_sub(wish.count as usize);
    stay.min(wish.machines as usize)
        .min(machines(copies, left, None))
}

fn machines(copies: &[Candidate], left: &[usize], without: Option<usize>) -> usize {
    let on: BTreeSet<u32> = left
        .iter()
        .filter(|at| Some(**at) != without)
        .filter_map(|at| copies[*at].machine)
        .collect();
    on.len()
}

fn leaves_too_few(copies: &[Candidate], left: &[usize], at: usize, floor: usize) -> bool {
    copies[at].machine.is_some() && machines(copies, left, Some(at)) < floor
}

const fn may_go(copy: &Candidate, only_quiet: bool) -> bool {
    !copy.is_protected && (!only_quiet || copy.is_quiet || copy.is_useless)
}

fn host_of(copy: &Candidate) -> Option<usize> {
    copy.machine.map(|machine| machine as usize)
}

/// Order of going: useless, on a draining machine, on the machine that falls empty soonest (fewest
/// containers, then dearest, then youngest), fewest requests in flight, least CPU, youngest.
fn compare(one: &Candidate, other: &Candidate, hosts: &[Host]) -> std::cmp::Ordering {
    let host = |copy: &Candidate| host_of(copy).map(|at| hosts[at]).unwrap_or_default();
    let key = |copy: &Candidate| {
        let on = host(copy);
        (!copy.is_useless, !on.is_draining, on.containers)
    };
    key(one)
        .cmp(&key(other))
        .then_with(|| host(other).price.total_cmp(&host(one).price))
        .then_with(|| Reverse(host(one).ordered_at).cmp(&Reverse(host(other).ordered_at)))
        .then_with(|| one.machine.cmp(&other.machine))
        .then_with(|| one.in_flight.total_cmp(&other.in_flight))
        .then_with(|| one.cpu.total_cmp(&other.cpu))
        .then_with(|| Reverse(one.started_at).cmp(&Reverse(other.started_at)))
}

#[cfg(test)]
mod tests;
