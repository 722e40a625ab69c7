//! The life of a container: what became of its placements, and when one is given up.

use super::Core;
use crate::{
    engine::TaskState,
    model::{Container, Desired, Outcome, Placement},
};
use micado_api::{ContainerName, InstanceId, InstanceState, Progress, ServiceName};
use std::{collections::BTreeSet, time::Duration};

/// How long a task may find no place on its node, which is ready, before the container is planned
/// anew.
const PENDING_PATIENCE: Duration = Duration::from_secs(2);

/// How long an instance that would not take a container is not tried again for it.
const SHUN: Duration = Duration::from_secs(60);

/// How long the record of a removed container stays, so that a call whose effect comes late is
/// undone and not adopted.
const TOMBSTONE: Duration = Duration::from_secs(600);

impl Core {
    /// Moves every container along as far as what was seen allows.
    pub(super) fn advance_containers(&mut self) {
        for name in self.ledger.containers.keys() {
            let Some(container) = self.ledger.containers.get(&name) else {
                continue;
            };
            if container.wants_room() {
                self.follow_task(&name);
                self.check_placement(&name);
                self.check_leaving(&name);
            } else if container.removed_at.is_none() {
                self.check_end(&name);
            }
        }
    }

    /// Takes over what its task tells: that it ended, that its volume now exists there, that its
    /// node has no place after all.
    fn follow_task(&mut self, name: &ContainerName) {
        let Some((container, placement, swarm_name)) = self.placed(name) else {
            return;
        };
        let instance = placement.instance.clone();
        let spec = &self.ledger.service_of(container).spec;
        let (has_volumes, restart) = (!spec.volumes.is_empty(), spec.restart);
        let Some(sight) = &self.sight else { return };
        let Some(task) = sight.task(&swarm_name) else {
            return;
        };
        let state = task.state;
        // A task that failed without an exit code never ran.
        let code = match state {
            TaskState::Complete => Some(task.exit_code.unwrap_or(0)),
            _ => task.exit_code,
        };
        let ended = code.filter(|code| restart.ends_at(*code));
        let node = sight
            .node(&instance)
            .filter(|node| node.ready && node.active);
        // An earlier task of its own that still ends has the room: it is there in a moment.
        let open = node.is_some_and(|node| !sight.ends(&swarm_name, &node.id));
        let words = task.message.clone();
        if state != TaskState::Pending || !open {
            self.memory.pending_since.remove(&swarm_name);
        }
        match state {
            TaskState::Complete | TaskState::Failed => {
                let Some(exit_code) = ended else { return };
                let at = self.now;
                if let Some(container) = self.ledger.containers.edit(name) {
                    container.outcome = Some(Outcome { exit_code, at });
                }
                self.decide(
                    Some(name),
                    Some(&instance),
                    format!("its process ended with {exit_code}"),
                );
            }
            TaskState::Starting | TaskState::Running if has_volumes => {
                if let Some(container) = self.ledger.containers.edit(name) {
                    container.bound_to = Some(instance);
                }
            }
            TaskState::Pending if open => {
                let since = *self
                    .memory
                    .pending_since
                    .entry(swarm_name)
                    .or_insert(self.now);
                if self.now.since(since) < PENDING_PATIENCE {
                    self.wake(since.plus(PENDING_PATIENCE));
                } else {
                    self.memory
                        .shunned
                        .insert(name.clone(), (instance.clone(), self.now.plus(SHUN)));
                    let words =
                        words.unwrap_or_else(|| "the engine finds no place for it".to_owned());
                    self.unplace(
                        name,
                        &format!("{} does not take it ({words})", self.tag_of(&instance)),
                    );
                }
            }
            _ => {}
        }
    }

    /// Gives up a placement on an instance that will not run it.
    fn check_placement(&mut self, name: &ContainerName) {
        let Some((container, placement, swarm_name)) = self.placed(name) else {
            return;
        };
        let instance = placement.instance.clone();
        let state = self
            .ledger
            .instances
            .get(&instance)
            .map(|it| (it.state, it.force));
        let bound = container.bound_to.is_some();
        // On a node that is closed, what no node is at yet never starts.
        let runs = self.sight.as_ref().is_some_and(|sight| {
            sight.is_held(&swarm_name) && sight.node(&instance).is_some_and(|node| node.ready)
        });
        match state {
            Some((InstanceState::Failed, _)) => self.unplace(name, &self.failure_of(&instance)),
            // It was taken in from the engine, and its machine will be when its cloud has answered.
            None if self.unheard_cloud().is_some() => {}
            None | Some((InstanceState::Gone | InstanceState::Stopping, _)) => {
                self.unplace(name, &format!("{} is gone", self.tag_of(&instance)))
            }
            Some((InstanceState::Draining, true)) if bound => {
                if let Some(container) = self.ledger.containers.edit(name) {
                    container.bound_to = None;
                }
                self.unplace(
                    name,
                    &format!(
                        "{} is stopped by force, with the volumes on it",
                        self.tag_of(&instance)
                    ),
                );
            }
            Some((InstanceState::Draining, _)) if !runs => self.unplace(
                name,
                &format!("{} is being given back", self.tag_of(&instance)),
            ),
            _ => {}
        }
    }

