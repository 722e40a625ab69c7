//! One way to serve a set of containers whole: who goes where, and what is rented for it.

use super::{
    Pool, few, many,
    place::{Manner, place},
    problem::{Cost, Packing, Placed, Problem, Rented, Run},
    spread,
};

/// A packing, with the places of single containers.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// What is rented, in order of the machines' numbers.
    pub rented: Vec<Rented>,
    /// Position in the waiting list, and machine.
    pub places: Vec<(usize, usize)>,
}

impl Layout {
    /// The places of a packing's containers: members of a run in order of the list.
    pub fn new(runs: &[Run], packing: &Packing) -> Self {
        let mut next: Vec<_> = runs.iter().map(|run| run.members.iter()).collect();
        let mut places = Vec::new();
        for placed in &packing.placed {
            let members = next[placed.run].by_ref().take(placed.count);
            places.extend(members.map(|&member| (member, placed.machine)));
        }
        Self {
            rented: packing.rented.clone(),
            places,
        }
    }

    /// Cost of all that it rents.
    pub fn cost(&self, problem: &Problem<'_>) -> Cost {
        problem.cost_of(&self.rented)
    }
}

/// Serves all of these containers within the limits; `None` if it found no way. Machines that are
/// there come first: with copies of one service apart, if that serves all, and else close together.
/// Only then are machines rented, and copies are spread again over all there will be. If it found a
/// way, the pool is as it would be after that.
pub(super) fn solve(problem: &Problem<'_>, pool: &mut Pool, runs: &[Run]) -> Option<Packing> {
    let mark = pool.mark();
    let mut part = place(problem, pool, runs, Manner::Apart);
    if !part.left.is_empty() {
        pool.roll_back(mark);
        part = place(problem, pool, runs, Manner::Together);
    }
    if part.left.is_empty() {
        return Some(Packing {
            rented: Vec::new(),
            placed: part.placed,
        });
    }
    pool.roll_back(mark);
    let packing = if runs.iter().map(|run| run.members.len()).sum::<usize>() <= few::MOST {
        few::best(problem, pool, runs)?
    } else {
        many::best(problem, pool, runs, part)?
    };
    let packing = spread::apart(problem, pool, runs, packing);
    let packing = tidied(pool, packing);
    problem.carry_out(pool, runs, &packing);
    Some(packing)
}

/// Without machines that nobody was placed on, and with the head of the list on machines that run.
fn tidied(pool: &Pool, packing: Packing) -> Packing {
    let first = pool.next_number();
    let mut used = vec![false; packing.rented.len()];
    let rented = packing.placed.iter().filter(|it| it.machine >= first);
    rented.for_each(|placed| used[placed.machine - first] = true);
    let mut numbers = Vec::new();
    let mut rented = Vec::new();
    for (machine, used) in packing.rented.into_iter().zip(used) {
        numbers.push(first + rented.len());
        if used {
            rented.push(machine);
        }
    }
    let renumbered = |placed: Placed| match placed.machine.checked_sub(first) {
        Some(at) => Placed {
            machine: numbers[at],
            ..placed
        },
        None => placed,
    };
    let order = |machine: usize| match machine < first {
        true => (pool.class(machine) != Some(0), Some(pool.order(machine)), 0),
        false => (true, None, machine),
    };
    let mut placed: Vec<Placed> = packing.placed.into_iter().map(renumbered).collect();
    placed.sort_by_key(|it| (it.run, order(it.machine)));
    Packing { rented, placed }
}
