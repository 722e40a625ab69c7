//! Directed scenarios of machines that the manager returns by itself. Several are named after public
//! failures of other autoscalers.

use crate::{
    clock::Happening,
    invariants::Broken,
    people::{spec, start},
    run::{settle, until},
    setup,
    world::World,
};
use micado_api::{
    ContainerName, InstanceState, LaunchRequest, Location, MemoryBytes, NanoCpus, Resources, Tag,
};
use micado_core::{control::Request, engine::ImageFacts, model::Instance};

/// Lower bound for a hold, in milliseconds.
const HOLD: u64 = 60_000;

/// Prints the trace of a failed world.
fn held(world: &World, result: Result<(), Broken>) {
    if let Err(broken) = result {
        let lines = world.trace.lines();
        lines.iter().for_each(|line| println!("{line}"));
        panic!("{}: {}", broken.invariant, broken.what);
    }
}

fn wait(world: &mut World, seconds: u64, so: impl Fn(&World) -> bool) {
    let waited = until(world, seconds, so);
    held(world, waited);
}

fn pass(world: &mut World, seconds: u64) {
    let end = world.clock.now + seconds * 1_000;
    wait(world, seconds + 60, |world| world.clock.now >= end);
}

fn runs(world: &World, name: &str) -> bool {
    let container = world.store.container(&ContainerName::trusted(name));
    let copy = container.and_then(|it| it.primary());
    copy.is_some_and(|copy| world.swarm.runs(&copy.swarm_name))
}

/// Launches a container with this memory, which is `CLIENT_web.1`.
fn launch(world: &mut World, client: &str, mib: u64) {
    let needs = Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(100));
    let spec = spec(
        client,
        "web",
        needs,
        Vec::new(),
        Vec::new(),
        Location::default(),
    );
    let request = LaunchRequest {
        spec,
        publish_all: false,
        request: Some(format!("launch-{}", world.clock.serial())),
        unnamed: micado_api::Unnamed::default(),
        copies: std::num::NonZeroU32::MIN,
    };
    let facts = ImageFacts {
        pull: Some("hub.sim/web@sha256:0".to_owned()),
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    world.wants(Request::Launch(Box::new(request), facts));
    let name = format!("{client}_web.1");
    wait(world, 200, |world| runs(world, &name));
}

fn quit(world: &mut World, client: &str) {
    let name = format!("{client}_web.1");
    world.wants(Request::Quit {
        name: name.clone(),
        remove: true,
    });
    wait(world, 100, |world| {
        let record = world.store.container(&ContainerName::trusted(&*name));
        record.is_none_or(|it| it.copies.is_empty())
    });
}

fn active(world: &World) -> usize {
    let all = world.store.instances();
    all.filter(|it| it.state == InstanceState::Active).count()
}

/// Two machines, where one is enough since a moment ago: `a` and `b` are on the first, `c` on the
/// second.
fn one_too_many() -> World {
    let mut world = World::quiet(1, setup::plain());
    for (client, mib) in [("a", 256), ("b", 256), ("big", 700), ("c", 128)] {
        launch(&mut world, client, mib);
    }
    assert_eq!(active(&world), 2, "the big one has needed a second machine");
    quit(&mut world, "big");
    world
}

fn draining(world: &World) -> Option<&Instance> {
    world.store.instances().find(|it| it.can_stay())
}

#[test]
fn a_cluster_at_steady_load_changes_nothing() {
    // loop_at_steady_load, spread_rule_recreates_node
    let mut world = one_too_many();
    let settled = settle(&mut world);
    held(&world, settled);
    let (machines, returned) = (world.tally.machines, world.tally.returned);
    let moved = world.tally.moved;
    pass(&mut world, 4 * 3600);
    assert_eq!(world.tally.machines, machines, "machines ordered");
    assert_eq!(world.tally.returned, returned, "machines returned");
    assert_eq!(world.tally.moved, moved, "containers moved");
}

#[test]
fn containers_are_moved_together_and_the_machine_goes() {
    let mut world = one_too_many();
    let settled = settle(&mut world);
    held(&world, settled);
    assert_eq!(active(&world), 1);
    assert_eq!(world.machines().count(), 1);
    for name in ["a_web.1", "b_web.1", "c_web.1"] {
        assert!(runs(&world, name), "{name}");
    }
    assert_eq!((world.tally.consolidated, world.tally.moved), (1, 1));
}

