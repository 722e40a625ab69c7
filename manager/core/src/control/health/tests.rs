//! Health checks by agents, event by event.

use crate::{
    control::{
        Action, Config, CopyHealth, Event, Request,
        tests::{Bench, spec},
    },
    model::{Copy, Phase},
};
use HealthState::{Healthy, Starting, Unhealthy};
use micado_api::{
    ContainerName, HealthCheck, HealthState, InstanceId, PortMapping, Probe, Protocol, RunOptions,
    ServiceSpec, Settled, agent::HealthReport,
};

const FAILURE: &str = "GET /up at port 80: status 503, not 200 to 399";

/// A web server of 64 MiB that is checked.
fn checked(change: impl FnOnce(&mut HealthCheck)) -> ServiceSpec {
    let mut check = HealthCheck {
        probe: Some(Probe::Http {
            port: Some(80),
            path: "/up".to_owned(),
            status: None,
        }),
        ..HealthCheck::default()
    };
    change(&mut check);
    ServiceSpec {
        run: Box::new(RunOptions {
            health: Some(check),
            ..RunOptions::default()
        }),
        ..spec("a", 64)
    }
}

/// Containers of a checked service whose processes run, on a machine with an agent.
fn running(copies: usize, spec: &ServiceSpec) -> (Bench, InstanceId) {
    let mut bench = Bench::new(with_catalogue);
    for _ in 0..copies {
        bench.launch(spec.clone(), None).expect("room is rented");
    }
    let instance = bench.machine_comes();
    agent(&mut bench, &instance, true);
    bench.settle();
    publish(&mut bench);
    (bench, instance)
}

fn with_catalogue(config: &mut Config) {
    config.catalogue = true;
}

/// Every task publishes a port.
fn publish(bench: &mut Bench) {
    for task in &mut bench.seen.tasks {
        task.ports = vec![PortMapping {
            host: Some(32_768),
            container: 80,
            protocol: Protocol::Tcp,
        }];
    }
    bench.look();
}

fn agent(bench: &mut Bench, instance: &InstanceId, connected: bool) {
    let instance = instance.clone();
    bench.event(Event::Agent {
        instance,
        connected,
    });
}

fn copy(bench: &Bench, number: u32) -> Copy {
    let name = ContainerName::trusted(format!("a_web.{number}"));
    let container = bench.core.ledger.container(&name).expect("it is there");
    container.primary().expect("a copy").clone()
}

/// An agent reports about the present copy of a container.
fn says(bench: &mut Bench, instance: &InstanceId, number: u32, health: HealthState) -> Vec<Action> {
    let report = HealthReport {
        service: copy(bench, number).swarm_name,
        health,
        failure: (health == Unhealthy).then(|| FAILURE.to_owned()),
    };
    let actions = bench.event(Event::Health(instance.clone(), vec![report]));
    bench.settle();
    actions
}

fn listed(bench: &Bench, number: u32) -> CopyHealth {
    let name = ContainerName::trusted(format!("a_web.{number}"));
    let listed = bench.core.listed(&name).expect("it is listed");
    listed.copies.last().expect("a copy").health.clone()
}

fn last(bench: &Bench) -> (String, Option<Settled>) {
    let lines = bench.core.progress("a_web.1");
    let last = lines.last().expect("a line");
    (last.text.clone(), last.settled)
}

fn decided(bench: &Bench, words: &str) -> usize {
    let decisions = bench.core.ledger.decisions.values();
    decisions.filter(|it| it.text.contains(words)).count()
}

#[test]
fn a_launch_waits_until_the_agent_finds_it_healthy() {
    let (mut bench, instance) = running(1, &checked(|_| {}));
    bench.pass(60);
    let waits = "starting: its health check has not passed yet";
    assert_eq!(bench.state("a_web.1"), waits);
    assert_eq!(copy(&bench, 1).phase, Phase::Starting);
    assert_eq!(listed(&bench, 1), CopyHealth::Starting);
    assert_eq!(last(&bench).1, None);

    says(&mut bench, &instance, 1, Healthy);
    assert_eq!(copy(&bench, 1).phase, Phase::Serving);
    assert_eq!(listed(&bench, 1), CopyHealth::Running);
    bench.seconds(3);
    let done = ("running on application01".to_owned(), Some(Settled::Done));
    assert_eq!(last(&bench), done);
}

