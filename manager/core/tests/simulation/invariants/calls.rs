//! Invariants of every call that the core makes.

use super::{Broken, broken};
use crate::world::World;
use micado_api::{InstanceId, InstanceState};
use micado_core::{
    control::{Call, CallKey},
    model::{Container, Copy, Service},
};

/// Checks a call that is about to be sent.
///
/// # Errors
/// The first violation.
pub fn check(world: &World, key: &CallKey, call: &Call) -> Result<(), Broken> {
    one_call_per_key(world, key)?;
    match call {
        Call::LaunchMachine { instance, .. } => intent_before_call(world, instance, call),
        Call::TerminateMachine { instance, .. } => machine_not_needed(world, instance),
        Call::CreateService {
            service,
            container,
            copy,
            node,
            ..
        } => created_rightly(world, service, container, (copy, node)),
        Call::RemoveService { name, .. } => running_not_stopped(world, name),
        Call::SetActive { node, .. } => foreign_untouched(world, node),
        Call::RemoveNode { node } => removed_rightly(world, node),
        _ => Ok(()),
    }
}

fn one_call_per_key(world: &World, key: &CallKey) -> Result<(), Broken> {
    if world.manager.open.contains_key(key) {
        broken("one_call_per_key", format!("a second call about {key:?}"))
    } else {
        Ok(())
    }
}

/// A machine's record is stored before it is ordered.
fn intent_before_call(world: &World, instance: &InstanceId, call: &Call) -> Result<(), Broken> {
    let Call::LaunchMachine {
        cloud,
        tag,
        location,
        flavour,
        ..
    } = call
    else {
        return Ok(());
    };
    let record = world.store.instance(instance);
    let same = record.is_some_and(|it| {
        it.is_live()
            && it.is_arriving()
            && (&it.cloud, &it.tag, &it.location, &it.flavour) == (cloud, tag, location, flavour)
    });
    if same {
        Ok(())
    } else {
        broken(
            "intent_before_call",
            format!("{instance} is ordered, its record is {record:?}"),
        )
    }
}

/// A machine is returned only if its record says so, and not while a needed container runs there.
fn machine_not_needed(world: &World, instance: &InstanceId) -> Result<(), Broken> {
    let Some(record) = world.store.instance(instance) else {
        return Ok(());
    };
    if !matches!(
        record.state,
        InstanceState::Stopping | InstanceState::Failed | InstanceState::Gone
    ) {
        return broken(
            "machine_not_needed",
            format!("{instance} is given back while {:?}", record.state),
        );
    }
    let lost = world
        .machine_of(instance)
        .is_none_or(|it| it.hurt.is_some() || it.joined_at.is_none());
    if lost || record.force || record.state == InstanceState::Failed {
        return Ok(());
    }
    let needed = world.placed_on(instance).find(|(it, _)| {
        it.copies_on(instance)
            .any(|copy| world.swarm.runs(&copy.swarm_name))
            && !world.runs_elsewhere(it, instance)
    });
    needed.map_or(Ok(()), |(it, _)| {
        broken(
            "machine_not_needed",
            format!("{instance} is given back from under {}", it.name),
        )
    })
}

/// A Swarm service is created only for a primary copy in the store, on an instance that accepts
/// work, of the right location, and pinned to the node of its machine.
fn created_rightly(
    world: &World,
    service: &Service,
    container: &Container,
    (copy, node): (&Copy, &str),
) -> Result<(), Broken> {
    let wrong = |why: String| {
        broken(
            "created_rightly",
            format!("{} on {}: {why}", container.name, copy.instance),
        )
    };
    let Some(record) = world.store.container(&container.name) else {
        return wrong("the container has no record".to_owned());
    };
    if record.primary() != Some(copy) || !record.wants_room() {
        return wrong(format!(
            "the record says {:?} {:?}",
            record.desired, record.copies
        ));
    }
    let Some(instance) = world.store.instance(&copy.instance) else {
        return wrong("the instance has no record".to_owned());
    };
    if !instance.accepts_work() {
        return wrong(format!("the instance is {:?}", instance.state));
    }
    if instance.location != service.spec.location {
        return wrong(format!(
            "the instance is {}, not {}",
            instance.location, service.spec.location
        ));
    }
    if service.pull.is_none() {
        return wrong("no node can pull its image".to_owned());
    }
    let machine = world.machine_of(&copy.instance);
    let own = machine
        .and_then(|machine| machine.node)
        .map(|node| format!("n{node}"));
    if own.is_some_and(|own| own != node) {
        return wrong(format!("it is pinned to {node}, which is another machine"));
    }
    one_service_per_container(world, record)
}

