//! Why a container waits or is refused, in words: machine by machine, then why none is rented for
//! it.

use super::{
    HostPort, Limits, Offer, Pool,
    kind::{Ask, Binding, Kind},
    problem::{Cost, Problem, allowed},
    room::{Lack, Room},
    rule,
    solve::Layout,
};
use micado_api::{Location, PricePerHour, Resources, ServiceName};
use std::collections::{BTreeSet, HashMap};

/// How many machines or flavours a reason names before it counts the rest.
const NAMED: usize = 5;

/// Verdict on a container that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be served later.
    Wait(String),
    /// It never will be.
    Refuse(String),
}

/// All that the verdict on a container depends on. The service matters only where no other
/// container of it may be near.
type Question<'s> = (
    Ask<'s>,
    Resources,
    (&'s BTreeSet<HostPort>, u32),
    &'s BTreeSet<String>,
    Option<&'s ServiceName>,
);

/// Knows why machines refuse, and remembers each verdict: one text serves all containers that ask
/// for the same, and none names more than a few machines.
pub(super) struct Explainer<'p, 's> {
    problem: &'p Problem<'s>,
    /// As it is after the plan.
    pool: &'p Pool,
    layout: &'p Layout,
    verdicts: HashMap<Question<'s>, Verdict>,
}

impl<'p, 's> Explainer<'p, 's> {
    pub fn new(problem: &'p Problem<'s>, pool: &'p Pool, layout: &'p Layout) -> Self {
        Self {
            problem,
            pool,
            layout,
            verdicts: HashMap::new(),
        }
    }

    /// The verdict on a container of this kind that the plan does not serve.
    pub fn verdict(&mut self, number: usize) -> Verdict {
        let kind = &self.problem.kinds[number];
        let sample = kind.sample;
        let question = (
            kind.ask,
            kind.needs(),
            (&sample.ports, sample.published),
            &sample.volumes,
            kind.alone.then_some(&sample.service),
        );
        if let Some(verdict) = self.verdicts.get(&question) {
            return verdict.clone();
        }
        let verdict = self.judge(kind);
        self.verdicts.insert(question, verdict.clone());
        verdict
    }

    fn judge(&self, kind: &Kind<'s>) -> Verdict {
        match (kind.binding, kind.ask.bound_to) {
            (Binding::Lost, Some(instance)) => {
                return Verdict::Wait(format!(
                    "its volume is on instance {instance}, which is gone"
                ));
            }
            (Binding::To(machine), _) => {
                let (lack, refusals) = self.refusals(kind, std::iter::once(machine), 1);
                let needs = lack.of(kind);
                return Verdict::Wait(format!("needs {needs} where its volume is: {refusals}"));
            }
            _ => {}
        }
        let offers = self.problem.all_offers;
        if !offers.iter().any(|offer| could_hold(kind, offer))
            && !self.could_be_freed(kind)
            && let Some((needs, reason)) = no_offer(offers, kind)
        {
            return Verdict::Refuse(format!("needs {needs}: {reason}"));
        }
        let machines = self.pool.worst_first(kind.location);
        let (lack, refusals) = self.refusals(kind, machines, self.pool.len());
        let separator = if refusals.is_empty() { "" } else { "; " };
        Verdict::Wait(format!(
            "needs {}: {refusals}{separator}{}",
            lack.of(kind),
            self.why_none_is_rented(kind)
        ))
    }

    /// True if a machine that is there could hold one of this kind if it were empty. Looks at all
    /// machines: ask only where no machine can be rented.
    fn could_be_freed(&self, kind: &Kind<'_>) -> bool {
        self.pool.nodes().any(|node| {
            let room = Room::empty(node.capacity(), node.reserve);
            room.takes(kind, 1) > 0 && self.pool.could_take(&kind.ask, &node.instance)
        })
    }

    /// The words of these machines, and all that the named ones lack. `count` is how many there
    /// are.
    fn refusals(
        &self,
        kind: &Kind<'_>,
        machines: impl Iterator<Item = usize>,
        count: usize,
    ) -> (Lack, String) {
        let mut lack = Lack::default();
        let mut refusals = Vec::new();
        for number in machines {
            let machine = self.pool.machine(number);
            let refusal = match rule::broken(&kind.ask, &machine.site) {
                Some(rule) => rule.refusal(&machine.site),
                None if machine.room.takes(kind, 1) > 0 => continue,
                None => {
                    let lacking = machine.room.lack(kind);
                    let refusal = lacking.refusal(machine.room.left_for(kind));
                    lack = lack.and(lacking);
                    refusal
                }
            };
            refusals.push(format!("{} {refusal}", machine.site.name));
            if refusals.len() == NAMED {
                break;
            }
        }
        let more = if refusals.len() == NAMED {
            count.saturating_sub(NAMED)
        } else {
            0
        };
        (lack, named(&refusals, more))
    }

