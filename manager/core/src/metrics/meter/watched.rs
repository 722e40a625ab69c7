//! Measurements of one machine: the last sample of everything, to compare the next one with, and
//! the use that follows from the two.

use super::{
    compare,
    in_use::InUse,
    runs::{Order, Runs},
    saturation::{Disk, Saturation, exhausted},
};
use crate::{
    control::Saturated,
    metrics::{ContainerPoint, MachinePoint, Point, Resolution, Used, per_second},
    planner::Exhausted,
};
use ahash::HashMap;
use micado_api::{
    ContainerUsage, Hundredths, InstanceId, MachineUsage, MemoryBytes, NanoCpus, Resources,
    Timestamp,
    agent::{ContainerSample, LONGEST_INTERVAL_MS, MachineSample, SampleBatch},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Age of the last batch at which a machine becomes blind, unless its agent measures at longer
/// intervals.
const FRESH: Duration = Duration::from_secs(10);

/// Number of batches in a row that may be missing before the machine becomes blind.
const MISSED: u32 = 3;

/// Time over which CPU is averaged as a need of a container, in milliseconds: shorter peaks are
/// starts or bursts.
const MINUTE: u64 = 60_000;

/// Upper bound for the time between two compared samples, in milliseconds: a longer one gives no
/// current value, or comes from a clock that was set.
const APART: u64 = 3_600_000;

/// Upper bound for batches in a row that may leave a container out before it is forgotten: a
/// restarted agent reports a container only when a slow engine has named its first process.
const LEFT_OUT: u32 = 30;

/// Upper bound for the containers of one Swarm service that are remembered although batches leave
/// them out: an agent may make up ids.
const MOST_LEFT_OUT: usize = 16;

/// One machine.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) runs: Runs,
    /// Arrival of the last batch that was not late, by the manager's clock.
    pub(super) fresh_at: Option<Timestamp>,
    pub(super) usage: Option<MachineUsage>,
    pub(super) saturation: Saturation,
    pub(super) disk: Disk,
    /// The last sample, and when it was measured.
    last: Option<(MachineSample, Timestamp)>,
    /// Measuring interval of the agent: the time between the last two consecutive batches.
    interval: Duration,
    /// Time at which the first batch of this run was measured.
    first_at: Timestamp,
    /// Running containers by the engine's id, which their samples do not repeat.
    pub(super) containers: BTreeMap<String, Known>,
    /// Their use by Swarm service, in order of the names.
    now: Vec<(String, ContainerUsage)>,
}

/// A running container.
#[derive(Debug, Default)]
pub(super) struct Known {
    sample: ContainerSample,
    memory_peak: MemoryBytes,
    cpu_peak: NanoCpus,
    /// Measured milliseconds of the present minute, and the CPU time used in them.
    minute: (u64, u64),
    /// Number of batches since its last sample.
    left_out: u32,
}

/// The previous batch of the same run.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// Time at which it was measured; moved back with the clock if that was set back since.
    at: Timestamp,
    /// Milliseconds between it and the present batch.
    ms: u64,
}

impl Watched {
    /// Swarm services of its containers.
    pub(super) fn services(&self) -> impl Iterator<Item = &String> {
        self.now.iter().map(|(service, _)| service)
    }

    pub(super) fn container(&self, service: &str) -> Option<&ContainerUsage> {
        self.in_use().container(service, &mut 0)
    }

