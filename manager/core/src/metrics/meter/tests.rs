//! Current metrics from batches as agents send them.

use super::*;
use micado_api::{
    MemoryBytes, NanoCpus,
    agent::{ContainerSample, MachineSample},
};
use proptest::prelude::*;

mod current;
mod runs;

const SECOND: u64 = 1_000_000_000;

fn id(name: &str) -> InstanceId {
    InstanceId::trusted(name)
}

fn container(id: &str, service: &str, cpu_ns: u64, mib: u64) -> ContainerSample {
    let memory = MemoryBytes::mib(mib);
    ContainerSample {
        id: id.to_owned(),
        service: Some(service.to_owned()),
        cpu_ns,
        working_set: memory,
        working_set_peak: memory,
        ..ContainerSample::default()
    }
}

/// A batch measured at `sequence` times 2 s.
fn batch(sequence: u64, containers: Vec<ContainerSample>) -> SampleBatch {
    let machine = MachineSample {
        memory_left: MemoryBytes::mib(1000 - sequence),
        cpu_ns: sequence * SECOND,
        cores: 4 * SECOND,
        ..MachineSample::default()
    };
    SampleBatch {
        sequence,
        at: Timestamp(sequence * 2000),
        late: false,
        machine,
        containers,
    }
}

/// A meter, and the time of the machine's last batch by the manager's clock.
#[derive(Default)]
struct Bench {
    meter: Meter,
    now: Timestamp,
}

impl Bench {
    fn take(&mut self, batch: SampleBatch) -> Option<Point> {
        self.now = Timestamp(batch.at.0 + 1_000_000);
        self.meter.take(self.now, &id("i"), "run", batch)
    }
    fn usage(&self, service: &str) -> Option<ContainerUsage> {
        self.meter.container(self.now, service)
    }
    /// Milliseconds, CPU in thousandths and bytes received of a service's point.
    fn point(&mut self, batch: SampleBatch, service: &str) -> (u64, u64, u64) {
        let point = self.take(batch).expect("a new batch").containers[service];
        (
            point.measured_ms,
            point.cpu_peak.0 / 1_000_000,
            point.received,
        )
    }
}

#[test]
fn rates_come_from_two_samples() {
    let mut bench = Bench::default();
    assert_eq!(
        bench.point(
            batch(1, vec![container("c", "web", 70 * SECOND, 10)]),
            "web"
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (
            bench.usage("web").expect("it runs").cpu,
            bench.meter.machine(bench.now, &id("i")).expect("seen").cpu
        ),
        (None, None)
    );
    let next = ContainerSample {
        received: 500,
        working_set_peak: MemoryBytes::mib(30),
        ..container("c", "web", 71 * SECOND, 20)
    };
    assert_eq!(bench.point(batch(2, vec![next]), "web"), (2000, 500, 500));
    let now = bench.usage("web").expect("it runs");
    assert_eq!(
        (now.cpu, now.memory, now.memory_peak, now.received),
        (
            Some(NanoCpus::millis(500)),
            MemoryBytes::mib(20),
            MemoryBytes::mib(30),
            250
        )
    );
    bench.take(batch(
        3,
        vec![ContainerSample {
            received: 500,
            ..container("c", "web", 71 * SECOND, 5)
        }],
    ));
    let now = bench.usage("web").expect("it runs");
    assert_eq!(
        (now.cpu, now.cpu_peak, now.memory_peak),
        (
            Some(NanoCpus(0)),
            NanoCpus::millis(500),
            MemoryBytes::mib(30)
        ),
        "peaks stay"
    );
    let machine = bench.meter.machine(bench.now, &id("i")).expect("seen");
    assert_eq!(
        (machine.cpu, machine.memory_least_left),
        (Some(NanoCpus::millis(500)), MemoryBytes::mib(997))
    );
}

/// Sets the start time, in milliseconds by the machine's clock.
fn began(at: u64, sample: ContainerSample) -> ContainerSample {
    ContainerSample {
        started_at: Some(Timestamp(at)),
        ..sample
    }
}

#[test]
fn one_that_began_meanwhile_is_measured_from_its_start() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![]));
    assert_eq!(
        bench.point(
            batch(2, vec![began(3000, container("c", "web", SECOND, 10))]),
            "web"
        ),
        (2000, 500, 0)
    );
    assert_eq!(
        bench.point(
            batch(5, vec![began(5000, container("d", "job", SECOND, 10))]),
            "job"
        ),
        (6000, 166, 0),
        "after a gap, too"
    );
    assert_eq!(
        bench.point(batch(6, vec![container("e", "db", SECOND, 10)]), "db"),
        (0, 0, 0),
        "nobody knows when"
    );
    assert_eq!(
        bench.point(
            batch(7, vec![began(4000, container("f", "db", 4 * SECOND, 10))]),
            "db"
        ),
        (10_000, 400, 0),
        "a slow engine told of it late"
    );
}

