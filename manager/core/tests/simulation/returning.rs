//! Directed scenarios of machines that the manager returns by itself. Those that are named after a
//! public failure of another autoscaler say what must hold.

use crate::{
    clock::Happening,
    directed::{active, draining, launch, one_too_many, pass, quit, runs, settled, wait},
    people::start,
    setup,
    world::World,
};
use micado_api::{InstanceState, Location, Tag};
use micado_core::control::Request;

/// Lower bound for a hold, in milliseconds.
const HOLD: u64 = 60_000;

/// At steady load, no machine is ordered or returned, and nothing moves.
#[test]
fn loop_at_steady_load() {
    let mut world = one_too_many();
    settled(&mut world);
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
    settled(&mut world);
    assert_eq!(active(&world), 1);
    assert_eq!(world.machines().count(), 1);
    for name in ["a_web.1", "b_web.1", "c_web.1"] {
        assert!(runs(&world, name), "{name}");
    }
    assert_eq!((world.tally.consolidated, world.tally.moved), (1, 1));
}

/// A manager that dies at any action of a drain goes on with it.
#[test]
fn forgets_its_drains() {
    let mut undisturbed = one_too_many();
    let begin = undisturbed.manager.boundaries;
    wait(&mut undisturbed, 300, |world| world.machines().count() == 1);
    let boundaries = begin + 1..=undisturbed.manager.boundaries;
    assert!(boundaries.clone().count() > 10, "{boundaries:?}");
    for boundary in boundaries {
        let mut world = one_too_many();
        world.script.crash_at = Some(boundary);
        settled(&mut world);
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
    settled(&mut world);
    assert_eq!(world.machines().count(), 2, "both are needed");
}

#[test]
fn a_person_takes_a_drain_over() {
    let mut world = one_too_many();
    wait(&mut world, 300, |world| draining(world).is_some());
    let tag: Tag = draining(&world).expect("it was just seen").tag.clone();
    world.wants(Request::Stop { tag, force: false });
    settled(&mut world);
    assert_eq!(world.tally.stopped, 1, "it was not refused");
    assert_eq!(world.machines().count(), 1);
}

/// A machine that a person started stays until it has worked.
#[test]
fn unneeded_before_first_work() {
    let mut world = World::quiet(1, setup::plain());
    let location = Location::default();
    world.wants(Request::Start(start("east", "small", "mine", location)));
    wait(&mut world, 200, |world| active(world) == 1);
    pass(&mut world, 3600);
    assert_eq!(active(&world), 1, "nothing has run there");
    launch(&mut world, "a", 256);
    quit(&mut world, "a");
    settled(&mut world);
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

/// The time of an outage does not count as unneeded.
#[test]
fn unneeded_clock_runs_through_outage() {
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

/// A manager that has just started returns nothing.
#[test]
fn all_seen_empty_at_start() {
    let mut world = almost_returned();
    world.manager_dies("killed", (100, 200));
    let begin = world.clock.now;
    let after = returned_after(&mut world, begin);
    assert!(after >= HOLD, "{after} ms after its start");
}