    pub(super) fn in_use(&self) -> InUse<'_> {
        let busy = self.usage.as_ref().and_then(|usage| {
            let cores = usage.cores.0.max(1) as f64;
            Some(usage.cpu?.0 as f64 / cores)
        });
        InUse::new(busy, &self.now)
    }

    /// The machine with the use of its containers, if it is saturated.
    pub(super) fn saturated(&self, instance: &InstanceId) -> Option<Saturated> {
        let (resource, since) = self.saturation.current()?;
        let used = self.now.iter().map(|(service, usage)| {
            let cpu = usage.cpu.unwrap_or_default();
            (service.clone(), Resources::new(usage.memory, cpu))
        });
        Some(Saturated {
            instance: instance.clone(),
            resource,
            since,
            used: used.collect(),
        })
    }

    /// Something that the machine has run out of.
    pub(super) fn exhausted(&self) -> Option<Exhausted> {
        exhausted(self.disk, self.saturation)
    }

    /// Resources that nothing uses, once they are known.
    pub(super) fn idle(&self) -> Option<Resources> {
        let usage = self.usage.as_ref()?;
        let cpu = NanoCpus(usage.cores.0.saturating_sub(usage.cpu?.0));
        Some(Resources::new(usage.memory_left, cpu))
    }

    /// The last sample of the machine.
    pub(super) fn sample(&self) -> Option<&MachineSample> {
        self.last.as_ref().map(|(sample, _)| sample)
    }

    /// The samples of containers in the last batch.
    pub(super) fn samples(&self) -> impl Iterator<Item = &ContainerSample> {
        let present = self.containers.values().filter(|known| known.left_out == 0);
        present.map(|known| &known.sample)
    }

    /// Returns true if the measurements are current, by the manager's clock.
    pub(super) fn is_seen(&self, now: Timestamp) -> bool {
        self.fresh_at
            .is_some_and(|at| now.since(at) <= FRESH.max(self.interval * MISSED))
    }

    /// Converts a batch into a point. One that is older than the last is compared with nothing and
    /// does not change current use.
    pub(super) fn take(
        &mut self,
        instance: &InstanceId,
        order: Order,
        batch: SampleBatch,
        used: &mut BTreeMap<Arc<str>, Used>,
    ) -> Point {
        let (at, cores) = (batch.at, batch.machine.cores);
        let (machine, containers) = if order == Order::Old {
            let as_it_was = |sample: ContainerSample| {
                Some((compare::container(None, &sample, cores), sample.service?))
            };
            let containers = batch
                .containers
                .into_iter()
                .filter_map(as_it_was)
                .map(|(point, service)| (service, point))
                .collect();
            (compare::machine(None, &batch.machine), containers)
        } else {
            let before = self.before(order, at, batch.machine.steady_ms);
            if let (Order::Next, Some(before)) = (order, before) {
                self.interval = Duration::from_millis(before.ms.min(LONGEST_INTERVAL_MS));
            }
            let machine = self.measure_machine(before, &batch.machine, at);
            (machine, self.measure_containers(before, batch, used))
        };
        let containers = merged(containers.into_iter());
        for (service, point) in &containers {
            let learned = entry(used, service);
            learned.measured_ms = learned.measured_ms.saturating_add(point.measured_ms);
            learned.memory_peak = learned.memory_peak.max(point.memory_peak);
        }
        Point {
            instance: instance.clone(),
            resolution: Resolution::Sample,
            at,
            machine,
            containers,
        }
    }

    fn before(&mut self, order: Order, at: Timestamp, steady_ms: Option<u64>) -> Option<Before> {
        if order == Order::First {
            self.first_at = at;
            return None;
        }
        let (machine, before) = self.last.as_ref()?;
        let steadily = steady_ms
            .zip(machine.steady_ms)
            .map(|(now, before)| now.saturating_sub(before));
        let ms = steadily.unwrap_or_else(|| at.0.saturating_sub(before.0));
        // After a clock was set back, everything that starts later has an earlier time.
        let before = Timestamp(before.0.min(at.0.saturating_sub(ms)));
        self.first_at = self.first_at.min(before);
        (1..=APART)
            .contains(&ms)
            .then_some(Before { at: before, ms })
    }

    fn measure_machine(
        &mut self,
        before: Option<Before>,
        sample: &MachineSample,
        at: Timestamp,
    ) -> MachinePoint {
        let point = compare::machine(
            self.last
                .as_ref()
                .map(|(before, _)| before)
                .zip(before.map(|before| before.ms)),
            sample,
        );
        let before = self.usage.as_ref();
        self.usage = Some(MachineUsage {
            at,
            memory_total: sample.memory_total,
            memory_left: sample.memory_left,
            memory_least_left: before.map_or(sample.memory_left, |before| {
                before.memory_least_left.min(sample.memory_left)
            }),
            cpu: compare::rate(point.cpu_ns, point.measured_ms),
            cpu_peak: before
                .map_or(NanoCpus(0), |before| before.cpu_peak)
                .max(point.cpu_peak),
            cores: NanoCpus(sample.cores),
            load: sample.load.map(Hundredths::from),
            disk_left: sample.disk_left,
            disk_total: sample.disk_total,
        });
        self.last = Some((sample.clone(), at));
        point
    }

    /// Measures the use of every container since the last batch.
    fn measure_containers(
        &mut self,
        before: Option<Before>,
        batch: SampleBatch,
        used: &mut BTreeMap<Arc<str>, Used>,
    ) -> Vec<(String, ContainerPoint)> {
        let (at, cores) = (batch.at, batch.machine.cores);
        let mut others = std::mem::take(&mut self.containers);
        let mut now: Vec<(String, ContainerUsage)> = Vec::with_capacity(batch.containers.len());
        let mut points = Vec::with_capacity(batch.containers.len());
        for sample in batch.containers {
            let Some(service) = sample.service.clone() else {
                continue;
            };
            // A restarted container is a new one: its counters and peaks begin at 0.
            let known = others
                .remove(&sample.id)
                .filter(|known| known.sample.started_at == sample.started_at);
            let ms = match &known {
                Some(known) => before
                    .filter(|_| known.left_out == 0)
                    .map(|before| before.ms),
                None => before.and_then(|before| self.lived(before, sample.started_at?, at)),
            };
            // A kill counts even if the measured time is unknown.
            let counts_kills = known.is_some() || ms.is_some();
            let mut known = known.unwrap_or_default();
            let point = compare::container(ms.map(|ms| (&known.sample, ms)), &sample, cores);
            let learned = entry(used, &service);
            if counts_kills && sample.oom_kills > known.sample.oom_kills {
                learned.killed_at = learned.killed_at.max(sample.memory_limit);
            }
            known.left_out = 0;
            learned.cpu_peak = learned
                .cpu_peak
                .max(known.measured(&point, sample.ended).unwrap_or_default());
            known.sample = sample;
            if !known.sample.ended {
                now.push((service.clone(), known.usage(at, &point)));
                let id = std::mem::take(&mut known.sample.id);
                self.containers.insert(id, known);
            }
            points.push((service, point));
        }
        now.sort_by(|(one, _), (other, _)| one.cmp(other));
        now.dedup_by(|(service, usage), (before, sum)| {
            let is_same = service == before;
            if is_same {
                add(sum, usage);
            }
            is_same
        });
        self.now = now;
        let mut counts: HashMap<Option<String>, usize> = HashMap::default();
        others.retain(|_, known| {
            known.left_out += 1;
            let count = counts.entry(known.sample.service.clone()).or_default();
            *count += 1;
            known.left_out <= LEFT_OUT && *count <= MOST_LEFT_OUT
        });
        self.containers.extend(others);
        points
    }

    /// Returns the age of a container that no earlier batch reported, in milliseconds, but at least
    /// the time between the batches. `None` if it may have started before this run: its earlier use
    /// was measured already, or cannot be separated from its present use.
    fn lived(&self, before: Before, began: Timestamp, at: Timestamp) -> Option<u64> {
        (self.first_at < began && began <= at).then(|| {
            before
                .ms
                .saturating_add(before.at.0.saturating_sub(began.0))
        })
    }
}

