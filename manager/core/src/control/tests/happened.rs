//! Reports of node agents, a moment before the Swarm shows the same.

use super::*;
use crate::{model::End, store::Record};
use micado_api::{
    ContainerName,
    agent::{ContainerEvent, ContainerHappening},
};

/// A running container, its instance, and its Swarm service.
fn running() -> (Bench, InstanceId, String) {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    bench.seconds(3);
    let name = bench.seen.services[0].name.clone();
    (bench, id, name)
}

/// A new manager on the same store, which has not observed the engine yet.
fn anew(before: &Bench) -> Bench {
    let ledger = &before.core.ledger;
    let instances = ledger.instances().values().cloned();
    let services = ledger.services().values().cloned();
    let containers = ledger.containers().values().cloned();
    let records = instances
        .map(Record::Instance)
        .chain(services.map(Record::Service))
        .chain(containers.map(Record::Container));
    let contents = records.map(|record| (record, 1)).collect();
    let mut bench = Bench::unseeing(before.core.config().clone(), contents);
    bench.now = before.now;
    bench
}

/// The last end in the record of the only copy of `a_web.1`.
fn last_end(bench: &Bench) -> Option<End> {
    let name = ContainerName::trusted("a_web.1");
    let container = bench.core.ledger.container(&name).expect("there");
    container.copies[0].last_end.clone()
}

/// The Swarm starts the container again after this exit code.
fn fails(seen: &mut Observation, exit_code: i64) {
    let task = &mut seen.tasks[0];
    (task.state, task.wanted, task.exit_code) = (TaskState::Failed, false, Some(exit_code));
    let mut next = task.clone();
    (next.id, next.version, next.state, next.wanted) =
        ("next".to_owned(), 2, TaskState::Starting, true);
    seen.tasks.push(next);
}

const OOM_KILLED: &str =
    "failing: exit code 137: OOM-killed (its limit is 64 MiB): launch it with more --memory";

/// Number of commits among these actions.
fn commits(actions: &[Action]) -> usize {
    let is_commit = |action: &&Action| matches!(action, Action::Commit(_));
    actions.iter().filter(is_commit).count()
}

fn died(service: &str, exit_code: i64, oom: bool) -> ContainerEvent {
    ContainerEvent {
        id: "c1".to_owned(),
        service: Some(service.to_owned()),
        at: Timestamp(5),
        what: ContainerHappening::Died { exit_code, oom },
    }
}

#[test]
fn the_swarm_is_asked_until_it_says_the_same() {
    let (mut bench, id, name) = running();
    assert!(bench.core.polled().is_empty());
    bench.event(Event::Happened(id.clone(), died(&name, 3, false)));
    assert_eq!(bench.core.polled().first(), Some(&name));
    assert_eq!(bench.core.wake_at(), Some(Timestamp(bench.now.0 + 5_000)));
    bench.look();
    assert_eq!(bench.core.polled().len(), 1, "nothing has changed yet");
    bench.seen.tasks[0].message = Some("task: non-zero exit (3)".to_owned());
    bench.look();
    assert!(bench.core.polled().is_empty());
    assert!(
        bench
            .event(Event::Happened(id, died(&name, 3, false)))
            .is_empty()
    );
    assert!(bench.core.polled().is_empty(), "said again");
}

#[test]
fn the_swarm_is_not_asked_for_ever() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            what: ContainerHappening::Healthy,
            ..died(&name, 0, false)
        },
    ));
    bench.now = Timestamp(bench.now.0 + 3_000);
    bench.event(Event::Wake);
    assert_eq!(bench.core.polled().len(), 1, "4 s later");
    bench.event(Event::Wake);
    assert!(bench.core.polled().is_empty(), "5 s later");
}

#[test]
fn what_was_reported_while_the_engine_was_away_is_asked_for_when_it_is_back() {
    let (mut bench, id, name) = running();
    bench.event(Event::Blind("connection refused".to_owned()));
    bench.event(Event::Happened(id, died(&name, 0, false)));
    bench.now = Timestamp(bench.now.0 + 60_000);
    bench.event(Event::Wake);
    // The engine still shows what it knew before.
    bench.look();
    bench.now = Timestamp(bench.now.0 + 20_000);
    bench.event(Event::Wake);
    assert_eq!(bench.core.polled().first(), Some(&name));
    bench.now = Timestamp(bench.now.0 + 20_000);
    bench.event(Event::Wake);
    assert!(bench.core.polled().is_empty(), "not for ever");
}

#[test]
fn an_agent_speaks_for_its_own_machine_only() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(
        InstanceId::trusted("other"),
        died(&name, 137, true),
    ));
    bench.event(Event::Happened(id.clone(), died("c-unknown", 137, true)));
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            service: None,
            ..died(&name, 137, true)
        },
    ));
    assert!(bench.core.polled().is_empty() && bench.core.reports.of.is_empty());
    assert_eq!(last_end(&bench), None);
}

