//! A few containers: every way to divide them among machines is tried, so what is rented is the
//! least there is.
//!
//! Sets of containers are bits of a number. First, which sets can the machines that are there take
//! between them; then, for each set, how cheaply can up to so many new machines hold it. Both grow
//! set by set, never way by way, so ten containers cost about a millisecond.

use super::{
    Pool,
    kind::Kind,
    problem::{Cost, Packing, Placed, Problem, Rented, Run},
    room::Load,
};
use std::collections::BTreeSet;

/// How many containers are a few: the work triples with each one more.
pub(super) const MOST: usize = 10;

/// A set of containers, one bit each.
type Set = usize;

/// Containers and what each set of them asks for.
struct Sets<'p, 's> {
    problem: &'p Problem<'s>,
    /// Kind of each container.
    kinds: Vec<usize>,
    /// Reservations of each set; `None` for those that no one machine may hold.
    loads: Vec<Option<Load>>,
}

/// The cheapest way to hold a set on up to so many new machines.
#[derive(Clone, Copy)]
struct Way {
    cost: Cost,
    /// What goes on the last of them; nothing if one machine less is as cheap.
    last: Set,
}

/// Containers whose new machines are limited together.
struct Budget {
    /// A location with limits of its own; `None` for all others.
    location: Option<usize>,
    set: Set,
    /// Number of machines at most.
    most: usize,
}

/// New machines within the limits: their cost, and how many there are of each budget at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    cost: Cost,
    machines: [usize; MOST],
}

/// The cheapest machines within the limits that serve all of these, along with the machines that
/// are there; `None` if there are none.
pub(super) fn best(problem: &Problem<'_>, pool: &Pool, runs: &[Run]) -> Option<Packing> {
    let members_of = |(number, run): (usize, &Run)| vec![number; run.members.len()];
    let run_of: Vec<usize> = runs.iter().enumerate().flat_map(members_of).collect();
    let sets = Sets::new(problem, run_of.iter().map(|&run| runs[run].kind).collect());
    let all = (1 << run_of.len()) - 1;
    let reached = sets.on_machines_there(pool);
    let ways = sets.on_new_machines();
    let budgets = sets.budgets(&ways);
    let cheapest = |rest: Set| sets.cheapest(&ways, &budgets, rest, Choice::default());
    let (choice, _, there) = (0..=all)
        .filter(|&there| reached[there].is_some())
        .filter_map(|there| Some((cheapest(all ^ there)?, (all ^ there).count_ones(), there)))
        .min_by_key(|(choice, number, there)| (choice.cost, *number, *there))?;
    let one_each = |set, machine| {
        members(set)
            .map(move |bit| (bit, machine))
            .collect::<Vec<_>>()
    };
    let mut packing = Packing::default();
    let mut places = Vec::new();
    let mut set = there;
    while let Some((machine, before)) = reached[set].filter(|_| set != 0) {
        places.extend(one_each(set ^ before, machine));
        set = before;
    }
    let machines = budgets.iter().zip(choice.machines);
    let machines = machines
        .flat_map(|(budget, most)| sets.machines(&ways[..=most], (all ^ there) & budget.set));
    for (offer, set) in machines {
        places.extend(one_each(set, pool.next_number() + packing.rented.len()));
        let first = sets.kinds[set.trailing_zeros() as usize];
        packing.rented.push(Rented {
            offer,
            location: problem.kinds[first].location,
        });
    }
    let placed = places.into_iter().map(|(bit, machine)| Placed {
        run: run_of[bit],
        machine,
        count: 1,
    });
    packing.placed = placed.collect();
    Some(packing)
}

/// The cheapest new machines for containers of these kinds: the offer of each, and which containers
/// (by position) it holds. `None` if no offer holds one of them.
pub(super) fn cheapest(
    problem: &Problem<'_>,
    kinds: Vec<usize>,
) -> Option<Vec<(usize, Vec<usize>)>> {
    let all = (1 << kinds.len()) - 1;
    let sets = Sets::new(problem, kinds);
    let ways = sets.on_new_machines();
    ways.last()?[all]?;
    Some(
        sets.machines(&ways, all)
            .into_iter()
            .map(|(offer, set)| (offer, members(set).collect()))
            .collect(),
    )
}