/// Percent of the time, from nanoseconds in a second.
fn percent_of_time(ns: u64) -> Hundredths {
    Hundredths::from(ns as f64 / 1e7)
}

impl Known {
    /// Adds the next point, and returns the mean CPU of a minute once one is complete. An ended
    /// container uses nothing afterwards, so its last minute is complete.
    fn measured(&mut self, point: &ContainerPoint, ended: bool) -> Option<NanoCpus> {
        self.memory_peak = self.memory_peak.max(point.memory_peak);
        self.cpu_peak = self.cpu_peak.max(point.cpu_peak);
        self.minute.0 = self.minute.0.saturating_add(point.measured_ms);
        self.minute.1 = self.minute.1.saturating_add(point.cpu_ns);
        let (ms, cpu_ns) = self.minute;
        if ms < MINUTE && !ended {
            return None;
        }
        self.minute = (0, 0);
        compare::rate(cpu_ns, ms.max(MINUTE))
    }

    fn usage(&self, at: Timestamp, point: &ContainerPoint) -> ContainerUsage {
        let rate = |bytes| per_second(bytes, point.measured_ms).unwrap_or_default();
        ContainerUsage {
            at,
            memory: point.memory,
            memory_peak: self.memory_peak,
            cpu: compare::rate(point.cpu_ns, point.measured_ms),
            cpu_peak: self.cpu_peak,
            oom_kills: self.sample.oom_kills,
            memory_pressure: self.sample.memory_pressure.map(Hundredths::from),
            cpu_pressure: self.sample.cpu_pressure.map(Hundredths::from),
            throttled: per_second(point.throttled_ns, point.measured_ms).map(percent_of_time),
            received: rate(point.received),
            sent: rate(point.sent),
            read: rate(point.read),
            written: rate(point.written),
        }
    }
}

