//! Two copies of a service on one machine.

use super::*;
use crate::control::tests::{Bench, spec};

fn pass(bench: &mut Bench, seconds: u64) {
    let until = bench.now.0 + seconds * 1_000;
    while bench.now.0 < until {
        bench.now.0 += 8_000;
        bench.tick();
        bench.settle();
    }
}

/// Tags of the machines of a container's copies that take room, oldest first.
fn places(bench: &Bench, name: &str) -> Vec<String> {
    let name = ContainerName::trusted(name);
    let container = bench.core.ledger.container(&name).expect("it is there");
    let copies = container.copies.iter().filter(|copy| copy.takes_room());
    copies
        .map(|copy| bench.core.tag_of(&copy.instance).to_string())
        .collect()
}

/// A bench with two copies of a service on its first machine.
fn together() -> Bench {
    let mut bench = Bench::new(|_| {});
    for _ in 0..2 {
        bench.launch(spec("a", 64), None).expect("room is rented");
    }
    bench.machine_comes();
    bench.settle();
    pass(&mut bench, 60);
    assert_eq!(places(&bench, "a_web.2"), ["application01"]);
    bench
}

#[test]
fn one_moves_when_another_machine_has_room() {
    let mut bench = together();
    // It has no room there, and leaves some on its own machine.
    bench.launch(spec("b", 280), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    while places(&bench, "a_web.2").len() == 1 {
        pass(&mut bench, 10);
    }
    let begun = bench.now;
    assert_eq!(
        places(&bench, "a_web.2"),
        ["application01", "application02"]
    );
    let said = bench
        .core
        .explain("a_web.2")
        .expect("it is known")
        .remove(0);
    let text = &said.decisions.last().expect("a decision").text;
    assert_eq!(
        text,
        "application02 has room, and a_web is on one machine only"
    );
    while places(&bench, "a_web.2").len() == 2 {
        pass(&mut bench, 10);
    }
    let took = bench.now.since(begun).as_secs();
    assert!((20..60).contains(&took), "the new one was warm: {took} s");
    pass(&mut bench, 1800);
    assert_eq!(places(&bench, "a_web.1"), ["application01"]);
    assert_eq!(places(&bench, "a_web.2"), ["application02"]);
}

#[test]
fn no_machine_is_rented_for_it() {
    let mut bench = together();
    pass(&mut bench, 600);
    assert_eq!(bench.core.instances(false).len(), 1);
}
