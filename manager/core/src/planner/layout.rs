//! One way to serve a set of containers whole: who goes where, and what is rented for it.

use super::{
    Readiness, few, many, patterns,
    problem::{Cost, Problem},
    spread,
    yard::{Machine, Manner, Part, Placed, Run, Yard},
};

/// A machine to rent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rented {
    /// Its number in [`Problem::offers`].
    pub offer: usize,
    /// Its location's number.
    pub location: usize,
}

/// Machines to rent and what goes on them and on those that are there. The numbers of machines to
/// rent follow those of the snapshot's nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Packing {
    pub rented: Vec<Rented>,
    pub placed: Vec<Placed>,
}

/// A packing carried out.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The machines after it.
    pub yard: Yard,
    /// What is rented, in order of the machines' numbers.
    pub rented: Vec<Rented>,
    /// Position in the waiting list and machine.
    pub places: Vec<(usize, usize)>,
}

impl Layout {
    /// Nothing done yet.
    pub fn empty(problem: &Problem<'_>) -> Self {
        Self {
            yard: problem.yard.clone(),
            rented: Vec::new(),
            places: Vec::new(),
        }
    }

    /// What it rents, in all.
    pub fn cost(&self, problem: &Problem<'_>) -> Cost {
        cost(problem, &self.rented)
    }

    /// Rents one more machine and gives its number.
    pub fn rent(&mut self, problem: &Problem<'_>, rented: Rented) -> usize {
        self.rented.push(rented);
        self.yard.add(fresh(problem, rented))
    }

    fn new(yard: Yard, rented: Vec<Rented>, runs: &[Run], placed: &[Placed]) -> Self {
        let mut next: Vec<_> = runs.iter().map(|run| run.members.iter()).collect();
        let places = placed.iter().flat_map(|placed| {
            next[placed.run]
                .by_ref()
                .take(placed.count)
                .map(|&member| (member, placed.machine))
                .collect::<Vec<_>>()
        });
        let places = places.collect();
        Self {
            yard,
            rented,
            places,
        }
    }
}

/// Serves all of these containers within the limits, or says that it found no way. Machines that
/// are there come first: with copies of one service apart, if that serves everybody, and else in
/// whatever way does. Only then are machines rented, and copies are spread again over all there
/// will be.
pub(super) fn solve(problem: &Problem<'_>, runs: &[Run]) -> Option<Layout> {
    let ways: [UseOfMachinesThere; 3] = [apart, together, patterns::on_machines_there];
    let mut parts = Vec::new();
    for place in ways {
        let mut yard = problem.yard.clone();
        let Some(part) = place(problem, &mut yard, runs) else {
            continue;
        };
        if part.left.is_empty() {
            return Some(Layout::new(yard, Vec::new(), runs, &part.placed));
        }
        parts.push(part);
    }
    let packing = if runs.iter().map(|run| run.members.len()).sum::<usize>() <= few::MOST {
        few::best(problem, runs)?
    } else {
        // The first part wastes room to keep copies apart: nothing to build on when room is short.
        let mut parts: Vec<Part> = parts.into_iter().skip(1).collect();
        parts.dedup_by(|later, part| later.left == part.left);
        let packings = parts
            .into_iter()
            .filter_map(|part| many::best(problem, runs, part));
        packings.min_by_key(|packing| cost(problem, &packing.rented))?
    };
    Some(carry_out(
        problem,
        runs,
        spread::apart(problem, runs, packing),
    ))
}

/// A way to use the machines that are there; `None` if it is too slow for so many.
type UseOfMachinesThere = fn(&Problem<'_>, &mut Yard, &[Run]) -> Option<Part>;

fn apart(problem: &Problem<'_>, yard: &mut Yard, runs: &[Run]) -> Option<Part> {
    Some(yard.place(problem, runs, Manner::Apart))
}

fn together(problem: &Problem<'_>, yard: &mut Yard, runs: &[Run]) -> Option<Part> {
    Some(yard.place(problem, runs, Manner::Together))
}

/// The cost of these machines.
pub(super) fn cost(problem: &Problem<'_>, rented: &[Rented]) -> Cost {
    rented.iter().fold(Cost::default(), |sum, rented| {
        sum + problem.cost(rented.offer)
    })
}

/// Puts everything in its place, and rents nothing that nobody was put on.
fn carry_out(problem: &Problem<'_>, runs: &[Run], packing: Packing) -> Layout {
    let there = problem.yard.machines.len();
    let mut used = vec![false; packing.rented.len()];
    packing
        .placed
        .iter()
        .filter(|placed| placed.machine >= there)
        .for_each(|placed| used[placed.machine - there] = true);
    let mut layout = Layout::empty(problem);
    let renumbered: Vec<_> = packing
        .rented
        .iter()
        .zip(&used)
        .map(|(&rented, &used)| {
            if used {
                layout.rent(problem, rented)
            } else {
                usize::MAX
            }
        })
        .collect();
    let mut placed = packing.placed;
    let running = |machine: usize| {
        problem
            .yard
            .machines
            .get(machine)
            .is_some_and(|machine| machine.readiness == Readiness::Ready)
    };
    placed.sort_by_key(|placed| (placed.run, !running(placed.machine), placed.machine));
    for placed in &mut placed {
        if placed.machine >= there {
            placed.machine = renumbered[placed.machine - there];
        }
        layout.yard.put(
            &problem.kinds[runs[placed.run].kind],
            placed.machine,
            placed.count,
        );
    }
    Layout::new(layout.yard, layout.rented, runs, &placed)
}

/// The machine that this rents.
pub(super) fn fresh(problem: &Problem<'_>, rented: Rented) -> Machine {
    let room = problem.offers[rented.offer].capacity();
    Machine {
        location: rented.location,
        readiness: Readiness::Arriving,
        rented: true,
        room,
        ports: Vec::new(),
    }
}
