//! Reads of the core for the catalogue of services.

use super::*;
use crate::control::{CopyHealth, ListedCopy, Stale};
use micado_api::{ContainerName, PortMapping, Protocol, RegisterRequest};
use std::time::Duration;

const NAME: &str = "a_web.1";

/// A container that runs and publishes a port, on a bench whose catalogue is kept.
fn published(drain_wait: Duration) -> Bench {
    let mut bench = Bench::new(|config| {
        config.catalogue = true;
        config.drain_wait = drain_wait;
    });
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    let port = |container, host| PortMapping {
        host: Some(host),
        container,
        protocol: Protocol::Tcp,
    };
    // In an order of the engine's own.
    bench.seen.tasks[0].ports = vec![port(90, 32_769), port(80, 32_768)];
    bench.look();
    bench
}

fn copies(bench: &Bench) -> Vec<ListedCopy> {
    let listed = bench.core.listed(&ContainerName::trusted(NAME));
    listed.map_or_else(Vec::new, |listed| listed.copies)
}

fn health(bench: &Bench) -> Vec<CopyHealth> {
    let copies = copies(bench).into_iter();
    copies.map(|copy| copy.health).collect()
}

#[test]
fn a_copy_is_listed_with_its_ports_and_its_health() {
    let mut bench = published(Duration::ZERO);
    let [copy] = copies(&bench).try_into().expect("one copy");
    assert_eq!(copy.health, CopyHealth::Running);
    let hosts: Vec<_> = copy.ports.iter().map(|port| port.host).collect();
    assert_eq!(hosts, [Some(32_768), Some(32_769)]);
    let node = bench.core.listed_node(&copy.instance).expect("a machine");
    assert!(node.answers && node.offer == "near/small", "{node:?}");

    bench.seen.tasks[0].state = TaskState::Starting;
    bench.look();
    assert_eq!(health(&bench), [CopyHealth::Starting]);
    let task = &mut bench.seen.tasks[0];
    (task.state, task.wanted, task.exit_code) = (TaskState::Failed, false, Some(3));
    bench.look();
    let down = CopyHealth::Down("exit code 3".to_owned());
    assert_eq!(health(&bench), [down]);
    bench.seen.nodes[0].ready = false;
    bench.look();
    let down = CopyHealth::Down("application01 does not answer".to_owned());
    assert_eq!(health(&bench), [down]);
    let node = bench.core.listed_node(&copy.instance).expect("a machine");
    assert!(!node.answers);
}

#[test]
fn a_pass_notes_what_it_visits_and_no_more() {
    let mut bench = published(Duration::ZERO);
    bench.launch(spec("b", 64), None).expect("it has room");
    bench.settle();
    let all = bench.core.take_stale();
    assert!(all.all && all.containers.len() == 2, "{all:?}");
    // Some time after their start nothing happens to them by itself.
    bench.pass(30);
    bench.core.take_stale();
    bench.look();
    assert_eq!(bench.core.take_stale(), Stale::default());
    bench.seen.tasks[0].ports.truncate(1);
    bench.look();
    let stale = bench.core.take_stale();
    let names: Vec<&str> = stale.containers.iter().map(ContainerName::as_str).collect();
    assert_eq!((names, stale.all), (vec![NAME], false));
    // While the engine does not answer, the catalogue stays as it is.
    bench.event(Event::Blind("no answer".to_owned()));
    assert!(bench.core.take_stale().containers.is_empty());
    assert!(!bench.core.can_list());
    bench.look();
    assert!(bench.core.can_list());
    assert_eq!(bench.core.take_stale().containers.len(), 2);
}

#[test]
fn nothing_is_noted_while_nobody_reads() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    assert_eq!(bench.core.take_stale(), Stale::default());
}

#[test]
fn a_retired_copy_runs_on_for_the_drain_wait() {
    let mut bench = published(Duration::from_secs(20));
    let quit = |bench: &mut Bench| {
        let request = Request::Quit {
            name: NAME.to_owned(),
            remove: true,
        };
        bench.ask(request).0.expect("it is there");
    };
    quit(&mut bench);
    bench.settle();
    assert_eq!(health(&bench), [CopyHealth::Draining]);
    assert_eq!(bench.seen.services.len(), 1);
    // It still shows its ports: what reads them may have missed them before.
    assert_eq!(copies(&bench)[0].ports.len(), 2);
    assert!(
        bench
            .core
            .wake_at()
            .is_some_and(|at| at.0 <= bench.now.0 + 20_000)
    );
    bench.pass(30);
    assert!(bench.seen.services.is_empty() && copies(&bench).is_empty());

    // One without a published port has nobody to wait for.
    let mut bench = published(Duration::from_secs(20));
    bench.seen.tasks[0].ports.clear();
    bench.look();
    quit(&mut bench);
    bench.settle();
    assert!(bench.seen.services.is_empty());
}

#[test]
fn entries_made_by_hand_are_records() {
    let mut bench = Bench::new(|config| config.catalogue = true);
    let register = |bench: &mut Bench, port| {
        let request = RegisterRequest {
            service: "db".to_owned(),
            address: "10.0.0.9".to_owned(),
            port,
            tags: Vec::new(),
            meta: std::collections::BTreeMap::new(),
        };
        let request = Request::Register {
            id: "db-1".to_owned(),
            request: Box::new(request),
        };
        let (reply, actions) = bench.ask(request);
        reply.expect("it is taken");
        actions
            .iter()
            .any(|action| matches!(action, Action::Commit(_)))
    };
    assert!(register(&mut bench, 5432));
    // The same once more costs nothing.
    assert!(!register(&mut bench, 5432));
    assert!(register(&mut bench, 5433));
    assert!(bench.core.take_stale().registrations.contains("db-1"));
    assert_eq!(bench.core.registrations()[0].port, 5433);
    let gone = |bench: &mut Bench| {
        let id = "db-1".to_owned();
        bench.ask(Request::Deregister { id }).0
    };
    assert!(gone(&mut bench).is_ok());
    let error = gone(&mut bench).expect_err("it is gone");
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[test]
fn a_reserved_index_does_not_fall() {
    let mut bench = Bench::new(|config| config.catalogue = true);
    for (index, kept) in [(5_000, 5_000), (4_000, 5_000), (6_000, 6_000)] {
        bench
            .ask(Request::ReserveIndex(index))
            .0
            .expect("it is taken");
        assert_eq!(bench.core.reserved_index(), kept);
    }
}