/// Points by Swarm service. A batch holds two points of a service that was restarted.
fn merged(
    points: impl Iterator<Item = (String, ContainerPoint)>,
) -> BTreeMap<String, ContainerPoint> {
    let mut merged: BTreeMap<String, ContainerPoint> = BTreeMap::new();
    for (service, point) in points {
        merged
            .entry(service)
            .and_modify(|other| compare::merge(other, &point))
            .or_insert(point);
    }
    merged
}

/// Adds the use of another container of the same Swarm service at the same time.
fn add(one: &mut ContainerUsage, other: &ContainerUsage) {
    one.memory.0 = one.memory.0.saturating_add(other.memory.0);
    one.memory_peak = one.memory_peak.max(other.memory_peak).max(one.memory);
    one.cpu = one
        .cpu
        .zip(other.cpu)
        .map(|(a, b)| NanoCpus(a.0.saturating_add(b.0)))
        .or(one.cpu)
        .or(other.cpu);
    one.cpu_peak = one
        .cpu_peak
        .max(other.cpu_peak)
        .max(one.cpu.unwrap_or_default());
    one.oom_kills = one.oom_kills.saturating_add(other.oom_kills);
    one.memory_pressure = one.memory_pressure.max(other.memory_pressure);
    one.cpu_pressure = one.cpu_pressure.max(other.cpu_pressure);
    for (sum, more) in [
        (&mut one.received, other.received),
        (&mut one.sent, other.sent),
        (&mut one.read, other.read),
        (&mut one.written, other.written),
    ] {
        *sum = sum.saturating_add(more);
    }
}

/// Use of a Swarm service since the last call of `used`.
fn entry<'a>(used: &'a mut BTreeMap<Arc<str>, Used>, service: &str) -> &'a mut Used {
    if !used.contains_key(service) {
        let service: Arc<str> = service.into();
        let nothing = Used {
            service: service.clone(),
            measured_ms: 0,
            memory_peak: MemoryBytes(0),
            cpu_peak: NanoCpus(0),
            killed_at: None,
        };
        used.insert(service, nothing);
    }
    used.get_mut(service).expect("it was put there")
}
