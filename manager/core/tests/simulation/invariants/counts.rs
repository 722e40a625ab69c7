//! Invariants of the counts of services with a policy.

use super::{Broken, broken};
use crate::{
    scaling::{CLIENT, is_scaled},
    store::Written,
    world::World,
};
use micado_api::ServiceName;
use micado_core::{
    control::ServiceLoad,
    model::{Container, Desired, ServicePolicy},
    store::{Key, Record},
};
use std::collections::BTreeMap;

/// Number of wanted copies of a service, as recorded.
pub fn recorded(world: &World, name: &ServiceName) -> u32 {
    let all = world.store.containers();
    let wanted = all.filter(|it| it.service == *name && it.wants_room());
    u32::try_from(wanted.count()).unwrap_or(u32::MAX)
}

/// Counts of all services that may have a policy.
pub fn of_all(world: &World) -> BTreeMap<ServiceName, u32> {
    let mut counts = BTreeMap::new();
    for container in world.store.containers().filter(|it| is_scaled(&it.name)) {
        *counts.entry(container.service.clone()).or_default() += u32::from(container.wants_room());
    }
    counts
}

/// Checks what a commit does to the counts.
///
/// # Errors
/// The first violation.
pub fn changed(world: &World, written: &[Written]) -> Result<(), Broken> {
    let mut changes: BTreeMap<&ServiceName, (u32, u32)> = BTreeMap::new();
    for one in written {
        let Key::Container(name) = &one.key else {
            continue;
        };
        let after = world.store.container(name);
        let before = match &one.before {
            Some(Record::Container(before)) => Some(before),
            _ => None,
        };
        let Some(service) = after.or(before).map(|it| &it.service) else {
            continue;
        };
        if !is_scaled(name) {
            continue;
        }
        let change = changes.entry(service).or_default();
        let is_wanted = after.is_some_and(|it| it.desired == Desired::Running);
        match before {
            None if is_wanted && !is_adopted(world, name) => change.0 += 1,
            Some(before) if before.desired == Desired::Running && !is_wanted => change.1 += 1,
            _ => {}
        }
    }
    changes.retain(|_, change| *change != (0, 0));
    for (service, (added, removed)) in changes {
        if !world.loads.by_person {
            by_policy(world, written, service, (added, removed))?;
        }
    }
    Ok(())
}

/// After the store was lost, containers come back from the Swarm.
fn is_adopted(world: &World, name: &micado_api::ContainerName) -> bool {
    let mut services = world.swarm.services.values();
    services.any(|service| service.view.container == *name)
}

/// A change that no person asked for: within the limits, not while pinned, and with one decision in
/// the same commit.
fn by_policy(
    world: &World,
    written: &[Written],
    service: &ServiceName,
    (added, removed): (u32, u32),
) -> Result<(), Broken> {
    let Some(policy) = policy_before(world, written, service) else {
        return broken(
            "only_policies_scale",
            format!("{service} has no policy, and {added} were added, {removed} removed"),
        );
    };
    let count = recorded(world, service);
    if policy.is_pinned {
        return broken("pinned_stays", format!("{service} is pinned at {count}"));
    }
    let (min, max) = (policy.policies.min, policy.policies.max);
    let done = completed(world, written, service);
    if added > 0 && count > max || removed > 0 && count + done < min {
        return broken(
            "within_limits",
            format!("{service} has {count} copies, outside {min} to {max}"),
        );
    }
    let decisions = written.iter().filter(|one| match &one.key {
        Key::Decision(sequence) => world.store.decision(*sequence).is_some_and(|decision| {
            decision.service.as_ref() == Some(service)
                && (decision.text.starts_with("grew") || decision.text.starts_with("shrank"))
        }),
        _ => false,
    });
    match decisions.count() {
        1 => Ok(()),
        other => broken(
            "one_decision_per_change",
            format!("{service} changed with {other} decisions"),
        ),
    }
}

/// Number of copies whose work ended in this commit: no policy has chosen that.
fn completed(world: &World, written: &[Written], service: &ServiceName) -> u32 {
    let ended = written.iter().filter(|one| {
        let (Key::Container(name), Some(Record::Container(before))) = (&one.key, &one.before)
        else {
            return false;
        };
        let after = world.store.container(name);
        before.service == *service
            && before.wants_room()
            && after.is_some_and(|it| it.desired == Desired::Running && !it.wants_room())
    });
    u32::try_from(ended.count()).unwrap_or(u32::MAX)
}

fn policy_before<'a>(
    world: &'a World,
    written: &'a [Written],
    service: &ServiceName,
) -> Option<&'a ServicePolicy> {
    let key = Key::ServicePolicy(service.clone());
    match written.iter().find(|one| one.key == key) {
        Some(one) => match &one.before {
            Some(Record::ServicePolicy(before)) => Some(before),
            _ => None,
        },
        None => world.store.policy(service),
    }
}

/// A service without any sample never gets smaller, unless it is above its maximum.
pub fn unknown_holds(
    world: &World,
    before: &BTreeMap<ServiceName, u32>,
    loads: &[(ServiceName, ServiceLoad)],
) -> Result<(), Broken> {
    for (service, load) in loads {
        let (then, now) = (
            before.get(service).copied().unwrap_or_default(),
            recorded(world, service),
        );
        let max = world.policy_of(service).map_or(0, |it| it.policies.max);
        let is_unknown = load.frame.copies.warm + load.frame.copies.young == 0;
        if is_unknown && !load.blind.is_empty() && now < then && then <= max {
            return broken(
                "unknown_holds",
                format!("{service} is blind and shrank from {then} to {now}"),
            );
        }
    }
    Ok(())
}

/// A repeated frame writes nothing.
pub fn repetition_changes_nothing(world: &World, revision: u64) -> Result<(), Broken> {
    match world.store.revision == revision {
        true => Ok(()),
        false => broken(
            "repetition_changes_nothing",
            "a frame that was sent again caused a commit",
        ),
    }
}

/// In the end, each count is within its limits, unless a person stopped or pinned the service.
pub fn settled(world: &World) -> Result<(), String> {
    for name in [format!("{CLIENT}_web"), format!("{CLIENT}_db")] {
        let name = ServiceName::trusted(name);
        let Some(policy) = world.policy_of(&name) else {
            continue;
        };
        let count = recorded(world, &name);
        let (min, max) = (policy.policies.min, policy.policies.max);
        let ended = world.store.containers();
        let has_ended = |it: &Container| it.service == name && it.outcome.is_some();
        // Work that has ended is not begun again for the minimum.
        let is_free = count > 0 && !policy.is_pinned && !ended.into_iter().any(has_ended);
        if is_free && count < min {
            return Err(format!("{name} has {count} copies, outside {min} to {max}"));
        }
    }
    Ok(())
}
