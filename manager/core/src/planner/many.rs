//! Many containers onto new machines: several good orders and sizes are tried, the cheapest result
//! within the limits is taken, and its emptiest machines are packed again.

use super::{
    Pool,
    bins::{self, Fit, Rental},
    few,
    free_index::{Entry, FreeIndex},
    kind::Binding,
    place::Part,
    problem::{Cost, Packing, Placed, Problem, Rented, Run, needs_of},
};
use micado_api::Resources;
use std::{cmp::Reverse, collections::BTreeMap, ops::Add};

/// So many sizes, and the largest, are built on at most.
const GUIDES: usize = 7;

/// What makes a container large: those go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The share of memory and that of CPU together.
    Sum,
    /// The greater of the two.
    Max,
}

/// What one location rents, and what that costs.
#[derive(Debug, Clone)]
struct Choice {
    cost: Cost,
    machines: Vec<Rental>,
}

/// The cheapest machines we find within the limits for what the machines that are there had no room
/// for; `None` if we find none.
pub(super) fn best(
    problem: &Problem<'_>,
    pool: &Pool,
    runs: &[Run],
    part: Part,
) -> Option<Packing> {
    let mut by_location: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (run, count) in part.left {
        let kind = &problem.kinds[runs[run].kind];
        if kind.binding != Binding::Free {
            return None;
        }
        by_location
            .entry(kind.location)
            .or_default()
            .push((run, count));
    }
    let mut least_of_all = Cost::default();
    for (&location, left) in &by_location {
        let least = least(problem, runs, left);
        if !problem.allows_at(location, least) {
            return None;
        }
        least_of_all = least_of_all + least;
    }
    if !problem.allows(least_of_all) {
        return None;
    }
    let choices = by_location
        .iter()
        .map(|(&location, left)| {
            let mut choices = choices(problem, runs, left)?;
            choices.retain(|choice| problem.allows_at(location, choice.cost));
            (!choices.is_empty()).then_some(choices)
        })
        .collect::<Option<Vec<_>>>()?;
    let mut packing = Packing {
        rented: Vec::new(),
        placed: part.placed,
    };
    for (location, choice) in by_location
        .into_keys()
        .zip(within_limits(problem, choices)?)
    {
        for rental in choice.machines {
            let machine = pool.next_number() + packing.rented.len();
            packing.rented.push(Rented {
                offer: rental.offer,
                location,
            });
            let placed = rental.load.iter().map(|&(run, count)| Placed {
                run,
                machine,
                count,
            });
            packing.placed.extend(placed);
        }
    }
    Some(packing)
}

/// What any way to rent for these costs at least.
fn least(problem: &Problem<'_>, runs: &[Run], left: &[(usize, usize)]) -> Cost {
    let needs = needs_of(problem, runs, left);
    let memory = (needs.memory.0, |offer: usize| {
        problem.offers[offer].capacity().memory.0
    });
    let cpu = (needs.cpu.0, |offer: usize| {
        problem.offers[offer].capacity().cpu.0
    });
    let bound = |need: u64, has: &dyn Fn(usize) -> u64| {
        let offers = || (0..problem.offers.len()).filter(|&offer| has(offer) > 0);
        let price = offers()
            .map(|offer| {
                u128::from(need) * u128::from(problem.cost(offer).price) / u128::from(has(offer))
            })
            .min()
            .unwrap_or(0);
        let machines = offers()
            .map(|offer| need.div_ceil(has(offer)))
            .min()
            .unwrap_or(0);
        (
            u64::try_from(price).unwrap_or(u64::MAX),
            u32::try_from(machines).unwrap_or(u32::MAX),
        )
    };
    let (by_memory, by_cpu) = (bound(memory.0, &memory.1), bound(cpu.0, &cpu.1));
    Cost {
        price: by_memory.0.max(by_cpu.0),
        machines: by_memory.1.max(by_cpu.1),
        size: 0,
    }
}

