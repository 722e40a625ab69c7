//! Schedules without metrics, signals, OOM kills, kept containers, and reasons over time.

use super::*;
use crate::{
    control::{Signal, Version},
    model::Decision,
    scaling::{As, Metric, Query, Schedule, Span},
};
use micado_api::{
    ContainerName,
    agent::{ContainerEvent, ContainerHappening},
};

/// A policy on memory, so that OOM kills count.
fn of_memory() -> Policies {
    Policies {
        policies: vec![Policy::Target(Target {
            metric: Metric::Memory,
            ..Target::default()
        })],
        ..policies(1, 10)
    }
}

fn growths(bench: &Bench) -> Vec<Decision> {
    let decisions = bench.core.ledger.decisions.values();
    let growths = decisions.filter(|it| it.service.is_some() && it.text.starts_with("grew"));
    growths.cloned().collect()
}

#[test]
fn a_window_opens_without_metrics_at_its_minute() {
    let mut bench = scaled(policies(1, 10));
    let minute = bench.now.0 / 60_000 + 5;
    let schedule = Schedule {
        start: format!("{} {} * * *", minute % 60, minute / 60 % 24),
        duration: Some(Span::seconds(600)),
        end: None,
        zone: "UTC".to_owned(),
        min: 3,
        max: None,
    };
    let policies = Policies {
        policies: vec![Policy::Schedule(schedule)],
        ..policies(1, 10)
    };
    set(&mut bench, policies).expect("a good policy");
    let lead = bench.core.lead_of(&ServiceName::trusted(WEB));
    let opens = minute * 60_000 - lead.0;
    let mut grown_at = None;
    for _ in 0..20 {
        let at = bench.core.wake_at().expect("the next edge");
        bench.now = Timestamp(at.0.max(bench.now.0 + 1_000) - 1_000);
        bench.event(Event::Wake);
        if count(&bench) == 3 {
            grown_at = Some(bench.now.0);
            break;
        }
    }
    assert_eq!(grown_at, Some(opens), "one lead time before the opening");
}

#[test]
fn a_growth_is_one_record_with_its_containers() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 4, 0.5);
    let growths = growths(&bench);
    assert_eq!(growths.len(), 1);
    let made: Vec<&str> = growths[0].others.iter().map(|it| it.as_str()).collect();
    assert_eq!(made, ["a_web.2", "a_web.3"]);
    let explained = bench.core.explain("a_web.3").expect("it is known");
    let container = explained.iter().find(|it| it.name == "a_web.3");
    let container = container.expect("the container");
    assert!(
        container
            .decisions
            .iter()
            .any(|it| it.text.starts_with("grew 1 -> 3")),
        "{container:?}"
    );
    // Both were placed for the same reason.
    let mut placed = bench.core.ledger.decisions.values();
    let both = |it: &&Decision| growths[0].others.iter().all(|name| it.concerns(name));
    assert!(placed.any(|it| it.service.is_none() && both(&it)));
}

#[test]
fn each_subject_keeps_its_own_last_decisions() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 4, 0.5);
    let name = ServiceName::trusted("other");
    for number in 0..300 {
        bench
            .core
            .decide_service(&name, format!("decision {number}"));
    }
    let of_other = bench.core.ledger.decisions.values();
    let of_other = of_other.filter(|it| it.service.as_ref() == Some(&name));
    assert_eq!(of_other.count(), 200);
    assert_eq!(growths(&bench).len(), 1, "others displace none of it");
}

#[test]
fn repeated_verdicts_are_one_span_and_ended_ones_are_told_once() {
    let mut bench = scaled(policies(1, 10));
    run(&mut bench, 20, 0.1);
    let open = bench.core.open_spans();
    assert_eq!(open.len(), 1);
    assert!(open[0].times >= 18, "{open:?}");
    let (version, before) = bench.core.ended_spans(None);
    run(&mut bench, 4, 0.5);
    let (later, ended) = bench.core.ended_spans(Some(version));
    let texts: Vec<&str> = ended.iter().map(|span| span.last.text.as_str()).collect();
    assert!(texts[0].starts_with("kept 1: "), "{texts:?}");
    assert!(texts[1].starts_with("grew 1 -> 3: "), "{texts:?}");
    assert_eq!(bench.core.ended_spans(Some(later)).1, []);
    let of_another_core = Version::new(99, 0);
    let all = bench.core.ended_spans(Some(of_another_core)).1;
    assert_eq!(all.len(), before.len() + ended.len());
}

#[test]
fn an_oom_kill_adds_a_copy() {
    let mut bench = scaled(of_memory());
    run(&mut bench, 2, 0.1);
    let container = ContainerName::trusted("a_web.1");
    let copy = bench.core.ledger.container(&container);
    let copy = copy.and_then(|it| it.primary()).cloned().expect("it runs");
    let event = ContainerEvent {
        id: "c1".to_owned(),
        service: Some(copy.swarm_name),
        at: bench.now,
        what: ContainerHappening::Died {
            exit_code: 137,
            oom: true,
        },
    };
    // Sent again after a cut.
    for _ in 0..2 {
        bench.event(Event::Happened(copy.instance.clone(), event.clone()));
    }
    run(&mut bench, 5, 0.1);
    let growths = growths(&bench);
    assert_eq!(growths.len(), 1, "{growths:?}");
    assert_eq!(growths[0].text, "grew 1 -> 2: 1 copy was OOM-killed");
}

#[test]
fn a_protected_container_never_goes() {
    let mut bench = scaled(policies(1, 10));
    scale(&mut bench, to(3)).expect("scaled");
    bench.settle();
    let protect = |bench: &mut Bench, protected| {
        let name = "a_web.3".to_owned();
        let request = Request::Protect { name, protected };
        bench.ask(request).0.expect("known");
    };
    protect(&mut bench, true);
    let name = ServiceName::trusted(WEB);
    let gone = bench.core.shrink_by(&name, 3, &[], None);
    assert_eq!(gone.len(), 2);
    assert!(!gone.iter().any(|it| it.as_str() == "a_web.3"), "{gone:?}");
    protect(&mut bench, false);
    assert_eq!(bench.core.shrink_by(&name, 3, &[], None).len(), 3);
}

#[test]
fn a_signal_counts_for_the_policy_that_asked() {
    let query = |query: &str| {
        let query = Query {
            server: Some("http://prometheus:9090".to_owned()),
            query: query.to_owned(),
            meaning: As::Total,
            target: 1.0,
            interval: Span::seconds(15),
        };
        Policies {
            policies: vec![Policy::Query(query)],
            ..policies(1, 10)
        }
    };
    let mut bench = scaled(query("a"));
    run(&mut bench, 1, 0.1);
    let old = bench.core.sources().remove(0);
    set(&mut bench, query("b")).expect("a good policy");
    run(&mut bench, 1, 0.1);
    let values = vec![4.0];
    let signal = |source| {
        Event::Signal(Signal {
            source,
            values: values.clone(),
        })
    };
    bench.event(signal(old));
    run(&mut bench, 2, 0.1);
    assert_eq!(count(&bench), 1, "the answer to another query");
    let present = bench.core.sources().remove(0);
    bench.event(signal(present));
    run(&mut bench, 2, 0.1);
    assert_eq!(count(&bench), 4);
}
