//! Time for which metrics of a machine are current.

use super::*;

#[test]
fn a_machine_is_blind_without_fresh_batches() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![container("c", "web", 0, 10)]));
    let later = |ms| Timestamp(bench.now.0 + ms);
    let sees = |now| {
        (
            bench.meter.machine(now, &id("i")).is_some(),
            bench.meter.container(now, "web").is_some(),
        )
    };
    assert_eq!(
        [sees(later(10_000)), sees(later(10_001))],
        [(true, true), (false, false)]
    );
    bench.now = later(60_000);
    let late = SampleBatch {
        late: true,
        ..batch(2, vec![container("c", "web", SECOND, 10)])
    };
    assert!(
        bench
            .meter
            .take(bench.now, &id("i"), "run", late)
            .is_some_and(|point| point.containers["web"].measured_ms == 2000)
    );
    assert_eq!(bench.usage("web"), None, "what is late is not fresh");
    assert!(
        bench
            .meter
            .take(
                bench.now,
                &id("i"),
                "run",
                batch(31, vec![container("c", "web", SECOND, 10)])
            )
            .is_some()
    );
    assert!(bench.usage("web").is_some());
}

#[test]
fn one_that_is_measured_rarely_is_blind_after_three_times_that() {
    let every = |sequence: u64, seconds: u64| SampleBatch {
        at: Timestamp(1000 * sequence * seconds),
        ..batch(sequence, vec![])
    };
    // In proportion to the interval, between 10 s and half an hour.
    for (seconds, blind_after) in [(60, 180), (3600, 1800), (3, 10)] {
        let mut bench = Bench::default();
        bench.take(every(1, seconds));
        let sees = |bench: &Bench, ms| {
            bench
                .meter
                .machine(Timestamp(bench.now.0 + ms), &id("i"))
                .is_some()
        };
        assert!(
            sees(&bench, 10_000) && !sees(&bench, 10_001),
            "one says nothing of the next"
        );
        bench.take(every(2, seconds));
        assert!(
            sees(&bench, blind_after * 1000) && !sees(&bench, blind_after * 1000 + 1),
            "every {seconds} s"
        );
        bench.take(every(900, seconds));
        assert!(
            !sees(&bench, blind_after * 1000 + 1),
            "every {seconds} s: others were lost"
        );
    }
}

#[test]
fn samples_are_those_of_the_last_batch_until_the_machine_is_blind() {
    let mut bench = Bench::default();
    let two = || {
        vec![
            container("c", "web", SECOND, 10),
            container("d", "db", 2 * SECOND, 20),
        ]
    };
    bench.take(batch(1, two()));
    bench.take(batch(2, vec![container("d", "db", 3 * SECOND, 30)]));
    let of = id("i");
    let samples = bench.meter.samples(bench.now, &of);
    let (machine, containers) = samples.expect("it is seen");
    assert_eq!(machine.cpu_ns, 2 * SECOND);
    let containers: Vec<_> = containers
        .map(|sample| (sample.service.as_deref(), sample.cpu_ns))
        .collect();
    assert_eq!(containers, [(Some("db"), 3 * SECOND)], "`web` was left out");

    let later = Timestamp(bench.now.0 + 60_000);
    assert!(bench.meter.samples(later, &id("i")).is_none());
    assert!(bench.meter.samples(bench.now, &id("other")).is_none());
}
