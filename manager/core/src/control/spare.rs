//! Search for machines of a location that nothing needs: records in, the planner's question out.

use super::{Core, kept::Kept, replacing::Tags};
use crate::planner::{self, Consolidation, Spare, Waiting};
use micado_api::{
    ContainerName, InstanceId, InstanceState, Location, PricePerHour, ServiceName, Tag,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Machines that one check looks at, those with the fewest containers first.
const LOOKED_AT: usize = 300;

/// Machines of one location that may be returned, and the containers that would move.
#[derive(Default)]
pub(super) struct Question {
    asks: Vec<Waiting>,
    of_service: BTreeMap<ServiceName, usize>,
    machines: Vec<Spare>,
}

/// Price of some machines, and the disruption if all of them went: one for each, and one for each
/// container.
pub(super) struct Shares {
    price: f64,
    disruption: f64,
}

impl Shares {
    /// Returns true if saving this price is worth the return of so many machines and the move of so
    /// many containers. The return of an empty machine moves none.
    pub(super) fn are_worth(
        &self,
        saved: PricePerHour,
        machines: usize,
        containers: usize,
    ) -> bool {
        let disrupted = (machines + containers) as f64 / self.disruption;
        containers == 0 || planner::is_worth(weight(saved) / self.price, disrupted)
    }
}

impl Core {
    /// Shares of these machines.
    pub(super) fn shares(&self, ids: &[InstanceId]) -> Shares {
        let instances = ids.iter().filter_map(|id| self.ledger.instance(id));
        let none = Shares {
            price: 0.0,
            disruption: 0.0,
        };
        instances.fold(none, |sum, instance| Shares {
            price: sum.price + weight(instance.price),
            disruption: sum.disruption + 1.0 + self.containers_at(&instance.id) as f64,
        })
    }

    /// Number of containers that a machine holds for the planner.
    pub(super) fn containers_at(&self, id: &InstanceId) -> usize {
        let node = self.placing.pool.node(id);
        node.map_or(0, |node| node.containers as usize)
    }

    /// Machines of a location that could be returned together, the first to go, first.
    pub(super) fn spare_machines(
        &mut self,
        location: &Location,
        mut ids: Vec<InstanceId>,
    ) -> Vec<InstanceId> {
        let replaced = self.replaced(location);
        let shares = self.shares(&ids);
        ids.sort_by_cached_key(|id| {
            let instance = self.ledger.instance(id);
            let price = instance.map(|instance| instance.price);
            let created = instance.map(|instance| instance.created_at);
            let order = (self.containers_at(id), Reverse(price), Reverse(created));
            (!replaced.contains_key(id), order)
        });
        let mut question = self.leaving_machines(location);
        for id in ids.into_iter().take(LOOKED_AT) {
            let price = self.ledger.instance(&id).map(|instance| instance.price);
            let worth = shares.are_worth(price.unwrap_or_default(), 1, self.containers_at(&id));
            let olds = replaced.iter().filter(|(_, new)| **new == id);
            let olds: Vec<Tag> = olds.map(|(old, _)| self.tag_of(old)).collect();
            let kept = match self.stays(&id) {
                Some(kept) => Some(kept),
                None if !olds.is_empty() => Some(Kept::Replaces {
                    machines: Tags(olds),
                }),
                None if replaced.contains_key(&id) => None,
                // Nothing else takes the new machine's room.
                None if !replaced.is_empty() && self.containers_at(&id) > 0 => {
                    Some(Kept::Replacing)
                }
                None if !worth => Some(Kept::Needed),
                None => None,
            };
            match kept {
                Some(kept) => drop(self.returns.kept.insert(id, kept)),
                None => self.ask_about(&mut question, id),
            }
        }
        let leaving: Vec<InstanceId> = replaced.keys().cloned().collect();
        let chosen = self.spare_of(&mut question, location, &leaving);
        let bounds = self.config.setup.bounds(location);
        let asked = bounds.and_then(|bounds| bounds.headroom.as_ref());
        let asked = asked.map(ToString::to_string);
        let mut spare = Vec::new();
        for (at, machine) in question.machines.into_iter().enumerate() {
            if self.can_stay(&machine.instance) {
                continue;
            }
            if chosen.contains(&at) {
                spare.push(machine.instance);
            } else {
                let headroom = asked.clone().filter(|_| machine.holds.is_empty());
                let headroom = headroom.map(|asked| Kept::Headroom { asked });
                let by = replaced.get(&machine.instance).map(|new| self.tag_of(new));
                let kept = by.map(|by| Kept::Replaced { by }).or(headroom);
                let kept = kept.unwrap_or(Kept::Needed);
                self.returns.kept.insert(machine.instance, kept);
            }
        }
        spare
    }

    /// Positions of the machines of a question that could be returned together, if `leaving` take
    /// nothing.
    pub(super) fn spare_of(
        &mut self,
        question: &mut Question,
        location: &Location,
        leaving: &[InstanceId],
    ) -> BTreeSet<usize> {
        let asks = question.asks.iter();
        let mut spread: Vec<u32> = asks.map(|ask| self.machines_of(&ask.service)).collect();
        let bounds = self.config.setup.bounds(location);
        let placeholder = bounds.and_then(|bounds| self.placeholder(bounds).ok());
        let kept_free = placeholder.map(|(sample, count)| {
            question.asks.push(sample);
            spread.push(0);
            (question.asks.len() - 1, count as usize)
        });
        let closed = self.rebalancing.saturated().chain(leaving);
        let closed: Vec<InstanceId> = closed.cloned().collect();
        let consolidation = Consolidation {
            offers: &self.offers(),
            asks: &question.asks,
            spread: &spread,
            machines: &question.machines,
            closed: &closed,
            kept_free,
        };
        let chosen = planner::spare(&mut self.placing.pool, &consolidation);
        chosen.into_iter().collect()
    }

    /// Machines of a location that the manager drains: their containers need room on the others.
    fn leaving_machines(&self, location: &Location) -> Question {
        let mut question = Question::default();
        let draining = self.ledger.index.in_state(InstanceState::Draining);
        for id in draining.filter(|id| self.can_stay(id)) {
            let instance = self.ledger.instance(id);
            if instance.is_some_and(|instance| instance.location == *location) {
                self.ask_about(&mut question, id.clone());
            }
        }
        question
    }

    /// Adds a machine and the containers on it that have not begun to move.
    pub(super) fn ask_about(&self, question: &mut Question, id: InstanceId) {
        let mut holds: BTreeMap<usize, usize> = BTreeMap::new();
        let here = self.ledger.containers_on(&id);
        for container in here.filter(|it| it.replaced().next().is_none()) {
            if let Some(ask) = self.ask_of(question, &container.service) {
                *holds.entry(ask).or_default() += 1;
            }
        }
        question.machines.push(Spare {
            instance: id,
            holds: holds.into_iter().collect(),
        });
    }

    /// Position of a service in the question.
    fn ask_of(&self, question: &mut Question, service: &ServiceName) -> Option<usize> {
        if let Some(ask) = question.of_service.get(service) {
            return Some(*ask);
        }
        let record = self.ledger.service(service)?;
        let any = ContainerName::trusted(service.as_str());
        question.asks.push(self.kind_of(&any, record));
        let ask = question.asks.len() - 1;
        question.of_service.insert(service.clone(), ask);
        Some(ask)
    }

    /// Number of machines with copies of a service.
    fn machines_of(&self, service: &ServiceName) -> u32 {
        let names = self.ledger.index.of_service(service);
        let copies = names.filter_map(|name| Some(&self.placed(name)?.1.instance));
        let machines: BTreeSet<&InstanceId> = copies.collect();
        u32::try_from(machines.len()).unwrap_or(u32::MAX)
    }
}

/// Weight of a machine in shares of the price: flavours without prices count as machines.
fn weight(price: PricePerHour) -> f64 {
    price.0.max(1) as f64
}
