//! Copies of one service on different machines, as far as that costs no machine.

use super::{
    HostPort,
    layout::{Packing, fresh},
    problem::{Binding, Problem},
    yard::{Manner, Placed, Run},
};
use std::collections::{BTreeMap, BTreeSet};

/// What makes two containers interchangeable, and their places equally good: location, memory, CPU,
/// ports, and whether the machine runs already.
type Shape<'s> = (usize, u64, u64, &'s BTreeSet<HostPort>, Option<usize>);

/// The same machines with copies apart: everybody placed anew, if everybody still fits, and else
/// with places exchanged among those that ask for the same.
pub(super) fn apart(problem: &Problem<'_>, runs: &[Run], packing: Packing) -> Packing {
    let mut yard = problem.yard.clone();
    for &rented in &packing.rented {
        yard.add(fresh(problem, rented));
    }
    let part = yard.place(problem, runs, Manner::Apart);
    if part.left.is_empty() {
        return Packing {
            rented: packing.rented,
            placed: part.placed,
        };
    }
    let class = |machine: usize| yard.machines[machine].class();
    Packing {
        rented: packing.rented,
        placed: exchanged(problem, runs, packing.placed, class),
    }
}

/// Deals places like cards: of each shape, first one place on every machine, then a second one, and
/// so on; each service takes its places in a row.
fn exchanged(
    problem: &Problem<'_>,
    runs: &[Run],
    placed: Vec<Placed>,
    class: impl Fn(usize) -> Option<usize>,
) -> Vec<Placed> {
    let mut shapes: BTreeMap<Shape<'_>, Vec<Placed>> = BTreeMap::new();
    let mut dealt: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for placed in placed {
        let kind = &problem.kinds[runs[placed.run].kind];
        if kind.bound_to == Binding::Free && kind.avoid.is_none() {
            let shape = (
                kind.location,
                kind.needs().memory.0,
                kind.needs().cpu.0,
                &kind.sample.ports,
                class(placed.machine),
            );
            shapes.entry(shape).or_default().push(placed);
        } else {
            *dealt.entry((placed.run, placed.machine)).or_default() += placed.count;
        }
    }
    for mut placed in shapes.into_values() {
        let mut on_machine: BTreeMap<usize, usize> = BTreeMap::new();
        placed
            .iter()
            .for_each(|placed| *on_machine.entry(placed.machine).or_default() += placed.count);
        let mut places: Vec<_> = on_machine
            .into_iter()
            .flat_map(|(machine, count)| (0..count).map(move |nth| (nth, machine)))
            .collect();
        places.sort_unstable();
        placed.sort_by_key(|placed| placed.run);
        let containers = placed
            .iter()
            .flat_map(|placed| std::iter::repeat_n(placed.run, placed.count));
        containers
            .zip(places)
            .for_each(|(run, (_, machine))| *dealt.entry((run, machine)).or_default() += 1);
    }
    dealt
        .into_iter()
        .map(|((run, machine), count)| Placed {
            run,
            machine,
            count,
        })
        .collect()
}
