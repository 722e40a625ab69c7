//! Properties that roll-ups preserve.

use super::*;
use micado_api::NanoCpus;
use proptest::{prelude::*, sample::subsequence};

fn point(
    instance: &str,
    at: u64,
    machine: MachinePoint,
    containers: &[(&str, ContainerPoint)],
) -> Point {
    let containers = containers
        .iter()
        .map(|(name, point)| ((*name).to_owned(), *point))
        .collect();
    Point {
        instance: InstanceId::trusted(instance),
        resolution: Resolution::Sample,
        at: Timestamp(at),
        machine,
        containers,
    }
}

#[test]
fn a_minute_is_the_sum_of_its_samples() {
    let machine = |left: u64, disk_left| MachinePoint {
        measured_ms: 2000,
        memory_left: MemoryBytes(left),
        memory_least_left: MemoryBytes(left - 10),
        disk_left,
        ..MachinePoint::default()
    };
    let web = |measured_ms, memory, received| ContainerPoint {
        measured_ms,
        memory: MemoryBytes(memory),
        received,
        ..ContainerPoint::default()
    };
    let points = [
        point("a", 62_000, machine(300, 7), &[("web", web(2000, 300, 5))]),
        point(
            "a",
            60_000,
            machine(100, 9),
            &[("web", web(1000, 0, 1)), ("job", web(0, 50, 0))],
        ),
        point("b", 61_000, machine(500, 1), &[]),
        point("a", 59_999, machine(900, 2), &[]),
    ];
    let minutes = roll_up(&points, Resolution::Minute);
    assert_eq!(
        minutes
            .iter()
            .map(|it| (it.at.0, it.instance.as_str()))
            .collect::<Vec<_>>(),
        [(0, "a"), (60_000, "a"), (60_000, "b")]
    );
    let a = &minutes[1];
    assert_eq!(
        (
            a.machine.measured_ms,
            a.machine.memory_left.0,
            a.machine.memory_least_left.0,
            a.machine.disk_left
        ),
        (4000, 200, 90, 7)
    );
    assert_eq!(a.containers["web"], web(3000, 200, 6));
    assert_eq!(
        a.containers["job"].memory.0, 50,
        "it was there, though nothing was measured of it"
    );
}

fn containers() -> impl Strategy<Value = ContainerPoint> {
    let peaks = (0_u64..1 << 40, 0_u64..1 << 40, 0_u64..1 << 40);
    (
        0_u64..5000,
        0_u64..1 << 40,
        peaks,
        0_u64..3,
        prop::array::uniform4(0_u64..1 << 40),
    )
        .prop_map(|(ms, cpu_ns, (cpu_peak, memory, more), oom_kills, bytes)| {
            let [received, sent, read, written] = bytes;
            ContainerPoint {
                measured_ms: ms,
                cpu_ns,
                cpu_peak: NanoCpus(cpu_peak),
                throttled_ns: cpu_ns / 2,
                memory: MemoryBytes(memory),
                memory_peak: MemoryBytes(memory + more),
                oom_kills,
                received,
                sent,
                read,
                written,
            }
        })
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let machine = containers().prop_map(|it| MachinePoint {
        measured_ms: it.measured_ms,
        cpu_ns: it.cpu_ns,
        cpu_peak: it.cpu_peak,
        memory_total: it.memory_peak,
        memory_left: it.memory,
        memory_least_left: MemoryBytes(it.memory.0 / 2),
        disk_left: it.sent,
        disk_total: it.received,
    });
    let there = subsequence(vec!["web", "db", "job"], 0..=3).prop_flat_map(|names| {
        let points = prop::collection::vec(containers(), names.len());
        points.prop_map(move |points| names.iter().copied().zip(points).collect::<Vec<_>>())
    });
    let times = prop::collection::btree_map(
        (subsequence(vec!["a", "b"], 1), 0_u64..3_000_000),
        (machine, there),
        0..40,
    );
    times.prop_map(|them| {
        them.into_iter()
            .map(|((instance, at), (machine, there))| point(instance[0], at, machine, &there))
            .collect()
    })
}

