//! Scaling in the core: frames, floors, people, and what survives.

use super::*;
use crate::control::{
    Action, Event, Reply, Request,
    tests::{Bench, refusal, spec},
};
use crate::scaling::{Copies, MOST_COPIES, Policy, Sums, Target};
use micado_api::{ErrorCode, ScaleRequest};

mod reasons;

const WEB: &str = "a_web";

/// A service of one copy on a machine with room for others, with this policy.
fn scaled(policies: Policies) -> Bench {
    let mut bench = Bench::new(|config| config.max_instances = Some(4));
    bench.launch(spec("a", 64), None).expect("launched");
    bench.machine_comes();
    bench.settle();
    set(&mut bench, policies).expect("a good policy");
    bench
}

fn policies(min: u32, max: u32) -> Policies {
    Policies {
        min,
        max,
        look_back: Span::seconds(60),
        step_down: None,
        policies: vec![Policy::Target(Target::default())],
        ..Policies::default()
    }
}

fn set(bench: &mut Bench, policies: Policies) -> Result<Reply, ErrorBody> {
    let service = WEB.to_owned();
    let policies = Box::new(policies);
    bench.ask(Request::SetPolicy { service, policies }).0
}

fn scale(bench: &mut Bench, scale: ScaleRequest) -> Result<Reply, ErrorBody> {
    let service = WEB.to_owned();
    bench.ask(Request::Scale { service, scale }).0
}

fn quit(bench: &mut Bench, name: &str) {
    let name = name.to_owned();
    let (reply, _) = bench.ask(Request::Quit { name, remove: true });
    reply.expect("it is known");
}

fn to(count: u32) -> ScaleRequest {
    ScaleRequest {
        count: Some(count),
        ..ScaleRequest::default()
    }
}

/// A frame in which all running copies are warm and share this many cores.
fn frame(bench: &Bench, cores: f64) -> ServiceLoad {
    let running = bench.core.counts(&ServiceName::trusted(WEB)).running;
    ServiceLoad {
        frame: Frame {
            at: Timestamp(bench.now.0 + 1_000),
            interval_ms: 1_000,
            copies: Copies {
                warm: running,
                ..Copies::default()
            },
            cpu: Sums {
                warm: cores,
                busiest: cores / f64::from(running.max(1)),
                ..Sums::default()
            },
            ..Frame::default()
        },
        ..ServiceLoad::default()
    }
}

fn send(bench: &mut Bench, load: ServiceLoad) -> Vec<Action> {
    bench.event(Event::Load(vec![(ServiceName::trusted(WEB), load)]))
}

/// Sends frames for this many seconds; the engine follows.
fn run(bench: &mut Bench, seconds: u32, cores: f64) {
    for _ in 0..seconds {
        let load = frame(bench, cores);
        if !send(bench, load).is_empty() {
            bench.settle();
        }
    }
}

fn count(bench: &Bench) -> u32 {
    bench.core.count_of(&ServiceName::trusted(WEB))
}

/// Texts of the decisions about the service as a whole.
fn decisions(bench: &Bench) -> Vec<String> {
    let explanations = bench.core.explain(WEB).expect("it is known");
    let service = explanations.into_iter().find(|it| it.name == WEB);
    let service = service.expect("a service with a policy is explained");
    service.decisions.into_iter().map(|it| it.text).collect()
}

#[test]
fn load_adds_copies_in_one_step_with_one_decision() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 4, 0.5);
    // 0.5 cores against 0.7 of 0.25: three copies.
    assert_eq!(count(&bench), 3);
    let texts = decisions(&bench);
    let growths: Vec<_> = texts
        .iter()
        .filter(|text| text.starts_with("grew"))
        .collect();
    assert_eq!(growths.len(), 1, "{texts:?}");
    assert!(
        growths[0].starts_with("grew 1 -> 3: 0.50 cores over"),
        "{texts:?}"
    );
}

#[test]
fn less_load_removes_copies_after_the_look_back() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 60, 0.01);
    run(&mut bench, 4, 0.5);
    run(&mut bench, 50, 0.01);
    assert_eq!(count(&bench), 3, "the look-back holds it");
    run(&mut bench, 138, 0.01);
    assert_eq!(count(&bench), 1);
    let texts = decisions(&bench);
    let last = texts.last().expect("a decision");
    let why = "shrank 3 -> 1: the busiest minute";
    assert!(last.starts_with(why), "{texts:?}");
}

#[test]
fn blind_copies_hold_the_count() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 4, 0.5);
    for _ in 0..300 {
        let mut load = frame(&bench, 0.0);
        load.frame.copies = Copies::default();
        load.frame.cpu = Sums::default();
        send(&mut bench, load);
    }
    assert_eq!(count(&bench), 3);
    let view = bench.core.scaling(WEB).expect("it is known");
    let text = view.verdict.expect("a verdict").text;
    assert!(text.contains("no copy has metrics"), "{text}");
}

