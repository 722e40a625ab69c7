//! A layout as steps: one for each container or machine, in order of the waiting list, each with
//! its reason.

use super::{
    Readiness, Step,
    explain::{Explainer, Verdict},
    layout::Layout,
    problem::{Binding, Problem},
};
use micado_api::Resources;
use std::collections::BTreeMap;

/// What is to be done. A machine to rent stands where the first of its containers stands in the
/// list.
pub(super) fn steps(problem: &Problem<'_>, layout: &Layout) -> Vec<Step> {
    let waiting = &problem.snapshot.waiting;
    let there = problem.snapshot.nodes.len();
    let mut machine_of = vec![None; waiting.len()];
    let mut held: Vec<Vec<usize>> = vec![Vec::new(); layout.rented.len()];
    for &(container, machine) in &layout.places {
        machine_of[container] = Some(machine);
        if machine >= there {
            held[machine - there].push(container);
        }
    }
    held.iter_mut()
        .for_each(|containers| containers.sort_unstable());
    let mut explainer = None;
    let mut reasons = BTreeMap::new();
    let mut steps = Vec::with_capacity(waiting.len());
    for (position, container) in waiting.iter().map(|waiting| &waiting.container).enumerate() {
        match machine_of[position] {
            Some(machine) if machine < there => {
                let bound = problem.kinds[problem.kind_of[position]].bound_to != Binding::Free;
                let reason = reasons
                    .entry((machine, bound))
                    .or_insert_with(|| why_there(problem, layout, machine, bound));
                steps.push(Step::Place {
                    container: container.clone(),
                    instance: problem.snapshot.nodes[machine].instance.clone(),
                    reason: reason.clone(),
                });
            }
            Some(machine) if held[machine - there][0] == position => steps.push(rent(
                problem,
                layout,
                machine - there,
                &held[machine - there],
            )),
            Some(_) => {}
            None => {
                let explainer = explainer.get_or_insert_with(|| Explainer::new(problem, layout));
                steps.push(match explainer.verdict(problem.kind_of[position]) {
                    Verdict::Wait(reason) => Step::Wait {
                        container: container.clone(),
                        reason,
                    },
                    Verdict::Refuse(reason) => Step::Refuse {
                        container: container.clone(),
                        reason,
                    },
                });
            }
        }
    }
    steps
}

fn why_there(problem: &Problem<'_>, layout: &Layout, machine: usize, bound: bool) -> String {
    let node = &problem.snapshot.nodes[machine];
    let why = match (bound, node.readiness) {
        (true, _) => "its volume is there",
        (false, Readiness::Arriving) => "best fit among the machines on their way",
        (false, _) => "best fit",
    };
    format!(
        "{why}: {} has {} left then",
        node.tag, layout.yard.machines[machine].room
    )
}

fn rent(problem: &Problem<'_>, layout: &Layout, rented: usize, held: &[usize]) -> Step {
    let (offer, location) = (
        problem.offers[layout.rented[rented].offer],
        problem.locations[layout.rented[rented].location],
    );
    let needs = held.iter().fold(Resources::default(), |sum, &container| {
        sum + problem.snapshot.waiting[container].needs
    });
    let (containers, them) = if held.len() == 1 {
        ("1 container".to_owned(), "it")
    } else {
        (format!("{} containers", held.len()), "them")
    };
    let price = if offer.price.0 == 0 {
        String::new()
    } else {
        format!(" for {} per hour", offer.price)
    };
    Step::Rent {
        cloud: offer.cloud.clone(),
        flavour: offer.flavour.clone(),
        location: location.clone(),
        containers: held
            .iter()
            .map(|&container| problem.snapshot.waiting[container].container.clone())
            .collect(),
        reason: format!(
            "no machine of location {location} has room for {containers} ({needs}): {} on {} holds {them}{price}",
            offer.flavour, offer.cloud
        ),
    }
}