#[test]
fn what_ran_before_the_agent_did_is_not_counted_anew() {
    let old = |received, mib| {
        let more = ContainerSample {
            received,
            oom_kills: 1,
            memory_limit: Some(MemoryBytes::mib(64)),
            ..container("c", "web", SECOND, mib)
        };
        began(1000, more)
    };
    let mut bench = Bench::default();
    bench.take(batch(1, vec![]));
    bench.take(batch(2, vec![old(1 << 30, 50)]));
    assert_eq!(bench.meter.used()[0].killed_at, None, "that was before");
    // The agent restarts, and the engine reports the container's first process only after the first
    // batch.
    let mut next = |sequence, containers| {
        bench
            .meter
            .take(
                bench.now,
                &id("i"),
                "another run",
                batch(sequence, containers),
            )
            .expect("new")
    };
    next(3, vec![]);
    let found = next(
        4,
        vec![
            old(1 << 31, 10),
            began(
                5000,
                ContainerSample {
                    oom_kills: 2,
                    received: 9,
                    ..container("d", "web", SECOND, 10)
                },
            ),
        ],
    )
    .containers["web"];
    assert_eq!(
        (
            found.measured_ms,
            found.received,
            found.cpu_ns,
            found.oom_kills
        ),
        (0, 0, 0, 0)
    );
    let after = next(5, vec![old((1 << 31) + 7, 10)]).containers["web"];
    assert_eq!((after.measured_ms, after.received), (2000, 7));
    assert_eq!(bench.meter.used()[0].killed_at, None);
    assert_eq!(
        bench.usage("web").expect("it runs").memory_peak,
        MemoryBytes::mib(50),
        "its peak outlives that"
    );
}

#[test]
fn what_falls_or_stands_still_is_no_use() {
    let mut bench = Bench::default();
    bench.take(batch(
        9,
        vec![ContainerSample {
            received: 10,
            ..container("c", "web", 8 * SECOND, 10)
        }],
    ));
    assert_eq!(
        bench.point(batch(10, vec![container("c", "web", 0, 10)]), "web"),
        (2000, 0, 0),
        "counters fell"
    );
    let still = SampleBatch {
        sequence: 11,
        ..batch(10, vec![container("c", "web", SECOND, 10)])
    };
    assert_eq!(bench.point(still, "web"), (0, 0, 0));
    let back = SampleBatch {
        sequence: 12,
        ..batch(3, vec![container("c", "web", 2 * SECOND, 10)])
    };
    assert_eq!(bench.point(back, "web"), (0, 0, 0));
    let soon = SampleBatch {
        sequence: 13,
        at: Timestamp(6001),
        ..batch(3, vec![container("c", "web", 100 * SECOND, 10)])
    };
    assert_eq!(
        bench.point(soon, "web"),
        (1, 4000, 0),
        "never more than the machine has"
    );
    let years = SampleBatch {
        sequence: 14,
        at: Timestamp(1_800_000_000_000),
        ..batch(4, vec![container("c", "web", 100 * SECOND, 10)])
    };
    assert_eq!(bench.point(years, "web"), (0, 0, 0), "the clock was set");
}

