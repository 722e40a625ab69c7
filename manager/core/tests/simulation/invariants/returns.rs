//! Invariants of machines that the manager returns by itself.

use super::{Broken, broken};
use crate::{store::Written, world::World};
use micado_api::{InstanceId, InstanceState, InstanceView, Location, Origin, Timestamp};
use micado_core::{
    model::{Container, Desired, Instance},
    store::Key,
};

/// Lower bound for the time that a machine has been in use when the manager drains it, and for the
/// time that a manager has run, in milliseconds.
const HOLD: u64 = 60_000;

/// Time for which a lost machine keeps all others of its location, in milliseconds.
const SICK_FOR: u64 = 300_000;

/// Time after its deadline within which a drain has ended, in milliseconds.
const LATE: u64 = 60_000;

/// Checks a write to an instance, with all that was written with it.
///
/// # Errors
/// The first violation.
pub fn check(
    world: &World,
    written: &[Written],
    before: Option<&Instance>,
    after: &Instance,
) -> Result<(), Broken> {
    let was_active = before.is_some_and(|it| it.state == InstanceState::Active);
    if !was_active || !after.goes_by_itself() {
        return Ok(());
    }
    let wrong = |why: String| broken("returned_rightly", format!("{}: {why}", after.id));
    let now = world.clock.now;
    if world.manager.blind {
        return wrong("the engine does not answer".to_owned());
    }
    if now < world.manager.started_at + HOLD {
        return wrong("the manager has just started".to_owned());
    }
    if after.joined_at.is_none_or(|at| now < at.0 + HOLD) {
        return wrong("it has just joined".to_owned());
    }
    if after.origin == Origin::User && !after.worked {
        return wrong("a person started it, and nothing has run there".to_owned());
    }
    paid_out(world, after)?;
    if active_at(world, &after.location) < minimum_of(world, &after.location) {
        return wrong("its location has fewer than its minimum".to_owned());
    }
    if after.protected {
        return wrong("it is protected".to_owned());
    }
    let mut protected = world.placed_on(&after.id).filter(|(it, _)| it.protected);
    if let Some((container, _)) = protected.next() {
        return wrong(format!("{} is protected", container.name));
    }
    let mut containers = world.store.containers();
    let holds =
        |it: &&Container| it.bound_to.as_ref() == Some(&after.id) && it.desired != Desired::Removed;
    if let Some(bound) = containers.find(holds) {
        return wrong(format!("{} has a volume there", bound.name));
    }
    if let Some(lost) = lost(world, &after.location) {
        return wrong(format!("{lost} was lost a moment ago"));
    }
    within_budget(world, &after.location)?;
    one_decision(world, written, after)
}

/// A machine is returned near the end of a paid period only: its containers take 45 s for
/// each five, and a minute is to spare.
fn paid_out(world: &World, after: &Instance) -> Result<(), Broken> {
    let clouds = &world.config.setup.clouds;
    let cloud = clouds.iter().find(|it| it.name == after.cloud);
    let flavours = cloud.map_or(&[][..], |it| &it.flavours);
    let flavour = flavours.iter().find(|it| it.name == after.flavour);
    let Some(period) = flavour.and_then(|it| it.billing.period()) else {
        return Ok(());
    };
    let period = period.as_secs() * 1_000;
    let left = period - (world.clock.now - after.created_at.0) % period;
    let rounds = world.placed_on(&after.id).count().div_ceil(5) as u64;
    if left > 60_000 + 45_000 * rounds {
        return broken(
            "paid_out",
            format!("{} is paid for {left} ms more", after.id),
        );
    }
    Ok(())
}

/// A machine of this location that had joined and failed a moment ago.
fn lost<'a>(world: &'a World, location: &Location) -> Option<&'a InstanceId> {
    let recent = |at: Timestamp| world.clock.now < at.0 + SICK_FOR;
    let mut instances = world.store.instances();
    let lost = instances.find(|it| {
        it.location == *location
            && it.state == InstanceState::Failed
            && it.joined_at.is_some()
            && recent(it.state_since)
    });
    lost.map(|it| &it.id)
}

/// At most one machine in ten with containers, and ten without, are on their way out.
fn within_budget(world: &World, location: &Location) -> Result<(), Broken> {
    let here = || {
        let instances = world.store.instances();
        instances.filter(|it| it.location == *location)
    };
    let in_use =
        |it: &&Instance| matches!(it.state, InstanceState::Active | InstanceState::Draining);
    let going = || here().filter(|it| it.goes_by_itself());
    let used = going().filter(|it| world.placed_on(&it.id).next().is_some());
    let used = used.count();
    let empty = going().count() - used;
    let most = (here().filter(in_use).count() / 10).max(1);
    if used > most || empty > 10 {
        return broken(
            "within_budget",
            format!("{used} machines with containers go, and {empty} without"),
        );
    }
    Ok(())
}

