//! The demand made ready for planning: containers that ask for the same become one kind, and
//! offers are put in order.

use super::{
    Demand, Limits, Offer, Pool, Waiting,
    kind::{Binding, Kind},
    room::{Load, Room},
    rule::{self, Site},
    scale::Scale,
};
use micado_api::Resources;
use std::{cmp::Reverse, collections::HashMap, ops::Add};

/// Price and number of rented machines. The order is by what we want least of: money, then
/// machines, then size that nobody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Per hour, in millionths.
    pub price: u64,
    pub machines: u32,
    /// All of them together on the [`Scale`].
    pub size: u64,
}

/// What all parts of the planner share and none changes.
#[derive(Debug)]
pub(super) struct Problem<'s> {
    pub waiting: &'s [Waiting],
    /// All offers, also those that cannot be had now.
    pub all_offers: &'s [Offer],
    pub limits: &'s Limits,
    /// Limits of single locations, by the location's number.
    limits_at: Vec<(usize, &'s Limits)>,
    /// In packing order: those with the least choice first, then the largest.
    pub kinds: Vec<Kind<'s>>,
    /// Position in the waiting list to kind.
    pub kind_of: Vec<usize>,
    /// What can be rented now: the cheapest first, and of those the smallest first.
    pub offers: Vec<&'s Offer>,
    /// An empty machine of each offer.
    rooms: Vec<Room>,
    /// For each kind and offer, true if the rules allow it and it holds one.
    suits: Vec<bool>,
    pub scale: Scale,
}

/// Containers of one kind that are to be served: positions in the waiting list, ascending.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub kind: usize,
    pub members: Vec<usize>,
}

/// `count` of a run's containers on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub run: usize,
    pub machine: usize,
    pub count: usize,
}

/// A machine to rent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rented {
    /// Position in [`Problem::offers`].
    pub offer: usize,
    /// The location's number.
    pub location: usize,
}

/// Machines to rent, and places for containers. Rented machines have the numbers that follow those
/// of the pool.
#[derive(Debug, Clone, Default)]
pub(super) struct Packing {
    pub rented: Vec<Rented>,
    pub placed: Vec<Placed>,
}

impl<'s> Problem<'s> {
    /// Reads a demand. The pool learns the locations that are asked for.
    pub fn new(pool: &mut Pool, demand: &Demand<'s>) -> Self {
        let scale = pool.scale_to(demand.offers);
        let (mut kinds, mut kind_of) = kinds(pool, demand.waiting, scale);
        sort_for_packing(&mut kinds, &mut kind_of);
        let available = |offer: &&Offer| offer.unavailable.is_none();
        let mut offers: Vec<_> = demand.offers.iter().filter(available).collect();
        let size = |offer: &Offer| scale.size(offer.capacity());
        offers.sort_by_key(|it| (it.price, size(it), &it.cloud, &it.flavour));
        let rooms: Vec<Room> = offers.iter().map(|offer| Room::of_offer(offer)).collect();
        let mut suits = Vec::with_capacity(kinds.len() * offers.len());
        for kind in &kinds {
            let holds = rooms.iter().map(|room| room.takes(kind, 1) > 0);
            suits.extend(
                holds
                    .zip(&offers)
                    .map(|(holds, offer)| holds && allowed(kind, offer)),
            );
        }
        let limits_at = demand.limits_at.iter();
        let limits_at = limits_at.map(|(name, limits)| (pool.location(name), limits));
        let limits_at = limits_at.collect();
        Self {
            waiting: demand.waiting,
            all_offers: demand.offers,
            limits: demand.limits,
            limits_at,
            kinds,
            kind_of,
            offers,
            rooms,
            suits,
            scale,
        }
    }

    /// True if a machine of this offer may be rented for one of this kind, and holds it.
    pub fn suits(&self, kind: usize, offer: usize) -> bool {
        self.kinds[kind].binding == Binding::Free && self.suits[kind * self.offers.len() + offer]
    }

    /// An empty machine of this offer.
    pub fn empty(&self, offer: usize) -> &Room {
        &self.rooms[offer]
    }

    /// The cheapest offer that holds this load of containers of these kinds.
    pub fn cheapest_for(
        &self,
        load: Load,
        kinds: impl Iterator<Item = usize> + Clone,
    ) -> Option<usize> {
        (0..self.offers.len()).find(|&offer| {
            self.rooms[offer].holds(load) && kinds.clone().all(|kind| self.suits(kind, offer))
        })
    }

    /// The cheapest offer that holds one of this kind.
    pub fn cheapest_for_one(&self, kind: usize) -> Option<usize> {
        (0..self.offers.len()).find(|&offer| self.suits(kind, offer))
    }

    /// Cost of one machine of this offer.
    pub fn cost(&self, offer: usize) -> Cost {
        let offer = self.offers[offer];
        Cost {
            price: offer.price.0,
            machines: 1,
            size: self.scale.size(offer.capacity()),
        }
    }

