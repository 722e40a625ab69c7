//! Failures that other autoscalers had, each as a fixed world; the name is the failure, the comment
//! says what must hold.

use crate::{
    directed::{
        active, ask_for, launch, one_too_many, one_too_many_with, pass, quit, runs, settled, wait,
        web,
    },
    setup,
    world::World,
};
use micado_api::{
    ContainerName, InstanceId, Location, PortMapping, PricePerHour, Protocol, ServiceSpec,
};
use micado_core::model::Container;
use std::{collections::BTreeSet, time::Duration};

/// Time for which nothing may change, in seconds.
const LONG: u64 = 4 * 3600;

fn container<'a>(world: &'a World, name: &str) -> &'a Container {
    let container = world.store.container(&ContainerName::trusted(name));
    container.expect("it is recorded")
}

/// Machine and generation of the one copy of a container.
fn place(world: &World, name: &str) -> (InstanceId, u32) {
    let copy = container(world, name).primary().expect("it has a place");
    (copy.instance.clone(), copy.generation)
}

/// The same service in a location with machines of their own, one for each copy.
fn database(spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        location: Location::trusted("database"),
        anti_affinity: micado_api::AntiAffinity::Require,
        ..spec
    }
}

/// Two machines could go to the one room that is left: one goes, and its container moves there.
#[test]
fn two_candidates_one_room() {
    let mut world = World::quiet(1, setup::plain());
    for (client, mib) in [("a", 500), ("b", 500), ("big", 1_200)] {
        launch(&mut world, client, mib);
    }
    assert_eq!(active(&world), 3);
    settled(&mut world);
    pass(&mut world, LONG);
    assert_eq!((active(&world), world.machines().count()), (2, 2));
    assert_eq!((world.tally.consolidated, world.tally.returned), (1, 1));
    assert_eq!((world.tally.machines, world.tally.moved), (3, 1));
}

/// A machine stays while its containers have no other room: for their memory, or for their port.
#[test]
fn removed_though_no_room() {
    let on_port = |spec: ServiceSpec| ServiceSpec {
        ports: vec![PortMapping {
            host: Some(8080),
            container: 80,
            protocol: Protocol::Tcp,
        }],
        ..spec
    };
    for services in [
        [web("a", 500), web("b", 500)],
        [on_port(web("a", 100)), on_port(web("b", 100))],
    ] {
        let mut world = World::quiet(1, setup::plain());
        services
            .into_iter()
            .for_each(|spec| ask_for(&mut world, spec));
        settled(&mut world);
        pass(&mut world, LONG);
        assert_eq!((active(&world), world.tally.returned), (2, 0));
        assert!(runs(&world, "a_web.1") && runs(&world, "b_web.1"));
    }
}

/// A container that moves runs somewhere at each moment.
#[test]
fn stopped_before_the_other_runs() {
    let mut world = one_too_many();
    let moved = |world: &World| {
        let copies = &container(world, "c_web.1").copies;
        let mut running = copies
            .iter()
            .filter(|copy| world.swarm.runs(&copy.swarm_name));
        assert!(running.next().is_some(), "{copies:?}");
        world.machines().count() == 1
    };
    wait(&mut world, 300, moved);
    assert_eq!(world.tally.moved, 1);
}

/// While a machine of one location does not come up, another location returns its own.
#[test]
fn growth_blocks_shrink_for_ever() {
    let mut config = setup::plain();
    for cloud in &mut config.setup.clouds {
        cloud.join_timeout = Duration::from_secs(LONG);
    }
    let mut world = one_too_many_with(config);
    world.script.never_joins = true;
    ask_for(&mut world, database(web("d", 256)));
    wait(&mut world, 300, |world| active(world) == 1);
    assert!(!runs(&world, "d_web.1"), "its machine has not joined");
    assert_eq!((world.tally.machines, world.tally.returned), (3, 1));
}

/// The machine that nothing needs goes, whichever it is, and the others keep their containers.
#[test]
fn wrong_machine_dies() {
    for gone in ["a", "b", "c"] {
        let mut world = World::quiet(1, setup::plain());
        for client in ["a", "b", "c"] {
            launch(&mut world, client, 500);
        }
        let kept = ["a", "b", "c"].into_iter().filter(|client| *client != gone);
        let kept: Vec<String> = kept.map(|client| format!("{client}_web.1")).collect();
        let before: Vec<_> = kept.iter().map(|name| place(&world, name)).collect();
        quit(&mut world, gone);
        settled(&mut world);
        let after: Vec<_> = kept.iter().map(|name| place(&world, name)).collect();
        assert_eq!(before, after, "without {gone}");
        let left: BTreeSet<_> = world.machines().map(|it| it.instance.clone()).collect();
        let needed: BTreeSet<_> = before.into_iter().map(|(machine, _)| machine).collect();
        assert_eq!(left, needed, "without {gone}");
    }
}

/// Containers that wait for a machine on its way are not counted again: as many machines are
/// ordered as hold them all.
#[test]
fn same_pending_twice() {
    let mut config = setup::plain();
    config.setup.clouds.truncate(1);
    config.setup.clouds[0].flavours.truncate(1);
    let mut world = World::quiet(1, config);
    for _ in 0..20 {
        ask_for(&mut world, web("a", 200));
        pass(&mut world, 1);
    }
    settled(&mut world);
    // Each holds four.
    assert_eq!((world.tally.machines, world.machines().count()), (5, 5));
}

/// An empty cluster stays empty, and one container gets one machine.
#[test]
fn reservation_metric_loop() {
    let mut world = World::quiet(1, setup::plain());
    pass(&mut world, LONG);
    assert_eq!(world.tally.machines, 0);
    launch(&mut world, "a", 256);
    pass(&mut world, LONG);
    assert_eq!((world.tally.machines, world.machines().count()), (1, 1));
}

/// Consolidation knows that two copies must not share a machine, and takes none of the two away.
#[test]
fn spread_rule_recreates_node() {
    let mut world = World::quiet(1, setup::plain());
    for _ in 0..2 {
        ask_for(&mut world, database(web("a", 100)));
    }
    settled(&mut world);
    pass(&mut world, LONG);
    assert_eq!((world.tally.machines, world.tally.returned), (2, 0));
    assert_eq!(active(&world), 2);
}

/// A container that waits for money that there is not keeps no machine that nothing needs.
#[test]
fn one_stuck_pod_blocks_consolidation() {
    let mut config = setup::plain();
    // Two small machines cost 0.02; one that holds 3000 MiB costs 0.038 at least.
    config.max_price = Some(PricePerHour(30_000));
    let mut world = one_too_many_with(config);
    ask_for(&mut world, web("huge", 3_000));
    wait(&mut world, 300, |world| world.machines().count() == 1);
    settled(&mut world);
    assert!(container(&world, "huge_web.1").primary().is_none());
    assert_eq!((world.tally.machines, world.tally.returned), (2, 1));
}