#[test]
fn a_clock_that_is_set_changes_no_rate() {
    const HOUR: u64 = 3_600_000;
    let mut bench = Bench::default();
    // Every 2 s a quarter of the capacity of 4 cores, while the machine's clock is set back an
    // hour, runs, is set forward half an hour and runs.
    let clock = [
        2 * HOUR,
        2 * HOUR + 2000,
        HOUR,
        HOUR + 2000,
        HOUR + HOUR / 2,
        HOUR + HOUR / 2 + 2000,
    ];
    for (at, sequence) in clock.into_iter().zip(1..) {
        let web = ContainerSample {
            received: sequence * 400,
            ..began(
                2 * HOUR - 5,
                container("c", "web", 2 * sequence * SECOND, 10),
            )
        };
        // Starts 1 s before it is measured, and ends.
        let job = ContainerSample {
            ended: true,
            ..began(
                at - 1000,
                container(&format!("job {sequence}"), "job", SECOND, 10),
            )
        };
        let measured = batch(sequence, vec![web, job]);
        let measured = SampleBatch {
            at: Timestamp(at),
            machine: MachineSample {
                steady_ms: Some(sequence * 2000),
                ..measured.machine
            },
            ..measured
        };
        let point = bench
            .meter
            .take(Timestamp(sequence), &id("i"), "run", measured)
            .expect("new");
        let usage = bench
            .meter
            .container(Timestamp(sequence), "web")
            .expect("it runs");
        let wanted = if sequence == 1 {
            (None, 0)
        } else {
            (Some(NanoCpus::cores(1)), 200)
        };
        assert_eq!(
            (usage.at.0, usage.cpu, usage.received, usage.cpu_peak),
            (at, wanted.0, wanted.1, wanted.0.unwrap_or_default())
        );
        let jobs = if sequence == 1 {
            (0, 0)
        } else {
            (2000, SECOND)
        };
        assert_eq!(
            (
                point.containers["job"].measured_ms,
                point.containers["job"].cpu_ns
            ),
            jobs,
            "at {at}"
        );
        assert_eq!(point.machine.measured_ms, jobs.0);
    }
}

#[test]
fn what_is_older_than_the_present_is_a_point_and_no_more() {
    let mut bench = Bench::default();
    for sequence in [1, 2, 4] {
        bench.take(batch(
            sequence,
            vec![container("c", "web", sequence * SECOND, 10)],
        ));
    }
    let before = bench.usage("web");
    assert_eq!(
        bench.point(
            SampleBatch {
                late: true,
                ..batch(3, vec![container("c", "web", 3 * SECOND, 700)])
            },
            "web"
        ),
        (0, 0, 0)
    );
    assert_eq!(bench.take(batch(3, vec![])), None, "taken");
    assert_eq!(bench.usage("web"), before);
    assert_eq!(
        bench.meter.used()[0].memory_peak,
        MemoryBytes::mib(700),
        "what was used was used"
    );
}

#[test]
fn use_is_told_once_and_cpu_by_the_whole_minute() {
    let mut bench = Bench::default();
    let at = |sequence: u64| {
        container(
            "c",
            "web",
            if sequence > 16 {
                30 * SECOND
            } else {
                (sequence - 1) * 2 * SECOND
            },
            10,
        )
    };
    (1..=30).for_each(|sequence| drop(bench.take(batch(sequence, vec![at(sequence)]))));
    let used = bench.meter.used();
    assert_eq!(
        (used[0].measured_ms, used[0].cpu_peak),
        (58_000, NanoCpus(0))
    );
    bench.take(batch(31, vec![at(31)]));
    assert_eq!(
        bench.meter.used()[0],
        Used {
            service: "web".into(),
            measured_ms: 2000,
            memory_peak: MemoryBytes::mib(10),
            cpu_peak: NanoCpus::millis(500),
            killed_at: None
        }
    );
    assert!(bench.meter.used().is_empty());
}