/// A second Swarm service of a container is created only for a move, beside the one that it
/// replaces.
fn one_service_per_container(world: &World, record: &Container) -> Result<(), Broken> {
    let known = |generation| record.copy(generation).is_some_and(Copy::is_live);
    let others = world
        .swarm
        .services
        .values()
        .filter(|it| it.view.container == record.name && !known(it.view.generation));
    match others
        .filter(|it| world.may_run(it))
        .map(|it| &it.view)
        .next()
    {
        Some(other) => broken(
            "one_service_per_container",
            format!("{} has {} still and gets another", record.name, other.name),
        ),
        None => Ok(()),
    }
}

/// A running container is stopped only on request, when its new copy runs, or when its machine is
/// lost. A blind core stops nothing at all.
fn running_not_stopped(world: &World, name: &str) -> Result<(), Broken> {
    let Some(service) = world.swarm.services.get(name) else {
        return Ok(());
    };
    let view = &service.view;
    let Some(record) = world
        .store
        .container(&view.container)
        .filter(|it| it.wants_room())
    else {
        return Ok(());
    };
    if world.manager.blind {
        return broken(
            "blind_holds",
            format!(
                "{} loses {name} while the engine does not answer",
                record.name
            ),
        );
    }
    if !world.swarm.runs(name) || service.late {
        return Ok(());
    }
    if record
        .primary()
        .is_some_and(|copy| copy.swarm_name == view.name)
    {
        return broken(
            "running_not_stopped",
            format!("{} runs as {name}, which is its place", record.name),
        );
    }
    // A placement that was given up is not one of its copies any more: that decision was checked
    // when it was written.
    let moves = record.replaced().any(|copy| copy.swarm_name == view.name);
    if moves && !world.is_lost(&view.instance) && !world.runs_elsewhere(record, &view.instance) {
        return broken(
            "running_not_stopped",
            format!("{} runs as {name} and nowhere else yet", record.name),
        );
    }
    Ok(())
}

/// A node is removed if its machine is gone, or if it is foreign and that is configured. Never a
/// manager.
fn removed_rightly(world: &World, id: &str) -> Result<(), Broken> {
    let Some(node) = world.swarm.nodes.values().find(|it| it.view.id == id) else {
        return Ok(());
    };
    let wrong = |why: &str| broken("removed_rightly", format!("{id} {why}"));
    if node.view.manager {
        return wrong("is a manager");
    }
    if world.swarm.is_stranger(id) {
        return if world.config.remove_unknown_nodes {
            Ok(())
        } else {
            wrong("is not ours, and only shown")
        };
    }
    let answers = node.view.ready && !node.silent && !node.left;
    if answers {
        wrong("is a machine of ours that answers")
    } else {
        Ok(())
    }
}

/// Foreign nodes are never opened or closed.
fn foreign_untouched(world: &World, node: &str) -> Result<(), Broken> {
    let manager = world
        .swarm
        .nodes
        .values()
        .any(|it| it.view.id == node && it.view.manager);
    if manager || world.swarm.is_stranger(node) {
        broken("foreign_untouched", format!("{node} is not ours"))
    } else {
        Ok(())
    }
}