/// For each location the cheapest choice; while those exceed the limits together, one of them gives
/// way to fewer machines, where a machine less costs least.
fn within_limits(problem: &Problem<'_>, mut choices: Vec<Vec<Choice>>) -> Option<Vec<Choice>> {
    for choices in &mut choices {
        choices.sort_by_key(|choice| choice.cost);
    }
    let mut taken = vec![0; choices.len()];
    loop {
        let total = taken
            .iter()
            .zip(&choices)
            .fold(Cost::default(), |sum, (&taken, choices)| {
                sum + choices[taken].cost
            });
        if problem.allows(total) {
            return Some(
                taken
                    .into_iter()
                    .zip(choices)
                    .map(|(taken, mut choices)| choices.swap_remove(taken))
                    .collect(),
            );
        }
        let others = (0..choices.len()).flat_map(|location| {
            (taken[location] + 1..choices[location].len()).map(move |other| (location, other))
        });
        let dearness = |&(location, other): &(usize, usize)| {
            let (now, then) = (
                choices[location][taken[location]].cost,
                choices[location][other].cost,
            );
            let saved = now
                .machines
                .checked_sub(then.machines)
                .filter(|&saved| saved > 0)?;
            Some(((then.price - now.price) / u64::from(saved), location, other))
        };
        let (_, location, other) = others.filter_map(|other| dearness(&other)).min()?;
        taken[location] = other;
    }
}

/// Every choice we know for one location; `None` if no offer holds one of the containers.
fn choices(problem: &Problem<'_>, runs: &[Run], left: &[(usize, usize)]) -> Option<Vec<Choice>> {
    let kind = |run: usize| &problem.kinds[runs[run].kind];
    let with_exclusive = left.iter().any(|&(run, _)| kind(run).is_exclusive());
    let mut choices: Vec<Choice> = Vec::new();
    for guide in guides(problem, runs, left) {
        for measure in [Measure::Sum, Measure::Max] {
            for exclusive_first in [false, true]
                .into_iter()
                .take(1 + usize::from(with_exclusive))
            {
                let mut left = left.to_vec();
                left.sort_by_cached_key(|&(run, _)| {
                    let size = measure.of(kind(run).needs(), problem.offers[guide].capacity());
                    (
                        exclusive_first && !kind(run).is_exclusive(),
                        Reverse(size),
                        run,
                    )
                });
                for fit in [Fit::First, Fit::Best] {
                    let machines = bins::fill(problem, runs, &left, guide, fit)?;
                    choices.push(Choice::new(problem, runs, machines));
                }
            }
        }
    }
    let cheapest = choices.iter().min_by_key(|choice| choice.cost)?.clone();
    let merged = (0..problem.offers.len()).fold(cheapest, |choice, offer| {
        choice.with_some_merged(problem, runs, offer)
    });
    choices.extend(merged.clone().with_emptiest_packed_again(problem, runs));
    choices.push(merged);
    Some(choices)
}

/// The sizes worth building on: those that no other beats in price and size alike, the best
/// bargains for what is needed here, and the largest.
fn guides(problem: &Problem<'_>, runs: &[Run], left: &[(usize, usize)]) -> Vec<usize> {
    let needs = needs_of(problem, runs, left);
    let offers = &problem.offers;
    let suited = |offer: usize| {
        let suits = left
            .iter()
            .map(move |&(run, _)| problem.suits(runs[run].kind, offer));
        suits.collect::<Vec<bool>>()
    };
    let suited: Vec<Vec<bool>> = (0..offers.len()).map(suited).collect();
    // Offers are sorted by price and then by size, so an offer that beats one comes before it, or is
    // its equal. It must suit whatever the other suits.
    let beats = |a: usize, b: usize| {
        offers[b].capacity().fits_in(&offers[a].capacity())
            && suited[a].iter().zip(&suited[b]).all(|(a, b)| *a || !b)
    };
    let beaten = |&offer: &usize| (0..offer).any(|other| beats(other, offer));
    let share = |need: u64, has: u64| has as f64 / need.max(1) as f64;
    let both = |offer: usize| {
        share(needs.memory.0, offers[offer].capacity().memory.0)
            .min(share(needs.cpu.0, offers[offer].capacity().cpu.0))
    };
    let useful = |offer: &usize| suited[*offer].contains(&true);
    let mut guides: Vec<usize> = (0..offers.len())
        .filter(|offer| useful(offer) && !beaten(offer))
        .collect();
    let largest = guides
        .iter()
        .copied()
        .max_by(|&a, &b| both(a).total_cmp(&both(b)));
    guides.sort_by(|&a, &b| {
        (offers[a].price.0 as f64 * both(b)).total_cmp(&(offers[b].price.0 as f64 * both(a)))
    });
    guides.truncate(GUIDES);
    guides.extend(largest.filter(|largest| !guides.contains(largest)));
    guides
}

