//! Current metrics: compares each batch with the one before it, and holds current use and peaks of
//! every machine and container.

mod compare;
mod in_use;
mod runs;
mod saturation;
#[cfg(test)]
mod tests;
mod watched;

pub use in_use::InUse;

use super::{Point, Used};
use crate::control::MachineLoads;
use ahash::HashMap;
use micado_api::{
    ContainerUsage, InstanceId, MachineUsage, Timestamp,
    agent::{ContainerSample, MachineSample, SampleBatch},
};
use runs::Order;
use std::{collections::BTreeMap, sync::Arc};
use watched::Watched;

/// Latest measurements of all agents. Its size is bounded by the instances that were not forgotten,
/// their running containers, and use that [`Meter::used`] has not returned yet.
#[derive(Debug, Default)]
pub struct Meter {
    machines: HashMap<InstanceId, Watched>,
    /// Instance that measured the container of each Swarm service last.
    places: HashMap<String, InstanceId>,
    used: BTreeMap<Arc<str>, Used>,
}

impl Meter {
    /// Takes in a batch that arrived now and returns it as a point, with containers by the name of
    /// their Swarm service and without those of others. `None` for a batch that was taken before
    /// and is resent after a cut.
    pub fn take(
        &mut self,
        now: Timestamp,
        instance: &InstanceId,
        run: &str,
        batch: SampleBatch,
    ) -> Option<Point> {
        let machine = self.machines.entry(instance.clone()).or_default();
        let order = machine.runs.take(run, batch.sequence);
        match order {
            Order::Again => return None,
            Order::Old => {}
            Order::First | Order::Next | Order::AfterGap => {
                for service in machine
                    .services()
                    .filter(|service| self.places.get(*service) == Some(instance))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    self.places.remove(&service);
                }
                if !batch.late {
                    machine.fresh_at = Some(now);
                }
            }
        }
        let is_current = order != Order::Old && !batch.late;
        if is_current {
            machine.disk.note(&batch.machine);
        }
        let point = machine.take(instance, order, batch, &mut self.used);
        if is_current {
            machine.saturation.note(now, order, machine.usage.as_ref());
        }
        for service in machine.services() {
            self.places.insert(service.clone(), instance.clone());
        }
        Some(point)
    }

    /// Returns the use of a machine; `None` while it is blind.
    #[must_use]
    pub fn machine(&self, now: Timestamp, instance: &InstanceId) -> Option<MachineUsage> {
        self.seeing(now, instance)?.usage.clone()
    }

    /// Returns the use of the container of a Swarm service; `None` if it does not run or its
    /// machine is blind.
    #[must_use]
    pub fn container(&self, now: Timestamp, service: &str) -> Option<ContainerUsage> {
        self.seeing(now, self.places.get(service)?)?
            .container(service)
            .cloned()
    }

    /// Returns the use of a machine and its containers; `None` while it is blind.
    #[must_use]
    pub fn on(&self, now: Timestamp, instance: &InstanceId) -> Option<InUse<'_>> {
        Some(self.seeing(now, instance)?.in_use())
    }

    /// Returns what machines that are seen have run out of, and the load of all if one of them is
    /// saturated.
    #[must_use]
    pub fn machine_loads(&self, now: Timestamp) -> MachineLoads {
        let seen = self.machines.iter().filter(|(_, it)| it.is_seen(now));
        let saturated = seen.clone();
        let saturated: Vec<_> = saturated
            .filter_map(|(id, machine)| machine.saturated(id))
            .collect();
        let exhausted = seen.clone();
        let exhausted =
            exhausted.filter_map(|(id, machine)| Some((id.clone(), machine.exhausted()?)));
        let idle = seen.filter(|_| !saturated.is_empty());
        let idle = idle.filter_map(|(id, machine)| Some((id.clone(), machine.idle()?)));
        MachineLoads {
            exhausted: exhausted.collect(),
            idle: idle.collect(),
            saturated,
        }
    }

    /// Returns the last sample of a machine, and those of its running containers, without the
    /// engine's ids. `None` while the machine is blind.
    pub fn samples(
        &self,
        now: Timestamp,
        instance: &InstanceId,
    ) -> Option<(&MachineSample, impl Iterator<Item = &ContainerSample>)> {
        let machine = self.seeing(now, instance)?;
        Some((machine.sample()?, machine.samples()))
    }

    /// Returns the use of containers since the last call, by Swarm service.
    pub fn used(&mut self) -> Vec<Used> {
        std::mem::take(&mut self.used).into_values().collect()
    }

    /// Restores the result of [`Self::used`] after its delivery failed: the next call returns it
    /// again, merged with later use.
    pub fn give_back(&mut self, used: Vec<Used>) {
        for it in used {
            let since = self.used.entry(it.service.clone()).or_insert_with(|| Used {
                measured_ms: 0,
                ..it.clone()
            });
            since.measured_ms = since.measured_ms.saturating_add(it.measured_ms);
            since.memory_peak = since.memory_peak.max(it.memory_peak);
            since.cpu_peak = since.cpu_peak.max(it.cpu_peak);
            since.killed_at = since.killed_at.max(it.killed_at);
        }
    }

    /// Drops a removed instance.
    pub fn forget(&mut self, instance: &InstanceId) {
        self.machines.remove(instance);
        self.places.retain(|_, place| place != instance);
    }

    fn seeing(&self, now: Timestamp, instance: &InstanceId) -> Option<&Watched> {
        self.machines.get(instance).filter(|it| it.is_seen(now))
    }
}