#[test]
fn a_manager_that_dies_at_any_action_of_a_drain_goes_on_with_it() {
    // forgets_its_drains
    let mut undisturbed = one_too_many();
    let begin = undisturbed.manager.boundaries;
    wait(&mut undisturbed, 300, |world| world.machines().count() == 1);
    let boundaries = begin + 1..=undisturbed.manager.boundaries;
    assert!(boundaries.clone().count() > 10, "{boundaries:?}");
    for boundary in boundaries {
        let mut world = one_too_many();
        world.script.crash_at = Some(boundary);
        let settled = settle(&mut world);
        held(&world, settled);
        assert_eq!(world.tally.deaths, 1, "it died at boundary {boundary}");
        assert_eq!(world.machines().count(), 1, "death at boundary {boundary}");
        assert_eq!(world.tally.machines, 2, "death at boundary {boundary}");
        assert!(
            ["a", "b", "c"]
                .iter()
                .all(|it| runs(&world, &format!("{it}_web.1"))),
            "death at boundary {boundary}"
        );
    }
}

#[test]
fn a_launch_during_a_drain_takes_the_machine_back() {
    let mut world = one_too_many();
    wait(&mut world, 300, |world| draining(world).is_some());
    let drained = draining(&world).expect("it was just seen").id.clone();
    launch(&mut world, "large", 700);
    assert_eq!(world.tally.drains_cancelled, 1);
    assert_eq!(world.tally.machines, 2, "nothing was ordered");
    let record = world.store.instance(&drained).expect("it is recorded");
    assert_eq!(record.state, InstanceState::Active);
    let settled = settle(&mut world);
    held(&world, settled);
    assert_eq!(world.machines().count(), 2, "both are needed");
}

#[test]
fn a_person_takes_a_drain_over() {
    let mut world = one_too_many();
    wait(&mut world, 300, |world| draining(world).is_some());
    let tag: Tag = draining(&world).expect("it was just seen").tag.clone();
    world.wants(Request::Stop { tag, force: false });
    let settled = settle(&mut world);
    held(&world, settled);
    assert_eq!(world.tally.stopped, 1, "it was not refused");
    assert_eq!(world.machines().count(), 1);
}

#[test]
fn a_machine_goes_only_after_it_has_worked() {
    // unneeded_before_first_work
    let mut world = World::quiet(1, setup::plain());
    let location = Location::default();
    world.wants(Request::Start(start("east", "small", "mine", location)));
    wait(&mut world, 200, |world| active(world) == 1);
    pass(&mut world, 3600);
    assert_eq!(active(&world), 1, "nothing has run there");
    launch(&mut world, "a", 256);
    quit(&mut world, "a");
    let settled = settle(&mut world);
    held(&world, settled);
    assert_eq!(
        world.machines().count(),
        0,
        "it has worked, and is not needed"
    );
}

/// A world with an empty machine that would be returned soon.
fn almost_returned() -> World {
    let mut world = World::quiet(1, setup::plain());
    launch(&mut world, "a", 256);
    pass(&mut world, 60);
    quit(&mut world, "a");
    pass(&mut world, HOLD / 1_000 - 15);
    assert_eq!(active(&world), 1);
    world
}

fn returned_after(world: &mut World, begin: u64) -> u64 {
    wait(world, 300, |world| active(world) == 0);
    world.clock.now - begin
}

#[test]
fn the_time_of_an_outage_does_not_count_as_unneeded() {
    // unneeded_clock_runs_through_outage
    let mut world = almost_returned();
    world.swarm.down = true;
    world.look_soon(0);
    pass(&mut world, 600);
    assert_eq!(active(&world), 1, "nothing is returned unseen");
    let back = world.clock.now;
    world.clock.at(back, Happening::EngineBack);
    let after = returned_after(&mut world, back);
    assert!(after >= HOLD, "{after} ms after the engine was back");
}

#[test]
fn the_time_of_a_clouds_outage_does_not_count_as_unneeded() {
    let mut world = almost_returned();
    world.clouds.iter_mut().for_each(|cloud| cloud.down = true);
    pass(&mut world, 60);
    assert_eq!(active(&world), 1, "its cloud does not answer");
    let back = world.clock.now;
    world.clouds.iter_mut().for_each(|cloud| cloud.down = false);
    let after = returned_after(&mut world, back);
    assert!(after >= HOLD, "{after} ms after its cloud was back");
}

#[test]
fn a_manager_that_has_just_started_returns_nothing() {
    // all_seen_empty_at_start
    let mut world = almost_returned();
    world.manager_dies("killed", (100, 200));
    let begin = world.clock.now;
    let after = returned_after(&mut world, begin);
    assert!(after >= HOLD, "{after} ms after its start");
}
