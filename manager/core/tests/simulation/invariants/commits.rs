//! Invariants of every write to the store.

use super::{Broken, broken, counts, health, images::nothing_unlearned, returns};
use crate::{scaling::is_scaled, store::Written, world::World};
use micado_api::{InstanceState, Origin, Resources};
use micado_core::{
    model::{Container, Copy, Desired, Instance},
    store::{Key, Record},
};

/// Versions always match, because there is only one manager.
pub fn conflict(key: &Key) -> Broken {
    Broken {
        invariant: "versions_agree",
        what: format!("{key:?} was not at the expected version"),
    }
}

/// Checks a commit that was just written.
///
/// # Errors
/// The first violation.
pub fn check(world: &World, written: &[Written]) -> Result<(), Broken> {
    counts::changed(world, written)?;
    for one in written {
        match (&one.key, &one.before) {
            (Key::Instance(id), before) => {
                let before = match before {
                    Some(Record::Instance(it)) => Some(it),
                    _ => None,
                };
                let Some(after) = world.store.instance(id) else {
                    continue;
                };
                limits_kept(world, before, after)?;
                healthy_machine_kept(world, before, after)?;
                blind_holds(world, before, after)?;
                joined_truly(world, before, after)?;
                key_kept(before, after)?;
                returns::check(world, written, before, after)?;
            }
            (Key::Container(name), before) => {
                let before = match before {
                    Some(Record::Container(it)) => Some(it),
                    _ => None,
                };
                let after = world.store.container(name);
                changes_were_asked_for(world, before, after)?;
                if let Some(after) = after.filter(|it| before.is_some() || !taken_in(world, it)) {
                    no_launch_doubled(world, before, after)?;
                    placed_rightly(world, before, after)?;
                    ended_truly(world, before, after)?;
                    if let Some(before) = before {
                        running_not_given_up(world, before, after)?;
                        health::serves_when_healthy(world, before, after)?;
                        health::replaced_by_a_healthy_one(world, before, after)?;
                    }
                }
            }
            (Key::Image(name), Some(Record::Image(before))) => {
                nothing_unlearned(before, world.store.image(name))?
            }
            _ => {}
        }
    }
    Ok(())
}

/// New machines respect the limits. Adopted ones may exceed them.
fn limits_kept(world: &World, before: Option<&Instance>, after: &Instance) -> Result<(), Broken> {
    if before.is_some() || after.origin == Origin::Adopted {
        return Ok(());
    }
    world
        .within_limits(&after.location, None)
        .or_else(|what| broken("limits_kept", format!("with {} {what}", after.id)))
}

/// A machine without faults that joined in time does not fail.
fn healthy_machine_kept(
    world: &World,
    before: Option<&Instance>,
    after: &Instance,
) -> Result<(), Broken> {
    let given_up = after.state == InstanceState::Failed
        && before.is_some_and(|it| it.state != InstanceState::Failed);
    let Some(machine) = world.machine_of(&after.id).filter(|_| given_up) else {
        return Ok(());
    };
    let patience = world
        .config
        .setup
        .clouds
        .iter()
        .find(|it| it.name == after.cloud)
        .map_or(0, |it| it.join_timeout.as_secs() * 1000);
    // A node that has just joined may not have been observed yet.
    let in_time = machine.joined_at.is_some_and(|at| {
        at + 15_000 < after.created_at.0 + patience && at + 2_000 < world.clock.now
    });
    // With a single machine, a cut of the machine and a cut of the manager cannot be distinguished,
    // until its node has reconnected after the cut.
    let in_use = |it: &&Instance| {
        it.id != after.id && matches!(it.state, InstanceState::Active | InstanceState::Draining)
    };
    let alone = world.store.instances().filter(in_use).count() == 0;
    if machine.hurt.is_none() && in_time && (!alone || world.answers(after)) {
        return broken(
            "healthy_machine_kept",
            format!("{} is healthy and given up: {:?}", after.id, after.reason),
        );
    }
    Ok(())
}

/// While the engine does not answer, no machine in use fails.
fn blind_holds(world: &World, before: Option<&Instance>, after: &Instance) -> Result<(), Broken> {
    use InstanceState::{Active, Draining};
    let in_use = |it: &Instance| matches!(it.state, Active | Draining);
    let ends = before.is_some_and(in_use) && !in_use(after);
    if world.manager.blind && ends && !world.people.given_back.contains_key(&after.id) {
        return broken(
            "blind_holds",
            format!(
                "{} becomes {:?} while the engine does not answer",
                after.id, after.state
            ),
        );
    }
    Ok(())
}

