//! A layout as steps: one for each container or machine, in order of the waiting list, each with
//! its reason.

use super::{
    Pool, Readiness, Step,
    explain::{Explainer, Verdict},
    kind::Binding,
    problem::Problem,
    solve::Layout,
};
use micado_api::Resources;
use std::collections::BTreeMap;

/// All that is to be done. A machine to rent stands where the first of its containers stands in the
/// list. The pool is as it would be after the plan.
pub(super) fn steps(problem: &Problem<'_>, pool: &Pool, layout: &Layout) -> Vec<Step> {
    let waiting = problem.waiting;
    let first = pool.next_number() - layout.rented.len();
    let mut machine_of = vec![None; waiting.len()];
    let mut held: Vec<Vec<usize>> = vec![Vec::new(); layout.rented.len()];
    for &(container, machine) in &layout.places {
        machine_of[container] = Some(machine);
        if machine >= first {
            held[machine - first].push(container);
        }
    }
    held.iter_mut()
        .for_each(|containers| containers.sort_unstable());
    let mut explainer = Explainer::new(problem, pool, layout);
    let mut reasons = BTreeMap::new();
    let mut steps = Vec::with_capacity(waiting.len());
    for (position, waiting) in waiting.iter().enumerate() {
        let container = waiting.container.clone();
        let kind = problem.kind_of[position];
        match machine_of[position] {
            Some(machine) if machine < first => {
                let bound = problem.kinds[kind].binding != Binding::Free;
                let reason = reasons
                    .entry((machine, bound))
                    .or_insert_with(|| why_there(pool, machine, bound));
                steps.extend(pool.instance(machine).map(|instance| Step::Place {
                    container,
                    instance: instance.clone(),
                    reason: reason.clone(),
                }));
            }
            Some(machine) => {
                let held = &held[machine - first];
                if held.first() == Some(&position) {
                    steps.push(rent(problem, layout, machine - first, held));
                }
            }
            None => steps.push(match explainer.verdict(kind) {
                Verdict::Wait(reason) => Step::Wait { container, reason },
                Verdict::Refuse(reason) => Step::Refuse { container, reason },
            }),
        }
    }
    steps
}

fn why_there(pool: &Pool, machine: usize, bound: bool) -> String {
    let machine = pool.machine(machine);
    let why = match (bound, machine.site.readiness) {
        (true, _) => "its volume is there",
        (false, Readiness::Arriving) => "best fit among the machines on their way",
        (false, Readiness::Leaving) => "best fit among the machines that were to be returned",
        (false, _) => "best fit",
    };
    format!(
        "{why}: {} has {} left then",
        machine.site.name,
        machine.room.left()
    )
}

fn rent(problem: &Problem<'_>, layout: &Layout, rented: usize, held: &[usize]) -> Step {
    let offer = problem.offers[layout.rented[rented].offer];
    let location = &problem.waiting[held[0]].location;
    let needs = held.iter().fold(Resources::default(), |sum, &container| {
        sum + problem.waiting[container].needs
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
            .map(|&container| problem.waiting[container].container.clone())
            .collect(),
        reason: format!(
            "no machine of location {location} has room for {containers} ({needs}): {} on {} holds {them}{price}",
            offer.flavour, offer.cloud
        ),
    }
}
