//! Invariants of health checks.

use super::{Broken, broken};
use crate::world::World;
use micado_api::{HealthState, InstanceState, ServiceName};
use micado_core::{
    control::{CopyHealth, ListedCopy},
    model::{Container, Copy, Health, Phase},
};
use std::collections::BTreeMap;

/// A report of the wrong machine changes nothing.
pub fn unchanged(
    name: &str,
    before: Option<&Health>,
    after: Option<&Health>,
) -> Result<(), Broken> {
    match before == after {
        true => Ok(()),
        false => broken(
            "reports_of_its_own_machine",
            format!("{name}: {before:?} became {after:?}"),
        ),
    }
}

/// A checked copy serves only once it was reported to be healthy, or was adopted.
pub fn serves_when_healthy(
    world: &World,
    before: &Container,
    after: &Container,
) -> Result<(), Broken> {
    let begins = |copy: &&Copy| {
        copy.phase == Phase::Serving
            && before
                .copy(copy.generation)
                .is_none_or(|old| old.phase == Phase::Starting)
    };
    let unfit = |copy: &&Copy| {
        let health = copy.health.as_ref();
        health.is_some_and(|health| {
            let known = world.healths.healthy.contains(&copy.swarm_name);
            health.state != HealthState::Unknown && !known
        })
    };
    let mut copies = after.copies.iter().filter(begins);
    match copies.find(unfit) {
        Some(copy) => broken(
            "serves_when_healthy",
            format!("{} serves and was never healthy", copy.swarm_name),
        ),
        None => Ok(()),
    }
}

/// A copy on a machine that answers is replaced only by one that is healthy.
pub fn replaced_by_a_healthy_one(
    world: &World,
    before: &Container,
    after: &Container,
) -> Result<(), Broken> {
    if !after.wants_room() {
        return Ok(());
    }
    let stays = |copy: &Copy| {
        let instance = world.store.instance(&copy.instance);
        instance.is_some_and(|it| it.state == InstanceState::Active && !it.force)
    };
    let goes = |copy: &&Copy| {
        let kept = after.copy(copy.generation).is_some_and(Copy::is_live);
        !kept && stays(copy) && world.swarm.runs(&copy.swarm_name)
    };
    let Some(gone) = before.replaced().find(goes) else {
        return Ok(());
    };
    // A commit that ends one may also move its successor on: the newest is not what it went for.
    let is_newer = |copy: &&Copy| copy.is_live() && copy.generation > gone.generation;
    let newer: Vec<_> = after.copies.iter().filter(is_newer).collect();
    match newer.is_empty() || newer.iter().any(|copy| copy.is_fit()) {
        true => Ok(()),
        false => broken(
            "replaced_by_a_healthy_one",
            format!("{} went for {newer:?}", gone.swarm_name),
        ),
    }
}

/// At least half of the copies of a service that were healthy once stay in the catalogue, whatever
/// checks say.
pub fn half_stays_routed(world: &World) -> Result<(), Broken> {
    let Some(core) = world.manager.core.as_ref().filter(|core| core.can_list()) else {
        return Ok(());
    };
    let mut counts: BTreeMap<ServiceName, (usize, usize)> = BTreeMap::new();
    for container in world.store.containers() {
        if container.copies.iter().all(|copy| copy.health.is_none()) {
            continue;
        }
        let Some(listed) = core.listed(&container.name) else {
            continue;
        };
        let (routed, all) = counts.entry(listed.service).or_default();
        // One that was never healthy is not among them.
        let served = |copy: &&ListedCopy| {
            let mut copies = container.copies.iter();
            let record = copies.find(|record| record.generation == copy.generation);
            record.is_some_and(|record| record.phase == Phase::Serving)
        };
        for copy in listed.copies.iter().filter(served) {
            let stays = matches!(copy.health, CopyHealth::Running | CopyHealth::Kept(_));
            let is_out =
                matches!(&copy.health, CopyHealth::Down(why) if why.starts_with("unhealthy"));
            *routed += usize::from(stays);
            *all += usize::from(stays || is_out);
        }
    }
    match counts
        .into_iter()
        .find(|(_, (routed, all))| routed * 2 < *all)
    {
        Some((service, (routed, all))) => broken(
            "half_stays_routed",
            format!("{routed} of {all} copies of {service} are in the catalogue"),
        ),
        None => Ok(()),
    }
}