    /// Cost of these machines.
    pub fn cost_of(&self, rented: &[Rented]) -> Cost {
        let costs = rented.iter().map(|rented| self.cost(rented.offer));
        costs.fold(Cost::default(), Cost::add)
    }

    /// Cost of those of these machines that are at this location.
    pub fn cost_at(&self, location: usize, rented: &[Rented]) -> Cost {
        let here = rented.iter().filter(|rented| rented.location == location);
        let costs = here.map(|rented| self.cost(rented.offer));
        costs.fold(Cost::default(), Cost::add)
    }

    /// Limits of this location alone, if it has any.
    pub fn limits_at(&self, location: usize) -> Option<&'s Limits> {
        let mut all = self.limits_at.iter();
        all.find_map(|&(number, limits)| (number == location).then_some(limits))
    }

    /// True if the limits in all allow to rent this much.
    pub fn allows(&self, cost: Cost) -> bool {
        self.limits.allow(cost.machines, cost.price)
    }

    /// True if the limits of this location alone allow to rent this much there.
    pub fn allows_at(&self, location: usize, cost: Cost) -> bool {
        let limits = self.limits_at(location);
        limits.is_none_or(|limits| limits.allow(cost.machines, cost.price))
    }

    /// Rents and places on the pool, until it is rolled back.
    pub fn carry_out(&self, pool: &mut Pool, runs: &[Run], packing: &Packing) {
        for rented in &packing.rented {
            pool.rent(self.offers[rented.offer], rented.location);
        }
        for placed in &packing.placed {
            let kind = &self.kinds[runs[placed.run].kind];
            pool.place(kind, placed.machine, placed.count);
        }
    }
}

/// True if the rules allow a machine of this offer for one of this kind.
pub(super) fn allowed(kind: &Kind<'_>, offer: &Offer) -> bool {
    rule::broken(&kind.ask, &Site::of_offer(offer, kind.ask.location)).is_none()
}

impl Cost {
    /// Cost of this number of machines, without a price.
    pub fn of_machines(machines: usize) -> Self {
        Self {
            machines: u32::try_from(machines).unwrap_or(u32::MAX),
            ..Self::default()
        }
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

/// Groups the waiting list by everything but the containers' names. Neighbours are mostly of one
/// service, so most need no look-up.
fn kinds<'s>(pool: &mut Pool, waiting: &'s [Waiting], scale: Scale) -> (Vec<Kind<'s>>, Vec<usize>) {
    let mut kinds: Vec<Kind<'s>> = Vec::new();
    let mut known = HashMap::new();
    let mut kind_of: Vec<usize> = Vec::with_capacity(waiting.len());
    for (position, sample) in waiting.iter().enumerate() {
        let last = kind_of.last().copied();
        let same_as_last = last.filter(|&last| asks(kinds[last].sample) == asks(sample));
        let kind = same_as_last.unwrap_or_else(|| {
            *known.entry(asks(sample)).or_insert_with(|| {
                let binding = match &sample.bound_to {
                    None => Binding::Free,
                    Some(id) => pool.number(id).map_or(Binding::Lost, Binding::To),
                };
                let location = pool.location(&sample.location);
                kinds.push(Kind::new(
                    sample,
                    location,
                    binding,
                    scale.size(sample.needs),
                ));
                kinds.len() - 1
            })
        });
        kinds[kind].members.push(position);
        kind_of.push(kind);
    }
    (kinds, kind_of)
}

/// All of a waiting container but its name.
fn asks(waiting: &Waiting) -> impl Eq + std::hash::Hash {
    let Waiting {
        container: _,
        service,
        location,
        needs,
        ports,
        published,
        bound_to,
        avoid,
        platforms,
        apart,
        volumes,
    } = waiting;
    (
        (service, location, needs, ports, published),
        (bound_to, avoid, platforms, apart, volumes),
    )
}

/// Sorts the kinds into packing order and renumbers `kind_of`: what is bound has one machine only,
/// what is exclusive has few, and the large are harder to place than the small.
fn sort_for_packing(kinds: &mut [Kind<'_>], kind_of: &mut [usize]) {
    kinds.sort_by_key(|kind| {
        (
            kind.binding == Binding::Free,
            !kind.is_exclusive(),
            Reverse(kind.size),
            kind.members[0],
        )
    });
    for (number, kind) in kinds.iter().enumerate() {
        for &member in &kind.members {
            kind_of[member] = number;
        }
    }
}

/// Reservations of all of these: runs, and how many of each.
pub(super) fn needs_of(problem: &Problem<'_>, runs: &[Run], left: &[(usize, usize)]) -> Resources {
    let needs = left
        .iter()
        .map(|&(run, count)| problem.kinds[runs[run].kind].needs_of(count));
    needs.fold(Resources::default(), Add::add)
}
