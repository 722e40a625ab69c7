//! Why a container waits or is refused, in words: machine by machine, then why none is rented for
//! it.

use super::{
    HostPort, Offer, Readiness,
    layout::Layout,
    problem::{Binding, Kind, Problem},
    rule::{self, Lack},
};
use micado_api::{Protocol, Resources};
use std::collections::{BTreeSet, HashMap};

/// How many machines or flavours a reason names before it counts the rest.
const NAMED: usize = 5;

/// What is said of a container that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be served later.
    Wait(String),
    /// It never will be.
    Refuse(String),
}

/// All that the verdict on a container depends on.
type Question<'s> = (
    usize,
    Resources,
    &'s BTreeSet<HostPort>,
    Option<&'s str>,
    Option<usize>,
);

/// Knows who refuses, and remembers what it said: one text serves all containers that ask for the
/// same, and none names more than a few machines.
pub(super) struct Explainer<'p, 's> {
    problem: &'p Problem<'s>,
    layout: &'p Layout,
    /// By location, our machines: open ones before draining ones before those that are down, each
    /// with the least room first.
    there: Vec<Vec<usize>>,
    /// By location, the sizes of our machines.
    sizes: Vec<BTreeSet<(u64, u64)>>,
    said: HashMap<Question<'s>, Verdict>,
}

impl<'p, 's> Explainer<'p, 's> {
    /// For the state of things after the plan.
    pub fn new(problem: &'p Problem<'s>, layout: &'p Layout) -> Self {
        let mut there = vec![Vec::new(); problem.locations.len()];
        let mut sizes = vec![BTreeSet::new(); problem.locations.len()];
        for (number, node) in problem.snapshot.nodes.iter().enumerate() {
            let location = problem.yard.machines[number].location;
            there[location].push(number);
            sizes[location].insert((node.capacity().memory.0, node.capacity().cpu.0));
        }
        let state = |readiness| match readiness {
            Readiness::Ready | Readiness::Arriving | Readiness::Silent => 0,
            Readiness::Draining => 1,
            Readiness::Down => 2,
        };
        for machines in &mut there {
            machines.sort_by_cached_key(|&number| {
                let machine = &layout.yard.machines[number];
                (
                    state(machine.readiness),
                    problem.scale.size(machine.room),
                    number,
                )
            });
        }
        Self {
            problem,
            layout,
            there,
            sizes,
            said: HashMap::new(),
        }
    }

    /// What is said of a container of this kind that the plan does not serve.
    pub fn verdict(&mut self, number: usize) -> Verdict {
        let kind = &self.problem.kinds[number];
        let bound_to = kind.sample.bound_to.as_ref().map(AsRef::as_ref);
        let question = (
            kind.location,
            kind.needs(),
            &kind.sample.ports,
            bound_to,
            kind.avoid,
        );
        if let Some(verdict) = self.said.get(&question) {
            return verdict.clone();
        }
        let verdict = self.judge(kind);
        self.said.insert(question, verdict.clone());
        verdict
    }

    fn judge(&self, kind: &Kind<'_>) -> Verdict {
        if let Some(instance) = kind
            .sample
            .bound_to
            .as_ref()
            .filter(|_| kind.bound_to == Binding::Lost)
        {
            return Verdict::Wait(format!(
                "its volume is on instance {instance}, which is gone"
            ));
        }
        if let Binding::To(machine) = kind.bound_to {
            let (lack, refusals) = self.refusals(kind, &mut std::iter::once(machine), 1);
            return Verdict::Wait(format!(
                "needs {} where its volume is: {refusals}",
                lack.of(kind)
            ));
        }
        let offers = &self.problem.snapshot.offers;
        let could_be_rented = offers
            .iter()
            .any(|offer| kind.needs().fits_in(&offer.capacity()));
        let could_be_freed = self.sizes[kind.location]
            .iter()
            .any(|&(memory, cpu)| kind.needs().memory.0 <= memory && kind.needs().cpu.0 <= cpu);
        if let Some(largest) = largest(offers, kind).filter(|_| !could_be_rented && !could_be_freed)
        {
            let lack = Lack::between(kind.needs(), largest.capacity());
            return Verdict::Refuse(format!(
                "needs {}: {}",
                lack.of(kind),
                too_small(largest, &lack)
            ));
        }
        let (lack, refusals) = self.refusals(
            kind,
            &mut self.all_machines(kind.location),
            self.problem.snapshot.nodes.len(),
        );
        let separator = if refusals.is_empty() { "" } else { "; " };
        Verdict::Wait(format!(
            "needs {}: {refusals}{separator}{}",
            lack.of(kind),
            self.why_none_is_rented(kind)
        ))
    }

