//! One machine as its agent measures it: the last sample of everything, to compare the next with,
//! and what follows from the two.

use super::{
    compare,
    runs::{Order, Runs},
};
use crate::metrics::{ContainerPoint, MachinePoint, Point, Resolution, Used, per_second};
use micado_api::{
    ContainerUsage, Hundredths, InstanceId, MachineUsage, MemoryBytes, NanoCpus, Timestamp,
    agent::{ContainerSample, LONGEST_INTERVAL_MS, MachineSample, SampleBatch},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// A machine of which nothing fresh came for this long is blind, unless its agent measures more
/// rarely than that.
const FRESH: Duration = Duration::from_secs(10);

/// So many batches in a row may not come until it is blind.
const MISSED: u32 = 3;

/// The mean over so many milliseconds counts as CPU that a container needs: less is a start or a
/// burst.
const MINUTE: u64 = 60_000;

/// Two samples further apart than this, in milliseconds, are not compared: that is no figure of a
/// moment, or somebody has set the clock.
const APART: u64 = 3_600_000;

/// So many batches may leave a container out until it is forgotten: a new run of an agent tells of
/// each when a slow engine has named its first process.
const LEFT_OUT: u32 = 30;

/// Upper bound for the containers of one Swarm service that are remembered although batches leave
/// them out: an agent may make up ids.
const MOST_LEFT_OUT: usize = 16;

/// One machine.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) runs: Runs,
    /// When the last batch came that was not late, by the manager's clock.
    pub(super) fresh_at: Option<Timestamp>,
    pub(super) usage: Option<MachineUsage>,
    /// The last.
    last: Option<(MachineSample, Timestamp)>,
    /// Between the last two batches of which no other was missing: so often its agent measures.
    interval: Duration,
    /// When the first batch of this run was measured.
    first_at: Timestamp,
    /// Those that run, by the engine's id.
    pub(super) containers: HashMap<String, Known>,
    /// What they use, by Swarm service.
    now: HashMap<String, ContainerUsage>,
}

/// A container that runs.
#[derive(Debug, Default)]
pub(super) struct Known {
    sample: ContainerSample,
    memory_peak: MemoryBytes,
    cpu_peak: NanoCpus,
    /// Milliseconds of the present minute that were measured, and the CPU time used in them.
    minute: (u64, u64),
    /// Batches since that said nothing of it.
    left_out: u32,
}

/// The batch before, of the same run.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// When it was measured; by the clock as it is now, if that was set back since.
    at: Timestamp,
    /// Milliseconds from it to this one.
    ms: u64,
}

impl Watched {
    /// The Swarm services of its containers.
    pub(super) fn services(&self) -> impl Iterator<Item = &String> {
        self.now.keys()
    }

    pub(super) fn container(&self, service: &str) -> Option<&ContainerUsage> {
        self.now.get(service)
    }

    /// Whether what is known of it is about now, by the manager's clock.
    pub(super) fn is_seen(&self, now: Timestamp) -> bool {
        self.fresh_at
            .is_some_and(|at| now.since(at) <= FRESH.max(self.interval * MISSED))
    }

    /// A batch as a point. One that is older than the last is compared with nothing, and is not how
    /// things are now.
    pub(super) fn take(
        &mut self,
        instance: &InstanceId,
        order: Order,
        batch: SampleBatch,
        used: &mut BTreeMap<String, Used>,
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
        // A clock that was set back says of all that begins from now on that it was earlier.
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

    /// What every container used since the last batch.
    fn measure_containers(
        &mut self,
        before: Option<Before>,
        batch: SampleBatch,
        used: &mut BTreeMap<String, Used>,
    ) -> Vec<(String, ContainerPoint)> {
        let (at, cores) = (batch.at, batch.machine.cores);
        let mut others = std::mem::take(&mut self.containers);
        self.now.clear();
        let mut points = Vec::with_capacity(batch.containers.len());
        for sample in batch.containers {
            let Some(service) = sample.service.clone() else {
                continue;
            };
            // One that began anew lives another life: it counts from 0, and so do its peaks.
            let known = others
                .remove(&sample.id)
                .filter(|known| known.sample.started_at == sample.started_at);
            let ms = match &known {
                Some(known) => before
                    .filter(|_| known.left_out == 0)
                    .map(|before| before.ms),
                None => before.and_then(|before| self.lived(before, sample.started_at?, at)),
            };
            // A kill is one, however little is known of the time.
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
                let usage = known.usage(at, &point);
                self.now
                    .entry(service.clone())
                    .and_modify(|other| add(other, &usage))
                    .or_insert(usage);
                self.containers.insert(known.sample.id.clone(), known);
            }
            points.push((service, point));
        }
        let mut counts: HashMap<Option<String>, usize> = HashMap::new();
        others.retain(|_, known| {
            known.left_out += 1;
            let count = counts.entry(known.sample.service.clone()).or_default();
            *count += 1;
            known.left_out <= LEFT_OUT && *count <= MOST_LEFT_OUT
        });
        self.containers.extend(others);
        points
    }

    /// How long a container that no batch told of has lived, in milliseconds, but no less than from
    /// batch to batch. Nothing if it may have begun before this run: what it used then was
    /// measured, or cannot be told from what it uses now.
    fn lived(&self, before: Before, began: Timestamp, at: Timestamp) -> Option<u64> {
        (self.first_at < began && began <= at).then(|| {
            before
                .ms
                .saturating_add(before.at.0.saturating_sub(began.0))
        })
    }
}

impl Known {
    /// Takes its next point in; gives the mean over a minute when one is complete. After its end it
    /// uses nothing, so its last minute is.
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
            received: rate(point.received),
            sent: rate(point.sent),
            read: rate(point.read),
            written: rate(point.written),
        }
    }
}

/// Points by Swarm service: of one that was restarted there are two in a batch.
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

/// What another container of the same Swarm service uses at the same time.
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

/// What is known of a Swarm service's use since it was last asked for.
fn entry<'a>(used: &'a mut BTreeMap<String, Used>, service: &str) -> &'a mut Used {
    if !used.contains_key(service) {
        let nothing = Used {
            service: service.to_owned(),
            measured_ms: 0,
            memory_peak: MemoryBytes(0),
            cpu_peak: NanoCpus(0),
            killed_at: None,
        };
        used.insert(service.to_owned(), nothing);
    }
    used.get_mut(service).expect("it was put there")
}
