//! Directed scenarios: one fault each, with a known outcome.

use crate::{
    clock::Happening,
    invariants::Broken,
    machine::MachineTurn,
    people::{spec, start},
    run::{settle, until},
    setup,
    store::Store,
    trace::Trace,
    world::World,
};
use micado_api::{InstanceState, LaunchRequest, Location, MemoryBytes, NanoCpus, Resources};
use micado_core::{control::Request, engine::ImageFacts, model::Instance};
use std::time::Duration;

/// A world with the launch of one small container and no rented machine.
fn one_launch() -> World {
    // Machines that are returned by themselves have scenarios of their own.
    let mut config = setup::plain();
    config.return_machines = false;
    let mut world = World::quiet(1, config);
    let small = Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250));
    let spec = spec(
        "ann",
        "web",
        small,
        Vec::new(),
        Vec::new(),
        Location::default(),
    );
    let facts = ImageFacts {
        pull: None,
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    world.wants(Request::Launch(
        Box::new(LaunchRequest {
            spec,
            publish_all: false,
            request: Some("r1".to_owned()),
            unnamed: micado_api::Unnamed::default(),
            copies: std::num::NonZeroU32::MIN,
        }),
        facts,
    ));
    world
}

/// Returns true if the one container runs as recorded.
fn runs(world: &World) -> bool {
    world.store.containers().any(|it| {
        it.primary()
            .is_some_and(|copy| world.swarm.runs(&copy.swarm_name))
    })
}

/// Prints the trace of a failed world.
fn held(world: &World, result: Result<(), Broken>) {
    if let Err(broken) = result {
        world
            .trace
            .lines()
            .iter()
            .for_each(|line| println!("{line}"));
        panic!("{}: {}", broken.invariant, broken.what);
    }
}

/// Checks that one container runs, on the only machine ever made.
fn one_of_each(world: &World, when: &str) {
    assert!(runs(world), "{when}: the container runs");
    assert_eq!(world.store.containers().count(), 1, "{when}: containers");
    assert_eq!(world.machines().count(), 1, "{when}: machines");
    assert_eq!(world.tally.machines, 1, "{when}: machines ever made");
}

#[test]
fn an_answer_lost_after_the_machine_was_made_rents_one_machine() {
    let mut world = one_launch();
    world.script.lose_launch_answer = true;
    let settled = settle(&mut world);
    held(&world, settled);
    assert_eq!(world.tally.calls_lost, 1);
    one_of_each(&world, "after the lost answer");
}

#[test]
fn a_store_that_is_lost_while_a_cloud_hangs_costs_no_container_and_no_second_machine() {
    let mut world = one_launch();
    let ran = until(&mut world, 120, runs);
    held(&world, ran);
    world.manager_dies("its store is lost", (100, 200));
    (world.store, world.script.store_lost) = (Store::default(), true);
    let cloud = &mut world.clouds[0];
    // Without the store, the machine is like one from an order with a lost reply.
    cloud
        .machines
        .values_mut()
        .for_each(|machine| (machine.late, machine.listed) = (true, 0));
    assert_eq!(
        cloud.machines.len(),
        1,
        "the machine is on the cloud that hangs"
    );
    world.script.hangs = Some(cloud.setup.name.clone());
    let silent_until = world.clock.now + 300_000;
    let stepped = until(&mut world, 400, |world| world.clock.now >= silent_until);
    held(&world, stepped);
    assert!(
        runs(&world) && world.store.instances().count() == 0,
        "the container is known and left alone, its machine is not known"
    );
    world.script.hangs = None;
    let settled = settle(&mut world);
    held(&world, settled);
    one_of_each(&world, "after the cloud has answered");
}

#[test]
fn a_machine_that_never_joins_is_given_back_in_time_and_another_flavour_is_tried() {
    let mut world = one_launch();
    world.script.never_joins = true;
    let patience = world.config.setup.clouds[0].join_timeout;
    let given_up = |world: &World| {
        world
            .store
            .instances()
            .any(|it| it.state == InstanceState::Failed)
    };
    let failed = until(&mut world, patience.as_secs() + 30, given_up);
    held(&world, failed);
    let first: Instance = world
        .store
        .instances()
        .find(|it| it.state == InstanceState::Failed)
        .expect("it was just seen")
        .clone();
    let waited = first.state_since.since(first.created_at);
    assert!(
        waited >= patience && waited.as_secs() < patience.as_secs() + 15,
        "given up after {waited:?}"
    );
    assert_eq!(
        first.reason.as_deref(),
        Some(format!("did not join within {} s", patience.as_secs()).as_str())
    );

    let settled = settle(&mut world);
    held(&world, settled);
    assert!(runs(&world), "the container runs in the end");
    let second = world
        .store
        .instances()
        .find(|it| it.state == InstanceState::Active)
        .expect("a machine joined");
    assert_ne!(
        (&second.cloud, &second.flavour),
        (&first.cloud, &first.flavour),
        "the flavour that failed is left alone for a while"
    );
    assert_eq!(
        (world.tally.machines, world.machines().count()),
        (2, 1),
        "machines ever made, and left"
    );
}

/// The instance and the generation of a copy.
type Place = (micado_api::InstanceId, u32);

fn place_of(container: &micado_core::model::Container) -> Option<Place> {
    let copy = container.primary()?;
    Some((copy.instance.clone(), copy.generation))
}

