//! Services with a policy: their person, their load, and the frames that the manager makes of it.

use crate::{
    clock::{Dice, Happening},
    invariants::counts,
    store::Written,
    world::World,
};
use micado_api::{
    ContainerName, ContainerUsage, InstanceId, InstanceState, MemoryBytes, NanoCpus, Resources,
    ScaleRequest, ServiceName, Timestamp,
};
use micado_core::{
    control::{Event, MachineLoads, Request, Saturated, ServiceLoad},
    metrics::{InUse, Summing},
    model::ServicePolicy,
    planner::Exhausted,
    scaling::{Band, Critical, Policies, Policy, Resource, Span, Target},
    store::Key,
};
use std::{collections::BTreeMap, time::Duration};

/// Client of the services that have policies.
pub const CLIENT: &str = "sca";

/// Time between two frames while there are faults, and afterwards, in milliseconds.
const FRAME_EVERY: (u64, u64) = (2_000, 4_000);

/// Use of the services with a policy, and the manager's watch of it.
#[derive(Default)]
pub struct Loads {
    /// Demand of each service, in thousandths of a core.
    demand: u64,
    summing: Summing,
    /// Life of the manager that `summing` belongs to.
    epoch: u64,
    /// A machine was reported as saturated.
    saturated: bool,
    /// Machines that have run out of something.
    exhausted: BTreeMap<InstanceId, Exhausted>,
    /// Life of the manager that was told of them.
    exhausted_told: u64,
    /// The event that is delivered is a request of the services' person.
    pub by_person: bool,
}

/// Returns true if a container belongs to a service that may have a policy.
pub fn is_scaled(name: &ContainerName) -> bool {
    name.as_str().starts_with("sca_")
}

/// A random policy for a running cluster.
pub fn policies(dice: &mut Dice) -> Policies {
    let min = u32::try_from(dice.between(1, 3)).unwrap_or(1);
    let more = u32::try_from(dice.between(0, 4)).unwrap_or(0);
    let mut policies = vec![Policy::Target(Target {
        target: Some(dice.between(3, 9) as f64 / 10.0),
        ..Target::default()
    })];
    if dice.per_mille(200) {
        policies.push(Policy::Band(Band::default()));
    }
    if dice.per_mille(200) {
        policies.push(Policy::Critical(Critical {
            resource: Resource::Cpu,
            usage: 0.4,
        }));
    }
    Policies {
        min,
        max: min + more,
        look_back: Span::seconds(dice.between(60, 180)),
        stop_when_quiet: dice.per_mille(150),
        policies,
        ..Policies::default()
    }
}

impl World {
    /// A request of the person whose services have policies.
    pub fn scalers_wish(&mut self) -> Option<Request> {
        let services: Vec<ServiceName> = ["sca_web", "sca_db"]
            .into_iter()
            .map(ServiceName::trusted)
            .filter(|name| counts::recorded(self, name) > 0 || self.store.policy(name).is_some())
            .collect();
        let serial = self.clock.serial();
        let dice = &mut self.clock.dice;
        if services.is_empty() || dice.per_mille(150) {
            return self.scalers_launch(serial);
        }
        let service = dice.pick(&services)?.to_string();
        let scale = |scale| Request::Scale {
            service: service.clone(),
            scale,
        };
        Some(match dice.below(20) {
            0..8 => Request::SetPolicy {
                policies: Box::new(policies(dice)),
                service,
            },
            8..14 => scale(ScaleRequest {
                count: u32::try_from(dice.between(0, 6)).ok(),
                for_ms: dice.per_mille(300).then(|| dice.between(1_000, 600_000)),
                pin: None,
            }),
            14..18 => scale(ScaleRequest {
                pin: Some(dice.per_mille(400)),
                ..ScaleRequest::default()
            }),
            18 => Request::RemovePolicy { service },
            _ => Request::Quit {
                name: service,
                remove: true,
            },
        })
    }

    /// Makes a frame of the present load, as the manager's watch does, and delivers it.
    pub fn load_frame(&mut self) {
        let every = match self.calm {
            true => FRAME_EVERY.1,
            false => FRAME_EVERY.0,
        };
        self.clock.at(self.clock.now + every, Happening::Load);
        if !self.calm && self.clock.dice.per_mille(20) {
            self.loads.demand = self.clock.dice.between(0, 4_000);
        }
        self.report_machines();
        let Some(core) = &self.manager.core else {
            return;
        };
        if self.loads.epoch != self.manager.epoch {
            self.loads.epoch = self.manager.epoch;
            self.loads.summing = Summing::default();
        }
        let Some(changes) = core.scaled_since(self.loads.summing.version()) else {
            return;
        };
        self.loads.summing.follow(changes);
        if self.loads.summing.is_empty() {
            return;
        }
        let loads = self.sum(Duration::from_millis(every.min(3_000)));
        self.tally.frames += 1;
        let before = counts::of_all(self);
        let epoch = self.manager.epoch;
        self.deliver(Event::Load(loads.clone()));
        if self.manager.epoch == epoch {
            self.check(counts::unknown_holds(self, &before, &loads));
        }
        if !self.calm && self.manager.epoch == epoch && self.clock.dice.per_mille(100) {
            let revision = self.store.revision;
            self.deliver(Event::Load(loads));
            self.check(counts::repetition_changes_nothing(self, revision));
        }
    }

