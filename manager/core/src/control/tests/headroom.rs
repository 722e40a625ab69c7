//! Headroom and minimum of a location: what is rented for it, and what is kept.

use super::*;
use crate::store::Record;
use micado_api::{HeadroomView, InstanceState, Location};
use micado_cloudsetup::Bounds;

/// A bench whose location `application` keeps this headroom, and so many machines.
fn keeping(headroom: &str, min_machines: u32, max_machines: Option<u32>) -> Bench {
    Bench::new(|config| {
        config.setup.locations.push(Bounds {
            location: Location::default(),
            min_machines,
            max_machines,
            max_price: None,
            headroom: Some(headroom)
                .filter(|it| !it.is_empty())
                .map(|it| it.parse().expect("good")),
        });
    })
}

fn machines(bench: &Bench) -> usize {
    bench.core.instances(false).len()
}

/// All ordered machines come, and what was placed on them runs.
fn all_come(bench: &mut Bench) {
    while bench.machines.len() < machines(bench) {
        bench.machine_comes();
    }
    bench.settle();
}

fn headroom(bench: &Bench) -> HeadroomView {
    let view = bench.core.status().locations.remove(0);
    view.headroom.expect("it is configured")
}

/// Number of machines in use.
fn active(bench: &Bench) -> usize {
    let all = bench.core.instances(false).into_iter();
    all.filter(|it| it.state == InstanceState::Active).count()
}

/// Flavours of the machines, oldest first.
fn flavours(bench: &Bench) -> Vec<String> {
    let all = bench.core.instances(false).into_iter();
    all.map(|it| it.flavour.to_string()).collect()
}

#[test]
fn room_for_a_copy_is_rented_ahead_and_taken_at_once() {
    let mut bench = keeping("1 copy of a_web", 0, None);
    assert_eq!(machines(&bench), 0, "there is no such service yet");
    assert_eq!(
        headroom(&bench).reason.as_deref(),
        Some("there is no service `a_web`")
    );
    bench.launch(spec("a", 300), None).expect("room is rented");
    all_come(&mut bench);
    assert_eq!(machines(&bench), 2);
    assert_eq!((headroom(&bench).ready, headroom(&bench).missing), (1, 0));
    let second = bench.launch(spec("a", 300), None).expect("room is there");
    bench.settle();
    assert_eq!(
        bench.state(&second),
        "running",
        "on a machine that was there"
    );
    assert_eq!((headroom(&bench).coming, machines(&bench)), (1, 3));
}

/// One machine is rented for one that was used, and none while that one comes.
#[test]
fn two_warm_for_one() {
    let mut bench = keeping("1 machine", 0, None);
    all_come(&mut bench);
    assert_eq!(machines(&bench), 1);
    bench.launch(spec("a", 300), None).expect("room is there");
    for _ in 0..5 {
        bench.settle();
        bench.tick();
        assert_eq!(machines(&bench), 2);
    }
    all_come(&mut bench);
    assert_eq!(machines(&bench), 2);
    assert_eq!(headroom(&bench).ready, 1);
}

/// Machines for headroom hold it, whatever flavour containers were rented.
#[test]
fn wrong_buffer_type() {
    let mut bench = keeping("1G/2 cores", 0, None);
    assert_eq!(flavours(&bench), ["large"]);
    bench.machine_comes();
    bench.settle();
    assert_eq!(headroom(&bench).ready, 1);
    // It takes a part of the room: a machine of the same flavour is rented, not the smallest one.
    bench.launch(spec("a", 300), None).expect("room is there");
    bench.settle();
    assert_eq!(flavours(&bench), ["large", "large"]);
}

/// Headroom that is not asked for any more is returned like other machines.
#[test]
fn stopped_buffers_leak() {
    let mut bench = keeping("2 machines", 0, None);
    all_come(&mut bench);
    bench.pass(600);
    let all = bench.core.instances(false);
    assert_eq!(all.len(), 2);
    let kept = all[0].returns.as_ref().expect("it is in use");
    assert_eq!(kept.text, "its room is headroom (2 machines)");
    bench.core.config.setup.locations.clear();
    bench.pass(600);
    assert_eq!(active(&bench), 0);
}

