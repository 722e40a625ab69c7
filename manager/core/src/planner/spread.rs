//! Copies of one service on different machines, as far as that costs no machine.

use super::{
    Pool,
    kind::{Ask, Binding},
    place::{Manner, place},
    pool::Order,
    problem::{Packing, Placed, Problem, Run},
};
use std::collections::BTreeMap;

/// What makes two containers interchangeable, and their places equally good: what they ask for,
/// memory, CPU, the number of their ports, and the class of the machine.
type Shape<'s> = (Ask<'s>, u64, u64, u32, Option<usize>);

/// The same machines with copies apart: all containers placed anew, if all still fit, and else with
/// places exchanged among those that ask for the same.
pub(super) fn apart(
    problem: &Problem<'_>,
    pool: &mut Pool,
    runs: &[Run],
    packing: Packing,
) -> Packing {
    let mark = pool.mark();
    let rented = packing.rented;
    for rented in &rented {
        pool.rent(problem.offers[rented.offer], rented.location);
    }
    let part = place(problem, pool, runs, Manner::Apart);
    let placed = if part.left.is_empty() {
        part.placed
    } else {
        exchanged(problem, pool, runs, packing.placed)
    };
    pool.roll_back(mark);
    Packing { rented, placed }
}

/// Deals places like cards: of each shape, first one place on every machine, then a second one, and
/// so on; each service takes its places in a row. What is exclusive stays where it is: two of a
/// service could meet.
fn exchanged(problem: &Problem<'_>, pool: &Pool, runs: &[Run], placed: Vec<Placed>) -> Vec<Placed> {
    let mut shapes: BTreeMap<Shape<'_>, Vec<Placed>> = BTreeMap::new();
    let mut dealt: BTreeMap<(usize, Order), usize> = BTreeMap::new();
    for placed in placed {
        let kind = &problem.kinds[runs[placed.run].kind];
        if kind.binding == Binding::Free && !kind.is_exclusive() {
            let needs = kind.needs();
            let class = pool.class(placed.machine);
            let (memory, cpu) = (needs.memory.0, needs.cpu.0);
            let shape = (kind.ask, memory, cpu, kind.sample.published, class);
            shapes.entry(shape).or_default().push(placed);
        } else {
            let order = pool.order(placed.machine);
            *dealt.entry((placed.run, order)).or_default() += placed.count;
        }
    }
    for mut placed in shapes.into_values() {
        let mut on_machine: BTreeMap<Order, usize> = BTreeMap::new();
        for placed in &placed {
            *on_machine.entry(pool.order(placed.machine)).or_default() += placed.count;
        }
        let each = |(machine, count)| (0..count).map(move |nth: usize| (nth, machine));
        let mut places: Vec<_> = on_machine.into_iter().flat_map(each).collect();
        places.sort_unstable();
        placed.sort_by_key(|placed| placed.run);
        let containers = placed
            .iter()
            .flat_map(|placed| std::iter::repeat_n(placed.run, placed.count));
        for (run, (_, machine)) in containers.zip(places) {
            *dealt.entry((run, machine)).or_default() += 1;
        }
    }
    let placed = dealt
        .into_iter()
        .map(|((run, (_, _, machine)), count)| Placed {
            run,
            machine,
            count,
        });
    placed.collect()
}
