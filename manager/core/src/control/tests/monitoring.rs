//! Reads for monitoring: lists in parts are complete, and agree with the views of people.

use super::*;
use crate::control::{MonitoredContainer, ScaledState};
use crate::scaling::{Policies, Policy, Target};
use micado_api::{ContainerState, InstanceView, ScaleRequest};

/// A list that is read in parts of this many.
fn whole<T: Clone>(most: usize, part: impl Fn(Option<&T>, usize) -> Vec<T>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let part = part(all.last(), most);
        assert!(part.len() <= most);
        all.extend(part.clone());
        if part.len() < most {
            return all;
        }
    }
}

/// A bench with seven containers of two services on machines that run.
fn crowded() -> Bench {
    let mut bench = Bench::new(|_| {});
    for number in 0..7 {
        let client = if number < 3 { "a" } else { "b" };
        bench.launch(spec(client, 200), None).expect("launched");
    }
    while bench.core.instances(false).len() > bench.machines.len() {
        bench.machine_comes();
    }
    bench.settle();
    bench
}

#[test]
fn parts_of_a_list_make_the_whole() {
    let bench = crowded();
    let core = &bench.core;
    for most in [1, 2, 3, 100] {
        let containers = whole(most, |last: Option<&MonitoredContainer>, most| {
            core.monitored_after(last.map(|one| &one.view.name), most)
        });
        let views: Vec<_> = containers.iter().map(|one| one.view.clone()).collect();
        assert_eq!(views, core.containers(true));
        assert!(containers.iter().all(|one| one.is_wanted()));
        assert_eq!(containers[0].client, "a");

        let instances = whole(most, |last: Option<&InstanceView>, most| {
            core.instances_after(last.map(|one| &one.id), most)
        });
        let mut known = core.instances(false);
        known.sort_by(|one, other| one.id.cmp(&other.id));
        assert!(instances.len() > 1 && instances == known, "{instances:?}");
    }
}

#[test]
fn a_stopped_container_is_shown_and_not_wanted() {
    let mut bench = crowded();
    let name = "a_web.1".to_owned();
    let (reply, _) = bench.ask(Request::Quit {
        name,
        remove: false,
    });
    reply.expect("it is known");
    bench.settle();
    let containers = bench.core.monitored_after(None, 1);
    let stopped = &containers[0];
    assert_eq!(
        (stopped.view.state, stopped.is_wanted()),
        (ContainerState::Stopped, false)
    );
    let wanted = bench.core.monitored_after(None, 100);
    let wanted = wanted.iter().filter(|one| one.is_wanted());
    assert_eq!(wanted.count(), 6);
}

#[test]
fn the_overview_tells_what_answers() {
    let mut bench = Bench::new(|config| config.max_instances = Some(7));
    let overview = bench.core.overview();
    assert!(overview.sees_engine && overview.clouds.values().all(|up| *up));
    assert_eq!(
        (overview.clouds.len(), overview.max_instances),
        (1, Some(7))
    );

    bench.event(Event::Blind("no answer".to_owned()));
    assert!(!bench.core.overview().sees_engine);
    let cloud = bench.core.overview().clouds.into_keys().next();
    let key = CallKey::List(cloud.expect("one"));
    let failed = BrokerError::Unknown("no answer".to_owned());
    bench.event(Event::Answered(key, Answer::Listed(Err(failed))));
    assert!(bench.core.overview().clouds.values().all(|up| !up));
}

#[test]
fn a_service_with_a_policy_has_bounds_and_the_cause_of_its_count() {
    let mut bench = crowded();
    assert!(bench.core.scaled_after(None, 10).is_empty());
    for service in ["a_web", "b_web"] {
        let policies = Box::new(Policies {
            min: 5,
            max: 6,
            policies: vec![Policy::Target(Target::default())],
            ..Policies::default()
        });
        let service = service.to_owned();
        let (reply, _) = bench.ask(Request::SetPolicy { service, policies });
        reply.expect("a good policy");
    }
    let (reply, _) = bench.ask(Request::Scale {
        service: "b_web".to_owned(),
        scale: ScaleRequest {
            pin: Some(true),
            ..ScaleRequest::default()
        },
    });
    reply.expect("it has a policy");
    let scaled = whole(1, |last: Option<&ScaledState>, most| {
        bench.core.scaled_after(last.map(|one| &one.service), most)
    });
    let found: Vec<_> = scaled
        .iter()
        .map(|one| (one.service.as_str(), one.min, one.max, one.is_pinned))
        .collect();
    assert_eq!(found, [("a_web", 5, 6, false), ("b_web", 5, 6, true)]);
    assert_eq!(scaled[0].cause.as_deref(), Some("steady"));
}
