//! Swarm services: one for every placement, none besides; images pushed before, logs saved after.

use super::{Call, CallKey, Core};
use crate::{
    engine::{EngineError, NodeView},
    model::{Container, Desired, Instance, Placement},
};
use micado_api::{ContainerName, InstanceId, InstanceState, ServiceName, Timestamp};
use std::time::Duration;

/// How long a node must have been in the Swarm before a container's network is made on it. An
/// engine that joins a network waits 30 s for every engine that does not know it yet, and gossip
/// takes some rounds of 200 ms to tell all of them; measured: without this, two of five containers
/// on new nodes started 30 s late.
const GOSSIP: Duration = Duration::from_millis(800);

/// How long gossip may take to drop a machine that we know to be lost. An engine that joins a
/// network before that waits for the one that is gone, 10 s or 30 s; measured: gossip drops it 5 to
/// 7 s after its end.
const GOSSIP_DROPS: Duration = Duration::from_secs(7);

/// Bytes of a log's end that are kept.
pub const LOG_TAIL: usize = 64 * 1024;

impl Core {
    /// Makes the calls that bring the engine's services to what is wanted.
    pub(super) fn drive_services(&mut self) {
        for name in self.ledger.containers.keys() {
            if self
                .ledger
                .containers
                .get(&name)
                .is_some_and(|it| it.wants_room())
            {
                self.make_service(&name);
            }
        }
        self.remove_services();
    }

    /// Makes the Swarm service of a container's placement, the image being where nodes find it.
    fn make_service(&mut self, name: &ContainerName) {
        let Some((container, placement, swarm_name)) = self.placed(name) else {
            return;
        };
        let takes_work = self
            .ledger
            .instances
            .get(&placement.instance)
            .is_some_and(|it| it.accepts_work());
        if !takes_work
            || self.is_changing(&swarm_name)
            || self
                .sight
                .as_ref()
                .is_some_and(|sight| sight.has_service(&swarm_name))
        {
            return;
        }
        if self.may_run_as_another(container, placement) {
            return;
        }
        let service = self.ledger.service_of(container).clone();
        if service.pull.is_none() {
            let image = service.spec.image.clone();
            return self.call(
                CallKey::Image(service.name.clone(), service.created_at),
                Call::PushImage {
                    service: service.name,
                    image,
                },
            );
        }
        match self.gossip_settles(&placement.instance) {
            None => return,
            Some(at) if at > self.now => return self.wake(at),
            Some(_) => {}
        }
        let (container, placement) = (Box::new(container.clone()), placement.clone());
        self.call(
            CallKey::Service(swarm_name),
            Call::CreateService {
                service: Box::new(service),
                container,
                placement,
            },
        );
    }

    /// When a container may be made on an instance, if that has joined. Where one runs, the engine
    /// is on the network already.
    fn gossip_settles(&self, instance: &InstanceId) -> Option<Timestamp> {
        let settles = self.ledger.instances.get(instance)?.joined_at?.plus(GOSSIP);
        let lost = self
            .ledger
            .instances
            .values()
            .filter(|it| it.state == InstanceState::Failed && it.joined_at.is_some());
        let dropped = lost
            .map(|it| it.state_since.plus(GOSSIP_DROPS))
            .filter(|at| *at > self.now)
            .max();
        let runs_here = |it: &Container| {
            it.placement
                .as_ref()
                .is_some_and(|at| at.instance == *instance)
                && self.runs(&it.name)
        };
        let on_network = || self.containers_on(instance).any(runs_here);
        Some(
            dropped
                .filter(|_| !on_network())
                .map_or(settles, |at| at.max(settles)),
        )
    }

    /// Whether a place that was given up still has a Swarm service, or a call about it is under
    /// way, where that could run: a second one would be one too many.
    fn may_run_as_another(&self, container: &Container, placement: &Placement) -> bool {
        let kept = container.leaving.as_ref().map(|it| it.generation);
        let mut before = (1..placement.generation)
            .rev()
            .filter(|it| Some(*it) != kept)
            .map(|generation| Placement {
                generation,
                ..placement.clone()
            });
        if before.any(|it| self.is_changing(&self.swarm_name(&container.name, &it))) {
            return true;
        }
        let Some(sight) = &self.sight else {
            return false;
        };
        let others = sight
            .services_of(&container.name)
            .filter_map(|name| sight.service(name));
        let given_up = others
            .map(|it| &it.placement)
            .filter(|it| *it != placement && container.leaving.as_ref() != Some(*it));
        let lost = |it: &Instance| {
            it.force
                || matches!(
                    it.state,
                    InstanceState::Failed | InstanceState::Stopping | InstanceState::Gone
                )
        };
        given_up
            .filter_map(|it| self.ledger.instances.get(&it.instance))
            .any(|it| !lost(it))
    }