impl Choice {
    /// Gives each machine the cheapest size that holds its load.
    fn new(problem: &Problem<'_>, runs: &[Run], machines: Vec<Rental>) -> Self {
        let machines = machines.into_iter();
        let machines: Vec<Rental> = machines.map(|it| it.cheapest(problem, runs)).collect();
        Self {
            cost: cost(problem, &machines),
            machines,
        }
    }

    /// The same with cheaper machines replaced by one of this offer wherever that holds the load of
    /// several and costs no more than they do.
    fn with_some_merged(mut self, problem: &Problem<'_>, runs: &[Run], offer: usize) -> Self {
        let price = problem.cost(offer).price;
        let cheaper = |rental: &Rental| problem.cost(rental.offer).price < price;
        let (mut small, kept): (Vec<Rental>, Vec<Rental>) =
            self.machines.into_iter().partition(cheaper);
        small.sort_by_cached_key(|it| Reverse(problem.scale.size(it.total(problem, runs).needs)));
        self.machines = kept;
        let mut groups: Vec<(Rental, Vec<Rental>)> = Vec::new();
        let mut index = FreeIndex::default();
        let entry = |group: usize, whole: &Rental| Entry {
            rank: (0, 0, group),
            free: whole.room.free(),
        };
        for rental in small {
            let joined = |group: usize| {
                let mut whole: Rental = groups[group].0.clone();
                let taken = whole.add(problem, runs, &rental.load);
                taken.then_some((group, whole))
            };
            let needs = rental.total(problem, runs).needs;
            let mut fitting = index.fitting(needs, 0);
            let found = fitting.find_map(|entry| joined(entry.machine()));
            drop(fitting);
            let alone = || Rental::with(problem, runs, offer, &rental.load);
            let Some((group, whole)) = found.or_else(|| Some((groups.len(), alone()?))) else {
                self.machines.push(rental);
                continue;
            };
            index.remove((0, 0, group));
            index.insert(entry(group, &whole));
            match groups.get_mut(group) {
                Some((old, parts)) => {
                    *old = whole;
                    parts.push(rental);
                }
                None => groups.push((whole, vec![rental])),
            }
        }
        for (whole, parts) in groups {
            let saves = parts.len() > 1 && price <= cost(problem, &parts).price;
            self.machines
                .extend(if saves { vec![whole] } else { parts });
        }
        Self {
            cost: cost(problem, &self.machines),
            machines: self.machines,
        }
    }

    /// The same with as many of the emptiest machines as hold a few containers between them
    /// replaced by the cheapest for those; `None` if that saves nothing.
    fn with_emptiest_packed_again(mut self, problem: &Problem<'_>, runs: &[Run]) -> Option<Self> {
        self.machines
            .sort_by_cached_key(|it| problem.scale.size(it.total(problem, runs).needs));
        let mut containers: Vec<usize> = Vec::new();
        let mut emptiest = 0;
        for rental in &self.machines {
            let load = rental.load.iter();
            let load = load.flat_map(|&(run, count)| std::iter::repeat_n(run, count));
            if containers.len() + load.clone().count() > few::MOST {
                break;
            }
            containers.extend(load);
            emptiest += 1;
        }
        let kinds = containers.iter().map(|&run| runs[run].kind);
        let mut machines = Vec::new();
        for (offer, held) in few::cheapest(problem, kinds.collect())? {
            let mut rental = Rental::empty(problem, offer);
            for container in held {
                rental.put(problem, runs, containers[container], 1);
            }
            machines.push(rental);
        }
        machines.extend(self.machines.drain(emptiest..));
        let cost = cost(problem, &machines);
        (cost < self.cost).then_some(Self { cost, machines })
    }
}

fn cost(problem: &Problem<'_>, machines: &[Rental]) -> Cost {
    let costs = machines.iter().map(|rental| problem.cost(rental.offer));
    costs.fold(Cost::default(), Cost::add)
}

impl Measure {
    fn of(self, needs: Resources, capacity: Resources) -> u64 {
        let share = |need: u64, has: u64| {
            u64::try_from((u128::from(need) << 32) / u128::from(has.max(1))).unwrap_or(u64::MAX)
        };
        let (memory, cpu) = (
            share(needs.memory.0, capacity.memory.0),
            share(needs.cpu.0, capacity.cpu.0),
        );
        match self {
            Self::Sum => memory.saturating_add(cpu),
            Self::Max => memory.max(cpu),
        }
    }
}