    /// All machines: those of the location, worst first, then those elsewhere.
    fn all_machines(&self, location: usize) -> impl Iterator<Item = usize> {
        let elsewhere = (0..self.problem.snapshot.nodes.len())
            .filter(move |number| self.problem.yard.machines[*number].location != location);
        self.there[location].iter().copied().chain(elsewhere)
    }

    /// What these machines say, and all that the named ones lack. `count` is how many there are.
    fn refusals(
        &self,
        kind: &Kind<'_>,
        machines: &mut dyn Iterator<Item = usize>,
        count: usize,
    ) -> (Lack, String) {
        let mut lack = Lack::default();
        let mut said = Vec::new();
        for number in machines {
            let machine = &self.layout.yard.machines[number];
            let Some(rule) = rule::broken(kind, number, machine) else {
                continue;
            };
            lack = lack.and(rule.lack(kind, machine));
            said.push(format!(
                "{} {}",
                self.problem.snapshot.nodes[number].tag,
                rule.refusal(self.problem, kind, machine)
            ));
            if said.len() == NAMED {
                break;
            }
        }
        let more = count.saturating_sub(said.len());
        (
            lack,
            named(&said, if said.len() == NAMED { more } else { 0 }),
        )
    }

    fn why_none_is_rented(&self, kind: &Kind<'_>) -> String {
        let offers = &self.problem.snapshot.offers;
        let Some(largest) = largest(offers, kind) else {
            return "no flavour can be rented".to_owned();
        };
        let large_enough: Vec<&Offer> = offers
            .iter()
            .filter(|offer| kind.needs().fits_in(&offer.capacity()))
            .collect();
        if large_enough.is_empty() {
            return too_small(largest, &Lack::between(kind.needs(), largest.capacity()));
        }
        let limits = &self.problem.snapshot.limits;
        let spent = self.layout.cost(self.problem);
        let instances = limits.instances.saturating_add(spent.machines);
        if let Some(max) = limits.max_instances.filter(|&max| instances >= max) {
            return format!("would need a machine: {instances} of {max} instances are in use");
        }
        let mut obstacles: Vec<String> = Vec::new();
        for offer in &large_enough {
            let Offer {
                flavour,
                cloud,
                price,
                unavailable,
                ..
            } = offer;
            obstacles.push(match (unavailable, limits.max_price) {
                (Some(reason), _) => format!("{flavour} on {cloud} cannot be had ({reason})"),
                (None, Some(max)) => {
                    let in_use = micado_api::PricePerHour(limits.price.0.saturating_add(spent.price));
                    format!("{flavour} on {cloud} costs {price} per hour, and {in_use} of {max} are in use")
                }
                (None, None) => continue,
            });
        }
        let more = obstacles.len().saturating_sub(NAMED);
        obstacles.truncate(NAMED);
        format!("would need a machine: {}", named(&obstacles, more))
    }
}

/// The offer with the most of what the container asks for in vain.
fn largest<'s>(offers: &'s [Offer], kind: &Kind<'_>) -> Option<&'s Offer> {
    let needs = kind.needs();
    let short_of_memory = offers
        .iter()
        .all(|offer| offer.capacity().memory < needs.memory);
    let short_of_cpu = offers.iter().all(|offer| offer.capacity().cpu < needs.cpu);
    let rank = |offer: &&Offer| {
        let Resources { memory, cpu } = offer.capacity();
        if short_of_cpu && !short_of_memory {
            (cpu.0, memory.0)
        } else {
            (memory.0, cpu.0)
        }
    };
    offers.iter().rev().max_by_key(rank)
}

fn too_small(largest: &Offer, lack: &Lack) -> String {
    format!(
        "the largest flavour is {} on {} with {} for containers",
        largest.flavour,
        largest.cloud,
        lack.amounts(largest.capacity())
    )
}

/// A list, and how many are not in it.
fn named(said: &[String], more: usize) -> String {
    let list = said.join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

/// A machine's port as people write it: TCP goes without saying.
pub(super) fn port((port, protocol): HostPort) -> String {
    match protocol {
        Protocol::Tcp => format!("port {port}"),
        Protocol::Udp => format!("port {port}/udp"),
    }
}
