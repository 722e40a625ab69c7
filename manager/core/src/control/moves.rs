//! Moves of containers, make before break: how many go at once from a machine that the manager
//! drains, and the conditions under which an old copy may go.

use super::{Core, draining::Cancelled};
use crate::{
    model::{Container, Copy, Phase},
    planner::{self, Step, Waiting},
};
use micado_api::{ContainerName, InstanceId, InstanceState, ServiceName};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Upper bound for the containers that move away from one machine at once.
pub(super) const PER_MACHINE: usize = 5;

/// Time for which a new copy must run before an old one that nobody hurries is stopped.
const WARM_UP: Duration = Duration::from_secs(30);

/// Part of a service's containers that moves at once, as a divisor; at least one does.
const PART: usize = 10;

impl Core {
    /// Finds places for containers that leave machines which the manager drains: on other machines
    /// that stay. A drain is cancelled if one of them has no other place.
    pub(super) fn plan_moves(&mut self) {
        // The pool does not show the places of this pass yet: the next one plans moves.
        if self.placing.leaving.is_empty() || !self.placing.placed_on.is_empty() {
            return;
        }
        let moving = self.next_to_move();
        let waiting: Vec<Waiting> = moving
            .keys()
            .filter_map(|name| Some(self.as_waiting(self.ledger.container(name)?)))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let (offers, closed) = (self.offers(), self.closed_to_moves());
        let steps = planner::plan_moves(&mut self.placing.pool, &waiting, &offers, &closed);
        let stuck = steps.iter().filter_map(|step| match step {
            Step::Wait { container, .. } | Step::Refuse { container, .. } => Some(container),
            Step::Place { .. } | Step::Rent { .. } => None,
        });
        let stuck: BTreeMap<&InstanceId, &ContainerName> = stuck
            .filter_map(|container| Some((moving.get(container)?, container)))
            .collect();
        for (id, container) in &stuck {
            self.cancel_drain(id, &Cancelled::NoRoom((*container).clone()));
        }
        for step in &steps {
            if let Step::Place {
                container,
                instance,
                reason,
            } = step
                && moving
                    .get(container)
                    .is_some_and(|id| !stuck.contains_key(id))
            {
                self.place(container, instance, reason.clone());
            }
        }
    }

    /// Containers that may begin to move now, each with its machine.
    fn next_to_move(&self) -> BTreeMap<ContainerName, InstanceId> {
        let mut machines: BTreeMap<&InstanceId, usize> = BTreeMap::new();
        let mut services: BTreeMap<&ServiceName, usize> = BTreeMap::new();
        let mut moving = BTreeMap::new();
        for name in &self.placing.leaving {
            let Some((container, copy)) = self.placed(name) else {
                continue;
            };
            let of_machine = machines
                .entry(&copy.instance)
                .or_insert_with(|| PER_MACHINE.saturating_sub(self.moves_from(&copy.instance)));
            let of_service = services
                .entry(&container.service)
                .or_insert_with(|| self.moves_left(&container.service));
            if *of_machine > 0 && *of_service > 0 {
                *of_machine -= 1;
                *of_service -= 1;
                moving.insert(name.clone(), copy.instance.clone());
            }
        }
        moving
    }

    /// Number of containers with a copy on this machine that another one replaces.
    pub(super) fn moves_from(&self, id: &InstanceId) -> usize {
        let on = self.ledger.containers_on(id);
        let moves = |container: &&Container| {
            let mut replaced = container.replaced();
            replaced.any(|copy| copy.instance == *id)
        };
        on.filter(moves).count()
    }

    /// Number of containers of a service that may begin to move.
    pub(super) fn moves_left(&self, service: &ServiceName) -> usize {
        let names = self.ledger.index.of_service(service);
        let wanted = names.filter_map(|name| self.ledger.container(name));
        let wanted = wanted.filter(|container| container.wants_room());
        let moves = wanted.map(|container| container.replaced().next().is_some());
        let (all, moving) = moves.fold((0_usize, 0_usize), |(all, moving), moves| {
            (all + 1, moving + usize::from(moves))
        });
        (all / PART).max(1).saturating_sub(moving)
    }

    /// Machines that no container moves to: those that are drained, or may be soon, and those that
    /// can give no more.
    pub(super) fn closed_to_moves(&self) -> Vec<InstanceId> {
        let draining = self.ledger.index.in_state(InstanceState::Draining);
        let (spare, saturated) = (self.returns.spare(), self.rebalancing.saturated());
        let closed: BTreeSet<&InstanceId> = draining.chain(spare).chain(saturated).collect();
        closed.into_iter().cloned().collect()
    }

    /// Retires unwanted copies. A replaced copy goes when its successor runs, or when its Swarm
    /// service is gone already; all copies go when the container is not to run.
    pub(super) fn retire_copies(&mut self, name: &ContainerName) {
        let warm = self.is_warm(name);
        let Some(container) = self.ledger.container(name) else {
            return;
        };
        let going = self.may_go(container, warm);
        if going.is_empty() {
            return;
        }
        // Another container may begin to move now.
        self.ledger.dirty.plan |= !self.placing.leaving.is_empty();
        let since = self.now;
        self.ledger.edit_container(name, |container| {
            for copy in &mut container.copies {
                if going.contains(&copy.generation) {
                    copy.phase = Phase::Retiring { since };
                }
            }
        });
    }

    /// Returns true if nothing hurries a copy away from this machine: it is in use, or the manager
    /// drains it.
    fn is_unhurried(&self, id: &InstanceId) -> bool {
        let instance = self.ledger.instance(id);
        instance.is_some_and(|it| it.state == InstanceState::Active) || self.can_stay(id)
    }

    /// Returns true if a container's new copy has run long enough to take over from one that nothing
    /// hurries.
    fn is_warm(&mut self, name: &ContainerName) -> bool {
        let moving = self.ledger.container(name).filter(|container| {
            let mut replaced = container.replaced();
            replaced.any(|copy| self.is_unhurried(&copy.instance)) && self.runs(container)
        });
        let copy = moving.and_then(Container::primary);
        let Some(generation) = copy.map(|copy| copy.generation) else {
            self.copies.warming.remove(name);
            return true;
        };
        let begin = (generation, self.now);
        let known = self.copies.warming.entry(name.clone()).or_insert(begin);
        if known.0 != generation {
            *known = begin;
        }
        let warm_at = known.1.plus(WARM_UP);
        if warm_at > self.now {
            self.wake(warm_at);
        }
        warm_at <= self.now
    }

    /// Generations of live copies that may go.
    fn may_go(&self, container: &Container, warm: bool) -> Vec<u32> {
        let live = container.copies.iter().filter(|copy| copy.is_live());
        if !container.wants_room() {
            return live.map(|copy| copy.generation).collect();
        }
        // On a machine that is stopped by force no copy stays.
        let stays = |copy: &Copy| {
            let instance = self.ledger.instance(&copy.instance);
            instance.is_some_and(|instance| !instance.force)
        };
        let runs = self.runs(container);
        let successor_stays = container.primary().is_some_and(stays);
        let hurries = |copy: &Copy| warm || !self.is_unhurried(&copy.instance);
        let has_successor =
            |copy: &Copy| runs && (successor_stays || !stays(copy)) && hurries(copy);
        let replaced = container.replaced();
        replaced
            .filter(|copy| has_successor(copy) || !self.has_or_makes(&copy.swarm_name))
            .map(|copy| copy.generation)
            .collect()
    }
}
