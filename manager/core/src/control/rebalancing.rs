//! Machines that can give no more: a container of theirs moves to one that has what it uses. Nothing
//! is rented for that, and nothing moves for evenness.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::{
    model::Container,
    planner::{self, Exhausted, Step},
    scaling::Resource,
};
use micado_api::{
    ContainerName, InstanceId, InstanceState, MemoryBytes, NanoCpus, Resources, ServiceName,
    Timestamp,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Time for which a machine gives no more before a container leaves it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two such moves of one service.
const REST: Duration = Duration::from_secs(600);

/// Room for a container's use on another machine, in hundredths of that use: on a machine that can
/// give no more, it would use more if it could.
const ROOM: u64 = 150;

/// Saturated machines that one report makes lighter, and containers tried of each.
const MACHINES: usize = 10;
const CONTAINERS: usize = 10;

/// A machine with nothing left of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Saturated {
    pub instance: InstanceId,
    pub resource: Resource,
    pub since: Timestamp,
    /// Use of its containers, by Swarm service.
    pub used: Vec<(String, Resources)>,
}

/// Load of the machines, as their agents measure it. Reported every few seconds while a machine is
/// saturated or has run out of something, and once when none is any more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineLoads {
    pub saturated: Vec<Saturated>,
    /// Resources that others do not use, if a machine is saturated.
    pub idle: BTreeMap<InstanceId, Resources>,
    /// Machines that have run out of something.
    pub exhausted: BTreeMap<InstanceId, Exhausted>,
}

impl MachineLoads {
    /// Returns true if there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.saturated.is_empty() && self.exhausted.is_empty()
    }
}

/// Last reported load, and times of the last moves.
#[derive(Debug, Clone, Default)]
pub(super) struct Rebalancing {
    /// Saturated machines, and since when.
    saturated: BTreeMap<InstanceId, (Resource, Timestamp)>,
    /// Report that was not handled yet.
    reported: Option<MachineLoads>,
    moved: BTreeMap<ServiceName, Timestamp>,
}

impl Owner for Rebalancing {
    fn prune(&mut self, known: &Known<'_>) {
        self.moved.retain(|_, at| known.now < at.plus(REST));
    }
}

impl Rebalancing {
    /// Saturated machines: none of the manager's own moves goes there.
    pub(super) fn saturated(&self) -> impl Iterator<Item = &InstanceId> {
        self.saturated.keys()
    }

    /// The resource of which a machine has nothing left, and since when.
    pub(super) fn of(&self, id: &InstanceId) -> Option<(Resource, Timestamp)> {
        self.saturated.get(id).copied()
    }
}

impl Core {
    /// Notes the load of the machines. A settled pass handles it.
    pub(super) fn machine_loads(&mut self, mut loads: MachineLoads) {
        self.note_exhausted(std::mem::take(&mut loads.exhausted));
        let saturated = loads.saturated.iter();
        let saturated: BTreeMap<_, _> = saturated
            .map(|machine| (machine.instance.clone(), (machine.resource, machine.since)))
            .collect();
        let before = std::mem::replace(&mut self.rebalancing.saturated, saturated);
        // Containers that are to move may have other places now.
        self.ledger.dirty.plan |= !before.keys().eq(self.rebalancing.saturated.keys());
        self.ledger.dirty.rebalance = !loads.saturated.is_empty();
        self.rebalancing.reported = Some(loads);
    }

    /// Moves one container away from each machine that has been saturated for a minute.
    pub(super) fn rebalance(&mut self) {
        let Some(loads) = self.rebalancing.reported.take() else {
            return;
        };
        let due = |machine: &&Saturated| self.now.since(machine.since) >= PATIENCE;
        let due: Vec<&Saturated> = loads.saturated.iter().filter(due).take(MACHINES).collect();
        let mut idle = loads.idle;
        for machine in due {
            if let Some((target, used)) = self.lighten(machine, &idle) {
                let left = idle.entry(target).or_default();
                *left = left.saturating_sub(used);
            }
        }
    }

