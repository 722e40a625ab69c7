//! Reports of node agents, a moment before the Swarm shows the same.

use super::*;
use crate::store::Record;
use micado_api::agent::{ContainerEvent, ContainerHappening};

/// A running container, its instance, and its Swarm service.
fn running() -> (Bench, InstanceId, String) {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    let name = bench.seen.services[0].name.clone();
    (bench, id, name)
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
}

#[test]
fn what_is_said_before_the_engine_was_seen_is_heard() {
    let (before, id, name) = running();
    let records = [
        before
            .core
            .ledger
            .instances()
            .values()
            .cloned()
            .map(Record::Instance)
            .collect::<Vec<_>>(),
        before
            .core
            .ledger
            .services()
            .values()
            .cloned()
            .map(Record::Service)
            .collect(),
        before
            .core
            .ledger
            .containers()
            .values()
            .cloned()
            .map(Record::Container)
            .collect(),
    ];
    let mut bench = Bench::unseeing(
        Config::clone(before.core.config()),
        records
            .into_iter()
            .flatten()
            .map(|record| (record, 1))
            .collect(),
    );
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    bench.event(Event::Happened(
        InstanceId::trusted("other"),
        died(&name, 1, false),
    ));
    bench.seen = before.seen;
    let task = &mut bench.seen.tasks[0];
    (task.state, task.wanted, task.exit_code) = (TaskState::Failed, false, Some(137));
    let mut next = task.clone();
    (next.id, next.version, next.state, next.wanted) =
        ("next".to_owned(), 2, TaskState::Starting, true);
    bench.seen.tasks.push(next);
    bench.look();
    assert_eq!(
        bench.state("a_web.1"),
        "failing: exit code 137: OOM-killed (its limit is 64 MiB): launch it with more --memory"
    );
}

#[test]
fn who_was_killed_for_want_of_memory_is_told_so_as_long_as_it_fails() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    let task = &mut bench.seen.tasks[0];
    (task.state, task.wanted, task.exit_code, task.message) = (
        TaskState::Failed,
        false,
        Some(137),
        Some("task: non-zero exit (137)".to_owned()),
    );
    let mut next = task.clone();
    (next.id, next.version, next.state, next.wanted) =
        ("next".to_owned(), 2, TaskState::Starting, true);
    bench.seen.tasks.push(next);
    bench.look();
    assert_eq!(
        bench.state("a_web.1"),
        "failing: exit code 137: OOM-killed (its limit is 64 MiB): launch it with more --memory"
    );
    bench.seen.tasks[1].state = TaskState::Running;
    bench.look();
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
fn what_is_recalled_of_before_changes_nothing_that_was_heard_since() {
    let (mut bench, id, name) = running();
    bench.event(Event::Happened(
        id.clone(),
        ContainerEvent {
            at: Timestamp(6),
            ..died(&name, 137, false)
        },
    ));
    bench.event(Event::Happened(id.clone(), died(&name, 137, true)));
    assert!(!bench.core.was_killed(&name, Some(137)));
    bench.event(Event::Happened(
        id,
        ContainerEvent {
            at: Timestamp(7),
            ..died(&name, 137, true)
        },
    ));
    assert!(
        bench.core.was_killed(&name, Some(137))
            && !bench.core.was_killed(&name, Some(1))
            && !bench.core.was_killed(&name, None)
    );
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
    assert!(bench.core.was_killed(&name, Some(137)));
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
