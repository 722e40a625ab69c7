//! Words of directed scenarios: launch, wait, count.

use crate::{invariants::Broken, people::spec, run::until, setup, world::World};
use micado_api::{
    ContainerName, InstanceState, LaunchRequest, Location, MemoryBytes, NanoCpus, Resources,
    ServiceSpec,
};
use micado_core::{
    control::{Config, Request},
    engine::ImageFacts,
    model::Instance,
};
use std::num::NonZeroU32;

/// Prints the trace of a failed world.
pub fn held(world: &World, result: Result<(), Broken>) {
    if let Err(broken) = result {
        let lines = world.trace.lines();
        lines.iter().for_each(|line| println!("{line}"));
        panic!("{}: {}", broken.invariant, broken.what);
    }
}

pub fn wait(world: &mut World, seconds: u64, so: impl Fn(&World) -> bool) {
    let waited = until(world, seconds, so);
    held(world, waited);
}

pub fn pass(world: &mut World, seconds: u64) {
    let end = world.clock.now + seconds * 1_000;
    wait(world, seconds + 60, |world| world.clock.now >= end);
}

pub fn settled(world: &mut World) {
    let settled = crate::run::settle(world);
    held(world, settled);
}

/// Returns true if a container runs as recorded.
pub fn runs(world: &World, name: &str) -> bool {
    let container = world.store.container(&ContainerName::trusted(name));
    let copy = container.and_then(|it| it.primary());
    copy.is_some_and(|copy| world.swarm.runs(&copy.swarm_name))
}

/// A service of location `application` with this memory, `CLIENT_web`.
pub fn web(client: &str, mib: u64) -> ServiceSpec {
    let needs = Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(100));
    let location = Location::default();
    spec(client, "web", needs, Vec::new(), Vec::new(), location)
}

/// Asks for a container of a service, and waits for the answer.
pub fn ask_for(world: &mut World, spec: ServiceSpec) {
    let request = LaunchRequest {
        spec,
        publish_all: false,
        request: Some(format!("launch-{}", world.clock.serial())),
        unnamed: micado_api::Unnamed::default(),
        copies: NonZeroU32::MIN,
    };
    let facts = ImageFacts {
        pull: Some("hub.sim/web@sha256:0".to_owned()),
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    world.wants(Request::Launch(Box::new(request), facts));
    wait(world, 60, |world| world.people.all_answered());
}

/// Launches a container with this memory, which is `CLIENT_web.1`, and waits until it runs.
pub fn launch(world: &mut World, client: &str, mib: u64) {
    ask_for(world, web(client, mib));
    let name = format!("{client}_web.1");
    wait(world, 200, |world| runs(world, &name));
}

/// Removes `CLIENT_web.1`.
pub fn quit(world: &mut World, client: &str) {
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

pub fn active(world: &World) -> usize {
    let all = world.store.instances();
    all.filter(|it| it.state == InstanceState::Active).count()
}

/// Two machines, where one is enough since a moment ago: `a` and `b` are on the first, `c` on the
/// second.
pub fn one_too_many() -> World {
    one_too_many_with(setup::plain())
}

pub fn one_too_many_with(config: Config) -> World {
    let mut world = World::quiet(1, config);
    for (client, mib) in [("a", 256), ("b", 256), ("big", 700), ("c", 128)] {
        launch(&mut world, client, mib);
    }
    assert_eq!(active(&world), 2, "the big one has needed a second machine");
    quit(&mut world, "big");
    world
}

/// A machine that the manager drains.
pub fn draining(world: &World) -> Option<&Instance> {
    world.store.instances().find(|it| it.can_stay())
}