#[test]
fn others_containers_and_forgotten_instances_are_no_matter() {
    let mut bench = Bench::default();
    let foreign = ContainerSample {
        service: None,
        ..container("x", "", 0, 10)
    };
    assert!(
        bench
            .take(batch(1, vec![foreign, container("c", "web", 0, 10)]))
            .is_some_and(|point| point.containers.len() == 1)
    );
    bench.meter.take(
        bench.now,
        &id("other"),
        "run",
        batch(1, vec![container("d", "db", 0, 10)]),
    );
    bench.meter.forget(&id("i"));
    assert!(bench.usage("web").is_none() && bench.usage("db").is_some());
    assert_eq!(
        (bench.meter.machines.len(), bench.meter.places.len()),
        (1, 1)
    );
}

#[test]
fn a_container_that_moved_is_where_it_was_measured_last() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![container("c", "web", 0, 10)]));
    bench.meter.take(
        bench.now,
        &id("other"),
        "run",
        batch(1, vec![container("d", "web", 0, 20)]),
    );
    bench.take(batch(2, vec![]));
    assert_eq!(
        bench.usage("web").map(|usage| usage.memory),
        Some(MemoryBytes::mib(20))
    );
}

proptest! {
    /// For batches of any content, order and repetition: CPU never exceeds the machine's cores, and
    /// each batch counts once.
    #[test]
    fn nothing_makes_nonsense(sent in prop::collection::vec((0_u64..3, 0_u64..12, prop_oneof![0_u64..40_000, any::<u64>()], any::<u64>(), any::<bool>()), 0..60)) {
        let mut meter = Meter::default();
        let mut taken = std::collections::BTreeSet::new();
        for (run, sequence, at, cpu_ns, late) in sent {
            let sample = began(cpu_ns % 3 * 4000, ContainerSample { received: cpu_ns, oom_kills: cpu_ns, ..container("c", "web", cpu_ns, 10) });
            let machine = MachineSample { steady_ms: late.then_some(at / 2), cores: 4 * SECOND, ..MachineSample::default() };
            let batch = SampleBatch { at: Timestamp(at), late, machine, ..batch(sequence, vec![sample]) };
            let now = Timestamp(at);
            if let Some(point) = meter.take(now, &id("i"), &run.to_string(), batch) {
                prop_assert!(taken.insert((run, sequence)), "run {} sequence {} counted twice", run, sequence);
                let web = point.containers["web"];
                prop_assert!(web.cpu_peak <= NanoCpus::cores(4) && web.cpu_ns <= web.measured_ms.saturating_mul(4_000_000));
            }
            if let Some(usage) = meter.container(now, "web") {
                prop_assert!(usage.cpu.unwrap_or_default() <= NanoCpus::cores(4) && usage.cpu_peak <= NanoCpus::cores(4));
            }
        }
    }
}

#[test]
fn what_could_not_be_told_comes_again_with_what_was_used_since() {
    let mut bench = Bench::default();
    for (sequence, mib) in [(1, 300), (2, 100)] {
        bench.meter.take(
            bench.now,
            &id("i1"),
            "a",
            batch(sequence, vec![container("e1", "s", sequence * SECOND, mib)]),
        );
    }
    let untold = bench.meter.used();
    bench.meter.give_back(untold.clone());
    assert_eq!(bench.meter.used(), untold);
    bench.meter.take(
        bench.now,
        &id("i1"),
        "a",
        batch(3, vec![container("e1", "s", 3 * SECOND, 200)]),
    );
    bench.meter.give_back(untold);
    let used = bench.meter.used();
    assert_eq!(
        used.iter()
            .map(|it| (&*it.service, it.measured_ms, it.memory_peak))
            .collect::<Vec<_>>(),
        [("s", 4000, MemoryBytes::mib(300))]
    );
}
