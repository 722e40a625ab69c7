//! Final state after a time without faults: everything that people want exists, and nothing else.

use crate::{swarm::STRANGER, world::World};
use micado_api::{InstanceState, NanoCpus, Resources, ServiceSpec};
use micado_core::model::{Container, Desired, Instance, Phase};

/// Checks that the desired state is reached.
///
/// # Errors
/// The first deviation.
pub fn reached(world: &World) -> Result<(), String> {
    if !world.people.all_answered() || !world.manager.tickets.is_empty() {
        return Err("somebody waits for an answer".to_owned());
    }
    wishes_kept(world)?;
    for container in world.store.containers() {
        container_settled(world, container).map_err(|why| format!("{}: {why}", container.name))?;
    }
    for instance in world.store.instances() {
        instance_settled(world, instance).map_err(|why| format!("{}: {why}", instance.id))?;
    }
    crate::invariants::counts::settled(world)?;
    nothing_left_over(world)
}

/// Acknowledged requests are recorded.
fn wishes_kept(world: &World) -> Result<(), String> {
    for (name, (_, wanted)) in &world.people.wishes {
        let record = world
            .store
            .container(name)
            .filter(|it| it.removed_at.is_none());
        let kept = match (wanted, record) {
            (Desired::Removed, record) => record.is_none(),
            // A container that had ended by itself before `quit` stays as it is.
            (Desired::Stopped, Some(it)) => {
                it.desired == Desired::Stopped
                    || it.desired == Desired::Running && it.outcome.is_some()
            }
            (wanted, Some(it)) => it.desired == *wanted,
            (_, None) => false,
        };
        if !kept {
            return Err(format!(
                "{name} should be {wanted:?}, the record says {:?}",
                record.map(|it| it.desired)
            ));
        }
    }
    Ok(())
}

fn container_settled(world: &World, container: &Container) -> Result<(), String> {
    let services: Vec<&str> = world
        .swarm
        .services
        .values()
        .filter(|it| it.view.container == container.name)
        .map(|it| it.view.name.as_str())
        .collect();
    if !container.wants_room() {
        return if services.is_empty() && container.copies.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "it is {:?} and has {services:?} and {:?}",
                container.desired, container.copies
            ))
        };
    }
    let Some(copy) = container.primary() else {
        return match services.as_slice() {
            [] => waits_rightly(world, container),
            other => Err(format!("it waits and has {other:?}")),
        };
    };
    let name = copy.swarm_name.as_str();
    let alone = container.copies.len() == 1;
    match services.as_slice() {
        [only] if *only == name && alone && world.all_silent() => Ok(()),
        [only] if *only == name && alone && !world.swarm.runs(name) => {
            Err("it does not run".to_owned())
        }
        [only] if *only == name && alone && copy.phase != Phase::Serving => {
            Err(format!("it runs and its copy is {:?}", copy.phase))
        }
        [only] if *only == name && alone => Ok(()),
        other => Err(format!(
            "its copies are {:?}, the Swarm has {other:?}",
            container.copies
        )),
    }
}

/// A waiting container has a reason, and the reason is true: nothing could take it.
fn waits_rightly(world: &World, container: &Container) -> Result<(), String> {
    let Some(reason) = &container.reason else {
        return Err("it waits and does not say why".to_owned());
    };
    match could_run(world, container, None) {
        Some(place) => Err(format!("it waits though {place} could take it ({reason})")),
        None => Ok(()),
    }
}

/// Returns a place where a container could run: an instance that is up, or one that could be
/// rented.
fn could_run(world: &World, container: &Container, but_on: Option<&Instance>) -> Option<String> {
    let spec = &world.store.service(&container.service)?.spec;
    let others = world
        .store
        .instances()
        .filter(|it| but_on.is_none_or(|but| but.id != it.id));
    let mut able = others
        .filter(|it| {
            container
                .bound_to
                .as_ref()
                .is_none_or(|bound| *bound == it.id)
        })
        .filter(|it| has_room(world, it, container, spec));
    if let Some(instance) = able.next() {
        return Some(instance.id.to_string());
    }
    if let Some(bound) = &container.bound_to {
        return world
            .store
            .instance(bound)
            .filter(|it| it.state == InstanceState::Failed && it.is_live() && world.answers(it))
            .map(|it| format!("{}, which answers again,", it.id));
    }
    let mut flavours = world
        .config
        .setup
        .clouds
        .iter()
        .flat_map(|it| &it.flavours)
        .filter(|it| it.size.is_some());
    let fits = |size: Resources| {
        spec.reservation
            .fits_in(&less_reserve(world, shortened(world, size)))
    };
    let found = flavours.find(|it| {
        let within = world.within_limits(&spec.location, Some(it.price.0));
        it.size.is_some_and(fits) && within.is_ok()
    });
    found.map(|it| format!("a new {}", it.name))
}

/// Machines may have less memory than their flavour promises.
fn shortened(world: &World, size: Resources) -> Resources {
    let memory = if world.weather.short_memory {
        size.memory.0 / 50 * 49
    } else {
        size.memory.0
    };
    Resources::new(micado_api::MemoryBytes(memory), size.cpu)
}