    /// Ends a move: the old copy is forgotten once nothing is left of it, or when its instance is
    /// lost.
    fn check_leaving(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.containers.get(name) else {
            return;
        };
        let (Some(leaving), waits) = (container.leaving.clone(), container.placement.is_none())
        else {
            return;
        };
        let lives = self
            .ledger
            .instances
            .get(&leaving.instance)
            .is_some_and(|it| matches!(it.state, InstanceState::Active | InstanceState::Draining));
        let swarm_name = self.swarm_name(name, &leaving);
        // Without a new place the old copy is all there is, as long as a node is at it: on its
        // closed node it would not start again.
        let idle = waits
            && !self
                .sight
                .as_ref()
                .is_some_and(|sight| sight.is_held(&swarm_name));
        let ended = !lives || idle || !self.has_or_makes(&swarm_name);
        if let Some(container) = self.ledger.containers.edit(name).filter(|_| ended) {
            container.leaving = None;
        }
    }

    /// Whether a Swarm service is there, or a call about it is under way.
    fn has_or_makes(&self, swarm_name: &str) -> bool {
        self.is_changing(swarm_name)
            || self
                .sight
                .as_ref()
                .is_some_and(|sight| sight.has_service(swarm_name))
    }

    /// Frees the room of a container that is not to run, once nothing is left of it on any machine.
    fn check_end(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.containers.get(name) else {
            return;
        };
        let placements: Vec<Placement> = [&container.placement, &container.leaving]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let there = self
            .sight
            .as_ref()
            .is_some_and(|sight| sight.services_of(name).next().is_some());
        if there
            || placements
                .iter()
                .any(|placement| self.has_or_makes(&self.swarm_name(name, placement)))
        {
            return;
        }
        let now = self.now;
        if let Some(container) = self.ledger.containers.edit(name) {
            container.placement = None;
            container.leaving = None;
            if container.desired == Desired::Removed {
                container.removed_at = Some(now);
            }
        }
    }

    /// A container with its placement and the name of its Swarm service.
    pub(super) fn placed(&self, name: &ContainerName) -> Option<(&Container, &Placement, String)> {
        let container = self.ledger.containers.get(name)?;
        let placement = container.placement.as_ref()?;
        Some((container, placement, self.swarm_name(name, placement)))
    }

    /// Gives up a placement: the container waits, and is planned anew.
    pub(super) fn unplace(&mut self, name: &ContainerName, why: &str) {
        let Some(container) = self.ledger.containers.edit(name) else {
            return;
        };
        let Some(placement) = container.placement.take() else {
            return;
        };
        container.reason = Some(why.to_owned());
        let text = format!("planned anew: {why}");
        self.journal.tell(Progress {
            subject: name.to_string(),
            at: self.now,
            text: text.clone(),
            settled: None,
        });
        self.decide(Some(name), Some(&placement.instance), text);
    }

    fn failure_of(&self, instance: &InstanceId) -> String {
        let reason = self
            .ledger
            .instances
            .get(instance)
            .and_then(|it| it.reason.as_deref())
            .unwrap_or("for no known reason");
        format!("{} failed: {reason}", self.tag_of(instance))
    }

    /// Whether the present copy of a container runs.
    pub(super) fn runs(&self, name: &ContainerName) -> bool {
        let Some((_, placement, swarm_name)) = self.placed(name) else {
            return false;
        };
        self.sight.as_ref().is_some_and(|sight| {
            sight.runs(&swarm_name)
                && sight
                    .node(&placement.instance)
                    .is_some_and(|node| node.ready)
        })
    }

    /// What people call an instance.
    pub(super) fn tag_of(&self, instance: &InstanceId) -> String {
        self.ledger
            .instances
            .get(instance)
            .map_or_else(|| instance.to_string(), |it| it.tag.to_string())
    }

    /// Drops records that have served their time.
    pub(super) fn prune(&mut self) {
        let now = self.now;
        let old = |it: &&Container| it.removed_at.is_some_and(|at| now.since(at) >= TOMBSTONE);
        for name in self
            .ledger
            .containers
            .values()
            .filter(old)
            .map(|it| it.name.clone())
            .collect::<Vec<_>>()
        {
            self.ledger.containers.remove(&name);
        }
        let used: BTreeSet<ServiceName> = self
            .ledger
            .containers
            .values()
            .map(|it| it.service.clone())
            .collect();
        for name in self
            .ledger
            .services
            .keys()
            .into_iter()
            .filter(|name| !used.contains(name))
        {
            self.ledger.services.remove(&name);
        }
        let keep = self.config.keep_gone;
        let ended = self
            .ledger
            .instances
            .values()
            .filter(|it| !it.is_live() && now.since(it.state_since) >= keep);
        let node_left = |id: &InstanceId| {
            self.sight
                .as_ref()
                .is_none_or(|sight| sight.node(id).is_some())
        };
        let unneeded =
            ended.filter(|it| self.containers_on(&it.id).next().is_none() && !node_left(&it.id));
        for id in unneeded.map(|it| it.id.clone()).collect::<Vec<_>>() {
            self.ledger.instances.remove(&id);
        }
        self.prune_images();
        self.memory.shunned.retain(|_, (_, until)| *until > now);
        self.forget();
    }
}
