//! Runs of containers and agents: ends, new beginnings and gaps.

use super::*;

#[test]
fn a_container_that_begins_anew_counts_from_nothing() {
    let mut bench = Bench::default();
    bench.take(batch(
        1,
        vec![began(1000, container("c", "web", SECOND, 50))],
    ));
    assert_eq!(
        bench.point(
            batch(2, vec![began(3000, container("c", "web", 2 * SECOND, 10))]),
            "web"
        ),
        (2000, 1000, 0)
    );
    assert_eq!(
        bench.usage("web").expect("it runs").memory_peak,
        MemoryBytes::mib(10)
    );
}

#[test]
fn what_is_left_out_for_long_is_forgotten() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![container("c", "web", SECOND, 50)]));
    (2..40).for_each(|sequence| drop(bench.take(batch(sequence, vec![]))));
    assert!(bench.meter.machines[&id("i")].containers.is_empty());
}

#[test]
fn made_up_ids_take_no_memory() {
    let mut bench = Bench::default();
    for sequence in 1..20 {
        let made_up = (0..100).map(|n| container(&format!("c{sequence}x{n}"), "web", 0, 1));
        bench.take(batch(sequence, made_up.collect()));
    }
    bench.take(batch(20, vec![container("c", "web", SECOND, 50)]));
    assert!(bench.meter.machines[&id("i")].containers.len() <= 1 + 16);
}

#[test]
fn over_a_gap_the_real_time_counts_and_over_runs_nothing() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![container("c", "web", 0, 10)]));
    assert_eq!(
        bench.point(batch(4, vec![container("c", "web", 3 * SECOND, 50)]), "web"),
        (6000, 500, 0)
    );
    let point = bench
        .meter
        .take(
            bench.now,
            &id("i"),
            "another run",
            batch(5, vec![container("c", "web", 9 * SECOND, 10)]),
        )
        .expect("new");
    assert_eq!(
        (
            point.machine.measured_ms,
            point.containers["web"].measured_ms
        ),
        (0, 0)
    );
    assert_eq!(
        bench.usage("web").expect("it runs").memory_peak,
        MemoryBytes::mib(50),
        "the container is the same"
    );
}

#[test]
fn a_restarted_container_is_one_and_what_ended_goes() {
    let mut bench = Bench::default();
    bench.take(batch(1, vec![container("c", "web", 10 * SECOND, 10)]));
    let ended = ContainerSample {
        ended: true,
        oom_kills: 1,
        memory_limit: Some(MemoryBytes::mib(64)),
        ..container("c", "web", 11 * SECOND, 64)
    };
    assert_eq!(
        bench.point(
            batch(
                2,
                vec![ended, began(3000, container("d", "web", SECOND, 5))]
            ),
            "web"
        ),
        (2000, 1000, 0)
    );
    assert_eq!(
        bench.usage("web").expect("the new one runs").memory,
        MemoryBytes::mib(5)
    );
    let used = bench.meter.used();
    assert_eq!(used[0].cpu_peak.0, SECOND / 60, "its last minute");
    assert_eq!(
        (
            used.len(),
            used[0].killed_at,
            used[0].memory_peak,
            used[0].measured_ms
        ),
        (1, Some(MemoryBytes::mib(64)), MemoryBytes::mib(64), 2000)
    );
    bench.take(batch(
        3,
        vec![ContainerSample {
            ended: true,
            ..began(3000, container("d", "web", SECOND, 5))
        }],
    ));
    assert_eq!(bench.usage("web"), None);
    assert!(
        bench.meter.places.is_empty() && bench.meter.machines[&id("i")].services().next().is_none(),
        "nothing is remembered of it"
    );
}