fn one_decision(world: &World, written: &[Written], after: &Instance) -> Result<(), Broken> {
    let decisions = written.iter().filter(|one| match &one.key {
        Key::Decision(sequence) => world.store.decision(*sequence).is_some_and(|decision| {
            decision.instance.as_ref() == Some(&after.id)
                && (decision.text.contains("is returned:") || decision.text.contains("is drained:"))
        }),
        _ => false,
    });
    match decisions.count() {
        1 => Ok(()),
        other => broken(
            "one_decision_per_return",
            format!("{} goes with {other} decisions", after.id),
        ),
    }
}

/// Placeholders of an instance's location: each may keep a machine.
fn headroom_of(world: &World, instance: &Instance) -> usize {
    let core = world.manager.core.as_ref();
    let views = core.map(|core| core.status().locations).unwrap_or_default();
    let view = views
        .into_iter()
        .find(|it| it.location == instance.location);
    let headroom = view.and_then(|view| view.headroom);
    headroom.map_or(0, |it| (it.ready + it.coming + it.missing) as usize)
}

/// The word for the reason that a machine stays.
fn kept_for(view: &InstanceView) -> Option<&str> {
    view.returns.as_ref()?.detail["kept"].as_str()
}

fn active_at(world: &World, location: &Location) -> usize {
    let here = world
        .store
        .instances()
        .filter(|it| it.location == *location);
    here.filter(|it| it.state == InstanceState::Active).count()
}

fn minimum_of(world: &World, location: &Location) -> usize {
    let bounds = world.config.setup.bounds(location);
    bounds.map_or(0, |bounds| bounds.min_machines as usize)
}

/// Every drain of the manager's own ends by its deadline while it sees the engine.
///
/// # Errors
/// One that did not.
pub fn drains_end(world: &World) -> Result<(), Broken> {
    let manager = &world.manager;
    if manager.core.is_none() || manager.blind || world.clock.now < manager.started_at + LATE {
        return Ok(());
    }
    let late = world.store.instances().find(|it| {
        let deadline = it.drain.as_ref().and_then(|drain| drain.deadline);
        it.can_stay() && deadline.is_some_and(|at| world.clock.now > at.0 + LATE)
    });
    late.map_or(Ok(()), |it| {
        broken("drains_end", format!("{} is drained for ever", it.id))
    })
}

/// In the end, no empty machine stays without a reason that is true.
///
/// # Errors
/// One that stays.
pub fn settled(world: &World, instance: &Instance) -> Result<(), String> {
    let is_spare = instance.state == InstanceState::Active
        && world.answers(instance)
        && world.placed_on(&instance.id).next().is_none();
    if !is_spare {
        return Ok(());
    }
    let views = world.manager.core.as_ref();
    let views = views.map(|core| core.instances(false)).unwrap_or_default();
    let view = views.iter().find(|it| it.id == instance.id);
    let kept = view.and_then(kept_for);
    let is_true = match kept {
        Some("off") => !world.config.return_machines,
        Some("unused") => instance.origin == Origin::User && !instance.worked,
        Some("protected") => instance.protected,
        Some("volume") => world
            .store
            .containers()
            .any(|it| it.bound_to.as_ref() == Some(&instance.id) && it.desired != Desired::Removed),
        Some("foreign") => world.foreign_on(&instance.id) > 0,
        // Room for the growth of a service with a policy.
        Some("needed") => world.store.policies().next().is_some(),
        Some("minimum") => {
            active_at(world, &instance.location) <= minimum_of(world, &instance.location)
        }
        Some("headroom") => {
            let here = views.iter().filter(|it| it.location == instance.location);
            let kept = here.filter(|it| kept_for(it) == Some("headroom"));
            kept.count() <= headroom_of(world, instance)
        }
        // It was rented for containers that do not fit: it turned out smaller than its flavour.
        Some("replaces") => {
            let joined = instance.joined_at.map_or(0, |at| at.0);
            world.clock.now < joined + 15 * 60_000
        }
        Some("sick" | "paid") => true,
        _ => false,
    };
    match is_true {
        true => Ok(()),
        false => Err(format!("it is empty and stays: {kept:?}")),
    }
}