/// Sums, maxima and minima.
type Figures = ([u64; 8], [u64; 2], [u64; 2]);

/// Sums and extremes of each instance and container over all points.
fn kept(points: &[Point]) -> BTreeMap<(String, String), Figures> {
    let mut kept: BTreeMap<(String, String), Figures> = BTreeMap::new();
    let mut note = |key: (&Point, &str), sums: [u64; 8], peaks: [u64; 2], least: [u64; 2]| {
        let it = kept
            .entry((key.0.instance.to_string(), key.1.to_owned()))
            .or_insert(([0; 8], [0; 2], [u64::MAX; 2]));
        it.0.iter_mut()
            .zip(sums)
            .for_each(|(sum, more)| *sum += more);
        it.1.iter_mut()
            .zip(peaks)
            .for_each(|(peak, more)| *peak = (*peak).max(more));
        it.2.iter_mut()
            .zip(least)
            .for_each(|(least, more)| *least = (*least).min(more));
    };
    for point in points {
        let m = &point.machine;
        note(
            (point, ""),
            [m.measured_ms, m.cpu_ns, 0, 0, 0, 0, 0, 0],
            [m.cpu_peak.0, 0],
            [m.memory_least_left.0, u64::MAX],
        );
        for (name, c) in &point.containers {
            let sums = [
                c.measured_ms,
                c.cpu_ns,
                c.throttled_ns,
                c.oom_kills,
                c.received,
                c.sent,
                c.read,
                c.written,
            ];
            note(
                (point, name),
                sums,
                [c.cpu_peak.0, c.memory_peak.0],
                [u64::MAX; 2],
            );
        }
    }
    kept
}

/// Removes the means, which are rounded at every step.
fn without_means(mut points: Vec<Point>) -> Vec<Point> {
    for point in &mut points {
        point.machine.memory_left = MemoryBytes(0);
        point
            .containers
            .values_mut()
            .for_each(|it| it.memory = MemoryBytes(0));
    }
    points
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_counted_twice(points in points()) {
        for to in [Resolution::Minute, Resolution::TenMinutes] {
            prop_assert_eq!(kept(&points), kept(&roll_up(&points, to)));
        }
    }

    #[test]
    fn one_step_is_as_good_as_two(points in points()) {
        let once = roll_up(&points, Resolution::TenMinutes);
        let twice = roll_up(&roll_up(&points, Resolution::Minute), Resolution::TenMinutes);
        prop_assert_eq!(without_means(once), without_means(twice));
    }

    #[test]
    fn order_is_no_matter((points, mixed) in points().prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle()))) {
        prop_assert_eq!(roll_up(&points, Resolution::Minute), roll_up(&mixed, Resolution::Minute));
    }

    /// A mean lies between the minimum and the maximum, and is weighted by the measured time.
    #[test]
    fn means_are_weighted_by_the_time_measured(values in prop::collection::vec((0_u64..5000, 0_u64..1 << 40), 1..20)) {
        let one = |at, (ms, memory): (u64, u64)| {
            point("a", at, MachinePoint::default(), &[("web", ContainerPoint { measured_ms: ms, memory: MemoryBytes(memory), ..ContainerPoint::default() })])
        };
        let points: Vec<Point> = values.iter().zip(0..).map(|(value, at)| one(at, *value)).collect();
        let mean = roll_up(&points, Resolution::Minute)[0].containers["web"].memory.0;
        let time: u64 = values.iter().map(|(ms, _)| ms).sum();
        if time > 0 {
            let area: u128 = values.iter().map(|(ms, memory)| u128::from(*ms) * u128::from(*memory)).sum();
            prop_assert_eq!(u128::from(mean), area / u128::from(time));
        } else {
            let all: u64 = values.iter().map(|(_, memory)| memory).sum();
            prop_assert_eq!(mean, all / values.len() as u64);
        }
    }
}
