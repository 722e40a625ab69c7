//! Roll-ups: many points merged into one of a coarser resolution.

use super::{ContainerPoint, MachinePoint, Point, Resolution};
use micado_api::{InstanceId, MemoryBytes, Timestamp};
use std::collections::BTreeMap;

/// Merges points of one resolution into points of a coarser one, one for each instance and time.
/// All points of such a time must be present, in any order. The result is sorted by time and then
/// by instance.
///
/// Counts are summed, peaks are the maximum (of available memory the minimum), means are weighted
/// by the measured time, and the disk has its last value.
#[must_use]
pub fn roll_up(points: &[Point], to: Resolution) -> Vec<Point> {
    let mut sums: BTreeMap<(Timestamp, &InstanceId), Sum<'_>> = BTreeMap::new();
    for point in points {
        sums.entry((to.begin(point.at), &point.instance))
            .or_default()
            .add(point);
    }
    sums.into_iter()
        .map(|((at, instance), sum)| sum.finish(instance.clone(), to, at))
        .collect()
}

/// A point while it is being merged.
#[derive(Default)]
struct Sum<'p> {
    machine: MachinePoint,
    left: Mean,
    least_left: Option<MemoryBytes>,
    /// The latest of the merged points.
    last: Option<&'p Point>,
    containers: BTreeMap<&'p str, (ContainerPoint, Mean)>,
}

impl<'p> Sum<'p> {
    fn add(&mut self, point: &'p Point) {
        let machine = &point.machine;
        self.left.add(machine.memory_left, machine.measured_ms);
        self.least_left = Some(self.least_left.map_or(machine.memory_least_left, |least| {
            least.min(machine.memory_least_left)
        }));
        self.machine.measured_ms = self.machine.measured_ms.saturating_add(machine.measured_ms);
        self.machine.cpu_ns = self.machine.cpu_ns.saturating_add(machine.cpu_ns);
        self.machine.cpu_peak = self.machine.cpu_peak.max(machine.cpu_peak);
        let age = |it: &Point| {
            (
                it.at,
                it.machine.memory_total,
                it.machine.disk_total,
                it.machine.disk_left,
            )
        };
        self.last = self
            .last
            .filter(|last| age(last) >= age(point))
            .or(Some(point));
        for (name, container) in &point.containers {
            let (sum, memory) = self.containers.entry(name).or_default();
            memory.add(container.memory, container.measured_ms);
            add(sum, container);
        }
    }

    fn finish(self, instance: InstanceId, resolution: Resolution, at: Timestamp) -> Point {
        let last = self.last.map(|last| last.machine).unwrap_or_default();
        let machine = MachinePoint {
            memory_total: last.memory_total,
            memory_left: self.left.get(),
            memory_least_left: self.least_left.unwrap_or_default(),
            disk_left: last.disk_left,
            disk_total: last.disk_total,
            ..self.machine
        };
        let containers = self.containers.into_iter().map(|(name, (sum, memory))| {
            (
                name.to_owned(),
                ContainerPoint {
                    memory: memory.get(),
                    ..sum
                },
            )
        });
        Point {
            instance,
            resolution,
            at,
            machine,
            containers: containers.collect(),
        }
    }
}

/// Adds counts and peaks. The caller computes the mean.
fn add(sum: &mut ContainerPoint, more: &ContainerPoint) {
    add_counts(sum, more);
    sum.measured_ms = sum.measured_ms.saturating_add(more.measured_ms);
    sum.cpu_peak = sum.cpu_peak.max(more.cpu_peak);
    sum.memory_peak = sum.memory_peak.max(more.memory_peak);
}

pub(super) fn add_counts(sum: &mut ContainerPoint, more: &ContainerPoint) {
    let counts = [
        (&mut sum.cpu_ns, more.cpu_ns),
        (&mut sum.throttled_ns, more.throttled_ns),
        (&mut sum.oom_kills, more.oom_kills),
        (&mut sum.received, more.received),
        (&mut sum.sent, more.sent),
        (&mut sum.read, more.read),
        (&mut sum.written, more.written),
    ];
    for (sum, more) in counts {
        *sum = sum.saturating_add(more);
    }
}

/// A mean weighted by time, or the plain mean if no time was measured at all.
#[derive(Default)]
struct Mean {
    weighted: u128,
    weight: u128,
    plain: u128,
    count: u128,
}

impl Mean {
    fn add(&mut self, value: MemoryBytes, ms: u64) {
        self.weighted = self
            .weighted
            .saturating_add(u128::from(value.0) * u128::from(ms));
        self.weight += u128::from(ms);
        self.plain += u128::from(value.0);
        self.count += 1;
    }
    fn get(&self) -> MemoryBytes {
        let mean = self
            .weighted
            .checked_div(self.weight)
            .or_else(|| self.plain.checked_div(self.count))
            .unwrap_or(0);
        MemoryBytes(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
