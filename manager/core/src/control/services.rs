//! Swarm services: one for every copy and no other; images are pushed before, logs saved after.

use super::{Call, CallKey, Core};
use crate::{
    engine::{EngineError, Pushed, SwarmService},
    model::{Container, Copy, Desired, Instance, Phase},
};
use micado_api::{ContainerName, InstanceId, InstanceState, ServiceName, Timestamp};
use std::time::Duration;

/// Time for which a node must have been in the Swarm before a container's network is made on it. An
/// engine that joins a network waits 30 s for every engine that does not know it yet, and gossip
/// takes some rounds of 200 ms to reach all of them. Measured: without this, two of five containers
/// on new nodes started 30 s late.
const GOSSIP: Duration = Duration::from_millis(800);

/// Upper bound for gossip to drop a machine that is known to be lost. An engine that joins a
/// network before that waits 10 s or 30 s for the lost one. Measured: gossip drops it 5 to 7 s
/// after its end.
const GOSSIP_DROPS: Duration = Duration::from_secs(7);

/// Time after which a Swarm service that others changed again is set back again.
const SET_BACK_PAUSE: Duration = Duration::from_secs(10);

/// Size of the saved end of a log, in bytes.
pub const LOG_TAIL: usize = 64 * 1024;

impl Core {
    /// Makes the calls that bring the engine's services of a container to the desired state.
    pub(super) fn drive_services(&mut self, name: &ContainerName) {
        self.make_service(name);
        self.remove_services(name);
    }

    /// Creates the Swarm service of a container's primary copy, once nodes can pull the image.
    fn make_service(&mut self, name: &ContainerName) {
        self.copies.gossiping.remove(name);
        let Some((container, copy)) = self.placed(name) else {
            return;
        };
        let instance = self.ledger.instance(&copy.instance);
        let takes_work = instance.is_some_and(Instance::accepts_work);
        let edited = self.is_edited(&copy.swarm_name);
        if !container.wants_room()
            || !takes_work
            || !edited && self.has_or_makes(&copy.swarm_name)
            || self.may_run_as_another(container)
        {
            return;
        }
        let service = self.ledger.service_of(container);
        if service.pull.is_none() {
            let call = Call::PushImage {
                service: service.name.clone(),
                made: service.created_at,
                image: service.spec.image.clone(),
                login: self.boxed_login(&service.spec.image),
            };
            return self.call(call);
        }
        let Some(node) = self.node(&copy.instance).map(|node| node.id.clone()) else {
            return;
        };
        let (container, copy) = (Box::new(container.clone()), copy.clone());
        match self.gossip_settles(name, &copy.instance) {
            None => return,
            Some(at) if at > self.now => return self.wake(at),
            Some(_) => {}
        }
        if !self.may_undo(&container.name, &copy, edited) {
            return;
        }
        self.learning.warming.ordered(&copy.swarm_name, self.now);
        let service = self.copies.shared(self.ledger.service_of(&container));
        let login = self.boxed_login(&service.spec.image);
        self.call(Call::CreateService {
            service,
            container,
            copy,
            node,
            login,
        });
    }

    /// Returns true if someone else changed a Swarm service, and nothing is done about it yet.
    fn is_edited(&self, name: &str) -> bool {
        let observed = self.observed.as_ref();
        let service = observed.and_then(|observed| observed.service(name));
        service.is_some_and(|service| service.edited) && !self.is_changing(name)
    }

    /// Notes that someone else changed or removed the Swarm service of a copy that ran: to make it
    /// again sets it back. Returns false until that may be done, because whoever changes it may not
    /// stop.
    fn may_undo(&mut self, name: &ContainerName, copy: &Copy, edited: bool) -> bool {
        let service = &copy.swarm_name;
        let is_due = self.is_due(&CallKey::Service(service.clone()));
        let removed = !edited && copy.phase == Phase::Serving;
        if !is_due || !edited && !removed {
            return true;
        }
        let last = self.copies.set_back.get(service).filter(|_| edited);
        if let Some(at) = last.map(|last| last.plus(SET_BACK_PAUSE))
            && at > self.now
        {
            self.wake(at);
            return false;
        }
        let text = if edited {
            format!("its Swarm service {service} was changed by others: set back")
        } else {
            format!("its Swarm service {service} was removed or changed by others: made again")
        };
        let now = self.now;
        self.copies.set_back.insert(service.clone(), now);
        self.decide(Some(name), Some(&copy.instance), text);
        true
    }

