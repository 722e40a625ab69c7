//! The last samples of machines and containers, and the size of the queue, for monitoring.

use super::{Metrics, Placed, waiting};
use crate::clock;
use ahash::HashMap;
use micado_api::{
    InstanceId,
    agent::{ContainerSample, MachineSample},
};
use std::sync::Arc;

/// Last samples of one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineReading {
    pub instance: InstanceId,
    pub machine: MachineSample,
    /// Running containers, each with its placement. Samples are without ids and names.
    pub containers: Vec<(Arc<Placed>, ContainerSample)>,
}

/// Size of the queue of points and events that wait to be recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub points: usize,
    pub events: usize,
    pub bytes: usize,
    /// Upper bound for `bytes`.
    pub most_bytes: usize,
}

impl Metrics {
    /// Returns the last samples of these machines, without blind ones. The metrics are locked
    /// meanwhile: ask for a part of the machines at a time.
    #[must_use]
    pub fn readings(&self, instances: &[InstanceId]) -> Vec<MachineReading> {
        let (facts, inner, now) = (self.facts.read(), self.inner(), clock::now());
        let reading = |instance: &InstanceId| {
            let (machine, samples) = inner.meter.samples(now, instance)?;
            let placed = samples.filter_map(|sample| {
                let placed = facts.placed(sample.service.as_deref()?)?;
                (placed.instance == *instance).then(|| (placed.clone(), numbers(sample)))
            });
            Some(MachineReading {
                instance: instance.clone(),
                machine: machine.clone(),
                containers: newest(placed),
            })
        };
        instances.iter().filter_map(reading).collect()
    }

    /// Returns the size of the queue.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.inner().waiting.backlog()
    }
}

impl waiting::Waiting {
    fn backlog(&self) -> Backlog {
        Backlog {
            points: self.points().len(),
            events: self.events().len(),
            bytes: self.bytes(),
            most_bytes: waiting::MOST_BYTES,
        }
    }
}

/// The numbers of a sample.
fn numbers(sample: &ContainerSample) -> ContainerSample {
    ContainerSample {
        id: String::new(),
        service: None,
        ..*sample
    }
}

/// One sample for each container. Just after a restart a batch has two containers of one Swarm
/// service, and a container may have two copies on one machine for a moment: the last start counts,
/// so that counters fall at a restart instead of being sums.
fn newest(
    samples: impl Iterator<Item = (Arc<Placed>, ContainerSample)>,
) -> Vec<(Arc<Placed>, ContainerSample)> {
    let mut newest: HashMap<_, (Arc<Placed>, ContainerSample)> = HashMap::default();
    for (placed, sample) in samples {
        let name = placed.container.clone();
        let is_newer = |known: &(_, ContainerSample)| known.1.started_at < sample.started_at;
        if newest.get(&name).is_none_or(is_newer) {
            newest.insert(name, (placed, sample));
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by(|(one, _), (other, _)| one.container.cmp(&other.container));
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::happening;
    use micado_api::{Timestamp, agent::ContainerHappening::Started};

    #[test]
    fn the_last_start_of_a_container_counts() {
        let placed = |service| Arc::new(happening("i1", service, 1, Started).placed);
        let sample = |started, cpu_ns| ContainerSample {
            started_at: Some(Timestamp(started)),
            cpu_ns,
            ..ContainerSample::default()
        };
        let samples = [
            (placed("web"), sample(5, 10)),
            (placed("web"), sample(9, 1)),
            (placed("web"), sample(2, 100)),
            (placed("db"), sample(1, 7)),
        ];
        let newest = newest(samples.into_iter());
        let found: Vec<_> = newest
            .iter()
            .map(|(placed, sample)| (placed.container.as_str(), sample.cpu_ns))
            .collect();
        assert_eq!(found, [("db.1", 7), ("web.1", 1)]);
    }
}
