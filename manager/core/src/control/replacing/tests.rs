//! A dear machine whose containers fit on a cheaper one.

use super::*;
use crate::control::{
    Answer, CallKey, Event,
    tests::{Bench, spec},
};
use micado_cloudsetup::{Billing, Bounds, BrokerError};

/// A bench on which one small container is left on a machine of the larger flavour.
fn one_on_a_large(billing: Billing) -> Bench {
    let mut bench = Bench::new(|config| config.setup.clouds[0].flavours[1].billing = billing);
    bench.launch(spec("big", 1500), None).expect("it is rented");
    bench.machine_comes();
    bench.launch(spec("a", 64), None).expect("room is there");
    bench.settle();
    bench.pass(60);
    assert_eq!(machines(&bench), ["large active"]);
    bench.quit("big_web.1");
    bench
}

/// Flavour and state of every machine, oldest first.
fn machines(bench: &Bench) -> Vec<String> {
    let all = bench.core.instances(false).into_iter();
    all.map(|it| format!("{} {}", it.flavour, it.state))
        .collect()
}

/// Why the first machine stays.
fn kept(bench: &Bench, at: usize) -> String {
    let view = bench.core.instances(false).remove(at);
    view.returns.expect("it is in use").text
}

#[test]
fn the_cheaper_one_comes_before_the_dear_one_goes() {
    let mut bench = one_on_a_large(Billing::Second);
    bench.pass(60);
    assert_eq!(machines(&bench), ["large active", "small requested"]);
    let said = bench
        .core
        .explain("application02")
        .expect("it is known")
        .remove(0);
    let text = &said.decisions.first().expect("a decision").text;
    let expected = "renting small on near: it takes the place of application01, whose containers fit there, for 0.0300 per hour less";
    assert_eq!(text, expected);
    assert_eq!(
        kept(&bench, 0),
        "application02 takes its place, and is not ready yet"
    );
    bench.machine_comes();
    bench.settle();
    bench.pass(120);
    assert_eq!(machines(&bench)[1], "small active");
    let view = bench.core.containers(true).remove(0);
    assert_eq!(view.instance.expect("it runs").as_str(), "application02");
    assert_eq!(machines(&bench)[0], "large stopping");
    // And that is the end of it.
    bench.pass(1200);
    assert_eq!(machines(&bench).len(), 2, "no other is rented");
}

#[test]
fn nothing_is_replaced_while_it_is_paid_for() {
    let mut bench = one_on_a_large(Billing::Hour);
    let created = bench.core.instances(false)[0].created_at;
    while machines(&bench).len() == 1 {
        bench.pass(10);
    }
    // A boot of 90 s, 90 s of both, and the end of the drain 105 s before the end of the hour.
    let after = bench.now.since(created).as_secs();
    assert!((3300..3400).contains(&after), "after {after} s");
}

#[test]
fn a_load_that_returns_keeps_the_dear_one() {
    let mut bench = one_on_a_large(Billing::Second);
    bench.pass(60);
    bench
        .launch(spec("big", 1500), None)
        .expect("room is there");
    bench.machine_comes();
    bench.settle();
    bench.pass(120);
    assert_eq!(machines(&bench), ["large active", "small active"]);
    assert_eq!(kept(&bench, 1), "it takes the place of application01");
    // One that has missed its purpose goes like others.
    bench.pass(1200);
    assert_eq!(machines(&bench)[0], "large active");
    assert_ne!(
        machines(&bench).get(1).map(String::as_str),
        Some("small active")
    );
}

#[test]
fn a_small_gain_is_not_worth_a_move() {
    let mut bench = one_on_a_large(Billing::Second);
    bench.core.config.setup.clouds[0].flavours[0].price = PricePerHour(38_500);
    bench.pass(600);
    assert_eq!(machines(&bench), ["large active"]);
}

/// The last order is refused by the cloud.
fn refused(bench: &mut Bench) {
    let id = bench.core.instances(false).pop().expect("an order").id;
    let refused = Err(BrokerError::Refused("quota exceeded".to_owned()));
    let key = CallKey::Machine(id);
    bench.event(Event::Answered(key, Answer::Launched(refused)));
}