#[test]
fn without_an_engine_no_count_changes() {
    let mut bench = scaled(policies(1, 10));
    bench.event(Event::Blind("gone".to_owned()));
    let mut load = frame(&bench, 0.0);
    load.frame.copies.warm = 1;
    load.frame.cpu.warm = 9.0;
    for second in 1..20 {
        load.frame.at = Timestamp(bench.now.0 + second);
        send(&mut bench, load.clone());
    }
    assert_eq!(count(&bench), 1);
}

#[test]
fn the_minimum_needs_no_metrics() {
    let mut bench = scaled(policies(3, 10));
    assert_eq!(count(&bench), 3, "the policy itself raises it");
    quit(&mut bench, &format!("{WEB}.2"));
    assert_eq!(count(&bench), 2);
    bench.tick();
    assert_eq!(count(&bench), 3, "and each tick");
    assert!(decisions(&bench).contains(&"grew 2 -> 3: the minimum".to_owned()));
}

#[test]
fn a_service_that_a_person_stopped_stays_stopped() {
    let mut bench = scaled(policies(2, 10));
    quit(&mut bench, WEB);
    bench.settle();
    bench.tick();
    run(&mut bench, 5, 0.0);
    assert_eq!(count(&bench), 0);
    let explained = bench.core.explain(WEB).expect("its policy is known");
    assert!(
        explained[0].now.contains("stopped by hand"),
        "{explained:?}"
    );
    bench.launch(spec("a", 64), None).expect("launched again");
    bench.tick();
    assert_eq!(count(&bench), 2);
}

#[test]
fn a_pinned_count_stays_both_ways() {
    let mut bench = scaled(policies(1, 10));
    scale(&mut bench, to(2)).expect("within the limits");
    let pin = |pin| ScaleRequest {
        pin: Some(pin),
        ..ScaleRequest::default()
    };
    scale(&mut bench, pin(true)).expect("pinned");
    run(&mut bench, 10, 2.0);
    assert_eq!(count(&bench), 2);
    let view = bench.core.scaling(WEB).expect("it is known");
    assert!(view.pinned && view.verdict.expect("a verdict").text.contains("pinned"));
    run(&mut bench, 200, 0.0);
    assert_eq!(count(&bench), 2);
    scale(&mut bench, pin(false)).expect("unpinned");
    run(&mut bench, 70, 2.0);
    assert!(count(&bench) > 2);
}

#[test]
fn a_count_by_hand_is_a_floor_for_a_time() {
    let mut bench = scaled(policies(1, 10));
    let scaled = scale(
        &mut bench,
        ScaleRequest {
            for_ms: Some(300_000),
            ..to(4)
        },
    );
    assert!(matches!(scaled, Ok(Reply::Scaling(view)) if view.count == 4));
    bench.settle();
    run(&mut bench, 200, 0.0);
    assert_eq!(count(&bench), 4);
    run(&mut bench, 300, 0.0);
    assert_eq!(count(&bench), 1);
}

#[test]
fn counts_outside_the_limits_are_refused() {
    let mut bench = scaled(policies(1, 3));
    let error = scale(&mut bench, to(4)).expect_err("above the maximum");
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(
        error.hint.as_deref(),
        Some("`micado policy set a_web --max 4` first")
    );
    assert!(scale(&mut bench, to(0)).is_err());
    scale(&mut bench, to(3)).expect("the maximum itself");
    let launched = bench.launch(spec("a", 64), None);
    assert_eq!(launched.expect_err("a fourth").code, ErrorCode::Conflict);
    assert_eq!(count(&bench), 3);
}

