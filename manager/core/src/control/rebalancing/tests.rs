//! Moves away from saturated machines, event by event.

use super::*;
use crate::control::{
    Event, Request,
    tests::{Bench, spec, start},
};
use micado_api::{RestartPolicy, ServiceSpec};

/// A bench with the containers of these services on one machine, and a second one without any.
fn packed(specs: &[ServiceSpec]) -> Bench {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(specs[0].clone(), None)
        .expect("room is rented");
    bench.machine_comes();
    for spec in &specs[1..] {
        bench.launch(spec.clone(), None).expect("room is there");
    }
    bench.settle();
    bench
        .ask(Request::Start(start("second")))
        .0
        .expect("rented");
    bench.machine_comes();
    bench.settle();
    bench.pass(30);
    bench
}

fn two() -> Bench {
    packed(&[spec("a", 64), spec("b", 64)])
}

fn id(bench: &Bench, tag: &str) -> InstanceId {
    let instance = bench.core.tagged(tag);
    instance.expect("it has a record").id.clone()
}

fn swarm_name(bench: &Bench, name: &str) -> String {
    let container = bench.core.ledger.container(&ContainerName::trusted(name));
    let copy = container.and_then(Container::primary);
    copy.expect("it has a place").swarm_name.clone()
}

/// Number of Swarm services of a container's copies, each on a machine.
fn places(bench: &Bench, name: &str) -> Vec<String> {
    let container = bench.core.ledger.container(&ContainerName::trusted(name));
    let copies = container.expect("it has a record").copies.iter();
    let copies = copies.filter(|copy| copy.takes_room());
    copies
        .map(|copy| bench.core.tag_of(&copy.instance).to_string())
        .collect()
}

/// Reports the first machine as saturated for a time, with the use of its containers in thousandths
/// of a core, and so much idle on the second one.
fn report(bench: &mut Bench, seconds: u64, used: &[(&str, u64)], idle: u64) {
    let used = used.iter().map(|(name, millis)| {
        let resources = Resources::new(MemoryBytes::mib(40), NanoCpus::millis(*millis));
        (swarm_name(bench, name), resources)
    });
    let saturated = Saturated {
        instance: id(bench, "application01"),
        resource: Resource::Cpu,
        since: Timestamp(bench.now.0.saturating_sub(seconds * 1_000)),
        used: used.collect(),
    };
    let idle = Resources::new(MemoryBytes::mib(400), NanoCpus::millis(idle));
    let loads = MachineLoads {
        saturated: vec![saturated],
        idle: [(id(bench, "second"), idle)].into(),
        ..MachineLoads::default()
    };
    bench.event(Event::Machines(loads));
}

#[test]
fn the_busiest_container_leaves_a_machine_that_gives_no_more() {
    let mut bench = two();
    report(&mut bench, 50, &[("a_web.1", 300), ("b_web.1", 690)], 1_000);
    assert_eq!(places(&bench, "b_web.1"), ["application01"], "not for long");
    report(&mut bench, 65, &[("a_web.1", 300), ("b_web.1", 640)], 1_000);
    assert_eq!(places(&bench, "b_web.1"), ["application01", "second"]);
    let said = bench.core.explain("b_web.1").expect("known").remove(0);
    let text = &said.decisions.last().expect("a decision").text;
    assert_eq!(
        text,
        "moves from application01, which has had no CPU left for 66 s"
    );
    report(&mut bench, 75, &[("a_web.1", 300), ("b_web.1", 640)], 1_000);
    assert_eq!(
        places(&bench, "a_web.1"),
        ["application01"],
        "one at a time"
    );
    bench.settle();
    assert_eq!(places(&bench, "b_web.1").len(), 2, "the old one serves yet");
    bench.pass(60);
    assert_eq!(places(&bench, "b_web.1"), ["second"]);
}

#[test]
fn nothing_moves_to_where_it_would_find_no_more() {
    let mut bench = two();
    report(&mut bench, 90, &[("a_web.1", 300), ("b_web.1", 690)], 400);
    assert_eq!(places(&bench, "b_web.1"), ["application01"]);
    // The smaller one would have 450 of the 300 that it uses.
    report(&mut bench, 90, &[("a_web.1", 300), ("b_web.1", 690)], 450);
    assert_eq!(places(&bench, "b_web.1"), ["application01"]);
    assert_eq!(places(&bench, "a_web.1"), ["application01", "second"]);
}

#[test]
fn a_container_that_is_alone_stays() {
    let mut bench = packed(&[spec("a", 64)]);
    report(&mut bench, 600, &[("a_web.1", 990)], 2_000);
    assert_eq!(places(&bench, "a_web.1"), ["application01"]);
}

#[test]
fn protected_containers_and_jobs_stay() {
    let job = ServiceSpec {
        restart: RestartPolicy::No,
        ..spec("b", 64)
    };
    let mut bench = packed(&[spec("a", 64), job]);
    let request = Request::Protect {
        name: "a_web.1".to_owned(),
        protected: true,
    };
    bench.ask(request).0.expect("it is known");
    report(
        &mut bench,
        600,
        &[("a_web.1", 600), ("b_web.1", 390)],
        2_000,
    );
    assert_eq!(places(&bench, "a_web.1"), ["application01"]);
    assert_eq!(places(&bench, "b_web.1"), ["application01"]);
}

#[test]
fn a_service_moves_once_in_ten_minutes() {
    let mut bench = packed(&[spec("a", 64), spec("a", 64), spec("c", 64)]);
    let used = [("a_web.1", 600), ("a_web.2", 390)];
    report(&mut bench, 60, &used, 2_000);
    assert_eq!(places(&bench, "a_web.1"), ["application01", "second"]);
    bench.pass(120);
    assert_eq!(places(&bench, "a_web.1"), ["second"]);
    report(&mut bench, 60, &[("a_web.2", 390)], 2_000);
    assert_eq!(places(&bench, "a_web.2"), ["application01"], "it rests");
    bench.pass(600);
    report(&mut bench, 60, &[("a_web.2", 390)], 2_000);
    assert_eq!(places(&bench, "a_web.2"), ["application01", "second"]);
}

#[test]
fn a_saturated_machine_is_not_returned_and_takes_no_moves() {
    let mut bench = two();
    report(&mut bench, 5, &[], 0);
    bench.pass(300);
    let said = bench
        .core
        .explain("application01")
        .expect("known")
        .remove(0);
    assert!(
        said.now
            .contains("not returned: it has had no CPU left since"),
        "{}",
        said.now
    );
    let closed = bench.core.closed_to_moves();
    assert!(closed.contains(&id(&bench, "application01")));
    bench.event(Event::Machines(MachineLoads::default()));
    assert!(bench.core.rebalancing.saturated().next().is_none());
}