/// An instance has joined only if its node was in the Swarm.
fn joined_truly(world: &World, before: Option<&Instance>, after: &Instance) -> Result<(), Broken> {
    let joins = after.state == InstanceState::Active && before.is_none_or(|it| it.is_arriving());
    let there = world
        .swarm
        .nodes
        .values()
        .any(|it| it.view.instance.as_ref() == Some(&after.id));
    if joins && !there {
        broken("joined_truly", format!("{} has no node", after.id))
    } else {
        Ok(())
    }
}

/// Returns true if a container without a record is in the Swarm, because the store was lost.
fn taken_in(world: &World, container: &Container) -> bool {
    world.script.store_lost
        && container
            .primary()
            .is_some_and(|copy| world.swarm.services.contains_key(&copy.swarm_name))
}

/// The key that an instance is bound to never changes.
fn key_kept(before: Option<&Instance>, after: &Instance) -> Result<(), Broken> {
    let bound = before.and_then(|it| it.joining.as_ref());
    if bound.is_none_or(|bound| {
        after
            .joining
            .as_ref()
            .is_some_and(|now| now.key == bound.key)
    }) {
        return Ok(());
    }
    broken(
        "key_kept",
        format!(
            "{} was bound to {bound:?} and is to {:?}",
            after.id, after.joining
        ),
    )
}

/// One request makes one container, and every container is made by a request.
fn no_launch_doubled(
    world: &World,
    before: Option<&Container>,
    after: &Container,
) -> Result<(), Broken> {
    // Copies that a policy adds have no request.
    if before.is_some() || is_scaled(&after.name) {
        return Ok(());
    }
    let Some(request) = after
        .request
        .as_ref()
        .filter(|it| world.people.requests.contains_key(*it))
    else {
        return broken(
            "no_launch_doubled",
            format!("nobody asked for {}", after.name),
        );
    };
    let same = world
        .store
        .containers()
        .filter(|it| it.request.as_ref() == Some(request) && it.removed_at.is_none())
        .count();
    if same > 1 || after.desired == Desired::Removed {
        return broken(
            "no_launch_doubled",
            format!(
                "{request} made {same} containers, {} among them",
                after.name
            ),
        );
    }
    let answered = world.people.requests.get(request).and_then(Option::as_ref);
    let lives = answered.is_some_and(|it| {
        world
            .people
            .wishes
            .get(it)
            .is_some_and(|(_, desired)| *desired != Desired::Removed)
    });
    if lives {
        broken(
            "no_launch_doubled",
            format!(
                "{request} was answered before, and makes {} now",
                after.name
            ),
        )
    } else {
        Ok(())
    }
}

/// A container stops or is removed only on request.
fn changes_were_asked_for(
    world: &World,
    before: Option<&Container>,
    after: Option<&Container>,
) -> Result<(), Broken> {
    let by_person = |it: &&Container| it.desired == Desired::Running && !is_scaled(&it.name);
    let Some(before) = before.filter(by_person) else {
        return Ok(());
    };
    let stops = after.is_none_or(|it| it.desired != Desired::Running);
    if stops && !world.people.let_go.contains(&before.name) {
        return broken(
            "changes_were_asked_for",
            format!("nobody asked to stop {}", before.name),
        );
    }
    Ok(())
}

/// A container is completed only if its process really ended and is not restarted.
fn ended_truly(world: &World, before: Option<&Container>, after: &Container) -> Result<(), Broken> {
    let ends = after.outcome.is_some() && before.is_none_or(|it| it.outcome.is_none());
    if ends && !world.swarm.completed.contains(&after.name) {
        return broken("ended_truly", format!("{} did not end", after.name));
    }
    Ok(())
}