#[test]
fn one_that_never_becomes_healthy_has_failed_with_the_reason() {
    let (mut bench, instance) = running(1, &checked(|_| {}));
    says(&mut bench, &instance, 1, Unhealthy);
    let text = format!("unhealthy on application01: {FAILURE}");
    assert_eq!(last(&bench), (text, Some(Settled::Failed)));
    assert_eq!(copy(&bench, 1).phase, Phase::Starting, "it never served");
    assert!(
        matches!(listed(&bench, 1), CopyHealth::Down(_)),
        "nor is it kept"
    );
    says(&mut bench, &instance, 1, Healthy);
    bench.seconds(3);
    assert_eq!(last(&bench).1, Some(Settled::Done));
}

#[test]
fn an_unhealthy_copy_is_out_of_the_catalogue_and_stays() {
    let (mut bench, instance) = running(2, &checked(|_| {}));
    says(&mut bench, &instance, 1, Healthy);
    says(&mut bench, &instance, 2, Healthy);
    bench.core.take_stale();
    says(&mut bench, &instance, 2, Unhealthy);
    let stale = bench.core.take_stale().containers;
    assert!(stale.contains("a_web.2"), "{stale:?}");
    let down = CopyHealth::Down(format!("unhealthy: {FAILURE}"));
    assert_eq!(
        (listed(&bench, 1), listed(&bench, 2)),
        (CopyHealth::Running, down)
    );
    assert_eq!(bench.state("a_web.2"), format!("unhealthy: {FAILURE}"));
    let view = bench.core.service("a_web").expect("it is there").containers;
    let health = view[1].health.as_ref().expect("it is checked");
    assert_eq!(
        (health.state, health.kept, health.unchecked),
        (Unhealthy, false, false)
    );
    assert_eq!(health.failure.as_deref(), Some(FAILURE));
    bench.pass(600);
    assert_eq!(copy(&bench, 2).generation, 1, "it is not restarted");
    says(&mut bench, &instance, 2, Healthy);
    assert_eq!(listed(&bench, 2), CopyHealth::Running);
    // Its process was restarted: it has to become healthy again.
    says(&mut bench, &instance, 2, Starting);
    assert_eq!(listed(&bench, 2), CopyHealth::Starting);
}

#[test]
fn half_of_a_service_stays_routed() {
    let (mut bench, instance) = running(3, &checked(|_| {}));
    (1..=3).for_each(|number| drop(says(&mut bench, &instance, number, Healthy)));
    let out = |bench: &Bench| {
        let all = 1..=3;
        let down = all.filter(|number| matches!(listed(bench, *number), CopyHealth::Down(_)));
        down.collect::<Vec<u32>>()
    };
    says(&mut bench, &instance, 1, Unhealthy);
    assert_eq!((out(&bench), decided(&bench, "panic rule:")), (vec![1], 0));
    says(&mut bench, &instance, 2, Unhealthy);
    assert_eq!((out(&bench), decided(&bench, "panic rule:")), (vec![1], 1));
    let kept = format!("unhealthy: {FAILURE}");
    assert_eq!(listed(&bench, 2), CopyHealth::Kept(kept));
    bench.core.take_stale();
    says(&mut bench, &instance, 3, Unhealthy);
    // The one that was healthy last takes the place; all that changed are read again.
    assert_eq!((out(&bench), decided(&bench, "panic rule:")), (vec![1], 1));
    says(&mut bench, &instance, 1, Healthy);
    assert_eq!(out(&bench), [2], "the last good one of the two stays");
    let stale = bench.core.take_stale().containers;
    assert!(
        stale.contains("a_web.1") && stale.contains("a_web.2"),
        "{stale:?}"
    );
    says(&mut bench, &instance, 3, Healthy);
    assert_eq!(
        (out(&bench), decided(&bench, "panic rule over")),
        (vec![2], 1)
    );
    let explained = bench.core.explain("a_web").expect("it is known");
    let text = format!("{explained:?}");
    assert!(
        text.contains("would take 2 of 3 copies out of the catalogue"),
        "{text}"
    );
}