#[test]
fn what_is_said_before_the_engine_was_seen_is_heard() {
    let (before, id, name) = running();
    let mut bench = anew(&before);
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    bench.event(Event::Happened(
        InstanceId::trusted("other"),
        died(&name, 1, false),
    ));
    bench.seen = before.seen;
    fails(&mut bench.seen, 137);
    bench.look();
    assert_eq!(bench.state("a_web.1"), OOM_KILLED);
}

#[test]
fn an_oom_kill_that_was_recorded_survives_a_kill_of_the_manager() {
    let (mut before, id, name) = running();
    let report = Request::Happened(vec![(id.clone(), died(&name, 137, true))]);
    let (reply, actions) = before.ask(report.clone());
    assert_eq!((reply, commits(&actions)), (Ok(Reply::Recorded), 1));
    let (reply, actions) = before.ask(report);
    assert_eq!((reply, commits(&actions)), (Ok(Reply::Recorded), 0));
    let mut bench = anew(&before);
    bench.seen = before.seen;
    fails(&mut bench.seen, 137);
    bench.look();
    assert_eq!(bench.state("a_web.1"), OOM_KILLED);
}

#[test]
fn an_end_is_recorded_before_its_report_is_answered() {
    let (mut bench, id, name) = running();
    let report = Request::Happened(vec![(id, died(&name, 137, true))]);
    let actions = bench.event(Event::Request(7, report));
    let at = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
    let commit = at(|action| matches!(action, Action::Commit(_))).expect("a commit");
    let reply = at(|action| matches!(action, Action::Reply(7, Ok(_)))).expect("a reply");
    assert!(commit < reply, "{actions:?}");
}

#[test]
fn who_was_killed_for_want_of_memory_is_told_so_as_long_as_it_fails() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    bench.seen.tasks[0].message = Some("task: non-zero exit (137)".to_owned());
    fails(&mut bench.seen, 137);
    bench.look();
    assert_eq!(bench.state("a_web.1"), OOM_KILLED);
    bench.seen.tasks[1].state = TaskState::Running;
    bench.look();
    assert_eq!(bench.state("a_web.1"), OOM_KILLED);
    bench.seconds(6);
    assert_eq!(bench.state("a_web.1"), "running");
    let task = &mut bench.seen.tasks[1];
    (task.state, task.wanted, task.exit_code, task.message) = (
        TaskState::Failed,
        false,
        Some(137),
        Some("task: non-zero exit (137)".to_owned()),
    );
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            id: "c2".to_owned(),
            ..died(&name, 137, false)
        },
    ));
    bench.look();
    assert_eq!(
        bench.state("a_web.1"),
        "failing: exit code 137: task: non-zero exit (137)",
        "that one was killed by somebody else"
    );
}

#[test]
fn a_late_report_of_an_earlier_end_changes_nothing() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(
        id.clone(),
        ContainerEvent {
            at: Timestamp(6),
            ..died(&name, 137, false)
        },
    ));
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    assert_eq!(last_end(&bench).map(|end| end.oom), Some(false));
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            at: Timestamp(7),
            ..died(&name, 137, true)
        },
    ));
    let end = End {
        exit_code: 137,
        oom: true,
        at: Timestamp(7),
    };
    assert_eq!(last_end(&bench), Some(end));
}

#[test]
fn a_machine_whose_clock_was_ahead_is_believed_what_it_says_once_that_is_right() {
    let (mut bench, id, name) = running();
    let ahead = Timestamp(bench.now.0 + 3_600_000);
    bench.event(Event::Happened(
        id.clone(),
        ContainerEvent {
            at: ahead,
            ..died(&name, 3, false)
        },
    ));
    let right = Timestamp(bench.now.0 + 1_000);
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            at: right,
            ..died(&name, 137, true)
        },
    ));
    let end = End {
        exit_code: 137,
        oom: true,
        at: right,
    };
    assert_eq!(last_end(&bench), Some(end));
}

#[test]
fn what_was_said_is_forgotten_with_the_service() {
    let (mut bench, id, name) = running();
    for at in 0..100 {
        bench.event(Event::Happened(
            id.clone(),
            ContainerEvent {
                at: Timestamp(at),
                ..died(&name, 1, false)
            },
        ));
    }
    assert_eq!(bench.core.reports.of.len(), 1);
    assert!(
        bench
            .ask(Request::Quit {
                name: "a_web".to_owned(),
                remove: true
            })
            .0
            .is_ok()
    );
    bench.settle();
    bench.tick();
    assert!(bench.core.reports.of.is_empty());
}