#[test]
fn bad_policies_and_unknown_services_are_refused() {
    let mut bench = scaled(policies(1, 3));
    let answer = set(&mut bench, policies(5, 3));
    assert_eq!(
        refusal(answer),
        (
            ErrorCode::BadRequest,
            "limits: min 5 is above max 3".to_owned()
        )
    );
    let query = Policy::Query(
        serde_json::from_str(r#"{"query": "q", "target": 1, "as": "total"}"#).expect("a query"),
    );
    let unfed = Policies {
        policies: vec![query],
        ..policies(1, 3)
    };
    assert_eq!(refusal(set(&mut bench, unfed)).0, ErrorCode::BadRequest);
    let (answer, _) = bench.ask(Request::SetPolicy {
        service: "b_web".to_owned(),
        policies: Box::new(policies(1, 3)),
    });
    assert_eq!(refusal(answer).0, ErrorCode::NotFound);
    let (answer, _) = bench.ask(Request::RemovePolicy {
        service: "b_web".to_owned(),
    });
    assert_eq!(refusal(answer).0, ErrorCode::NotFound);
}

#[test]
fn without_a_policy_the_count_is_set_once() {
    let mut bench = Bench::new(|config| config.max_instances = Some(4));
    bench.launch(spec("a", 64), None).expect("launched");
    bench.machine_comes();
    bench.settle();
    scale(&mut bench, to(3)).expect("scaled");
    assert_eq!(count(&bench), 3);
    bench.settle();
    scale(&mut bench, to(1)).expect("scaled back");
    assert_eq!(count(&bench), 1);
    let pin = ScaleRequest {
        pin: Some(true),
        ..ScaleRequest::default()
    };
    assert_eq!(refusal(scale(&mut bench, pin)).0, ErrorCode::Conflict);
}

#[test]
fn a_policy_survives_its_containers_and_a_new_policy_keeps_the_count() {
    let mut bench = scaled(policies(1, 10));
    scale(&mut bench, to(3)).expect("scaled");
    set(&mut bench, policies(1, 8)).expect("another policy");
    assert_eq!(count(&bench), 3);
    quit(&mut bench, WEB);
    bench.settle();
    bench.now = bench.now.plus(std::time::Duration::from_secs(700));
    bench.tick();
    bench.tick();
    assert_eq!(bench.core.policy(WEB), Ok(policies(1, 8)));
    let (removed, _) = bench.ask(Request::RemovePolicy {
        service: WEB.to_owned(),
    });
    assert!(removed.is_ok());
    assert!(bench.core.policy(WEB).is_err());
}

#[test]
fn a_repeated_frame_changes_nothing() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 3, 0.1);
    let mut load = frame(&bench, 0.8);
    while send(&mut bench, load.clone()).is_empty() {
        load = frame(&bench, 0.8);
    }
    bench.settle();
    bench.seconds(3);
    let grown = count(&bench);
    for _ in 0..3 {
        assert!(send(&mut bench, load.clone()).is_empty());
    }
    assert_eq!(count(&bench), grown);
}

#[test]
fn a_frame_without_a_verdict_causes_no_action() {
    let mut bench = scaled(policies(1, 10));
    bench.seconds(3);
    for _ in 0..20 {
        let load = frame(&bench, 0.1);
        assert!(send(&mut bench, load).is_empty());
    }
}

#[test]
fn a_growth_beyond_what_can_be_rented_is_not_recorded() {
    let mut bench = Bench::new(|config| config.max_instances = Some(1));
    bench.launch(spec("a", 128), None).expect("launched");
    bench.machine_comes();
    bench.settle();
    set(&mut bench, policies(1, 10)).expect("a good policy");
    run(&mut bench, 10, 1.0);
    let view = bench.core.scaling(WEB).expect("it is known");
    assert_eq!((view.count, view.running), (3, 3), "what the machine holds");
    let text = view.verdict.expect("a verdict").text;
    assert!(text.contains("may have 3"), "{text}");
}

#[test]
fn volumes_and_blind_machines_protect_copies() {
    let mut bench = scaled(policies(1, 10));
    scale(&mut bench, to(3)).expect("scaled");
    bench.settle();
    let name = ServiceName::trusted(WEB);
    let changes = bench.core.scaled_since(None).expect("it sees");
    let copies = changes.changed[0].copies.iter();
    let copies: Vec<String> = copies.map(|(name, _)| name.clone()).collect();
    assert_eq!(copies.len(), 3);
    let gone = bench.core.shrink_by(&name, 2, &copies[..2], None);
    assert_eq!(gone.len(), 1, "only the seen one");
    assert_eq!(bench.core.shrink_by(&name, 2, &[], Some(&[])), []);
}

#[test]
fn a_refused_count_changes_nothing() {
    let mut bench = scaled(policies(1, 10));
    scale(&mut bench, to(2)).expect("scaled");
    bench.settle();
    let names: Vec<_> = bench.core.ledger.containers().keys().cloned().collect();
    for name in &names {
        bench.core.ledger.edit_container(name, |container| {
            let primary = container.primary().map(|copy| copy.instance.clone());
            container.bound_to = primary;
        });
    }
    let before = bench.core.scaling(WEB).expect("a service");
    for count in [1, MOST_COPIES + 1, u32::MAX] {
        assert!(scale(&mut bench, to(count)).is_err(), "{count}");
        let after = bench.core.scaling(WEB).expect("a service");
        assert_eq!((after.count, after.manual), (before.count, before.manual));
    }
    let refused = set(&mut bench, policies(1, MOST_COPIES + 1));
    let refused = refused.expect_err("it is above the bound");
    assert!(refused.message.contains("is above 10000"), "{refused:?}");
}
