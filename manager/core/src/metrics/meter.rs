//! The figures of this moment: takes batches in, compares each with the one before, and knows what everything uses now and at its peak.

use super::{Point, Used};
use micado_api::{ContainerUsage, InstanceId, MachineUsage, Timestamp, agent::SampleBatch};

/// What all agents measured last.
#[derive(Debug, Default)]
pub struct Meter {}

impl Meter {
    /// Takes a batch in that came now, and gives it as a point (its containers by the name of their Swarm service; those of others are left out). `None` when it was taken before: sent again after a cut.
    pub fn take(&mut self, now: Timestamp, instance: &InstanceId, run: &str, batch: SampleBatch) -> Option<Point> {
        let _ = (now, instance, run, batch);
        None
    }

    /// What a machine uses; `None` while it is blind.
    #[must_use]
    pub fn machine(&self, now: Timestamp, instance: &InstanceId) -> Option<MachineUsage> {
        let _ = (now, instance);
        None
    }

    /// What the container of a Swarm service uses; `None` when it does not run or its machine is blind.
    #[must_use]
    pub fn container(&self, now: Timestamp, service: &str) -> Option<ContainerUsage> {
        let _ = (now, service);
        None
    }

    /// What containers used since this was last asked, by Swarm service.
    pub fn used(&mut self) -> Vec<Used> {
        Vec::new()
    }

    /// The instance is no more.
    pub fn forget(&mut self, instance: &InstanceId) {
        let _ = instance;
    }
}
