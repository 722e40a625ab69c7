//! Limits of single locations: growth stops at them, and nothing is returned by force.

use super::*;
use micado_api::{InstanceState, Location, PricePerHour};
use micado_cloudsetup::Bounds;

/// Bounds of the location `application`: machines, and their price in hundredths.
fn bounds(max_machines: Option<u32>, cents: Option<u64>) -> Bounds {
    Bounds {
        location: Location::default(),
        min_machines: 0,
        max_machines,
        max_price: cents.map(|cents| PricePerHour(cents * 10_000)),
        headroom: None,
    }
}

/// A bench with these bounds, on which a machine of the smaller flavour is full.
fn full(bounds: Bounds) -> Bench {
    let mut bench = Bench::new(|config| config.setup.locations.push(bounds));
    bench
        .launch(spec("a", 300), None)
        .expect("the first is within the limits");
    bench.machine_comes();
    bench.settle();
    bench
}

fn machines(bench: &Bench) -> usize {
    bench.core.instances(false).len()
}

#[test]
fn no_machine_is_ordered_beyond_the_number_of_its_location() {
    let mut bench = full(bounds(Some(1), None));
    let name = bench.launch(spec("b", 300), None).expect("it may wait");
    assert_eq!(machines(&bench), 1);
    let state = bench.state(&name);
    assert!(
        state.ends_with("1 of 1 instances for location application are in use"),
        "{state}"
    );
    let said = bench.core.explain(&name).expect("it is known").remove(0);
    assert!(said.now.contains("for location application"), "{said:?}");
    let mut elsewhere = spec("c", 300);
    elsewhere.location = Location::trusted("database");
    bench.launch(elsewhere, None).expect("it has no limits");
    assert_eq!(machines(&bench), 2);
}

#[test]
fn no_machine_is_ordered_beyond_the_price_of_its_location() {
    // One of the smaller flavour is 0.01 an hour.
    let mut bench = full(bounds(None, Some(2)));
    bench.launch(spec("b", 300), None).expect("a second fits");
    assert_eq!(machines(&bench), 2);
    let name = bench.launch(spec("c", 300), None).expect("it may wait");
    assert_eq!(machines(&bench), 2);
    let state = bench.state(&name);
    assert!(
        state.contains("and 0.0200 of 0.0200 for location application are in use"),
        "{state}"
    );
}

#[test]
fn a_person_cannot_start_a_machine_beyond_them_either() {
    let mut bench = full(bounds(Some(1), None));
    let error = bench.ask(Request::Start(start("second"))).0;
    let error = error.expect_err("one is the limit");
    assert_eq!(error.message, "1 of 1 instances are in use");
    let hint = "stop an instance, or raise max_machines of the location";
    assert_eq!(error.hint.as_deref(), Some(hint));
    let mut elsewhere = start("second");
    elsewhere.location = Location::trusted("database");
    let (started, _) = bench.ask(Request::Start(elsewhere));
    started.expect("that location has no limits");
}

#[test]
fn machines_beyond_them_stay_while_they_are_needed() {
    let mut bench = full(bounds(None, None));
    bench.launch(spec("b", 300), None).expect("a second fits");
    bench.machine_comes();
    bench.settle();
    bench.core.config.setup.locations = vec![bounds(Some(1), Some(1))];
    for _ in 0..100 {
        bench.now.0 += 8_000;
        bench.tick();
        bench.settle();
    }
    let all = bench.core.instances(false);
    assert_eq!(all.len(), 2);
    let active = |it: &micado_api::InstanceView| it.state == InstanceState::Active;
    assert!(all.iter().all(active), "{all:?}");
}
