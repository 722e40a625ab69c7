//! Health checks of agents: copies of checked services that turn unhealthy and heal, and the
//! reports about it, which are repeated, or come from the wrong machine.

use crate::{clock::Happening, invariants::health, store::Written, world::World};
use micado_api::{HealthState, InstanceId, agent::HealthReport};
use micado_core::{control::Event, engine::TaskState, store::Key};
use std::collections::{BTreeMap, BTreeSet};

/// Health of the copies that agents check.
#[derive(Default)]
pub struct Healths {
    /// Swarm services of unhealthy processes.
    pub sick: BTreeSet<String>,
    /// Task that an agent saw start, of each checked Swarm service.
    known: BTreeMap<String, u64>,
    /// Swarm services that were reported to be healthy.
    pub healthy: BTreeSet<String>,
}

impl World {
    /// Agents see the processes that started since the last step.
    pub fn agents_see_starts(&mut self) {
        let services = self.swarm.services.iter();
        let checked = services.filter(|(_, service)| service.is_checked);
        let mut begun = Vec::new();
        for (name, _) in checked {
            let tasks = self.swarm.tasks.iter();
            let running = tasks.filter(|(_, task)| {
                task.service.as_deref() == Some(name)
                    && task.view.wanted
                    && task.view.state == TaskState::Running
            });
            if let Some((id, _)) = running.max_by_key(|(_, task)| task.view.version)
                && self.healths.known.get(name) != Some(id)
            {
                begun.push((name.clone(), *id));
            }
        }
        for (name, id) in begun {
            self.healths.known.insert(name.clone(), id);
            // A copy of the dice: the other chances of the world stay as they are.
            let mut dice = self.clock.dice.clone();
            self.healths.sick.remove(&name);
            if !self.calm && dice.per_mille(100) {
                self.healths.sick.insert(name.clone());
            }
            self.says(&name, HealthState::Starting);
            let at = self.clock.now + dice.between(300, 4_000);
            self.clock.at(at, Happening::Health(name));
        }
    }

    /// An agent has checked a copy, and reports its health again and again.
    pub fn health_checked(&mut self, name: String) {
        let Some(service) = self.swarm.services.get(&name) else {
            self.healths.sick.remove(&name);
            self.healths.known.remove(&name);
            return;
        };
        let instance = service.view.instance.clone();
        let mut dice = self.clock.dice.clone();
        if self.calm {
            self.healths.sick.remove(&name);
        } else if dice.per_mille(150) && !self.healths.sick.remove(&name) {
            self.healths.sick.insert(name.clone());
        }
        if self.swarm.runs(&name) && !self.cut_off() && self.manager.core.is_some() {
            if !self.calm && dice.per_mille(50) {
                self.other_says(&name, &InstanceId::trusted("of-nobody"));
            }
            let state = match self.healths.sick.contains(&name) {
                true => HealthState::Unhealthy,
                false => HealthState::Healthy,
            };
            if state == HealthState::Healthy {
                self.healths.healthy.insert(name.clone());
            }
            self.tally.unhealthy += u64::from(state == HealthState::Unhealthy);
            let before = self.kept_routed();
            self.deliver(Event::Health(instance, vec![report(&name, state)]));
            self.tally.panics += u64::from(self.kept_routed() > before);
        }
        let at = self.clock.now + dice.between(5_000, 40_000);
        self.clock.at(at, Happening::Health(name));
    }

    /// Counts copies that were replaced because they were unhealthy.
    pub fn note_restarts(&mut self, written: &[Written]) {
        let decisions = written.iter().filter(|one| one.before.is_none());
        let restarts = decisions.filter(|one| {
            let Key::Decision(sequence) = one.key else {
                return false;
            };
            let decision = self.store.decision(sequence);
            decision.is_some_and(|it| it.text.contains("it has been unhealthy"))
        });
        self.tally.restarted += restarts.count() as u64;
    }

    fn says(&mut self, name: &str, state: HealthState) {
        let service = self.swarm.services.get(name);
        let instance = service.map(|service| service.view.instance.clone());
        if let Some(instance) = instance.filter(|_| !self.cut_off()) {
            self.deliver(Event::Health(instance, vec![report(name, state)]));
        }
    }

    /// An agent reports about a copy on another machine: nothing follows from it.
    fn other_says(&mut self, name: &str, instance: &InstanceId) {
        let of = |world: &Self| {
            let copies = world.store.containers().flat_map(|it| &it.copies);
            let mut copies = copies.filter(|copy| copy.swarm_name == name);
            copies.next().and_then(|copy| copy.health.clone())
        };
        let (before, epoch) = (of(self), self.manager.epoch);
        let state = HealthState::Unhealthy;
        self.deliver(Event::Health(instance.clone(), vec![report(name, state)]));
        if self.manager.epoch == epoch {
            self.check(health::unchanged(
                name,
                before.as_deref(),
                of(self).as_deref(),
            ));
        }
    }

    /// Number of unhealthy copies that stay in the catalogue.
    fn kept_routed(&self) -> usize {
        let core = self.manager.core.iter();
        let views = core.flat_map(|core| core.containers(false));
        let kept =
            |view: &micado_api::ContainerView| view.health.as_ref().is_some_and(|it| it.kept);
        views.filter(kept).count()
    }
}

fn report(name: &str, health: HealthState) -> HealthReport {
    HealthReport {
        service: name.to_owned(),
        health,
        failure: (health == HealthState::Unhealthy)
            .then(|| "port 80: connection refused".to_owned()),
    }
}
