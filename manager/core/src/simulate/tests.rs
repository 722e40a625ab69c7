//! Goals of the six shapes, and what must hold of every run.

use super::*;
use crate::scaling::{Policies, Policy, Span, Target};
use proptest::{prelude::*, test_runner::TestCaseError};

fn utc(name: &str) -> Option<TimeZone> {
    (name == "UTC").then_some(TimeZone::UTC)
}

/// Boots of the printed table, in seconds: `SIMULATE_BOOTS=40,90 cargo test ... -- --nocapture`.
fn boots() -> Vec<Span> {
    let text = std::env::var("SIMULATE_BOOTS").unwrap_or_else(|_| "90".to_owned());
    text.split(',').filter_map(|one| one.parse().ok()).collect()
}

/// Cost against the peer and the optimum, with three seeds each. Prints the table.
#[test]
fn the_shapes_cost_little_and_miss_little() {
    let rows = table(&boots(), 1, &Options::default(), utc).expect("valid policies");
    for row in &rows {
        let (ours, peer) = (row.micado, row.peer);
        println!(
            "{:>4} {:<11} peer {:.3} {:5.2} % {:.3}   micado {:.3} {:5.2} % {:.3}",
            row.boot_s,
            row.shape,
            peer.relative,
            peer.missed_percent,
            peer.priced,
            ours.relative,
            ours.missed_percent,
            ours.priced,
        );
        if row.boot_s != 90 {
            continue;
        }
        assert!(ours.missed_percent <= peer.missed_percent + 1e-9, "{row:?}");
        match row.shape {
            MEAN => assert!(ours.relative <= 1.15, "{row:?}"),
            "ramp" | "day" | "flash" | "saw" => {
                assert!(ours.relative <= 0.9 * peer.relative, "{row:?}");
                assert!(ours.priced < peer.priced, "{row:?}");
            }
            // Equal by construction: both keep the same copies.
            "steady" => assert!(ours.relative <= 1.02 * peer.relative, "{row:?}"),
            "bursts" => assert!(ours.priced < peer.priced, "{row:?}"),
            _ => {
                assert!(ours.relative <= 1.02 * peer.relative, "{row:?}");
                assert!(ours.priced < peer.priced, "{row:?}");
            }
        }
    }
}

#[test]
fn a_run_is_the_same_every_time() {
    let options = Options::default();
    let demand = "flash".parse::<Shape>().expect("a shape").demand(7);
    let run = || {
        run_ours(&demand, &options, 1.0, utc)
            .expect("policies")
            .report
    };
    assert_eq!(run(), run());
}

#[test]
fn a_steady_load_with_much_noise_changes_rarely() {
    let options = Options::default();
    let demand = "noise30".parse::<Shape>().expect("a shape").demand(1);
    let run = run_ours(&demand, &options, 1.0, utc).expect("policies");
    assert!(run.changes.len() <= 8, "{:#?}", run.changes);
}

#[test]
fn an_hour_that_is_paid_is_used() {
    let hourly = Options {
        billing: Billing::Hour,
        ..Options::default()
    };
    let rows = table(&[hourly.boot], 1, &hourly, utc).expect("valid policies");
    for row in &rows {
        println!(
            "hourly {:<11} peer {:.3} micado {:.3}",
            row.shape, row.peer.relative, row.micado.relative
        );
    }
    let mean = rows.last().expect("the mean");
    assert!(mean.micado.relative < mean.peer.relative, "{mean:?}");
    assert!(
        mean.micado.missed_percent < mean.peer.missed_percent,
        "{mean:?}"
    );
}

#[test]
fn a_schedule_has_its_machines_when_its_window_opens() {
    let schedule = serde_json::from_str::<Policy>(
        r#"{"kind": "schedule", "start": "0 1 * * *", "duration": "1h", "zone": "UTC", "min": 12}"#,
    )
    .expect("a schedule");
    let options = Options {
        policies: Policies {
            policies: vec![Policy::Target(Target::default()), schedule],
            ..Policies::standard(40)
        },
        ..Options::default()
    };
    let demand = "steady:level=2,noise=0,hours=2"
        .parse::<Shape>()
        .expect("a shape")
        .demand(1);
    let run = run_ours(&demand, &options, 1.0, utc).expect("policies");
    let at_opening = run
        .points
        .iter()
        .find(|point| point.second == 3_600)
        .expect("a point");
    assert!((at_opening.capacity - 12.0).abs() < 1e-9, "{at_opening:?}");
}

/// A load that falls when a growth is complete and rises after each shrink.
#[test]
fn an_adversary_is_bounded() {
    const HOURS: u64 = 6;
    let options = Options::default();
    let (low, high) = (8.0, 24.0);
    let mut world = World::new(&options, low);
    let mut side = Ours::new(&world, utc).expect("policies");
    let (mut level, mut shrinks, mut grew) = (low, 0, false);
    for second in 0..HOURS * 3_600 {
        if second == 600 {
            level = high;
        }
        world.step(level, &mut side);
        let is_complete = world.copies.iter().all(|copy| world.is_running(copy));
        if grew && is_complete && level == high && world.use_each < 0.75 {
            (level, grew) = (low, false);
        }
        grew |= !is_complete;
        if world.tally.shrinks > shrinks {
            (level, shrinks) = (high, world.tally.shrinks);
        }
    }
    // Regret makes the look-back long: the adversary gets a few cycles an hour at first, then two.
    assert!(
        world.tally.shrinks <= 6 + 2 * HOURS as u32,
        "{}",
        world.tally.shrinks
    );
}

/// Runs a load of levels and their seconds, with checks at every step.
fn conserves(levels: &[(f64, usize)], boot: u64) -> Result<(), TestCaseError> {
    let demand: Vec<f64> = levels
        .iter()
        .flat_map(|(level, seconds)| std::iter::repeat_n(*level, *seconds))
        .collect();
    let options = Options {
        boot: Span::seconds(boot),
        ..Options::default()
    };
    let mut world = World::new(&options, first(&demand));
    let mut side = Ours::new(&world, utc).expect("policies");
    for one in &demand {
        world.step(*one, &mut side);
        let is_placed = |copy: &&Copy| copy.machine.is_some();
        let placed = world.copies.iter().filter(is_placed).count() as u32;
        let on_machines: u32 = world.present().map(|(_, machine)| machine.copies).sum();
        prop_assert_eq!(placed, on_machines);
        let is_within = |copies: u32| copies <= options.slots;
        prop_assert!(
            world
                .present()
                .all(|(_, machine)| is_within(machine.copies))
        );
        prop_assert!(world.tally.missed <= world.tally.demand + 1e-6);
    }
    world.end();
    let bounds = bounds(&demand, &options);
    let cost = world.tally.paid_seconds as f64 / 3_600.0;
    prop_assert!(bounds.floor <= bounds.bound + 1e-9, "{bounds:?}");
    prop_assert!(bounds.bound <= bounds.optimum + 1e-9, "{bounds:?}");
    if world.tally.missed == 0.0 {
        let least = bounds.floor - boot as f64 / 3_600.0;
        prop_assert!(cost >= least, "{cost} and {bounds:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Demand is served, waits or is missed; copies are on machines; nothing costs less than the
    /// bound.
    #[test]
    fn no_demand_and_no_machine_is_lost(
        levels in proptest::collection::vec((0.0..30.0_f64, 30..900_usize), 1..8),
        boot in 10..300_u64,
    ) {
        conserves(&levels, boot)?;
    }
}
