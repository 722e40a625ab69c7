//! Reports to people: decisions, kept in the store, and progress, streamed.

use super::{Core, ledger::Ledger};
use crate::model::{Decision, Instance};
use micado_api::{
    ContainerName, ContainerState, InstanceId, InstanceState, Progress, ServiceName, Settled,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Upper bound for stored decisions.
const DECISIONS: usize = 2000;

/// Upper bound for stored lines of progress of one subject.
const LINES: usize = 64;

/// Last reported state of each subject, so that only changes are reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    containers: BTreeMap<ContainerName, (ContainerState, Option<String>)>,
    instances: BTreeMap<InstanceId, (InstanceState, Option<String>)>,
    lines: BTreeMap<String, VecDeque<Progress>>,
    fresh: Vec<Progress>,
}

impl Journal {
    /// Returns the progress since the last call.
    pub(super) fn take_progress(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.fresh)
    }
    /// Progress of a subject in its present operation.
    pub(super) fn lines(&self, subject: &str) -> Vec<Progress> {
        self.lines
            .get(subject)
            .map_or_else(Vec::new, |lines| lines.iter().cloned().collect())
    }
    /// Begins a new operation on a subject: drops earlier progress, so that its state is reported
    /// again.
    pub(super) fn begin_container(&mut self, name: &ContainerName) {
        self.lines.remove(name.as_str());
        self.containers.remove(name);
    }
    /// See [`Journal::begin_container`].
    pub(super) fn begin_instance(&mut self, id: &InstanceId, tag: &str) {
        self.lines.remove(tag);
        self.instances.remove(id);
    }
    /// Drops reports about subjects without a record.
    pub(super) fn forget(&mut self, ledger: &Ledger) {
        if self.containers.len() > ledger.containers().len()
            || self.instances.len() > ledger.instances().len()
        {
            self.containers
                .retain(|name, _| ledger.container(name).is_some());
            self.instances.retain(|id, _| ledger.instance(id).is_some());
            self.lines.retain(|subject, _| {
                ledger.index.tagged(subject).next().is_some()
                    || ledger.containers().get(subject.as_str()).is_some()
            });
        }
    }
    /// Reports progress, to present and later subscribers.
    pub(super) fn tell(&mut self, progress: Progress) {
        let lines = self.lines.entry(progress.subject.clone()).or_default();
        lines.push_back(progress.clone());
        if lines.len() > LINES {
            lines.pop_front();
        }
        self.fresh.push(progress);
    }
}

impl Core {
    /// Records a decision with its reason.
    pub(super) fn decide(
        &mut self,
        container: Option<&ContainerName>,
        instance: Option<&InstanceId>,
        text: String,
    ) {
        self.record_decision(Decision {
            sequence: 0,
            at: self.now,
            container: container.cloned(),
            instance: instance.cloned(),
            service: None,
            text,
        });
    }

    /// Records a decision about a service as a whole.
    pub(super) fn decide_service(&mut self, service: &ServiceName, text: String) {
        self.record_decision(Decision {
            sequence: 0,
            at: self.now,
            container: None,
            instance: None,
            service: Some(service.clone()),
            text,
        });
    }

    /// Records a decision under the next number.
    fn record_decision(&mut self, decision: Decision) {
        let sequence = self
            .ledger
            .decisions
            .values()
            .next_back()
            .map_or(1, |last| last.sequence + 1);
        self.ledger.decisions.insert(Decision {
            sequence,
            ..decision
        });
        if self.ledger.decisions.len() > DECISIONS {
            let oldest = self.ledger.decisions.values().next().map(|it| it.sequence);
            if let Some(oldest) = oldest {
                self.ledger.decisions.remove(&oldest);
            }
        }
    }

    /// Reports changes of these subjects.
    pub(super) fn report(
        &mut self,
        instances: &BTreeSet<InstanceId>,
        containers: &BTreeSet<ContainerName>,
    ) {
        for id in instances {
            self.report_instance(id);
        }
        for name in containers {
            self.report_container(name);
        }
    }