#[test]
fn only_the_agent_of_its_machine_is_believed() {
    let (mut bench, instance) = running(1, &checked(|_| {}));
    let other = InstanceId::trusted("other");
    assert!(says(&mut bench, &other, 1, Healthy).is_empty());
    let nothing = HealthReport {
        service: "c-nothing".to_owned(),
        health: Healthy,
        failure: None,
    };
    assert!(
        bench
            .event(Event::Health(instance.clone(), vec![nothing]))
            .is_empty()
    );
    says(&mut bench, &instance, 1, HealthState::Unknown);
    assert_eq!(copy(&bench, 1).health.expect("checked").state, Starting);
    says(&mut bench, &instance, 1, Healthy);
    // The same once more changes nothing.
    let again = says(&mut bench, &instance, 1, Healthy);
    let commits = |action: &Action| matches!(action, Action::Commit(_));
    assert!(!again.iter().any(commits), "{again:?}");

    let (mut bench, instance) = running(1, &spec("a", 64));
    says(&mut bench, &instance, 1, Unhealthy);
    assert_eq!(copy(&bench, 1).health, None, "it is not checked");
    assert_eq!(bench.state("a_web.1"), "running");
}

#[test]
fn the_last_verdict_stays_without_an_agent_and_without_the_manager() {
    let (mut bench, instance) = running(2, &checked(|_| {}));
    says(&mut bench, &instance, 1, Healthy);
    says(&mut bench, &instance, 2, Healthy);
    says(&mut bench, &instance, 2, Unhealthy);
    agent(&mut bench, &instance, false);
    let state = bench.state("a_web.2");
    assert!(
        state.starts_with(&format!("unhealthy: {FAILURE}")),
        "{state}"
    );
    assert!(
        state.contains("the agent of application01 is not connected"),
        "{state}"
    );
    assert!(
        bench.state("a_web.1").starts_with("running: "),
        "it is said"
    );
    assert!(matches!(listed(&bench, 2), CopyHealth::Down(_)));
    assert_eq!(listed(&bench, 1), CopyHealth::Running);

    // A new manager has it from the store, and a core that lost a commit from the one before.
    let reports = bench.core.healths();
    let states: Vec<_> = reports.iter().map(|(_, report)| report.health).collect();
    assert_eq!(states, [Healthy, Unhealthy]);
    let contents = bench.contents();
    let mut new = Bench::of(bench.core.config().clone(), contents);
    new.seen = bench.seen.clone();
    new.machines = bench.machines.clone();
    new.tick();
    new.look();
    assert!(matches!(listed(&new, 2), CopyHealth::Down(_)));
    assert_eq!(listed(&new, 1), CopyHealth::Running);
}

#[test]
fn an_adopted_copy_runs_until_an_agent_says_otherwise() {
    let (mut bench, instance) = running(2, &checked(|_| {}));
    says(&mut bench, &instance, 1, Healthy);
    let core = &bench.core.ledger;
    let records = |name: &str| {
        let container = core
            .container(&ContainerName::trusted(name))
            .expect("there");
        let record = (core.service_of(container), container);
        serde_json::to_string(&record).expect("JSON")
    };
    let (mut services, texts) = (
        bench.seen.services.clone(),
        ["a_web.1", "a_web.2"].map(records),
    );
    for (service, text) in services.iter_mut().zip(texts) {
        service.records = Some(text.into());
    }
    let mut new = Bench::unseeing(bench.core.config().clone(), Vec::new());
    (new.seen, new.machines) = (bench.seen.clone(), bench.machines.clone());
    new.seen.services = services;
    new.tick();
    new.look();
    new.look();
    assert_eq!(
        copy(&new, 2).health.expect("checked").state,
        HealthState::Unknown
    );
    assert!(
        new.state("a_web.2").starts_with("running: "),
        "{}",
        new.state("a_web.2")
    );
    assert_eq!(listed(&new, 2), CopyHealth::Running);
    agent(&mut new, &instance, true);
    says(&mut new, &instance, 2, Unhealthy);
    assert!(matches!(listed(&new, 2), CopyHealth::Down(_)));
}

