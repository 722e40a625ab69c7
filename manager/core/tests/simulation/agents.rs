//! Reports of node agents about containers: use and events; sometimes repeated, late, or about
//! removed containers.

use crate::{
    clock::Happening,
    invariants::{ends, images},
    world::World,
};
use micado_api::{
    ContainerName, InstanceId, MemoryBytes, NanoCpus, Resources, Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use micado_core::{
    control::{Event, Request},
    engine::{Delta, Observation},
    metrics::Used,
    model::Desired,
};
use std::collections::BTreeMap;

/// Number of Swarm services and events that are remembered, to be reported again.
const REMEMBERED: usize = 24;

/// An image and one of its digests.
pub type Build = (String, String);

/// A report of an agent.
#[derive(Clone)]
enum Report {
    /// Use of containers.
    Used(Vec<Used>),
    /// An event of a container.
    Happened(InstanceId, ContainerEvent),
}

/// Reports of agents, and their expected effects.
#[derive(Default)]
pub struct Agents {
    /// Present and past Swarm services, with their instances.
    known: Vec<(String, InstanceId)>,
    /// Containers of the Swarm services that the present manager observed last.
    in_sight: BTreeMap<String, ContainerName>,
    said: Vec<Report>,
    /// Peak use of a single container, as far as it was reported to a manager that survived.
    pub seen: BTreeMap<Build, Resources>,
}

impl Agents {
    /// The core receives an observation.
    pub fn saw(&mut self, seen: &Observation) {
        self.in_sight = seen
            .services
            .iter()
            .map(|it| (it.name.clone(), it.container.clone()))
            .collect();
        for service in &seen.services {
            let place = (service.name.clone(), service.instance.clone());
            if !self.known.contains(&place) {
                self.known.push(place);
            }
        }
        let excess = self.known.len().saturating_sub(REMEMBERED);
        self.known.drain(..excess);
    }
    /// The core receives a partial observation.
    pub fn glimpsed(&mut self, seen: &Delta) {
        for (name, service) in &seen.services {
            match service {
                Some(service) => {
                    self.in_sight
                        .insert(name.clone(), service.container.clone());
                    let place = (name.clone(), service.instance.clone());
                    if !self.known.contains(&place) {
                        self.known.push(place);
                    }
                }
                None => drop(self.in_sight.remove(name)),
            }
        }
        let excess = self.known.len().saturating_sub(REMEMBERED);
        self.known.drain(..excess);
    }
    /// A new manager has observed nothing.
    pub fn unseen(&mut self) {
        self.in_sight.clear();
    }
}

impl World {
    /// One agent reports something, or all report use.
    pub fn agents_speak(&mut self) {
        if self.calm {
            return;
        }
        self.clock.within(5_000, 40_000, Happening::Agents);
        if self.clock.dice.per_mille(200) {
            return self.agent_goes();
        }
        let again = self
            .clock
            .dice
            .per_mille(200)
            .then(|| self.clock.dice.pick(&self.agents.said).cloned())
            .flatten();
        self.tally.said_again += u64::from(again.is_some());
        let report = match again {
            Some(report) => report,
            None if self.clock.dice.per_mille(600) => self.used(),
            None => match self.happened() {
                Some(report) => report,
                None => return,
            },
        };
        self.agents.said.push(report.clone());
        let excess = self.agents.said.len().saturating_sub(REMEMBERED);
        self.agents.said.drain(..excess);
        self.say_to_manager(report);
    }

    /// The manager notices that an agent connected or disconnected. A disconnected one usually
    /// reconnects.
    pub fn agent_is(&mut self, instance: InstanceId, connected: bool) {
        if connected && self.cut_off() {
            return;
        }
        self.tally.agents_gone += u64::from(!connected);
        self.deliver(Event::Agent {
            instance,
            connected,
        });
    }

    /// Connected agents lose the manager that is cut off, and reconnect after that.
    pub fn agents_cut_off(&mut self) {
        let core = self.manager.core.as_ref();
        let agents = core.into_iter().flat_map(|core| core.agents());
        let connected: Vec<InstanceId> = agents
            .filter_map(|(id, connected)| connected.then_some(id))
            .collect();
        // A copy of the dice: the other chances of the world stay as they are.
        let mut dice = self.clock.dice.clone();
        for id in connected {
            let (lost, back) = (dice.between(0, 18_000), dice.between(0, 20_000));
            let lost = self.clock.now + lost;
            self.clock.at(lost, Happening::Agent(id.clone(), false));
            let back = self.cut_until.max(lost) + back;
            self.clock.at(back, Happening::Agent(id, true));
        }
    }

    /// An agent restarts, or its connection is cut. The machine itself is unaffected.
    fn agent_goes(&mut self) {
        let Some((_, instance)) = self.clock.dice.pick(&self.agents.known).cloned() else {
            return;
        };
        self.clock
            .within(0, 18_000, Happening::Agent(instance.clone(), false));
        if self.clock.dice.per_mille(800) {
            self.clock
                .within(18_000, 120_000, Happening::Agent(instance, true));
        }
    }

    fn say_to_manager(&mut self, report: Report) {
        if self.manager.core.is_none() {
            return;
        }
        let epoch = self.manager.epoch;
        match report {
            Report::Used(used) => {
                let told: Vec<_> = used
                    .iter()
                    .filter_map(|it| Some((self.build_of(&it.service)?, self.peaks(it)?)))
                    .collect();
                self.report(Request::Learn(used));
                if self.manager.epoch == epoch {
                    self.learned(told);
                }
            }
            Report::Happened(instance, event) => {
                self.deliver(Event::Happened(instance.clone(), event.clone()));
                // The refresh reports it again, and waits for the reply.
                if self.manager.epoch == epoch {
                    self.report(Request::Happened(vec![(instance.clone(), event.clone())]));
                }
                if self.manager.epoch == epoch {
                    self.check(ends::recorded(self, &instance, &event));
                }
            }
        }
    }

    /// The manager has learned from these peaks.
    fn learned(&mut self, told: Vec<(Build, Resources)>) {
        for (build, peaks) in told {
            let most = self.agents.seen.entry(build).or_default();
            *most = Resources::new(most.memory.max(peaks.memory), most.cpu.max(peaks.cpu));
        }
        self.check(images::never_below_what_was_seen(self));
    }

    /// Image and digest of a Swarm service's container, as far as the manager can know.
    fn build_of(&self, swarm_name: &str) -> Option<Build> {
        let container = self
            .store
            .container(self.agents.in_sight.get(swarm_name)?)
            .filter(|it| it.desired != Desired::Removed)?;
        let service = self.store.service(&container.service)?;
        let (_, digest) = service.pull.as_ref()?.rsplit_once('@')?;
        Some((service.spec.image.clone(), digest.to_owned()))
    }

    /// What is to be believed of it: no more than the copy's memory limit and its machine's cores.
    fn peaks(&self, used: &Used) -> Option<Resources> {
        let container = self
            .store
            .container(self.agents.in_sight.get(&*used.service)?)?;
        let mut copies = container.copies.iter();
        let copy = copies.find(|copy| *copy.swarm_name == *used.service)?;
        let memory = used.memory_peak.max(used.killed_at.unwrap_or_default());
        let cores = self.store.instance(&copy.instance)?.size.cpu;
        Some(Resources::new(
            memory.min(copy.reservation.memory),
            used.cpu_peak.min(cores),
        ))
    }

    fn used(&mut self) -> Report {
        self.tally.used += 1;
        let dice = &mut self.clock.dice;
        let some = (0..dice.between(0, 4))
            .filter_map(|_| dice.pick(&self.agents.known).cloned())
            .collect::<Vec<_>>();
        let used = some.into_iter().map(|(service, _)| Used {
            service: service.into(),
            measured_ms: dice.between(0, 900_000),
            memory_peak: MemoryBytes::mib(dice.between(1, 600)),
            cpu_peak: NanoCpus::millis(dice.between(0, 800)),
            killed_at: dice
                .per_mille(60)
                .then(|| MemoryBytes::mib(dice.between(32, 5_000))),
        });
        Report::Used(used.collect())
    }

    fn happened(&mut self) -> Option<Report> {
        let dice = &mut self.clock.dice;
        let (service, instance) = dice.pick(&self.agents.known)?.clone();
        let exit_code = *dice.pick(&[0, 3, 137]).unwrap_or(&0);
        let what = match dice.below(4) {
            0 => ContainerHappening::Started,
            1 => ContainerHappening::Healthy,
            2 => ContainerHappening::Unhealthy,
            _ => ContainerHappening::Died {
                exit_code,
                oom: exit_code == 137 && dice.per_mille(500),
            },
        };
        let instance = if dice.per_mille(100) {
            InstanceId::trusted("of-nobody")
        } else {
            instance
        };
        self.tally.happened += 1;
        let at = Timestamp(self.clock.now - self.clock.dice.between(0, 120_000));
        Some(Report::Happened(
            instance,
            ContainerEvent {
                id: format!("c{}", self.clock.serial()),
                service: Some(service),
                at,
                what,
            },
        ))
    }
}