#[test]
fn a_replacement_that_is_refused_is_not_tried_again_soon() {
    let mut bench = one_on_a_large(Billing::Second);
    while machines(&bench).len() == 1 {
        bench.pass(10);
    }
    refused(&mut bench);
    bench.pass(1800);
    assert_eq!(machines(&bench), ["large active"]);
    bench.pass(2400);
    assert_ne!(machines(&bench), ["large active"], "after an hour");
}

#[test]
fn a_flavour_that_failed_a_moment_ago_takes_no_place() {
    let mut bench = Bench::new(|config| {
        (config.backoff, config.backoff_max) =
            (Duration::from_secs(3600), Duration::from_secs(3600));
    });
    bench.launch(spec("a", 64), None).expect("it is rented");
    refused(&mut bench);
    bench.machine_comes();
    bench.settle();
    bench.pass(1800);
    assert_eq!(machines(&bench), ["large active"]);
}

/// A bench with three small machines, each with one container, and a larger flavour that costs less
/// than two of them.
fn three_small(names: [&str; 3]) -> Bench {
    let mut bench = Bench::new(|_| ());
    for name in names {
        bench.launch(spec(name, 300), None).expect("it is rented");
        bench.machine_comes();
        bench.settle();
    }
    bench.pass(60);
    assert_eq!(machines(&bench), ["small active"; 3]);
    bench.core.config.setup.clouds[0].flavours[1].price = PricePerHour(14_000);
    bench
}

#[test]
fn one_takes_the_place_of_three_that_cost_more() {
    let mut bench = three_small(["a", "b", "c"]);
    bench.pass(60);
    let requested = machines(&bench).pop();
    assert_eq!(requested.as_deref(), Some("large requested"));
    let said = bench.core.explain("application04").expect("it is known");
    let text = &said[0].decisions.first().expect("a decision").text;
    let expected = "renting large on near: it takes the place of application01, application02 and application03, whose containers fit there, for 0.0160 per hour less";
    assert_eq!(text, expected);
    for at in 0..3 {
        let expected = "application04 takes its place, and is not ready yet";
        assert_eq!(kept(&bench, at), expected);
    }
    bench.machine_comes();
    let mut went = BTreeSet::new();
    for _ in 0..60 {
        bench.settle();
        bench.pass(30);
        for container in bench.core.containers(true) {
            let tag = container.instance.expect("it runs").to_string();
            went.insert((container.name.to_string(), tag));
        }
    }
    for (name, tag) in went {
        let from = match name.as_str() {
            "a_web.1" => "application01",
            "b_web.1" => "application02",
            _ => "application03",
        };
        let may = [from, "application04"];
        assert!(may.contains(&tag.as_str()), "{name} moved to {tag}");
    }
    let active = machines(&bench).into_iter();
    let active: Vec<_> = active.filter(|it| it.ends_with("active")).collect();
    assert_eq!(active, ["large active"]);
}

#[test]
fn copies_of_a_service_stay_on_two_machines() {
    let mut bench = three_small(["a", "a", "c"]);
    bench.core.config.setup.clouds[0].flavours[1].price = PricePerHour(9_000);
    bench.pass(60);
    let said = bench.core.explain("application04").expect("it is known");
    let text = &said[0].decisions.first().expect("a decision").text;
    let expected = "renting large on near: it takes the place of application01 and application03, whose containers fit there, for 0.0110 per hour less";
    assert_eq!(text, expected);
}

#[test]
fn a_location_keeps_its_minimum_of_machines() {
    let mut bench = three_small(["a", "b", "c"]);
    bench.core.config.setup.locations = vec![Bounds {
        location: Location::default(),
        min_machines: 3,
        max_machines: None,
        max_price: None,
        headroom: None,
    }];
    bench.pass(600);
    assert_eq!(machines(&bench), ["small active"; 3]);
}