    /// Time from which a container may be made on an instance, if that has joined. Where one runs,
    /// the engine is on the network already.
    fn gossip_settles(&mut self, name: &ContainerName, instance: &InstanceId) -> Option<Timestamp> {
        let settles = self.ledger.instance(instance)?.joined_at?.plus(GOSSIP);
        let failed = self.ledger.index.in_state(InstanceState::Failed);
        let lost = failed
            .filter_map(|id| self.ledger.instance(id))
            .filter(|instance| instance.joined_at.is_some());
        let dropped = lost
            .map(|instance| instance.state_since.plus(GOSSIP_DROPS))
            .filter(|at| *at > self.now)
            .max();
        let Some(dropped) = dropped else {
            return Some(settles);
        };
        let runs_here = |container: &Container| {
            let primary = container.primary();
            primary.is_some_and(|copy| copy.instance == *instance && self.copy_runs(copy))
        };
        if self.ledger.containers_on(instance).any(runs_here) {
            return Some(settles);
        }
        self.copies.gossiping.insert(name.clone());
        Some(dropped.max(settles))
    }

    /// Returns true if an abandoned copy may still run, or a Swarm service of the container without
    /// a copy exists: another one would be one too many.
    fn may_run_as_another(&self, container: &Container) -> bool {
        let may_run = |instance: &InstanceId| {
            self.ledger
                .instance(instance)
                .is_some_and(|instance| !is_lost(instance))
        };
        let ending = |copy: &Copy| !copy.is_live() && copy.takes_room();
        if container
            .copies
            .iter()
            .any(|copy| ending(copy) && may_run(&copy.instance))
        {
            return true;
        }
        let observed = self.observed.iter();
        let mut services = observed.flat_map(|observed| observed.services_of(&container.name));
        services.any(|service| {
            !container
                .copies
                .iter()
                .any(|copy| copy.swarm_name == service.name)
                && may_run(&service.instance)
        })
    }

    /// Removes every Swarm service of a container that is no live copy. Saves its log first if
    /// somebody may still ask for it.
    fn remove_services(&mut self, name: &ContainerName) {
        let Some(observed) = &self.observed else {
            return;
        };
        // A service without a record that cannot be adopted, because a newer micado made it, is
        // left alone: it may be the only one that runs.
        if self.ledger.container(name).is_none() {
            return;
        }
        let unwanted = observed
            .services_of(name)
            .filter(|service| !self.is_wanted(service) && !self.is_changing(&service.name));
        let unwanted: Vec<_> = unwanted
            .map(|service| (service.name.clone(), self.drained_at(service)))
            .collect();
        for (service, drained_at) in unwanted {
            if let Some(at) = drained_at {
                self.wake(at);
                continue;
            }
            if self.wants_log(name, &service) {
                let container = name.clone();
                self.call(Call::SaveLog {
                    container,
                    name: service,
                });
            } else {
                let log_of = self.keeps_log(name, &service).then(|| name.clone());
                let grace = self.grace_of(name, &service);
                self.call(Call::RemoveService {
                    name: service,
                    log_of,
                    grace,
                });
            }
        }
    }

    /// Time until which the process of a retired copy goes on, while others may still send requests
    /// to it.
    fn drained_at(&self, service: &SwarmService) -> Option<Timestamp> {
        let container = self.ledger.container(&service.container)?;
        let mut copies = container.copies.iter();
        let copy = copies.find(|copy| copy.swarm_name == service.name)?;
        let Phase::Retiring { since } = copy.phase else {
            return None;
        };
        let at = since.plus(self.config.drain_wait);
        let is_forced = self.ledger.instance(&copy.instance).is_none_or(is_lost);
        let observed = self.observed.as_ref()?;
        let is_reachable = self.copy_runs(copy)
            && observed
                .task(&copy.swarm_name)
                .is_some_and(|task| task.ports.iter().any(|port| port.host.is_some()));
        (at > self.now && is_reachable && !is_forced).then_some(at)
    }

    /// Returns true if a Swarm service is a live copy of a container that is to run.
    fn is_wanted(&self, service: &SwarmService) -> bool {
        let container = self.ledger.container(&service.container);
        container.is_some_and(|container| {
            let mut copies = container.copies.iter().filter(|copy| copy.is_live());
            container.wants_room() && copies.any(|copy| copy.swarm_name == service.name)
        })
    }

    /// Returns true if the end of a log must be saved before its service is removed.
    fn wants_log(&self, container: &ContainerName, name: &str) -> bool {
        !self.copies.log_saved.contains(name) && self.keeps_log(container, name)
    }

    /// Returns true if somebody may ask for the log of a Swarm service later, and its node answers,
    /// so that the log can be read.
    fn keeps_log(&self, container: &ContainerName, name: &str) -> bool {
        let record = self.ledger.container(container);
        if record.is_none_or(|record| record.desired == Desired::Removed) {
            return false;
        }
        let Some(observed) = &self.observed else {
            return false;
        };
        let task = observed.task(name).and_then(|task| task.node.as_deref());
        let Some(node) = task.and_then(|id| observed.node(id)) else {
            return false;
        };
        let failed = self.ledger.index.by_node(&node.id).is_some_and(|id| {
            self.ledger
                .instance(id)
                .is_some_and(|instance| instance.state == InstanceState::Failed)
        });
        node.ready && !failed
    }