    fn why_none_is_rented(&self, kind: &Kind<'s>) -> String {
        let offers = self.problem.all_offers;
        if offers.is_empty() {
            return "no flavour can be rented".to_owned();
        }
        if let Some((_, reason)) = no_offer(offers, kind) {
            return reason;
        }
        let budgets = self.budgets(kind);
        if let Some(full) = budgets.iter().find_map(Budget::full) {
            return format!("would need a machine: {full}");
        }
        let mut obstacles: Vec<String> = Vec::new();
        for offer in offers.iter().filter(|offer| could_hold(kind, offer)) {
            let Offer {
                flavour,
                cloud,
                price,
                unavailable,
                ..
            } = offer;
            let costs = || format!("{flavour} on {cloud} costs {price} per hour");
            let too_dear = || budgets.iter().find_map(|budget| budget.too_dear(*price));
            obstacles.extend(match unavailable {
                Some(reason) => Some(format!("{flavour} on {cloud} cannot be had ({reason})")),
                None => too_dear().map(|reason| format!("{}, and {reason}", costs())),
            });
        }
        let more = obstacles.len().saturating_sub(NAMED);
        obstacles.truncate(NAMED);
        format!("would need a machine: {}", named(&obstacles, more))
    }

    /// All limits for machines of this kind, those of its location first.
    fn budgets(&self, kind: &Kind<'s>) -> Vec<Budget<'s>> {
        let rented = &self.layout.rented;
        let here = self.problem.limits_at(kind.location).map(|limits| Budget {
            limits,
            spent: self.problem.cost_at(kind.location, rented),
            location: Some(kind.ask.location),
        });
        let in_all = Budget {
            limits: self.problem.limits,
            spent: self.layout.cost(self.problem),
            location: None,
        };
        here.into_iter().chain([in_all]).collect()
    }
}

/// Limits, and how much of them the plan uses up.
struct Budget<'s> {
    limits: &'s Limits,
    spent: Cost,
    /// The one location that they are for.
    location: Option<&'s Location>,
}

impl Budget<'_> {
    /// Why no further machine may be rented, whatever it costs.
    fn full(&self) -> Option<String> {
        let instances = self.limits.instances.saturating_add(self.spent.machines);
        let max = self.limits.max_instances.filter(|&max| instances >= max)?;
        let of = self.of();
        Some(format!("{instances} of {max} instances{of} are in use"))
    }

    /// Why none of this price may be rented.
    fn too_dear(&self, price: PricePerHour) -> Option<String> {
        let in_use = self.limits.price.0.saturating_add(self.spent.price);
        let exceeds = |max: &PricePerHour| in_use.saturating_add(price.0) > max.0;
        let max = self.limits.max_price.filter(exceeds)?;
        let (in_use, of) = (PricePerHour(in_use), self.of());
        Some(format!("{in_use} of {max}{of} are in use"))
    }

    fn of(&self) -> String {
        let name = |location| format!(" for location {location}");
        self.location.map(name).unwrap_or_default()
    }
}

/// True if a machine of this offer, empty, takes one of this kind.
fn could_hold(kind: &Kind<'_>, offer: &Offer) -> bool {
    Room::of_offer(offer).takes(kind, 1) > 0 && allowed(kind, offer)
}

/// Demand of this kind that no offer meets, and the reason; `None` if one does, or there are no
/// offers.
fn no_offer(offers: &[Offer], kind: &Kind<'_>) -> Option<(String, String)> {
    if offers.iter().any(|offer| could_hold(kind, offer)) {
        return None;
    }
    let suited: Vec<&Offer> = offers.iter().filter(|offer| allowed(kind, offer)).collect();
    let Some(largest) = largest(&suited, kind) else {
        let site = rule::Site::of_offer(offers.first()?, kind.ask.location);
        let refusal = rule::broken(&kind.ask, &site)?.refusal(&site);
        let platforms = kind.ask.platforms.iter().map(ToString::to_string);
        let platforms = platforms.collect::<Vec<_>>().join(" or ");
        return Some((platforms, format!("flavour {} {refusal}", site.name)));
    };
    let room = Room::of_offer(largest);
    let lack = room.lack(kind);
    let Offer { flavour, cloud, .. } = largest;
    let has = lack.amounts(room.left_for(kind));
    let reason = format!("the largest flavour is {flavour} on {cloud} with {has} for containers");
    Some((lack.of(kind), reason))
}

/// The offer with the most of what the container asks for in vain.
fn largest<'s>(offers: &[&'s Offer], kind: &Kind<'_>) -> Option<&'s Offer> {
    let needs = kind.needs();
    let left = |offer: &Offer| Room::of_offer(offer).left_for(kind);
    let short_of_memory = offers.iter().all(|it| left(it).memory < needs.memory);
    let short_of_cpu = offers.iter().all(|it| left(it).cpu < needs.cpu);
    let rank = |offer: &&Offer| {
        let Resources { memory, cpu } = offer.capacity();
        if short_of_cpu && !short_of_memory {
            (cpu.0, memory.0)
        } else {
            (memory.0, cpu.0)
        }
    };
    offers.iter().copied().rev().max_by_key(rank)
}

/// A list, and how many are not in it.
fn named(parts: &[String], more: usize) -> String {
    let list = parts.join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}
