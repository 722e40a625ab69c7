//! Headroom and minimum of a location: what is rented for it, and what is kept.

use super::*;
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

fn pass(bench: &mut Bench, seconds: u64) {
    for _ in 0..seconds / 10 {
        bench.now.0 += 8_000;
        bench.tick();
        bench.settle();
    }
}

fn headroom(bench: &Bench) -> HeadroomView {
    let view = bench.core.status().locations.remove(0);
    view.headroom.expect("it is configured")
}

fn quit(bench: &mut Bench, name: &str) {
    let quit = Request::Quit {
        name: name.to_owned(),
        remove: true,
    };
    bench.ask(quit).0.expect("it is there");
    bench.settle();
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

/// What is rented holds what is asked for, whatever is rented for containers.
#[test]
fn wrong_buffer_type() {
    let mut bench = keeping("1G/2 cores", 0, None);
    let all = bench.core.instances(false);
    let flavours: Vec<&str> = all.iter().map(|it| it.flavour.as_str()).collect();
    assert_eq!(flavours, ["large"]);
    bench.machine_comes();
    bench.settle();
    assert_eq!(headroom(&bench).ready, 1);
    // It takes a part of the room: a machine of the same flavour is rented, not the smallest one.
    bench.launch(spec("a", 300), None).expect("room is there");
    bench.settle();
    let all = bench.core.instances(false);
    let flavours: Vec<&str> = all.iter().map(|it| it.flavour.as_str()).collect();
    assert_eq!(flavours, ["large", "large"]);
}

/// Headroom that is not asked for any more is returned like other machines.
#[test]
fn stopped_buffers_leak() {
    let mut bench = keeping("2 machines", 0, None);
    all_come(&mut bench);
    pass(&mut bench, 600);
    let all = bench.core.instances(false);
    assert_eq!(all.len(), 2);
    let kept = all[0].returns.as_ref().expect("it is in use");
    assert_eq!(kept.text, "its room is headroom (2 machines)");
    bench.core.config.setup.locations.clear();
    pass(&mut bench, 600);
    let active = |it: &micado_api::InstanceView| it.state == InstanceState::Active;
    let all = bench.core.instances(false);
    assert_eq!(all.iter().filter(|it| active(it)).count(), 0, "{all:?}");
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
    quit(&mut bench, "a_web.1");
    assert_eq!(headroom(&bench).ready, 1);
    pass(&mut bench, 300);
    let active = |it: &micado_api::InstanceView| it.state == InstanceState::Active;
    let all = bench.core.instances(false);
    assert_eq!(all.iter().filter(|it| active(it)).count(), 1, "{all:?}");
}

#[test]
fn machines_below_the_minimum_are_rented() {
    let mut bench = keeping("", 2, None);
    all_come(&mut bench);
    pass(&mut bench, 600);
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
    let active = |it: &micado_api::InstanceView| it.state == InstanceState::Active;
    let all = bench.core.instances(false);
    assert_eq!(all.iter().filter(|it| active(it)).count(), 2, "{all:?}");
}