impl<'p, 's> Sets<'p, 's> {
    fn new(problem: &'p Problem<'s>, kinds: Vec<usize>) -> Self {
        let kind = |bit: usize| &problem.kinds[kinds[bit]];
        let clashes_of = |a: usize| {
            let others = (0..kinds.len()).filter(|&b| b != a && kind(a).clashes_with(kind(b)));
            others.fold(0, |set, b| set | 1 << b)
        };
        let clashes: Vec<Set> = (0..kinds.len()).map(clashes_of).collect();
        let mut loads: Vec<Option<Load>> = vec![Some(Load::default())];
        for set in 1..1_usize << kinds.len() {
            let (first, rest) = split(set);
            let rest = loads[rest].filter(|_| clashes[first] & rest == 0);
            loads.push(rest.map(|rest| rest.and(Load::of(kind(first), 1))));
        }
        Self {
            problem,
            kinds,
            loads,
        }
    }

    /// For each set that the machines there can take: the machine that was filled last for it, and
    /// the set before that.
    fn on_machines_there(&self, pool: &Pool) -> Vec<Option<(usize, Set)>> {
        let all = self.loads.len() - 1;
        let mut reached = vec![None; self.loads.len()];
        reached[0] = Some((usize::MAX, 0));
        for machine in self.candidates(pool) {
            let room = &pool.machine(machine).room;
            let taken = |&bit: &usize| pool.takes(self.kind(bit), machine, 1) > 0;
            let welcome = (0..self.kinds.len()).filter(taken);
            let welcome = welcome.fold(0, |set, bit| set | 1 << bit);
            let before: Vec<Set> = (0..all).filter(|&set| reached[set].is_some()).collect();
            for before in before {
                for more in subsets(welcome & !before) {
                    if reached[before | more].is_none()
                        && self.loads[more].is_some_and(|load| room.holds(load))
                    {
                        reached[before | more] = Some((machine, before));
                    }
                }
            }
        }
        reached
    }

    /// Machines that are worth a look: for each kind as many that take it as there are containers.
    /// Nothing is missed: a container with that many finds one that no other container uses, and a
    /// container with fewer has all there are.
    fn candidates(&self, pool: &Pool) -> Vec<usize> {
        let kinds: BTreeSet<usize> = self.kinds.iter().copied().collect();
        let machines = kinds
            .into_iter()
            .flat_map(|kind| pool.roomiest(&self.problem.kinds[kind], self.kinds.len()));
        let mut machines: Vec<usize> = machines.collect();
        machines.sort_unstable_by_key(|&number| pool.order(number));
        machines.dedup();
        machines
    }

    fn kind(&self, bit: usize) -> &'p Kind<'s> {
        &self.problem.kinds[self.kinds[bit]]
    }

    /// For up to 0, 1, 2, ... new machines, the cheapest way to hold each set; the last layer is as
    /// good as any further one, or all that the limits allow.
    fn on_new_machines(&self) -> Vec<Vec<Option<Way>>> {
        let one: Vec<Option<Cost>> = (0..self.loads.len())
            .map(|set| self.offer_for(set).map(|offer| self.problem.cost(offer)))
            .collect();
        let mut layers = vec![vec![None; self.loads.len()]];
        layers[0][0] = Some(Way {
            cost: Cost::default(),
            last: 0,
        });
        for machines in 1..=self.kinds.len() {
            if !self.problem.allows(Cost::of_machines(machines)) {
                break;
            }
            let before = &layers[machines - 1];
            let layer: Vec<_> = (0..self.loads.len())
                .map(|set| way(set, &one, before))
                .collect();
            if layer.iter().all(|way| way.is_none_or(|way| way.last == 0)) {
                break;
            }
            layers.push(layer);
        }
        layers
    }