    /// Whether a call about a Swarm service is under way, or so short ago that it is not seen yet.
    pub(super) fn is_changing(&self, name: &str) -> bool {
        self.memory.settling.contains_key(name)
            || self.is_in_flight(&CallKey::Service(name.to_owned()))
    }

    /// Removes every Swarm service of ours that is no (longer a) placement; its log is saved first
    /// where somebody may still ask for it.
    fn remove_services(&mut self) {
        let Some(sight) = &self.sight else { return };
        // What has no record and cannot be taken in, because a newer micado made it, is left alone:
        // it may be all that runs.
        let ours = sight.services().filter(|service| {
            service.records.is_some() || self.ledger.containers.get(&service.container).is_some()
        });
        let unwanted = ours.filter(|service| {
            !self.is_wanted(&service.container, &service.placement, &service.name)
        });
        let unwanted = unwanted.filter(|service| !self.is_changing(&service.name));
        let unwanted: Vec<_> = unwanted
            .map(|service| (service.container.clone(), service.name.clone()))
            .collect();
        for (container, name) in unwanted {
            if self.wants_log(&container, &name) {
                self.call(
                    CallKey::Log(container.clone()),
                    Call::SaveLog { container, name },
                );
            } else {
                self.call(CallKey::Service(name.clone()), Call::RemoveService { name });
            }
        }
    }

    /// Whether a Swarm service is a container's placement, or the old copy of a move whose new copy
    /// does not run yet.
    fn is_wanted(&self, container: &ContainerName, placement: &Placement, name: &str) -> bool {
        let Some(it) = self
            .ledger
            .containers
            .get(container)
            .filter(|it| it.wants_room())
        else {
            return false;
        };
        let is = |other: &Option<Placement>| {
            other.as_ref().is_some_and(|other| {
                other == placement && self.swarm_name(container, other) == name
            })
        };
        is(&it.placement) || (is(&it.leaving) && !self.runs(container))
    }

    /// Whether the end of a log must be read before its service goes. It can be while the node
    /// answers.
    fn wants_log(&self, container: &ContainerName, name: &str) -> bool {
        let asked_for = self
            .ledger
            .containers
            .get(container)
            .is_some_and(|it| it.desired != Desired::Removed);
        let Some(sight) = self
            .sight
            .as_ref()
            .filter(|_| asked_for && !self.memory.log_saved.contains(name))
        else {
            return false;
        };
        let node = sight.task(name).and_then(|task| task.node.as_deref());
        let given_up = |id: &InstanceId| {
            self.ledger
                .instances
                .get(id)
                .is_some_and(|it| it.state == InstanceState::Failed)
        };
        let answers = |node: &NodeView| node.ready && !node.instance.as_ref().is_some_and(given_up);
        sight
            .nodes
            .iter()
            .any(|it| answers(it) && Some(it.id.as_str()) == node)
    }

    pub(super) fn log_read(&mut self, container: &ContainerName, log: Option<String>) {
        let Some(sight) = &self.sight else { return };
        let unwanted = sight.services().filter(|it| {
            it.container == *container && !self.is_wanted(container, &it.placement, &it.name)
        });
        let names: Vec<_> = unwanted.map(|it| it.name.clone()).collect();
        self.memory.log_saved.extend(names);
        if let (Some(log), Some(it)) = (log, self.ledger.containers.edit(container)) {
            let mut whole = it.log_tail.take().unwrap_or_default() + &log;
            let excess = whole.len().saturating_sub(LOG_TAIL);
            let cut = (excess..=whole.len())
                .find(|at| whole.is_char_boundary(*at))
                .unwrap_or(whole.len());
            it.log_tail = Some(whole.split_off(cut));
        }
    }

    pub(super) fn image_pushed(
        &mut self,
        service: &ServiceName,
        made: Timestamp,
        result: Result<String, EngineError>,
    ) {
        self.came_back(&CallKey::Image(service.clone(), made), result.is_ok());
        if self
            .ledger
            .services
            .get(service)
            .is_none_or(|it| it.created_at != made)
        {
            return;
        }
        match result {
            Ok(pull) => {
                self.memory.push_errors.remove(service);
                if let Some(service) = self.ledger.services.edit(service) {
                    service.pull = Some(pull);
                    let service = service.clone();
                    self.image_is(&service);
                }
            }
            Err(error) => drop(
                self.memory
                    .push_errors
                    .insert(service.clone(), error.to_string()),
            ),
        }
    }
}