    pub(super) fn log_read(&mut self, container: &ContainerName, log: Option<String>) {
        self.ledger.dirty.containers.insert(container.clone());
        let Some(observed) = &self.observed else {
            return;
        };
        let services = observed.services_of(container);
        let unwanted = services.filter(|service| !self.is_wanted(service));
        let names: Vec<_> = unwanted.map(|service| service.name.clone()).collect();
        self.copies.log_saved.extend(names);
        if let Some(log) = log {
            self.keep_log(container, &log);
        }
    }

    /// Keeps what a copy wrote while it ended, without the lines that were saved before.
    pub(super) fn last_words(&mut self, container: &ContainerName, log: &str) {
        let record = self.ledger.container(container);
        let saved = record.and_then(|record| record.log_tail.as_deref());
        let known = overlap(saved.unwrap_or_default(), log);
        if known < log.len() {
            self.keep_log(container, &log[known..]);
        }
    }

    fn keep_log(&mut self, container: &ContainerName, log: &str) {
        self.ledger.edit_container(container, |container| {
            let mut whole = container.log_tail.take().unwrap_or_default() + log;
            let excess = whole.len().saturating_sub(LOG_TAIL);
            let cut = (excess..=whole.len())
                .find(|at| whole.is_char_boundary(*at))
                .unwrap_or(whole.len());
            container.log_tail = Some(whole.split_off(cut));
        });
    }

    /// Handles the answer to a call that creates or removes a Swarm service.
    pub(super) fn service_changed(&mut self, name: &str, result: Result<(), EngineError>) {
        self.came_back(&CallKey::Service(name.to_owned()), result.is_ok());
        let number = self.observe_service(name);
        if result.is_ok() {
            self.copies.settles(name, number);
        }
        match result {
            Err(EngineError::Refused(message) | EngineError::NotFound(message)) => {
                self.copies.delayed.remove(name);
                let message = format!("the engine refused: {message}");
                drop(self.copies.refused.insert(name.to_owned(), message));
            }
            Err(EngineError::Unavailable(message)) => {
                self.copies.refused.remove(name);
                drop(self.copies.delayed.insert(name.to_owned(), message));
            }
            Ok(()) => {
                self.copies.delayed.remove(name);
                drop(self.copies.refused.remove(name));
            }
        }
        self.mark_copy(name);
    }

    /// Handles the answer that a Swarm service was not made, because its image is nowhere. The call
    /// is repeated: people may load the image again.
    pub(super) fn image_lost(&mut self, name: &str, message: String) {
        self.came_back(&CallKey::Service(name.to_owned()), false);
        self.copies.delayed.remove(name);
        self.copies.refused.insert(name.to_owned(), message);
        self.mark_copy(name);
    }

    /// Marks the container of a Swarm service for the next pass.
    fn mark_copy(&mut self, name: &str) {
        let observed = self.observed.as_ref();
        let seen = observed.and_then(|observed| observed.service(name));
        let seen = seen.map(|service| &service.container);
        let container = self.ledger.index.by_swarm_name(name).or(seen).cloned();
        self.ledger.dirty.containers.extend(container);
    }

    pub(super) fn image_pushed(
        &mut self,
        service: &ServiceName,
        made: Timestamp,
        result: Result<Pushed, EngineError>,
    ) {
        self.came_back(&CallKey::Image(service.clone(), made), result.is_ok());
        let containers = self.ledger.index.of_service(service).cloned();
        self.ledger.dirty.containers.extend(containers);
        if self
            .ledger
            .service(service)
            .is_none_or(|record| record.created_at != made)
        {
            return;
        }
        match result {
            Ok(pushed) => {
                self.copies.push_errors.remove(service);
                let record = self.ledger.edit_service(service, |service| {
                    service.pull = Some(pushed.reference);
                    service.image_id = Some(pushed.id);
                    service.clone()
                });
                if let Some(record) = record {
                    self.image_is(&record);
                }
            }
            Err(error) => {
                let errors = &mut self.copies.push_errors;
                errors.insert(service.clone(), error.to_string());
            }
        }
    }
}

/// Returns true if the containers of an instance have to go, wanted or not.
fn is_lost(instance: &Instance) -> bool {
    instance.force
        || matches!(
            instance.state,
            InstanceState::Failed | InstanceState::Stopping | InstanceState::Gone
        )
}

/// Length of the longest run of whole lines that ends `saved` and begins `log`.
fn overlap(saved: &str, log: &str) -> usize {
    let ends = log.match_indices('\n').map(|(at, _)| at + 1);
    let known = ends.filter(|&end| saved.ends_with(&log[..end]));
    known.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn lines_that_were_saved_are_found() {
        assert_eq!(overlap("a\nb\nc\n", "b\nc\nd\n"), 4);
        assert_eq!(overlap("a\nb\n", "a\nb\n"), 4);
        assert_eq!(overlap("a\nb\n", "c\n"), 0);
        assert_eq!(overlap("", "c\n"), 0);
        // The last line was not whole when it was saved.
        assert_eq!(overlap("a\nb", "b c\n"), 0);
    }
}