    /// One budget for each location with limits of its own, and one for all others.
    fn budgets(&self, layers: &[Vec<Option<Way>>]) -> Vec<Budget> {
        let most = layers.len() - 1;
        let mut budgets: Vec<Budget> = Vec::new();
        for bit in 0..self.kinds.len() {
            let location = self.kind(bit).location;
            let location = self.problem.limits_at(location).map(|_| location);
            let mut known = budgets.iter_mut();
            if let Some(budget) = known.find(|budget| budget.location == location) {
                budget.set |= 1 << bit;
                continue;
            }
            let allowed = |machines: &usize| {
                let cost = Cost::of_machines(*machines);
                location.is_none_or(|location| self.problem.allows_at(location, cost))
            };
            budgets.push(Budget {
                location,
                set: 1 << bit,
                most: (1..=most).take_while(allowed).count(),
            });
        }
        budgets
    }

    /// The cheapest new machines for a set within the limits, given a choice for all budgets but
    /// these.
    fn cheapest(
        &self,
        layers: &[Vec<Option<Way>>],
        budgets: &[Budget],
        set: Set,
        before: Choice,
    ) -> Option<Choice> {
        let Some((budget, others)) = budgets.split_last() else {
            return self.problem.allows(before.cost).then_some(before);
        };
        let mut choices = (0..=budget.most).rev().filter_map(|most| {
            let cost = layers[most][set & budget.set]?.cost;
            let location = budget.location;
            if location.is_some_and(|location| !self.problem.allows_at(location, cost)) {
                return None;
            }
            let mut choice = before;
            choice.cost = choice.cost + cost;
            choice.machines[others.len()] = most;
            self.cheapest(layers, others, set, choice)
        });
        // Fewer machines cost no less.
        match others {
            [] => choices.next(),
            _ => choices.min(),
        }
    }

    /// The machines of a way: the offer and the containers of each.
    fn machines(&self, layers: &[Vec<Option<Way>>], set: Set) -> Vec<(usize, Set)> {
        let mut rest = set;
        let mut machines = Vec::new();
        for layer in layers.iter().rev() {
            let last = layer[rest].map_or(0, |way| way.last);
            if let Some(offer) = self.offer_for(last).filter(|_| last != 0) {
                machines.push((offer, last));
            }
            rest ^= last;
        }
        machines
    }

    fn offer_for(&self, set: Set) -> Option<usize> {
        let load = self.loads[set]?;
        let kinds = members(set).map(|bit| self.kinds[bit]);
        self.problem.cheapest_for(load, kinds)
    }
}

/// The cheapest way to hold a set on one machine more than `before`. The last machine holds the
/// first container, so no way is seen twice.
fn way(set: Set, one: &[Option<Cost>], before: &[Option<Way>]) -> Option<Way> {
    let mut best = before[set].map(|way| Way { last: 0, ..way });
    if set == 0 {
        return best;
    }
    let (first, rest) = split(set);
    for more in subsets(rest) {
        let last = more | 1 << first;
        let cost = one[last]
            .zip(before[set ^ last])
            .map(|(cost, way)| cost + way.cost);
        if let Some(cost) = cost.filter(|&cost| best.is_none_or(|best| cost < best.cost)) {
            best = Some(Way { cost, last });
        }
    }
    best
}

/// The first of a set that is not empty, and the rest.
fn split(set: Set) -> (usize, Set) {
    (set.trailing_zeros() as usize, set & (set - 1))
}

/// The bits of a set.
fn members(set: Set) -> impl Iterator<Item = usize> + Clone {
    (0..Set::BITS as usize).filter(move |bit| set & 1 << bit != 0)
}

/// All subsets of a set, itself and the empty one included.
fn subsets(set: Set) -> impl Iterator<Item = Set> {
    std::iter::successors(Some(set), move |&subset| {
        (subset != 0).then(|| (subset - 1) & set)
    })
}