#[test]
fn a_move_waits_for_a_healthy_copy() {
    let (mut bench, instance) = running(1, &checked(|_| {}));
    says(&mut bench, &instance, 1, Healthy);
    bench.pass(60);
    let tag = "application01".parse().expect("a tag");
    let stop = Request::Stop { tag, force: false };
    bench.ask(stop).0.expect("it is drained");
    let other = bench.machine_comes();
    agent(&mut bench, &other, true);
    bench.settle();
    publish(&mut bench);
    bench.pass(120);
    let copies = |bench: &Bench| {
        let name = ContainerName::trusted("a_web.1");
        let container = bench.core.ledger.container(&name).expect("it is there");
        let live = container.copies.iter().filter(|copy| copy.is_live());
        live.map(|copy| copy.generation).collect::<Vec<_>>()
    };
    assert_eq!(copies(&bench), [1, 2], "the new one is not healthy yet");
    assert!(bench.state("a_web.1").contains("moving to application02"));
    says(&mut bench, &other, 1, Unhealthy);
    bench.pass(60);
    assert_eq!(copies(&bench), [1, 2]);
    says(&mut bench, &other, 1, Healthy);
    bench.pass(60);
    assert_eq!(copies(&bench), [2]);
}

#[test]
fn a_shrink_takes_the_unhealthy_ones_first() {
    let (mut bench, instance) = running(3, &checked(|_| {}));
    (1..=3).for_each(|number| drop(says(&mut bench, &instance, number, Healthy)));
    says(&mut bench, &instance, 1, Unhealthy);
    let name = "a_web".parse().expect("a name");
    let gone = bench.core.shrink_by(&name, 1, &[], None);
    assert_eq!(gone, [ContainerName::trusted("a_web.1")]);
}

#[test]
fn an_unhealthy_copy_is_replaced_after_a_while_if_that_was_asked_for() {
    let spec = checked(|check| check.restart_after_ms = Some(60_000));
    let (mut bench, instance) = running(2, &spec);
    says(&mut bench, &instance, 1, Healthy);
    says(&mut bench, &instance, 2, Healthy);
    says(&mut bench, &instance, 1, Unhealthy);
    bench.pass(40);
    assert_eq!(copy(&bench, 1).generation, 1);
    bench.pass(40);
    assert_eq!(copy(&bench, 1).generation, 2);
    assert_eq!(decided(&bench, "it has been unhealthy for 60 s"), 1);
    let health = copy(&bench, 1).health.expect("checked");
    assert_eq!(health.state, Starting);
    says(&mut bench, &instance, 1, Healthy);
    // All of them at once: what they depend on has failed.
    says(&mut bench, &instance, 1, Unhealthy);
    says(&mut bench, &instance, 2, Unhealthy);
    bench.pass(300);
    assert_eq!(
        (copy(&bench, 1).generation, copy(&bench, 2).generation),
        (2, 1)
    );
    says(&mut bench, &instance, 2, Healthy);
    bench.pass(20);
    assert_eq!(
        (copy(&bench, 1).generation, copy(&bench, 2).generation),
        (3, 1)
    );
}

#[test]
fn checks_are_those_of_live_copies_with_all_settings() {
    let (bench, instance) = running(1, &checked(|check| check.timeout_ms = Some(500)));
    let name = ContainerName::trusted("a_web.1");
    let [one] = bench.core.checks(&name).try_into().expect("one");
    assert_eq!(one.instance, instance);
    assert_eq!(one.check.service, copy(&bench, 1).swarm_name);
    assert_eq!((one.check.timeout_ms, one.check.interval_ms), (500, 2_000));
    assert_eq!(bench.core.all_checks().len(), 1);
    let (mut bench, _) = running(1, &checked(|_| {}));
    bench.quit("a_web.1");
    assert!(bench.core.checks(&name).is_empty());
}

#[test]
fn the_views_of_engine_and_agent_are_apart() {
    let (mut bench, instance) = running(1, &checked(|_| {}));
    says(&mut bench, &instance, 1, Unhealthy);
    let [explained] = bench
        .core
        .explain("a_web.1")
        .expect("known")
        .try_into()
        .expect("one");
    let views: Vec<_> = explained
        .views
        .iter()
        .map(|it| (it.by.as_str(), it.text.as_str()))
        .collect();
    let agent = format!("unhealthy by HTTP 80/up: {FAILURE}");
    assert_eq!(views[0], ("engine", "task running"));
    assert!(
        views[1].0 == "agent" && views[1].1.starts_with(&agent),
        "{views:?}"
    );
    let (bench, _) = running(1, &spec("a", 64));
    let explained = bench.core.explain("a_web.1").expect("known");
    assert!(explained[0].views.is_empty(), "there is only one view");
}
