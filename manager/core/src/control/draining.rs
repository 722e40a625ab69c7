//! Draining of a machine: conditions for its begin, containers to move, its end, and `--force`. A
//! drain of the manager's own never stops a container: it is cancelled instead.

use super::{Core, Reply};
use crate::{
    model::{BegunBy, Container, Drain},
    planner::{self, Step},
};
use micado_api::{ContainerName, ErrorBody, ErrorCode, InstanceId, InstanceState, Tag};
use std::{fmt, time::Duration};

/// Time after which a drain of the manager's own is cancelled.
const DEADLINE: Duration = Duration::from_secs(600);

/// Cause for which the manager gives up a drain of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// A waiting container takes its room.
    Needed(ContainerName),
    /// The headroom of its location takes its room.
    Headroom(String),
    /// No other machine has room for a container on it.
    NoRoom(ContainerName),
    /// A person protects this machine, or this container on it.
    Protected(String),
    /// The machine does not answer.
    Silent,
    Deadline,
}

impl Cancelled {
    /// Returns true if the same drain would fail again soon.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self, Self::Headroom(_) | Self::NoRoom(_) | Self::Deadline)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed(container) => write!(f, "its room is needed for {container}"),
            Self::Headroom(asked) => write!(f, "its room is needed for headroom ({asked})"),
            Self::NoRoom(container) => write!(f, "no other machine has room for {container}"),
            Self::Protected(name) => write!(f, "{name} is protected"),
            Self::Silent => write!(f, "it does not answer"),
            Self::Deadline => {
                write!(f, "not all had moved after {} min", DEADLINE.as_secs() / 60)
            }
        }
    }
}

