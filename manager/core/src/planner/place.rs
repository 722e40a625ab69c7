//! Containers onto open machines: best fit, close together or apart.

use super::{
    Pool,
    free_index::Rank,
    kind::Kind,
    pool::CLASSES,
    problem::{Placed, Problem, Run},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// Distance between copies of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Any: each goes where it leaves the least room, which keeps large rooms whole.
    Together,
    /// Each goes to a machine with the fewest copies, and among those where it leaves the least
    /// room.
    Apart,
}

/// Result of an attempt to place runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub placed: Vec<Placed>,
    /// Runs with containers that found no place, and how many.
    pub left: Vec<(usize, usize)>,
}

/// Machines, and how many of a kind each of them gets.
type Choice = Vec<(usize, usize)>;

/// Places as many as it can of the runs on the pool, in their order, until the pool is rolled back.
pub(super) fn place(problem: &Problem<'_>, pool: &mut Pool, runs: &[Run], manner: Manner) -> Part {
    let mut part = Part::default();
    for (number, run) in runs.iter().enumerate() {
        let kind = &problem.kinds[run.kind];
        let mut left = run.members.len();
        for class in 0..CLASSES {
            let choice = match manner {
                Manner::Together => tightest(pool, kind, class, left),
                Manner::Apart => fewest_copies(pool, kind, class, left),
            };
            let mut gets: BTreeMap<usize, usize> = BTreeMap::new();
            for (machine, count) in choice {
                *gets.entry(machine).or_default() += count;
                left -= count;
                part.placed.push(Placed {
                    run: number,
                    machine,
                    count,
                });
            }
            for (machine, count) in gets {
                pool.place(kind, machine, count);
            }
            if left == 0 {
                break;
            }
        }
        if left > 0 {
            part.left.push((number, left));
        }
    }
    part
}

/// Best fit for many of one kind: the machine that fits best goes on fitting best, having less room
/// than before, until it takes no more.
fn tightest(pool: &Pool, kind: &Kind<'_>, class: usize, mut left: usize) -> Choice {
    let mut choice = Vec::new();
    for (entry, times) in pool.taking(kind, class, left) {
        let count = times.min(left);
        choice.push((entry.machine(), count));
        left -= count;
        if left == 0 {
            break;
        }
    }
    choice
}

/// One each for the machines without a copy; the rest go, one by one, to those with the fewest.
fn fewest_copies(pool: &Pool, kind: &Kind<'_>, class: usize, mut left: usize) -> Choice {
    let mut choice: Choice = Vec::new();
    let mut again = BinaryHeap::new();
    let lower = |(key, tie, machine): Rank| (key.saturating_sub(kind.size), tie, machine);
    for (entry, times) in pool.taking(kind, class, left) {
        let machine = entry.machine();
        let copies = pool.machine(machine).room.copies(kind.service);
        if copies > 0 {
            again.push(Reverse((copies, entry.rank, times)));
            continue;
        }
        choice.push((machine, 1));
        left -= 1;
        if left == 0 {
            return choice;
        }
        if times > 1 {
            again.push(Reverse((1, lower(entry.rank), times - 1)));
        }
    }
    while left > 0
        && let Some(Reverse((copies, rank, times))) = again.pop()
    {
        let (_, _, machine) = rank;
        choice.push((machine, 1));
        left -= 1;
        if times > 1 {
            again.push(Reverse((copies + 1, lower(rank), times - 1)));
        }
    }
    choice
}
