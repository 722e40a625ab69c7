//! Load of a service over time: the sum of its containers on all machines.

use super::{ContainerPoint, Point, rollup::add_counts};
use crate::scaling::{SLOT_MS, Slot, Slotting};
use micado_api::{MemoryBytes, NanoCpus, Timestamp};
use std::collections::BTreeMap;

/// Billionths of a core in a core.
const NANO: f64 = 1e9;

/// Sums the containers of each time, in order. The points hold one service only. A container that
/// was measured for a part of the time counts for that part; peaks are summed, and so are an upper
/// bound.
#[must_use]
pub fn totals(points: &[Point]) -> Vec<(Timestamp, ContainerPoint)> {
    let mut sums: BTreeMap<Timestamp, (ContainerPoint, u128)> = BTreeMap::new();
    for point in points {
        let (sum, memory) = sums.entry(point.at).or_default();
        for figures in point.containers.values() {
            add(sum, figures);
            *memory += u128::from(figures.memory.0) * u128::from(figures.measured_ms);
        }
    }
    let totals = sums.into_iter().map(|(at, (sum, memory))| {
        let mean = memory.checked_div(u128::from(sum.measured_ms));
        let memory = MemoryBytes(u64::try_from(mean.unwrap_or(0)).unwrap_or(u64::MAX));
        (at, ContainerPoint { memory, ..sum })
    });
    totals.collect()
}

fn add(sum: &mut ContainerPoint, more: &ContainerPoint) {
    add_counts(sum, more);
    sum.measured_ms = sum.measured_ms.max(more.measured_ms);
    sum.cpu_peak = NanoCpus(sum.cpu_peak.0.saturating_add(more.cpu_peak.0));
    let peak = sum.memory_peak.0.saturating_add(more.memory_peak.0);
    sum.memory_peak = MemoryBytes(peak);
}

/// Slots of five minutes of a service's CPU, from points of ten minutes and, after them, of a
/// minute. Both hold that service only. Points of ten minutes have no highest minute: their mean
/// stands for it.
#[must_use]
pub fn cpu_slots(coarse: &[Point], fine: &[Point]) -> Vec<(Timestamp, Slot)> {
    let fine = totals(fine);
    let begin = fine.first().map_or(Timestamp(u64::MAX), |(at, _)| *at);
    let mut slots = Vec::new();
    for (at, total) in totals(coarse) {
        let Some(load) = cores(&total) else { continue };
        let slot = Slot {
            mean: load as f32,
            highest: load as f32,
        };
        let halves = [at, Timestamp(at.0 + SLOT_MS)];
        let before = halves.into_iter().filter(|at| at.0 + SLOT_MS <= begin.0);
        slots.extend(before.map(|at| (at, slot)));
    }
    let mut slotting = Slotting::default();
    for (at, total) in fine {
        slots.extend(cores(&total).and_then(|load| slotting.add(at, load)));
    }
    slots
}

/// Mean CPU in cores; `None` if no time was measured.
fn cores(total: &ContainerPoint) -> Option<f64> {
    let seconds = total.measured_ms as f64 / 1_000.0;
    (seconds > 0.0).then(|| total.cpu_ns as f64 / NANO / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MachinePoint, Recall, Resolution, Series};
    use micado_api::{InstanceId, ServiceName};

    const MINUTE: u64 = 60_000;

    /// A point in which each of these containers used so many cores for so many milliseconds.
    fn point(resolution: Resolution, at: u64, instance: &str, of: &[(&str, u64, u64)]) -> Point {
        let containers = of.iter().map(|(name, cores, ms)| {
            let figures = ContainerPoint {
                measured_ms: *ms,
                cpu_ns: cores * ms * 1_000_000,
                memory: MemoryBytes(100),
                ..ContainerPoint::default()
            };
            ((*name).to_owned(), figures)
        });
        Point {
            instance: InstanceId::trusted(instance),
            resolution,
            at: Timestamp(at),
            machine: MachinePoint::default(),
            containers: containers.collect(),
        }
    }

    #[test]
    fn containers_of_all_machines_are_summed() {
        let minute = Resolution::Minute;
        let points = [
            point(
                minute,
                0,
                "i1",
                &[("a_web.1", 2, MINUTE), ("a_web.2", 1, MINUTE)],
            ),
            // It began in the middle of the minute.
            point(minute, 0, "i2", &[("a_web.3", 4, MINUTE / 2)]),
            point(minute, MINUTE, "i1", &[("a_web.1", 3, MINUTE)]),
        ];
        let totals = totals(&points);
        let shown: Vec<_> = totals
            .iter()
            .map(|(at, total)| (at.0, cores(total), total.memory.0))
            .collect();
        assert_eq!(shown, [(0, Some(5.0), 250), (MINUTE, Some(3.0), 100)]);
    }

    #[test]
    fn a_series_of_a_service_holds_its_containers_only() {
        let names = [
            ("a_web.1", 1, MINUTE),
            ("a_web.12", 1, MINUTE),
            ("a_web-x.1", 1, MINUTE),
        ];
        let point = point(Resolution::Minute, 0, "i1", &names);
        let wanted = |series| Recall {
            series,
            resolution: Resolution::Minute,
            from: Timestamp(0),
            until: Timestamp(1),
        };
        let of = |service: &str| {
            let series = Series::Service(ServiceName::trusted(service));
            let part = wanted(series).of(&point);
            part.map(|part| part.containers.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(of("a_web"), Some(vec!["a_web.1".into(), "a_web.12".into()]));
        assert_eq!(of("a_we"), None);
    }

    #[test]
    fn slots_are_made_of_minutes_where_there_are_any() {
        let ten = [0, 1, 2].map(|number| {
            let at = number * 10 * MINUTE;
            point(
                Resolution::TenMinutes,
                at,
                "i1",
                &[("a_web.1", 2, 10 * MINUTE)],
            )
        });
        let minutes: Vec<Point> = (20..31)
            .map(|number| {
                let cores = if number == 22 { 9 } else { 4 };
                let of = [("a_web.1", cores, MINUTE)];
                point(Resolution::Minute, number * MINUTE, "i1", &of)
            })
            .collect();
        let slots = cpu_slots(&ten, &minutes);
        let shown: Vec<_> = slots
            .iter()
            .map(|(at, slot)| (at.0 / MINUTE, slot.mean, slot.highest))
            .collect();
        let old = |minute| (minute, 2.0, 2.0);
        assert_eq!(
            shown,
            [
                old(0),
                old(5),
                old(10),
                old(15),
                (20, 5.0, 9.0),
                (25, 4.0, 4.0)
            ]
        );
    }
}
