//! Invariants that hold after every step, whatever the faults: one function each.

pub mod calls;
pub mod commits;
pub mod counts;
pub mod ends;
pub mod health;
pub mod images;
pub mod replies;
pub mod returns;
pub mod trades;

use crate::world::World;
use micado_core::control::CallKey;
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound for lists that show the core a machine without a record before it acts on it.
const LISTS: u32 = 3;

/// Upper bound for the time without a reply to a request while the manager is up, in milliseconds.
const ANSWER_WITHIN: u64 = 60_000;

/// A violated invariant.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Name of its function.
    pub invariant: &'static str,
    /// Subject and violation.
    pub what: String,
}

pub fn broken(invariant: &'static str, what: impl Into<String>) -> Result<(), Broken> {
    Err(Broken {
        invariant,
        what: what.into(),
    })
}

/// Checks all invariants between two steps.
///
/// # Errors
/// The first violation.
pub fn check(world: &World) -> Result<(), Broken> {
    no_machine_forgotten(world)?;
    one_machine_per_instance(world)?;
    one_service_per_container(world)?;
    returns::drains_end(world)?;
    health::half_stays_routed(world)?;
    every_request_answered(world)
}

/// Every machine has a live record. A machine made by a late call gets one, or is returned, after a
/// few lists that show it.
fn no_machine_forgotten(world: &World) -> Result<(), Broken> {
    for machine in world.machines() {
        let recorded = world
            .store
            .instance(&machine.instance)
            .is_some_and(|it| it.is_live());
        let returning = || {
            world
                .manager
                .open
                .contains_key(&CallKey::Machine(machine.instance.clone()))
        };
        if !recorded && !(machine.late && (machine.listed < LISTS || returning())) {
            return broken(
                "no_machine_forgotten",
                format!(
                    "m{} of {} has no live record",
                    machine.serial, machine.instance
                ),
            );
        }
    }
    Ok(())
}

fn one_machine_per_instance(world: &World) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    match world.machines().find(|it| !seen.insert(&it.instance)) {
        Some(second) => broken(
            "one_machine_per_instance",
            format!(
                "{} has a second machine, m{}",
                second.instance, second.serial
            ),
        ),
        None => Ok(()),
    }
}

/// At most two Swarm services of a container: those of a move, or of an aborted one. Creation of a
/// second one is checked at the call ([`calls`]). Services of late calls, being removed or on lost
/// machines do not count.
fn one_service_per_container(world: &World) -> Result<(), Broken> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for service in world.swarm.services.values().filter(|it| world.may_run(it)) {
        *counts.entry(&service.view.container).or_default() += 1;
    }
    let many = counts.into_iter().find(|(_, count)| *count > 2);
    many.map_or(Ok(()), |(name, count)| {
        broken(
            "one_service_per_container",
            format!("{name} has {count} Swarm services"),
        )
    })
}

fn every_request_answered(world: &World) -> Result<(), Broken> {
    let late = world
        .manager
        .tickets
        .iter()
        .find(|(_, (_, since))| world.clock.now - since > ANSWER_WITHIN);
    late.map_or(Ok(()), |(ticket, _)| {
        broken(
            "every_request_answered",
            format!("#{ticket} waits for more than a minute"),
        )
    })
}