#[test]
fn a_container_that_waits_comes_before_headroom() {
    let mut bench = keeping("1 machine", 0, Some(2));
    all_come(&mut bench);
    bench.launch(spec("a", 300), None).expect("room is there");
    all_come(&mut bench);
    let name = bench.launch(spec("b", 300), None).expect("room is there");
    bench.settle();
    assert_eq!(bench.state(&name), "running");
    let found = headroom(&bench);
    assert_eq!((machines(&bench), found.missing), (2, 1));
    let reason = found.reason.expect("the limit");
    assert!(
        reason.contains("2 of 2 instances for location application"),
        "{reason}"
    );
}

/// A quarter of what runs, in pieces of its mean size.
#[test]
fn a_share_follows_what_runs() {
    let mut bench = keeping("50%", 0, None);
    assert_eq!(machines(&bench), 0);
    for client in ["a", "b"] {
        bench.launch(spec(client, 170), None).expect("rented");
    }
    all_come(&mut bench);
    // Two of 170 MiB fill a machine; half of that is one more.
    assert_eq!((machines(&bench), headroom(&bench).ready), (2, 1));
    bench.quit("a_web.1");
    assert_eq!(headroom(&bench).ready, 1);
    bench.pass(300);
    assert_eq!(active(&bench), 1);
}

#[test]
fn machines_below_the_minimum_are_rented() {
    let mut bench = keeping("", 2, None);
    all_come(&mut bench);
    bench.pass(600);
    let all = bench.core.instances(false);
    assert_eq!(all.len(), 2);
    let tag = all[0].tag.clone();
    let said = bench
        .core
        .explain(tag.as_str())
        .expect("it is known")
        .remove(0);
    let text = &said.decisions.first().expect("a decision").text;
    assert!(
        text.ends_with("the minimum of location application is 2"),
        "{text}"
    );
    // One that a person returns is replaced.
    let stop = Request::Stop { tag, force: false };
    bench.ask(stop).0.expect("nothing runs there");
    all_come(&mut bench);
    assert_eq!(active(&bench), 2);
}

/// A task that is not ours takes a part of every machine: another machine would not have room either.
#[test]
fn renting_ends_where_no_empty_machine_has_room() {
    let mut bench = keeping("1 machine", 0, None);
    let id = bench.machine_comes();
    let foreign = SwarmTask {
        reservation: Resources::new(MemoryBytes::mib(64), NanoCpus::millis(100)),
        ..task("other", Some(format!("node-{id}")))
    };
    bench.seen.tasks.push(foreign);
    bench.settle();
    bench.pass(600);
    assert_eq!(machines(&bench), 1);
    let reason = headroom(&bench).reason.expect("it is missing");
    let expected = "application01 is an empty small and has too little room, so no other is rented";
    assert_eq!(reason, expected);
}

/// A second container runs for two minutes of four: on a quarter of all moments it is asked for
/// before a machine could boot.
#[test]
fn auto_learns_what_is_asked_for_while_a_machine_boots() {
    let mut bench = keeping("auto", 0, None);
    bench.core.config.return_machines = false;
    bench.launch(spec("a", 300), None).expect("room is rented");
    all_come(&mut bench);
    assert_eq!(headroom(&bench).asked, "auto (it learns, 0 of 24 h)");
    for _ in 0..15 * 25 {
        let name = bench.launch(spec("b", 300), None).expect("room is there");
        all_come(&mut bench);
        bench.pass(120);
        bench.quit(&name);
        bench.pass(120);
    }
    all_come(&mut bench);
    let found = headroom(&bench);
    assert_eq!(found.asked, "auto (300 MiB and 0.25 cores now)");
    assert_eq!((found.ready, found.missing), (1, 0));
    let settings = bench.core.ledger.settings.values().cloned();
    let settings = settings.map(|setting| (Record::Setting(setting), 1));
    let contents = bench.contents().into_iter().chain(settings).collect();
    let mut after = Bench::unseeing(bench.core.config.clone(), contents);
    (after.now, after.seen) = (bench.now, bench.seen.clone());
    after.tick();
    after.look();
    assert_eq!(headroom(&after).asked, found.asked, "after a restart");
}
