//! Who is served when not everybody can be: the head of the waiting list, and of the rest whoever
//! that leaves room for.

use super::{
    Pool,
    place::{Manner, place},
    problem::{Packing, Problem, Rented, Run},
    solve::{Layout, solve},
};

/// The search stops after looking at every container so many times on average; what it has not got
/// to is then served one by one.
const LOOKS: usize = 8;

/// And never before this many looks, which is plenty for hundreds of containers.
const LOOKS_AT_LEAST: usize = 20_000;

/// Serves what can be served.
///
/// If all can be, they are packed together, the largest first, and the order of the list does not
/// matter. If room or limits are short, the list is served from its head: a container is in if it
/// can be served along with everybody before it who is in, whatever is behind it. So room or money
/// that the head needs never goes to a smaller one behind it, and one that cannot be served is
/// passed over and blocks nobody. To get there with few packings, halves of the list are let in at
/// once where they can be.
///
/// The pool is then as it would be after the plan.
pub(super) fn serve(problem: &Problem<'_>, pool: &mut Pool) -> Layout {
    let possible: Vec<bool> = (0..problem.kinds.len())
        .map(|kind| could_be_served_alone(problem, pool, kind))
        .collect();
    let candidates: Vec<usize> = (0..problem.kind_of.len())
        .filter(|&container| possible[problem.kind_of[container]])
        .collect();
    let mut admission = Admission {
        problem,
        admitted: vec![false; problem.kind_of.len()],
        served: (Vec::new(), Packing::default()),
        applied: true,
        base: pool.mark(),
        refused: Vec::new(),
        looks: (candidates.len() * LOOKS).max(LOOKS_AT_LEAST),
    };
    admission.admit(pool, &candidates);
    admission.apply(pool);
    let (runs, packing) = &admission.served;
    let mut layout = Layout::new(runs, packing);
    admission.fill_gaps(pool, &mut layout, &candidates);
    layout
}

/// True if a container would be served if it were the only one.
fn could_be_served_alone(problem: &Problem<'_>, pool: &Pool, kind: usize) -> bool {
    let location = problem.kinds[kind].location;
    let affordable = |offer: usize| {
        let cost = problem.cost(offer);
        problem.allows(cost) && problem.allows_at(location, cost)
    };
    let mut offers = 0..problem.offers.len();
    pool.has_room_for(&problem.kinds[kind])
        || offers.any(|offer| problem.suits(kind, offer) && affordable(offer))
}

struct Admission<'p, 's> {
    problem: &'p Problem<'s>,
    /// By position in the waiting list.
    admitted: Vec<bool>,
    /// All that are admitted, and how they are served.
    served: (Vec<Run>, Packing),
    /// True if the pool is as it would be after that.
    applied: bool,
    /// The pool's mark before the plan.
    base: usize,
    /// Kinds of which one could not be let in; what was let in since only makes it harder.
    refused: Vec<usize>,
    /// How many containers may still be looked at.
    looks: usize,
}

impl Admission<'_, '_> {
    /// Lets in all of a part of the list, or as much of it as can be found, its head first.
    fn admit(&mut self, pool: &mut Pool, part: &[usize]) {
        let part = part.iter().copied();
        let part: Vec<usize> = part
            .filter(|&container| !self.is_refused(self.problem.kind_of[container]))
            .collect();
        if part.is_empty() || self.looks == 0 {
            return;
        }
        part.iter().for_each(|&it| self.admitted[it] = true);
        let runs = self.runs();
        let looks = runs.iter().map(|run| run.members.len()).sum();
        self.looks = self.looks.saturating_sub(looks);
        pool.roll_back(self.base);
        let solved = solve(self.problem, pool, &runs);
        self.applied = solved.is_some();
        if let Some(packing) = solved {
            self.served = (runs, packing);
            return;
        }
        part.iter().for_each(|&it| self.admitted[it] = false);
        if let [container] = part[..] {
            self.refused.push(self.problem.kind_of[container]);
        } else {
            let (head, tail) = part.split_at(part.len() / 2);
            self.admit(pool, head);
            self.admit(pool, tail);
        }
    }

    /// Brings the pool to the state after serving all that are admitted.
    fn apply(&mut self, pool: &mut Pool) {
        if !self.applied {
            let (runs, packing) = &self.served;
            self.problem.carry_out(pool, runs, packing);
            self.applied = true;
        }
    }

    /// Serves those that are left one by one, in order, on what room and limits are left.
    fn fill_gaps(&mut self, pool: &mut Pool, layout: &mut Layout, candidates: &[usize]) {
        let mut hopeless = vec![false; self.problem.kinds.len()];
        for &container in candidates {
            let kind = self.problem.kind_of[container];
            if !self.admitted[container] && !hopeless[kind] {
                let machine = self.serve_alone(pool, layout, container);
                hopeless[kind] = machine.is_none();
                layout
                    .places
                    .extend(machine.map(|machine| (container, machine)));
            }
        }
    }

    /// The machine that a container was placed on.
    fn serve_alone(&self, pool: &mut Pool, layout: &mut Layout, container: usize) -> Option<usize> {
        let problem = self.problem;
        let kind = problem.kind_of[container];
        let run = Run {
            kind,
            members: vec![container],
        };
        let part = place(problem, pool, std::slice::from_ref(&run), Manner::Together);
        if let Some(placed) = part.placed.first() {
            return Some(placed.machine);
        }
        let location = problem.kinds[kind].location;
        let spent = layout.cost(problem);
        let spent_here = problem.cost_at(location, &layout.rented);
        let affordable = |&offer: &usize| {
            let cost = problem.cost(offer);
            problem.suits(kind, offer)
                && problem.allows(spent + cost)
                && problem.allows_at(location, spent_here + cost)
        };
        let offer = (0..problem.offers.len()).find(affordable)?;
        layout.rented.push(Rented { offer, location });
        let machine = pool.rent(problem.offers[offer], location);
        pool.place(&problem.kinds[kind], machine, 1);
        Some(machine)
    }

    /// All that are admitted, in packing order.
    fn runs(&self) -> Vec<Run> {
        let members = |kind: usize| {
            self.problem.kinds[kind]
                .members
                .iter()
                .copied()
                .filter(|&container| self.admitted[container])
                .collect()
        };
        let runs = (0..self.problem.kinds.len()).map(|kind| Run {
            kind,
            members: members(kind),
        });
        runs.filter(|run: &Run| !run.members.is_empty()).collect()
    }

    fn is_refused(&self, kind: usize) -> bool {
        self.refused
            .iter()
            .any(|&refused| self.problem.kinds[refused].is_easier_than(&self.problem.kinds[kind]))
    }
}