    /// Moves one container away from a saturated machine, if another has room for its use. Returns
    /// that machine, and the room.
    fn lighten(
        &mut self,
        machine: &Saturated,
        idle: &BTreeMap<InstanceId, Resources>,
    ) -> Option<(InstanceId, Resources)> {
        let instance = self.ledger.instance(&machine.instance)?;
        let (tag, location) = (instance.tag.clone(), instance.location.clone());
        let is_quiet = instance.state == InstanceState::Active && self.sick(&location).is_none();
        if !is_quiet || self.moves_from(&machine.instance) > 0 {
            return None;
        }
        let resource = machine.resource;
        let time = self.now.since(machine.since).as_secs();
        for (name, used) in self.lightening(machine) {
            let room = Resources::new(
                MemoryBytes(used.memory.0 / 100 * ROOM),
                NanoCpus(used.cpu.0 / 100 * ROOM),
            );
            let target = self.place_with(&name, room, idle);
            if let Some(target) = target {
                let text =
                    format!("moves from {tag}, which has had no {resource} left for {time} s");
                self.place(&name, &target, text);
                let service = self.ledger.container(&name)?.service.clone();
                self.rebalancing.moved.insert(service, self.now);
                return Some((target, room));
            }
        }
        None
    }

    /// Containers that may leave a saturated machine, those that use most of its scarce resource
    /// first. One that is alone stays: it would saturate the next machine too.
    fn lightening(&self, machine: &Saturated) -> Vec<(ContainerName, Resources)> {
        if self.ledger.containers_on(&machine.instance).count() < 2 {
            return Vec::new();
        }
        let mut used: Vec<(ContainerName, Resources)> = Vec::new();
        for (swarm_name, resources) in &machine.used {
            let name = self.ledger.index.by_swarm_name(swarm_name);
            let container = name.and_then(|name| self.ledger.container(name));
            if let Some(container) = container.filter(|it| self.may_lighten(it, &machine.instance))
            {
                used.push((container.name.clone(), *resources));
            }
        }
        used.sort_by_key(|(_, used)| {
            Reverse(match machine.resource {
                Resource::Cpu => used.cpu.0,
                Resource::Memory => used.memory.0,
            })
        });
        used.truncate(CONTAINERS);
        used
    }

    fn may_lighten(&self, container: &Container, from: &InstanceId) -> bool {
        let moved = self.rebalancing.moved.get(&container.service);
        let rests = moved.is_some_and(|at| self.now < at.plus(REST));
        let here = container
            .primary()
            .is_some_and(|copy| copy.instance == *from);
        here && !rests
            && !container.protected
            && container.bound_to.is_none()
            && self.is_steady(container)
            && !self.is_job(container)
            && self.moves_left(&container.service) > 0
    }

    /// A machine that has room for a container's reservation, and so much that is not used.
    fn place_with(
        &mut self,
        name: &ContainerName,
        room: Resources,
        idle: &BTreeMap<InstanceId, Resources>,
    ) -> Option<InstanceId> {
        let waiting = self.as_waiting(self.ledger.container(name)?);
        let has_room = |id: &InstanceId| idle.get(id).is_some_and(|idle| room.fits_in(idle));
        let full = self.placing.pool.nodes().map(|node| &node.instance);
        let full: BTreeSet<InstanceId> = full.filter(|id| !has_room(id)).cloned().collect();
        let closed: Vec<InstanceId> = full.into_iter().chain(self.closed_to_moves()).collect();
        let offers = self.offers();
        let steps = planner::plan_moves(&mut self.placing.pool, &[waiting], &offers, &closed);
        steps.into_iter().find_map(|step| match step {
            Step::Place { instance, .. } => Some(instance),
            Step::Rent { .. } | Step::Wait { .. } | Step::Refuse { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests;
