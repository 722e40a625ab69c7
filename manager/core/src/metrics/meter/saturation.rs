//! Time for which a machine has had nothing left of a resource, and what it has run out of.

use super::runs::Order;
use crate::{planner::Exhausted, scaling::Resource};
use micado_api::{MachineUsage, Timestamp, agent::MachineSample};
use std::time::Duration;

/// Shares of a resource in use: from the first on nothing is left, below the second something is
/// again.
type Bounds = (f64, f64);

const CPU: Bounds = (0.97, 0.90);
const MEMORY: Bounds = (0.97, 0.94);

/// Time for which something must be left: single samples vary, and a host may hold a machine up.
const CALM: Duration = Duration::from_secs(10);

/// A resource of which nothing is left, by the manager's clock.
#[derive(Debug, Clone, Copy)]
struct Full {
    resource: Resource,
    since: Timestamp,
    /// Time of the last sample with nothing left.
    last: Timestamp,
}

/// The resource of which a machine has nothing left, if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Saturation(Option<Full>);

impl Saturation {
    /// The resource, and since when.
    pub(super) fn current(&self) -> Option<(Resource, Timestamp)> {
        self.0.map(|full| (full.resource, full.since))
    }

    /// Takes the use of the machine by its newest batch. Nothing is known of the time of a gap.
    pub(super) fn note(&mut self, now: Timestamp, order: Order, usage: Option<&MachineUsage>) {
        let before = self.0.filter(|_| order == Order::Next);
        let is_full = |resource: Resource, (begin, end): Bounds| {
            let was_full = before.is_some_and(|full| full.resource == resource);
            let share = usage.and_then(|usage| share(usage, resource));
            share.is_some_and(|share| share >= if was_full { end } else { begin })
        };
        let full = [(Resource::Cpu, CPU), (Resource::Memory, MEMORY)];
        let full = full.into_iter().find(|(of, bounds)| is_full(*of, *bounds));
        self.0 = match (full, before) {
            (Some((resource, _)), before) => Some(Full {
                resource,
                since: before
                    .filter(|full| full.resource == resource)
                    .map_or(now, |full| full.since),
                last: now,
            }),
            (None, before) => before.filter(|full| now.since(full.last) < CALM),
        };
    }
}

/// Free disk space, and share of the disk, below which a machine has none left. Both must be: 1 GiB
/// is enough for most images, and small disks are never that empty.
const DISK_LEFT: u64 = 1 << 30;
const DISK_SHARE: u64 = 10;

/// The disk of the engine's data.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Disk {
    is_full: bool,
}

impl Disk {
    /// Takes the newest sample. A full disk has space again once a quarter more is free.
    pub(super) fn note(&mut self, sample: &MachineSample) {
        let least = DISK_LEFT.min(sample.disk_total / DISK_SHARE);
        let least = least + if self.is_full { least / 4 } else { 0 };
        self.is_full = sample.disk_left < least;
    }
}

/// Something that a machine has run out of, if there is.
pub(super) fn exhausted(disk: Disk, saturation: Saturation) -> Option<Exhausted> {
    let memory = saturation
        .0
        .is_some_and(|it| it.resource == Resource::Memory);
    let disk = disk.is_full.then_some(Exhausted::Disk);
    disk.or(memory.then_some(Exhausted::Memory))
}

fn share(usage: &MachineUsage, resource: Resource) -> Option<f64> {
    let (used, whole) = match resource {
        Resource::Cpu => (usage.cpu?.0, usage.cores.0),
        Resource::Memory => {
            let total = usage.memory_total.0;
            (total.saturating_sub(usage.memory_left.0), total)
        }
    };
    (whole > 0).then(|| used as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::{MemoryBytes, NanoCpus};

    /// Since when a machine is saturated after these shares of its CPU, one each second.
    fn after(shares: &[f64]) -> Option<u64> {
        let mut saturation = Saturation::default();
        for (second, share) in (0..).zip(shares) {
            let usage = MachineUsage {
                cores: NanoCpus(2_000_000_000),
                cpu: Some(NanoCpus((share * 2e9) as u64)),
                memory_total: MemoryBytes(100),
                memory_left: MemoryBytes(50),
                ..MachineUsage::default()
            };
            let now = Timestamp(1_000 * second);
            saturation.note(now, Order::Next, Some(&usage));
        }
        saturation.current().map(|(_, since)| since.0)
    }

    #[test]
    fn a_machine_is_saturated_until_something_is_left() {
        assert_eq!(after(&[0.5, 0.96]), None);
        assert_eq!(after(&[0.5, 0.98, 0.91, 1.0]), Some(1_000));
        let calm = |seconds| [&[0.98][..], &vec![0.89; seconds], &[0.98]].concat();
        assert_eq!(after(&calm(9)), Some(0), "a dip is no end");
        assert_eq!(after(&calm(10)), Some(11_000));
    }

    #[test]
    fn memory_counts_too_and_a_gap_begins_anew() {
        let full = MachineUsage {
            memory_total: MemoryBytes(100),
            memory_left: MemoryBytes(2),
            ..MachineUsage::default()
        };
        let mut saturation = Saturation::default();
        saturation.note(Timestamp(1), Order::Next, Some(&full));
        saturation.note(Timestamp(2), Order::Next, Some(&full));
        assert_eq!(saturation.current(), Some((Resource::Memory, Timestamp(1))));
        saturation.note(Timestamp(9), Order::AfterGap, Some(&full));
        assert_eq!(saturation.current(), Some((Resource::Memory, Timestamp(9))));
    }

    #[test]
    fn a_disk_is_full_until_a_quarter_more_is_free() {
        let mib = |mib: u64| mib << 20;
        let mut disk = Disk::default();
        let mut at = |left, total| {
            let sample = MachineSample {
                disk_left: mib(left),
                disk_total: mib(total),
                ..MachineSample::default()
            };
            disk.note(&sample);
            exhausted(disk, Saturation::default())
        };
        assert_eq!(at(0, 0), None, "unknown");
        assert_eq!(at(1024, 100_000), None, "1 GiB is enough");
        assert_eq!(at(1023, 100_000), Some(Exhausted::Disk));
        assert_eq!(at(1279, 100_000), Some(Exhausted::Disk));
        assert_eq!(at(1280, 100_000), None);
        assert_eq!(at(100, 1000), None, "a tenth of a small disk is enough");
        assert_eq!(at(99, 1000), Some(Exhausted::Disk));
    }
}
