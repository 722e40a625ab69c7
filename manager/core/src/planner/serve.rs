//! Who is served when not everybody can be: the head of the waiting list, and of the rest whoever
//! that leaves room for.

use super::{
    layout::{Layout, Rented, solve},
    problem::{Binding, Kind, Problem},
    yard::{Manner, Run},
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
pub(super) fn serve(problem: &Problem<'_>) -> Layout {
    let possible: Vec<bool> = problem
        .kinds
        .iter()
        .map(|kind| could_be_served_alone(problem, kind))
        .collect();
    let candidates: Vec<usize> = (0..problem.kind_of.len())
        .filter(|&container| possible[problem.kind_of[container]])
        .collect();
    let mut admission = Admission {
        problem,
        admitted: vec![false; problem.kind_of.len()],
        layout: Layout::empty(problem),
        refused: Vec::new(),
        looks: (candidates.len() * LOOKS).max(LOOKS_AT_LEAST),
    };
    admission.admit(&candidates);
    admission.fill_gaps(&candidates);
    admission.layout
}

/// Whether a container would be served if it were the only one.
fn could_be_served_alone(problem: &Problem<'_>, kind: &Kind<'_>) -> bool {
    problem.yard.has_room_for(kind)
        || kind.bound_to == Binding::Free
            && (0..problem.offers.len()).any(|offer| {
                kind.needs().fits_in(&problem.offers[offer].capacity())
                    && problem.allows(problem.cost(offer))
            })
}

struct Admission<'p, 's> {
    problem: &'p Problem<'s>,
    /// By position in the waiting list.
    admitted: Vec<bool>,
    /// Serves all that are admitted.
    layout: Layout,
    /// Kinds of which one could not be let in; what was let in since only makes it harder.
    refused: Vec<usize>,
    /// How many containers may still be looked at.
    looks: usize,
}

impl Admission<'_, '_> {
    /// Lets in all of a part of the list, or as much of it as can be found, its head first.
    fn admit(&mut self, part: &[usize]) {
        let part: Vec<usize> = part
            .iter()
            .copied()
            .filter(|&container| !self.is_refused(self.problem.kind_of[container]))
            .collect();
        if part.is_empty() || self.looks == 0 {
            return;
        }
        part.iter()
            .for_each(|&container| self.admitted[container] = true);
        let runs = self.runs();
        self.looks = self
            .looks
            .saturating_sub(runs.iter().map(|run| run.members.len()).sum());
        if let Some(layout) = solve(self.problem, &runs) {
            self.layout = layout;
            return;
        }
        part.iter()
            .for_each(|&container| self.admitted[container] = false);
        if let [container] = part[..] {
            self.refused.push(self.problem.kind_of[container]);
        } else {
            let (head, tail) = part.split_at(part.len() / 2);
            self.admit(head);
            self.admit(tail);
        }
    }

    /// Serves those that are left one by one, in order, on what room and limits are left.
    fn fill_gaps(&mut self, candidates: &[usize]) {
        let mut hopeless = vec![false; self.problem.kinds.len()];
        for &container in candidates {
            let number = self.problem.kind_of[container];
            if !self.admitted[container] && !hopeless[number] {
                hopeless[number] = !self.serve_alone(container);
            }
        }
    }

    fn serve_alone(&mut self, container: usize) -> bool {
        let Self {
            problem, layout, ..
        } = self;
        let run = Run {
            kind: problem.kind_of[container],
            members: vec![container],
        };
        let placed = layout
            .yard
            .place(problem, std::slice::from_ref(&run), Manner::Together)
            .placed;
        if let Some(placed) = placed.first() {
            layout.places.push((container, placed.machine));
            return true;
        }
        let kind = &problem.kinds[run.kind];
        let spent = layout.cost(problem);
        let affordable = |offer: &usize| {
            kind.needs().fits_in(&problem.offers[*offer].capacity())
                && problem.allows(spent + problem.cost(*offer))
        };
        let Some(offer) = (0..problem.offers.len())
            .find(affordable)
            .filter(|_| kind.bound_to == Binding::Free)
        else {
            return false;
        };
        let machine = layout.rent(
            problem,
            Rented {
                offer,
                location: kind.location,
            },
        );
        layout.yard.put(kind, machine, 1);
        layout.places.push((container, machine));
        true
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
