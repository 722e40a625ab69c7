//! Health of copies that their machine's agent checks: reports, and what follows from them.

use super::Core;
use crate::model::{Container, Copy, Health};
use micado_api::{
    ContainerName, ContainerState, HealthState, HealthView, InstanceId, PartView, ServiceName,
    Timestamp,
    agent::{AgentCheck, HealthReport},
};
use std::time::Duration;

/// A check that an agent is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub instance: InstanceId,
    pub check: AgentCheck,
}

impl Core {
    /// Takes over what an agent reports about copies on its machine. Reports may be repeated.
    pub(super) fn health_reported(&mut self, instance: &InstanceId, reports: Vec<HealthReport>) {
        for report in reports {
            // The agent leaves out what it does not know.
            if report.health != HealthState::Unknown {
                self.take_health(instance, report);
            }
        }
    }

    fn take_health(&mut self, instance: &InstanceId, report: HealthReport) {
        let name = self.ledger.index.by_swarm_name(&report.service).cloned();
        let Some((name, container)) =
            name.and_then(|name| Some((name.clone(), self.ledger.container(&name)?)))
        else {
            return;
        };
        let is_its = |copy: &&Copy| copy.swarm_name == report.service;
        let copy = container.copies.iter().find(is_its);
        let Some((generation, before)) = copy
            .filter(|copy| copy.instance == *instance && copy.is_live())
            .and_then(|copy| Some((copy.generation, copy.health.as_deref()?)))
        else {
            return;
        };
        let failure = match report.health {
            HealthState::Unhealthy => report.failure,
            _ => None,
        };
        if before.state == report.health && before.failure == failure {
            return;
        }
        let since = match before.state == report.health {
            true => before.since,
            false => self.now,
        };
        let state = report.health;
        self.ledger.edit_container(&name, |container| {
            if let Some(copy) = container.copy_mut(generation) {
                copy.health = Some(Box::new(Health {
                    state,
                    since,
                    failure,
                }));
            }
        });
        self.ledger.dirty.containers.insert(name);
    }

    /// Verdicts that the records of live copies hold, as reports. A core that is made anew takes
    /// them over: a report may have been lost with the commit that failed.
    #[must_use]
    pub fn healths(&self) -> Vec<(InstanceId, HealthReport)> {
        let containers = self.ledger.containers().values();
        let copies = containers.flat_map(|container| &container.copies);
        let known = copies.filter(|copy| copy.is_live()).filter_map(|copy| {
            let health = copy.health.as_ref()?;
            let report = HealthReport {
                service: copy.swarm_name.clone(),
                health: health.state,
                failure: health.failure.clone(),
            };
            Some((copy.instance.clone(), report))
        });
        known.collect()
    }

    /// Checks that agents are to make for a container.
    #[must_use]
    pub fn checks(&self, name: &ContainerName) -> Vec<Checked> {
        let Some(container) = self.ledger.container(name) else {
            return Vec::new();
        };
        if !container.wants_room() {
            return Vec::new();
        }
        let service = self.ledger.service_of(container);
        let live = container.copies.iter().filter(|copy| copy.is_live());
        let checked = live
            .filter(|copy| copy.health.is_some())
            .filter_map(|copy| {
                let spec = service.spec_at(copy.spec);
                let check = spec.run.health.as_ref()?;
                Some(Checked {
                    instance: copy.instance.clone(),
                    check: check.by_agent(&copy.swarm_name, spec.domain.as_ref())?,
                })
            });
        checked.collect()
    }

    /// The same for all containers.
    #[must_use]
    pub fn all_checks(&self) -> Vec<(ContainerName, Vec<Checked>)> {
        let names = self.ledger.containers().keys();
        let checks = names.map(|name| (name.clone(), self.checks(name)));
        checks.filter(|(_, checks)| !checks.is_empty()).collect()
    }

    /// Returns true if a copy runs and, if it is checked, is healthy.
    pub(super) fn copy_serves(&self, copy: &Copy) -> bool {
        copy.is_fit() && self.copy_runs(copy)
    }

    /// State of a container with a copy whose process runs.
    pub(super) fn health_state(&self, copy: &Copy) -> (ContainerState, Option<String>) {
        let Some(health) = &copy.health else {
            return (ContainerState::Running, None);
        };
        let is_checked = self.is_checked(copy);
        let gone = || {
            format!(
                "the agent of {} is not connected",
                self.tag_of(&copy.instance)
            )
        };
        let unless_checked = |words: &str| (!is_checked).then(|| format!("{words}: {}", gone()));
        match health.state {
            HealthState::Unknown => (
                ContainerState::Running,
                unless_checked("its health is unknown"),
            ),
            HealthState::Healthy => (
                ContainerState::Running,
                unless_checked("healthy when it was last checked"),
            ),
            HealthState::Starting => {
                let words = unless_checked("its health check waits");
                let words =
                    words.unwrap_or_else(|| "its health check has not passed yet".to_owned());
                (ContainerState::Starting, Some(words))
            }
            HealthState::Unhealthy if is_checked => {
                (ContainerState::Unhealthy, health.failure.clone())
            }
            HealthState::Unhealthy => {
                let failure = health.failure.as_deref().unwrap_or("its check failed");
                let words = format!("{failure}; that was the last check, as {}", gone());
                (ContainerState::Unhealthy, Some(words))
            }
        }
    }