    /// Returns the thing that a machine has run out of, if the manager was told.
    pub fn exhausted(&self, id: &InstanceId) -> Option<Exhausted> {
        let is_told = self.loads.exhausted_told == self.manager.epoch;
        let what = self.loads.exhausted.get(id).filter(|_| is_told);
        what.copied()
    }

    /// Reports now and then that a machine has run out of something.
    fn draw_exhausted(&mut self, dice: &mut Dice, active: &[InstanceId]) {
        if self.calm || dice.per_mille(50) {
            self.loads.exhausted.clear();
        }
        if !self.calm && !active.is_empty() && dice.per_mille(20) {
            let what = match dice.per_mille(500) {
                true => Exhausted::Disk,
                false => Exhausted::Memory,
            };
            let id = active[dice.below(active.len())].clone();
            self.loads.exhausted.insert(id, what);
            self.tally.exhausted += 1;
        }
    }

    /// Reports now and then that a machine has long been saturated, while others have room.
    fn report_machines(&mut self) {
        // A clone: the other draws of a seed stay as they were.
        let mut dice = self.clock.dice.clone();
        let is_news = !self.calm && dice.per_mille(100);
        if self.manager.core.is_none() {
            return;
        }
        let mut active: Vec<InstanceId> = self
            .store
            .instances()
            .filter(|instance| instance.state == InstanceState::Active)
            .map(|instance| instance.id.clone())
            .collect();
        let was_told = self.loads.saturated || !self.loads.exhausted.is_empty();
        self.draw_exhausted(&mut dice, &active);
        let mut loads = MachineLoads {
            exhausted: self.loads.exhausted.clone(),
            ..MachineLoads::default()
        };
        if is_news && !active.is_empty() {
            let at = dice.below(active.len());
            let instance = active.swap_remove(at);
            let copies = self.store.containers();
            let here = copies.filter_map(|container| container.primary());
            let here = here.filter(|copy| copy.instance == instance);
            let use_of = Resources::new(MemoryBytes::mib(10), NanoCpus::millis(50));
            let used = here.map(|copy| (copy.swarm_name.clone(), use_of));
            loads.saturated.push(Saturated {
                used: used.collect(),
                resource: Resource::Cpu,
                since: Timestamp(self.clock.now.saturating_sub(dice.between(0, 300_000))),
                instance,
            });
            let idle = Resources::new(MemoryBytes::mib(500), NanoCpus::cores(1));
            loads.idle = active.into_iter().map(|id| (id, idle)).collect();
        }
        self.loads.saturated = !loads.saturated.is_empty();
        if was_told || !loads.is_empty() {
            self.loads.exhausted_told = self.manager.epoch;
            self.deliver(Event::Machines(loads));
        }
    }

    /// Sums up the demand, shared evenly by the copies that run; some have no sample.
    fn sum(&mut self, interval: Duration) -> Vec<(ServiceName, ServiceLoad)> {
        let mut summing = std::mem::take(&mut self.loads.summing);
        let blind = match (self.calm, self.clock.dice.below(20)) {
            (false, 0) => 1_000,
            (false, 1) => 300,
            _ => 0,
        };
        let demand = self.loads.demand;
        let (swarm, dice) = (&self.swarm, &mut self.clock.dice);
        let mut usages: Vec<(String, ContainerUsage)> = Vec::new();
        for copies in summing.copies() {
            let up: Vec<&String> = copies.filter(|name| swarm.runs(name)).collect();
            let share = demand / up.len().max(1) as u64;
            let seen = up.into_iter().filter(|_| !dice.per_mille(blind));
            usages.extend(seen.map(|name| (name.clone(), usage(share.min(2_000)))));
        }
        usages.sort_by(|(one, _), (other, _)| one.cmp(other));
        let machine = |_: &InstanceId| Some(InUse::new(None, &usages));
        let loads = summing.sum(Timestamp(self.clock.now), interval, machine);
        self.loads.summing = summing;
        loads
    }

    /// Counts changes by policies.
    pub fn note_scaling(&mut self, written: &[Written]) {
        for one in written {
            let Key::Decision(sequence) = one.key else {
                continue;
            };
            let decision = self.store.decision(sequence);
            let lightens = decision.is_some_and(|it| it.text.starts_with("moves from"));
            self.tally.lightened += u64::from(lightens);
            let Some(decision) = decision.filter(|it| it.service.is_some()) else {
                continue;
            };
            let starts = |word| u64::from(decision.text.starts_with(word));
            let (grown, shrunk) = (starts("grew"), starts("shrank"));
            self.tally.grown += grown;
            self.tally.shrunk += shrunk;
        }
    }

    /// The policy of a service, if it has one.
    pub fn policy_of(&self, name: &ServiceName) -> Option<&ServicePolicy> {
        self.store.policy(name)
    }
}

fn usage(millis: u64) -> ContainerUsage {
    ContainerUsage {
        memory: MemoryBytes::mib(40),
        memory_peak: MemoryBytes::mib(40),
        cpu: Some(NanoCpus::millis(millis)),
        cpu_peak: NanoCpus::millis(millis),
        ..ContainerUsage::default()
    }
}