/// A world in which the one container runs, its machine's number, and its placement.
fn one_that_runs() -> (World, u64, Option<Place>) {
    let mut world = one_launch();
    let ran = until(&mut world, 120, runs);
    held(&world, ran);
    let serial = world.machines().next().expect("it has a machine").serial;
    let place = world.store.containers().next().and_then(place_of);
    (world, serial, place)
}

#[test]
fn a_machine_that_is_cut_off_for_a_minute_keeps_its_container() {
    let (mut world, serial, place) = one_that_runs();
    world.fall_silent(serial, "cut off");
    world.clock.at(
        world.clock.now + 60_000,
        Happening::Machine(serial, MachineTurn::Returns),
    );
    let settled = settle(&mut world);
    held(&world, settled);
    one_of_each(&world, "after the cut");
    assert_eq!(
        world.store.containers().next().and_then(place_of),
        place,
        "nothing was planned anew"
    );
    assert_eq!(
        world.swarm.tasks.len(),
        1,
        "and Swarm has started nothing anew"
    );
}

#[test]
fn a_machine_that_is_silent_for_longer_is_given_up_after_its_time() {
    let (mut world, serial, _) = one_that_runs();
    let cut_at = world.clock.now;
    world.fall_silent(serial, "cut off");
    let given_up = |world: &World| {
        world
            .store
            .instances()
            .any(|it| it.state == InstanceState::Failed)
    };
    let limit = world.config.down_timeout;
    let failed = until(&mut world, 2 * limit.as_secs(), given_up);
    held(&world, failed);
    let silent = Duration::from_millis(world.clock.now - cut_at);
    assert!(
        silent >= limit && silent < limit + world.config.heartbeat + Duration::from_secs(10),
        "given up after {silent:?}, its time is {limit:?}"
    );
    let settled = settle(&mut world);
    held(&world, settled);
    assert!(runs(&world), "it runs on another machine");
    assert_eq!(
        (
            world.tally.machines,
            world.machines().count(),
            world.swarm.services.len()
        ),
        (2, 1, 1),
        "the silent one was given back"
    );
}

#[test]
fn no_machine_is_given_up_because_the_manager_was_cut_off_however_they_come_back() {
    for seconds in 60..400 {
        let (mut world, first, _) = one_that_runs();
        world.wants(Request::Start(start(
            "east",
            "small",
            "second",
            Location::default(),
        )));
        let joined = until(&mut world, 120, |world| {
            world
                .swarm
                .nodes
                .values()
                .filter(|it| it.view.ready)
                .count()
                == 3
        });
        held(&world, joined);
        let long_since = world.clock.now + 60_000;
        let waited = until(&mut world, 120, |world| world.clock.now >= long_since);
        held(&world, waited);
        world.manager_cut_off(seconds * 1_000);
        let settled = settle(&mut world);
        held(&world, settled);
        assert!(
            world.machines().count() == 2 && world.machines().any(|it| it.serial == first),
            "after {seconds} s"
        );
        assert_eq!(
            (world.tally.machines, runs(&world)),
            (2, true),
            "after {seconds} s"
        );
    }
}

#[test]
fn a_machine_that_dies_is_given_up_within_seconds_of_its_agents_end() {
    let (mut world, serial, _) = one_that_runs();
    let instance = world
        .machines()
        .next()
        .expect("it has a machine")
        .instance
        .clone();
    // The cloud learns of it a moment after the agent's connection has ended.
    world.agent_is(instance, false);
    world
        .clock
        .within(1_000, 1_000, Happening::Machine(serial, MachineTurn::Dies));
    let begin = world.clock.now;
    let failed = until(&mut world, 60, |world| {
        world
            .store
            .instances()
            .any(|it| it.state == InstanceState::Failed)
    });
    held(&world, failed);
    assert!(
        world.clock.now - begin <= 4_000,
        "given up after {} ms",
        world.clock.now - begin
    );
    let forgotten = until(&mut world, 60, |world| {
        world
            .swarm
            .nodes
            .values()
            .filter(|it| !it.view.manager)
            .all(|it| !it.silent)
    });
    held(&world, forgotten);
    let settled = settle(&mut world);
    held(&world, settled);
    assert!(runs(&world), "it runs on another machine");
}

#[test]
fn a_manager_that_dies_at_any_action_of_a_launch_rents_one_machine() {
    let mut undisturbed = one_launch();
    let ran = until(&mut undisturbed, 120, runs);
    held(&undisturbed, ran);
    let boundaries = undisturbed.manager.boundaries;
    assert!(
        boundaries > 10,
        "a launch that rents has more than {boundaries} actions"
    );
    for boundary in 1..=boundaries {
        let mut world = one_launch();
        world.script.crash_at = Some(boundary);
        let settled = settle(&mut world);
        held(&world, settled);
        assert_eq!(world.tally.deaths, 1, "it died at boundary {boundary}");
        one_of_each(
            &world,
            &format!("death at boundary {boundary} of {boundaries}"),
        );
    }
}

#[test]
fn a_seed_gives_the_same_world_again() {
    let lines = || {
        let mut world = World::drawn(3, Trace::kept());
        for _ in 0..800 {
            let stepped = world.step();
            held(&world, stepped);
        }
        world.trace.lines().to_vec()
    };
    let first = lines();
    assert!(first.len() > 500, "something happens in 800 steps");
    assert_eq!(first, lines());
}