    fn report_instance(&mut self, id: &InstanceId) {
        let Some(it) = self.ledger.instance(id) else {
            return;
        };
        let message = self.broker_says(it);
        let said = self.journal.instances.get(id);
        if said.is_some_and(|(state, said)| *state == it.state && said.as_ref() == message) {
            return;
        }
        let (state, message, text) = (it.state, message.cloned(), self.instance_line(it));
        let subject = it.tag.to_string();
        self.journal.instances.insert(id.clone(), (state, message));
        let settled = match state {
            InstanceState::Active | InstanceState::Gone => Some(Settled::Done),
            InstanceState::Failed => Some(Settled::Failed),
            _ => None,
        };
        self.tell(subject, text.clone(), settled);
        if matches!(
            state,
            InstanceState::Draining | InstanceState::Stopping | InstanceState::Gone
        ) {
            return;
        }
        let on = self.ledger.containers_on(id);
        for container in on.map(|it| it.name.to_string()).collect::<Vec<_>>() {
            self.tell(container, text.clone(), None);
        }
    }

    fn tell(&mut self, subject: String, text: String, settled: Option<Settled>) {
        self.journal.tell(Progress {
            subject,
            at: self.now,
            text,
            settled,
        });
    }

    /// One line about an instance's state.
    pub(super) fn instance_line(&self, it: &Instance) -> String {
        let tag = &it.tag;
        let words = self
            .broker_says(it)
            .map_or_else(String::new, |words| format!(": {words}"));
        match it.state {
            InstanceState::Requested => {
                format!("renting {} on {} as {tag}{words}", it.flavour, it.cloud)
            }
            InstanceState::Submitted => format!("{tag} is ordered"),
            InstanceState::Booting => format!("{tag} is booting"),
            InstanceState::Active => {
                let after = it
                    .joined_at
                    .map_or(0.0, |at| at.since(it.created_at).as_secs_f64());
                format!("{tag} joined after {after:.1} s")
            }
            InstanceState::Draining => format!("{tag} is draining"),
            InstanceState::Stopping => format!("{tag} is being returned{words}"),
            InstanceState::Gone => format!("{tag} is gone"),
            InstanceState::Failed => format!(
                "{tag} failed: {}",
                it.reason.as_deref().unwrap_or("for no known reason")
            ),
        }
    }

    fn report_container(&mut self, name: &ContainerName) {
        let Some((state, reason)) = self.container_state(name) else {
            return;
        };
        let said = self.journal.containers.get(name);
        if said.is_some_and(|(said, why)| *said == state && *why == reason) {
            return;
        }
        self.journal
            .containers
            .insert(name.clone(), (state, reason.clone()));
        if state == ContainerState::Waiting && self.waits_for_machine(name) {
            // The machine's own progress, reported to its containers too, includes it.
            return;
        }
        let (text, settled) = self.container_line(name, state, reason);
        self.tell(name.to_string(), text, settled);
    }

    fn waits_for_machine(&self, name: &ContainerName) -> bool {
        self.placed(name)
            .and_then(|(_, copy)| self.ledger.instance(&copy.instance))
            .is_some_and(|it| it.is_arriving())
    }

    /// One line about a container's state, and true if it is settled.
    fn container_line(
        &self,
        name: &ContainerName,
        state: ContainerState,
        reason: Option<String>,
    ) -> (String, Option<Settled>) {
        let container = self.ledger.container(name);
        // One that is being stopped has no copy left that is to run.
        let copy = container.and_then(|it| it.primary().or(it.copies.last()));
        let place = copy.map_or_else(String::new, |copy| {
            format!(" on {}", self.tag_of(&copy.instance))
        });
        let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        match state {
            ContainerState::Waiting => (format!("waiting{because}"), None),
            ContainerState::Starting => (format!("starting{place}{because}"), None),
            ContainerState::Running if because.is_empty() => {
                (format!("running{place}"), Some(Settled::Done))
            }
            ContainerState::Running => (format!("running{because}"), Some(Settled::Done)),
            ContainerState::Failing => (format!("failing{place}{because}"), Some(Settled::Failed)),
            ContainerState::Stopping => (format!("stopping{place}"), None),
            ContainerState::Stopped => ("stopped".to_owned(), Some(Settled::Done)),
            ContainerState::Completed => (format!("completed{because}"), Some(Settled::Done)),
            ContainerState::Removed => ("removed".to_owned(), Some(Settled::Done)),
            ContainerState::Unknown => (format!("unknown{because}"), None),
        }
    }
}
