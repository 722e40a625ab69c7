//! The figures of this moment: takes batches in, compares each with the one before, and knows what
//! everything uses now and at its peak.

mod compare;
mod runs;
#[cfg(test)]
mod tests;
mod watched;

use super::{Point, Used};
use micado_api::{ContainerUsage, InstanceId, MachineUsage, Timestamp, agent::SampleBatch};
use runs::Order;
use std::collections::{BTreeMap, HashMap};
use watched::Watched;

/// What all agents measured last. It remembers as much as there are instances that were not
/// forgotten and containers that run on them, and what [`Meter::used`] has not told yet.
#[derive(Debug, Default)]
pub struct Meter {
    machines: HashMap<InstanceId, Watched>,
    /// Where the container of each Swarm service was measured last.
    places: HashMap<String, InstanceId>,
    used: BTreeMap<String, Used>,
}

impl Meter {
    /// Takes a batch in that came now, and gives it as a point (its containers by the name of their
    /// Swarm service; those of others are left out). `None` when it was taken before: sent again
    /// after a cut.
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
        let point = machine.take(instance, order, batch, &mut self.used);
        for service in machine.services() {
            self.places.insert(service.clone(), instance.clone());
        }
        Some(point)
    }

    /// What a machine uses; `None` while it is blind.
    #[must_use]
    pub fn machine(&self, now: Timestamp, instance: &InstanceId) -> Option<MachineUsage> {
        self.seeing(now, instance)?.usage.clone()
    }

    /// What the container of a Swarm service uses; `None` when it does not run or its machine is
    /// blind.
    #[must_use]
    pub fn container(&self, now: Timestamp, service: &str) -> Option<ContainerUsage> {
        self.seeing(now, self.places.get(service)?)?
            .container(service)
            .cloned()
    }

    /// What containers used since this was last asked, by Swarm service.
    pub fn used(&mut self) -> Vec<Used> {
        std::mem::take(&mut self.used).into_values().collect()
    }

    /// What [`Self::used`] gave could not be told: it comes again, with what was used since.
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

    /// The instance is no more.
    pub fn forget(&mut self, instance: &InstanceId) {
        self.machines.remove(instance);
        self.places.retain(|_, place| place != instance);
    }

    fn seeing(&self, now: Timestamp, instance: &InstanceId) -> Option<&Watched> {
        self.machines.get(instance).filter(|it| it.is_seen(now))
    }
}