/// A placement that people know as running is given up only for a new one, and dropped only when
/// the new copy runs.
fn running_not_given_up(
    world: &World,
    before: &Container,
    after: &Container,
) -> Result<(), Broken> {
    if !before.wants_room() || !after.wants_room() {
        return Ok(());
    }
    let gone = |old: &Copy| {
        let kept = after.copy(old.generation).is_some_and(Copy::is_live);
        (old.is_live() && !kept).then(|| old.clone())
    };
    let runs = |it: &Copy| {
        world.swarm.runs(&it.swarm_name)
            && !world.is_lost(&it.instance)
            && !world.runs_elsewhere(after, &it.instance)
            && !may_restart(world, before, it)
    };
    let said = world.manager.said_to_run.contains(&after.name);
    let primary = before.primary().and_then(gone).filter(|_| said);
    match primary
        .or_else(|| before.replaced().find_map(gone))
        .filter(runs)
    {
        Some(place) => broken(
            "running_not_given_up",
            format!(
                "{} runs on {} and loses that place",
                after.name, place.instance
            ),
        ),
        None => Ok(()),
    }
}

/// Returns true if a copy may be replaced because it is unhealthy.
fn may_restart(world: &World, container: &Container, copy: &Copy) -> bool {
    let spec = world.store.service(&container.service);
    let check = spec.and_then(|service| service.spec.run.health.as_ref());
    let may = check.is_some_and(|check| check.restart_after_ms.is_some());
    let health = copy.health.as_ref();
    may && health.is_some_and(|health| health.state == micado_api::HealthState::Unhealthy)
}

/// A new placement is on an instance that accepts work, of the right location, with room and free
/// machine ports, and with its volumes.
fn placed_rightly(
    world: &World,
    before: Option<&Container>,
    after: &Container,
) -> Result<(), Broken> {
    let Some(new) = after
        .primary()
        .filter(|copy| before.is_none_or(|old| old.copy(copy.generation).is_none()))
    else {
        return Ok(());
    };
    let wrong = |why: String| {
        broken(
            "placed_rightly",
            format!("{} on {}: {why}", after.name, new.instance),
        )
    };
    let Some(instance) = world.store.instance(&new.instance) else {
        return wrong("no such instance".to_owned());
    };
    let Some(spec) = world.store.service(&after.service).map(|it| &it.spec) else {
        return wrong("no such service".to_owned());
    };
    if !instance.accepts_work() || !instance.is_live() {
        return wrong(format!("it is {:?}", instance.state));
    }
    if instance.location != spec.location {
        return wrong(format!(
            "it is {}, not {}",
            instance.location, spec.location
        ));
    }
    let elsewhere = after.bound_to.as_ref().filter(|it| **it != new.instance);
    if elsewhere
        .and_then(|it| world.store.instance(it))
        .is_some_and(Instance::is_live)
    {
        return wrong(format!("its volumes are on {elsewhere:?}"));
    }
    if let Some(what) = world.exhausted(&new.instance)
        && after.bound_to.is_none()
    {
        return wrong(format!("it has no {what} left"));
    }
    room_kept(world, instance, new, &wrong)?;
    if let Some(neighbour) = world.neighbour(&new.instance, after) {
        return wrong(format!("{} is there", neighbour.name));
    }
    for port in new.published(spec).filter(|it| it.host.is_some()) {
        let placed = world.placed_on(&new.instance);
        let taken = placed.flat_map(|(other, spec)| {
            let copies = other.copies_on(&new.instance);
            let others = copies.filter(|copy| {
                other.name != after.name || copy.ports != new.ports && !copy.ports.is_empty()
            });
            others.flat_map(move |copy| copy.published(spec).map(move |port| (other, port)))
        });
        let mut taken =
            taken.filter(|(_, it)| it.host == port.host && it.protocol == port.protocol);
        if let Some((other, _)) = taken.next() {
            return wrong(format!("{} has port {port}", other.name));
        }
    }
    Ok(())
}

fn room_kept(
    world: &World,
    instance: &Instance,
    new: &Copy,
    wrong: &dyn Fn(String) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let reserve = Resources::new(world.config.system_reserve, micado_api::NanoCpus(0));
    let capacity = instance.size.saturating_sub(reserve);
    let placed = world.placed_on(&new.instance);
    let ports: Vec<usize> = placed.map(|(_, spec)| spec.ports.len()).collect();
    let cost = world.cost_of(ports.len(), ports.iter().sum());
    let promised = world.promised_on(&new.instance, None) + cost;
    if promised.fits_in(&capacity) {
        Ok(())
    } else {
        wrong(format!(
            "{} of {} promised",
            promised.memory, capacity.memory
        ))
    }
}