    /// Returns true if the agent of a copy's machine is connected.
    fn is_checked(&self, copy: &Copy) -> bool {
        self.is_heard(&copy.instance)
    }

    /// Health of a copy, for people.
    pub(super) fn health_view(&self, container: &Container, copy: &Copy) -> Option<HealthView> {
        let health = copy.health.as_ref()?;
        Some(HealthView {
            state: health.state,
            since: health.since,
            failure: health.failure.clone(),
            unchecked: !self.is_checked(copy),
            kept: self.is_kept_routed(&container.service, copy),
        })
    }

    /// Views of engine and agent of a container that is checked.
    pub(super) fn part_views(&self, name: &ContainerName) -> Vec<PartView> {
        let Some((container, copy)) = self.placed(name) else {
            return Vec::new();
        };
        let Some(line) = self.check_line(container, copy) else {
            return Vec::new();
        };
        let view = |by: &str, text| PartView {
            by: by.to_owned(),
            text,
        };
        vec![view("engine", self.task_line(copy)), view("agent", line)]
    }

    /// The engine's view of a copy in one line.
    fn task_line(&self, copy: &Copy) -> String {
        let observed = self.observed.as_ref().filter(|_| self.blind.is_none());
        let Some(observed) = observed else {
            return "does not answer".to_owned();
        };
        let Some(task) = observed.task(&copy.swarm_name) else {
            return "no task".to_owned();
        };
        let state = format!("{:?}", task.state).to_lowercase();
        let message = task.message.as_ref();
        message.map_or_else(
            || format!("task {state}"),
            |message| format!("task {state}: {message}"),
        )
    }

    /// The agent's view of a copy in one line.
    fn check_line(&self, container: &Container, copy: &Copy) -> Option<String> {
        let view = self.health_view(container, copy)?;
        let spec = self.ledger.service_of(container).spec_at(copy.spec);
        let probe = spec.run.health.as_ref()?.probe.as_ref()?;
        let kind = match probe {
            micado_api::Probe::Http { .. } => "HTTP",
            micado_api::Probe::Tcp { .. } => "TCP",
        };
        let mut line = format!("{} by {kind} {probe}", view.state);
        if let Some(failure) = &view.failure {
            line = format!("{line}: {failure}");
        }
        if view.kept {
            line += "; kept in the catalogue, because more than half of the service would be out";
        }
        if view.unchecked {
            let tag = self.tag_of(&copy.instance);
            line = format!("{line}; the last verdict, as the agent of {tag} is not connected");
        }
        Some(line)
    }

    /// Gives up a copy that has been unhealthy for as long as its service allows, unless all copies
    /// of the service are: what they depend on has failed then, and restarts would only add to it.
    pub(super) fn check_health(&mut self, name: &ContainerName, generation: u32) {
        let container = self.ledger.container(name);
        let Some((container, copy)) = container.and_then(|it| Some((it, it.copy(generation)?)))
        else {
            return;
        };
        let Some((at, after)) = self.restart_at(container, copy) else {
            return;
        };
        if at > self.now {
            return self.wake(at);
        }
        if self.may_be_given_up(copy) && !self.all_unhealthy(&container.service) {
            let failure = copy.health.as_ref().and_then(|it| it.failure.as_deref());
            let failure = failure.unwrap_or("its check failed");
            let why = format!("it has been unhealthy for {} s: {failure}", after.as_secs());
            self.give_up(name, generation, &why);
        }
    }

    /// Marks the unhealthy containers that [`Core::check_health`] would restart now. Restarts
    /// depend on the other copies of the service too, so this follows each change to one of them.
    pub(super) fn mark_restarts(&mut self, service: &ServiceName) {
        if self.all_unhealthy(service) {
            return;
        }
        let is_due = |container: &Container, copy: &Copy| {
            let at = self.restart_at(container, copy);
            at.is_some_and(|(at, _)| at <= self.now) && self.may_be_given_up(copy)
        };
        let unhealthy = self.panicking.unhealthy_of(service);
        let due = unhealthy.filter(|name| {
            let container = self.ledger.container(name);
            container.is_some_and(|it| it.copies.iter().any(|copy| is_due(it, copy)))
        });
        let due: Vec<_> = due.cloned().collect();
        self.ledger.dirty.containers.extend(due);
    }

    /// Time from which an unhealthy copy may be restarted, and the wait that its service asks for.
    fn restart_at(&self, container: &Container, copy: &Copy) -> Option<(Timestamp, Duration)> {
        let health = copy.health.as_deref().filter(|_| copy.is_live())?;
        let spec = self.ledger.service_of(container).spec_at(copy.spec);
        let after = spec.run.health.as_ref()?.restart_after()?;
        let is_unhealthy = health.state == HealthState::Unhealthy;
        is_unhealthy.then(|| (health.since.plus(after), after))
    }

    /// Returns true if a copy runs, and its verdict is of now.
    fn may_be_given_up(&self, copy: &Copy) -> bool {
        self.is_checked(copy) && self.copy_runs(copy)
    }

    /// Returns true if a service has several copies and none of them is healthy.
    fn all_unhealthy(&self, service: &ServiceName) -> bool {
        let copies = self.routable(service);
        let is_good = |(copy, _): &(&Copy, Timestamp)| copy.is_fit();
        copies.len() > 1 && !copies.iter().any(is_good)
    }
}

#[cfg(test)]
mod tests;
