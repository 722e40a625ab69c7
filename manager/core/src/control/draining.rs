//! Draining of a machine: conditions for its begin, containers to move, its end, and `--force`.

use super::{Core, Reply};
use crate::{
    model::Container,
    planner::{self, Step},
};
use micado_api::{ContainerName, ErrorBody, ErrorCode, InstanceId, InstanceState, Tag};

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
        if instance.accepts_work() && !force {
            self.refuse_homeless(&id, tag)?;
        }
        if live && force {
            self.ledger
                .edit_instance(&id, |instance| instance.force = true);
        }
        if force && matches!(state, InstanceState::Failed | InstanceState::Gone) {
            self.give_volumes_up(&id);
        }
        if may_drain(state) {
            self.begin_drain(&id, tag, force);
        }
        Ok(self.instance_reply(&id))
    }

    fn begin_drain(&mut self, id: &InstanceId, tag: &Tag, force: bool) {
        self.journal.begin_instance(id, tag.as_str());
        self.set_state(id, InstanceState::Draining);
        let why = format!("returned: `stop{}`", if force { " --force" } else { "" });
        self.decide(None, Some(id), format!("{tag} is {why}"));
        self.ledger
            .edit_instance(id, |instance| instance.reason = Some(why));
    }

    /// Returns true if a container has to move because its machine is drained. Volumes hold it
    /// there.
    pub(super) fn must_move(&self, container: &Container) -> bool {
        let drains = container.primary().is_some_and(|copy| {
            self.ledger
                .instance(&copy.instance)
                .is_some_and(|instance| instance.state == InstanceState::Draining)
        });
        drains && container.bound_to.is_none() && container.replaced().next().is_none()
    }

    /// Returns the machine once no copy takes room on it.
    pub(super) fn end_drain(&mut self, id: &InstanceId) {
        if self.ledger.containers_on(id).next().is_none() {
            self.set_state(id, InstanceState::Stopping);
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
        let waiting = here
            .into_iter()
            .map(|container| self.as_waiting(container))
            .collect();
        let homeless = self
            .plan_without(id, waiting)
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