fn less_reserve(world: &World, size: Resources) -> Resources {
    size.saturating_sub(Resources::new(world.config.system_reserve, NanoCpus(0)))
}

fn has_room(world: &World, instance: &Instance, container: &Container, spec: &ServiceSpec) -> bool {
    let Some((node, _)) = world.swarm.node_of(&instance.id) else {
        return false;
    };
    if instance.state != InstanceState::Active
        || instance.location != spec.location
        || !world.answers(instance)
    {
        return false;
    }
    let others = world
        .placed_on(&instance.id)
        .filter(|(it, _)| it.name != container.name);
    let others: Vec<usize> = others.map(|(_, spec)| spec.ports.len()).collect();
    let ports = others.iter().sum::<usize>() + spec.ports.len();
    let foreign = || {
        let tasks = world.swarm.tasks.values();
        tasks.filter(|it| it.service.is_none() && it.node == Some(*node))
    };
    let promised = world.promised_on(&instance.id, Some(container)) + spec.reservation;
    let promised = foreign().fold(promised, |sum, it| sum + it.view.reservation);
    let cost = world.cost_of(others.len() + foreign().count() + 1, ports);
    let port_free = |port: &micado_api::PortMapping| {
        !world.placed_on(&instance.id).any(|(_, it)| {
            it.ports
                .iter()
                .any(|other| other.host == port.host && other.protocol == port.protocol)
        })
    };
    (promised + cost).fits_in(&less_reserve(world, instance.size))
        && world.neighbour(&instance.id, container).is_none()
        && spec
            .ports
            .iter()
            .filter(|it| it.host.is_some())
            .all(port_free)
}

fn instance_settled(world: &World, instance: &Instance) -> Result<(), String> {
    let machine = world.machine_of(&instance.id);
    if !instance.is_live() {
        let ended = matches!(instance.state, InstanceState::Gone | InstanceState::Failed);
        return if ended && machine.is_none() {
            Ok(())
        } else {
            Err(format!(
                "it is {:?}, released, and there is {}",
                instance.state,
                count(machine.is_some())
            ))
        };
    }
    match instance.state {
        InstanceState::Active if world.answers(instance) => {
            let open = world
                .swarm
                .node_of(&instance.id)
                .is_some_and(|(_, it)| it.view.active);
            if open {
                crate::invariants::returns::settled(world, instance)
            } else {
                Err("it is active and its node is closed".to_owned())
            }
        }
        InstanceState::Active if world.all_silent() => Ok(()),
        InstanceState::Draining => drains_rightly(world, instance),
        InstanceState::Failed
            if machine.is_some()
                && world
                    .store
                    .containers()
                    .any(|it| it.wants_room() && it.bound_to.as_ref() == Some(&instance.id)) =>
        {
            Ok(())
        }
        state => Err(format!(
            "it stays {state:?} with {}",
            count(machine.is_some())
        )),
    }
}

fn count(there: bool) -> &'static str {
    if there { "a machine" } else { "no machine" }
}

/// A draining instance stays only while something on it cannot move.
fn drains_rightly(world: &World, instance: &Instance) -> Result<(), String> {
    let here: Vec<&Container> = world.placed_on(&instance.id).map(|(it, _)| it).collect();
    if instance.force || here.is_empty() {
        return Err("it could be given back and is not".to_owned());
    }
    match here
        .into_iter()
        .find_map(|it| Some((it, could_run(world, it, Some(instance))?)))
    {
        Some((it, place)) => Err(format!("{} could move to {place} and does not", it.name)),
        None => Ok(()),
    }
}

/// Nothing unwanted exists.
fn nothing_left_over(world: &World) -> Result<(), String> {
    if let Some(machine) = world.machines().find(|it| {
        world
            .store
            .instance(&it.instance)
            .is_none_or(|record| !record.is_live())
    }) {
        return Err(format!(
            "m{} of {} has no live record",
            machine.serial, machine.instance
        ));
    }
    if let Some(service) = world
        .swarm
        .services
        .values()
        .find(|it| world.store.container(&it.view.container).is_none())
    {
        return Err(format!(
            "{} has a Swarm service and no record",
            service.view.container
        ));
    }
    if world
        .swarm
        .entered_with
        .is_some_and(|token| token == world.swarm.token)
    {
        return Err(
            "a machine has joined, and the worker token that it was told is good still".to_owned(),
        );
    }
    if let Some(stranger) = world
        .swarm
        .nodes
        .values()
        .find(|it| world.config.remove_unknown_nodes && it.view.hostname == STRANGER)
    {
        return Err(format!(
            "{} is a stranger and still in the Swarm",
            stranger.view.id
        ));
    }
    let dead = world.swarm.nodes.values().find(|it| {
        !it.view.ready
            && it
                .view
                .instance
                .as_ref()
                .is_some_and(|id| world.machine_of(id).is_none())
    });
    dead.map_or(Ok(()), |node| {
        Err(format!(
            "{} of {:?} is dead and still in the Swarm",
            node.view.id, node.view.instance
        ))
    })
}