impl Core {
    /// Starts to drain the machine with this tag. Idempotent; does nothing for one that is gone.
    pub(super) fn stop(&mut self, tag: &Tag, force: bool) -> Result<Reply, ErrorBody> {
        let Some(instance) = self.tagged(tag.as_str()) else {
            return Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("no instance has the tag `{tag}`"),
            )
            .hint("`micado list -i` shows all tags"));
        };
        let (id, state, live) = (instance.id.clone(), instance.state, instance.is_live());
        let takes_over = self.can_stay(&id);
        if (instance.accepts_work() || takes_over) && !force {
            self.refuse_homeless(&id, tag)?;
        }
        if live && force {
            self.ledger
                .edit_instance(&id, |instance| instance.force = true);
        }
        if force && matches!(state, InstanceState::Failed | InstanceState::Gone) {
            self.give_volumes_up(&id);
        }
        if may_drain(state) || takes_over {
            let why = format!("returned: `stop{}`", if force { " --force" } else { "" });
            self.begin_drain(&id, why, BegunBy::Person);
        }
        Ok(self.instance_reply(&id))
    }

    /// Begins a drain. One of the manager's own has a deadline.
    pub(super) fn begin_drain(&mut self, id: &InstanceId, why: String, begun_by: BegunBy) {
        let tag = self.tag_of(id);
        self.journal.begin_instance(id, tag.as_str());
        self.set_state(id, InstanceState::Draining);
        let lost = self.volumes_lost_with(id);
        let lost = lost.map_or_else(String::new, |lost| format!("; {lost}"));
        self.decide(None, Some(id), format!("{tag} is {why}{lost}"));
        let since = self.now;
        let deadline = (begun_by == BegunBy::Manager).then(|| since.plus(DEADLINE));
        self.ledger.edit_instance(id, |instance| {
            instance.reason = Some(why.clone());
            instance.drain = Some(Drain {
                why,
                since,
                deadline,
                begun_by,
            });
        });
    }

    /// Takes a machine back that the manager drained. Containers that have not moved stay, those
    /// half moved go on.
    pub(super) fn cancel_drain(&mut self, id: &InstanceId, cause: &Cancelled) {
        let tag = self.tag_of(id);
        self.journal.begin_instance(id, tag.as_str());
        self.set_state(id, InstanceState::Active);
        self.ledger.edit_instance(id, |instance| {
            (instance.reason, instance.drain) = (None, None)
        });
        let mut text = format!("{tag} is in use again: {cause}");
        if let Some(until) = self.drain_ended(id, cause) {
            let left = until.since(self.now).as_secs() / 60;
            text = format!("{text}; it is left alone for {left} min");
        }
        self.decide(None, Some(id), text);
    }

    /// A container is placed on this machine.
    pub(super) fn needs(&mut self, id: &InstanceId, container: &ContainerName) {
        self.returns.needed(id);
        if self.can_stay(id) {
            self.cancel_drain(id, &Cancelled::Needed(container.clone()));
        }
    }

    /// Returns true if the manager drains this machine, or its broker did not take it after that, so
    /// that it may be used again.
    pub(super) fn can_stay(&self, id: &InstanceId) -> bool {
        let instance = self.ledger.instance(id);
        instance.is_some_and(|instance| {
            instance.can_stay() || instance.goes_by_itself() && self.is_refused(id)
        })
    }

    /// Returns true if a container has to move because a person returns its machine.
    pub(super) fn must_move(&self, container: &Container) -> bool {
        self.drained_by(container) == Some(BegunBy::Person)
    }

    /// Returns true if a container is to move because the manager drains its machine.
    pub(super) fn may_move(&self, container: &Container) -> bool {
        container.wants_room() && self.drained_by(container) == Some(BegunBy::Manager)
    }

    /// Origin of the drain of a container's machine, if the container does not move yet. Volumes hold
    /// it there.
    fn drained_by(&self, container: &Container) -> Option<BegunBy> {
        let copy = container.primary()?;
        let instance = self.ledger.instance(&copy.instance)?;
        let moves = instance.state == InstanceState::Draining
            && container.bound_to.is_none()
            && container.replaced().next().is_none();
        let drain = instance.drain.as_ref();
        moves.then(|| drain.map_or(BegunBy::Person, |drain| drain.begun_by))
    }

    /// Returns the machine once no copy takes room on it.
    pub(super) fn end_drain(&mut self, id: &InstanceId) {
        if self.ledger.containers_on(id).next().is_none() {
            self.drain_succeeded(id);
            return self.set_state(id, InstanceState::Stopping);
        }
        let deadline = self.ledger.instance(id);
        let deadline = deadline.and_then(|instance| instance.drain.as_ref()?.deadline);
        match deadline {
            Some(_) if !self.joins(id) => self.cancel_drain(id, &Cancelled::Silent),
            Some(at) if at <= self.now => self.cancel_drain(id, &Cancelled::Deadline),
            Some(at) => self.wake(at),
            None => {}
        }
    }

    /// Releases containers from the volumes of a lost machine: they run elsewhere, with empty
    /// volumes.
    fn give_volumes_up(&mut self, id: &InstanceId) {
        let bound: Vec<ContainerName> = self.ledger.index.bound_to(id).cloned().collect();
        for name in bound {
            self.ledger
                .edit_container(&name, |container| container.bound_to = None);
            let text = "its volumes are given up: `stop --force`".to_owned();
            self.decide(Some(&name), Some(id), text);
        }
    }

    /// Refuses to stop a machine while a container on it cannot run elsewhere or has a volume
    /// there.
    fn refuse_homeless(&mut self, id: &InstanceId, tag: &Tag) -> Result<(), ErrorBody> {
        let refuse = |what: String| {
            Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("instance `{tag}` cannot be stopped: {what}"),
            )
            .hint("`quit` it, or stop with --force"))
        };
        let here: Vec<&Container> = self
            .ledger
            .containers_on(id)
            .filter(|container| container.wants_room())
            .collect();
        let holds = |container: &&&Container| container.bound_to.as_ref() == Some(id);
        if let Some(bound) = here.iter().find(holds) {
            let volumes = &self.ledger.service_of(bound).spec.volumes;
            let volumes: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
            return refuse(format!(
                "container `{}` keeps its volume there ({})",
                bound.name,
                volumes.join(", ")
            ));
        }
        let waiting: Vec<_> = here
            .into_iter()
            .map(|container| self.as_waiting(container))
            .collect();
        let homeless = self
            .plan_without(id, &waiting)
            .into_iter()
            .find_map(|step| match step {
                Step::Wait { container, reason } | Step::Refuse { container, reason } => {
                    Some((container, reason))
                }
                planner::Step::Place { .. } | planner::Step::Rent { .. } => None,
            });
        homeless.map_or(Ok(()), |(container, reason)| {
            refuse(format!(
                "container `{container}` would have nowhere to go: {reason}"
            ))
        })
    }
}

/// Returns true if `stop` starts to drain an instance in this state.
fn may_drain(state: InstanceState) -> bool {
    !matches!(
        state,
        InstanceState::Draining
            | InstanceState::Stopping
            | InstanceState::Gone
            | InstanceState::Failed
    )
}
