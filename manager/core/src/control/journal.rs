//! Reports to people: decisions, kept in the store, and progress, streamed.

use super::{Core, ledger::Ledger};
use crate::model::{Decision, Instance};
use ahash::HashMap;
use micado_api::{
    ContainerName, ContainerState, InstanceId, InstanceState, Progress, ServiceName, Settled,
    Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Upper bound for stored decisions of all subjects.
const DECISIONS: usize = 50_000;

/// Upper bound for stored decisions of one service with its containers, and of one machine.
const OF_SERVICE: usize = 200;
const OF_MACHINE: usize = 50;

/// Upper bound for stored lines of progress of one subject.
const LINES: usize = 64;

/// Service, instance and text of decisions that are one, with its number.
type Together = HashMap<(Option<ServiceName>, Option<InstanceId>, String), u64>;

/// Reported state of a container, its reason, and whether it is young: it may end at once.
type Reported = (ContainerState, Option<String>, bool);

/// A line of progress. The subject is the key that it is stored under.
#[derive(Debug, Clone)]
struct Line {
    at: Timestamp,
    text: String,
    settled: Option<Settled>,
}

/// Last reported state of each subject, so that only changes are reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    containers: HashMap<ContainerName, Reported>,
    instances: HashMap<InstanceId, (InstanceState, Option<String>)>,
    lines: HashMap<String, VecDeque<Line>>,
    fresh: Vec<Progress>,
    subjects: Subjects,
    /// Number of the last decision; 0 before the first.
    last: u64,
    /// Numbers of the decisions of this moment, by what makes them the same.
    together: (Timestamp, Together),
}

/// Subject of a decision: a service with its containers, or a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Service(String),
    Machine(InstanceId),
    Cluster,
}

/// Numbers of the decisions of each subject, oldest first.
#[derive(Debug, Clone, Default)]
struct Subjects(BTreeMap<Subject, VecDeque<u64>>);

impl Subjects {
    fn of(decision: &Decision) -> Subject {
        let of_container = |name: &ContainerName| {
            let service = name.as_str().rsplit_once('.').map(|(service, _)| service);
            Subject::Service(service.unwrap_or(name.as_str()).to_owned())
        };
        let of_service = |name: &ServiceName| Subject::Service(name.to_string());
        let of_machine = |id: &InstanceId| Subject::Machine(id.clone());
        None.or(decision.service.as_ref().map(of_service))
            .or(decision.container.as_ref().map(of_container))
            .or(decision.instance.as_ref().map(of_machine))
            .unwrap_or(Subject::Cluster)
    }

    /// Adds a decision; returns those that are too many.
    fn add(&mut self, decision: &Decision) -> Vec<u64> {
        let subject = Self::of(decision);
        let most = match subject {
            Subject::Service(_) | Subject::Cluster => OF_SERVICE,
            Subject::Machine(_) => OF_MACHINE,
        };
        let numbers = self.0.entry(subject).or_default();
        numbers.push_back(decision.sequence);
        let surplus = numbers.len().saturating_sub(most);
        numbers.drain(..surplus).collect()
    }

    /// Forgets the oldest decision of a subject, which is gone.
    fn forget(&mut self, decision: &Decision) {
        let subject = Self::of(decision);
        if let Some(numbers) = self.0.get_mut(&subject) {
            numbers.retain(|number| *number != decision.sequence);
            if numbers.is_empty() {
                self.0.remove(&subject);
            }
        }
    }
}

impl Journal {
    /// Returns the progress since the last call.
    pub(super) fn take_progress(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.fresh)
    }
    /// Progress of a subject in its present operation.
    pub(super) fn lines(&self, subject: &str) -> Vec<Progress> {
        let progress = |line: &Line| Progress {
            subject: subject.to_owned(),
            at: line.at,
            text: line.text.clone(),
            settled: line.settled,
        };
        let lines = self.lines.get(subject).into_iter().flatten();
        lines.map(progress).collect()
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
        let line = Line {
            at: progress.at,
            text: progress.text.clone(),
            settled: progress.settled,
        };
        match self.lines.get_mut(&progress.subject) {
            Some(lines) => {
                lines.push_back(line);
                if lines.len() > LINES {
                    lines.pop_front();
                }
            }
            None => drop(
                self.lines
                    .insert(progress.subject.clone(), VecDeque::from([line])),
            ),
        }
        self.fresh.push(progress);
    }
}

impl Core {
    /// Records a decision with its reason. The same decision on several containers of a service at
    /// one moment is one record.
    pub(super) fn decide(
        &mut self,
        container: Option<&ContainerName>,
        instance: Option<&InstanceId>,
        text: String,
    ) {
        let (at, instance) = (self.now, instance.cloned());
        let Some(container) = container else {
            let decision = Decision::of_instance(at, instance, text);
            return self.record_decision(decision);
        };
        let service = self.ledger.container(container);
        let service = service.map(|container| container.service.clone());
        let together = (service, instance, text);
        if self.journal.together.0 != at {
            self.journal.together = (at, HashMap::default());
        }
        if let Some(sequence) = self.journal.together.1.get(&together)
            && let Some(decision) = self.ledger.decisions.edit(sequence)
        {
            if !decision.concerns(container) {
                decision.others.push(container.clone());
            }
            return;
        }
        let (_, instance, text) = &together;
        self.record_decision(Decision {
            container: Some(container.clone()),
            ..Decision::of_instance(at, instance.clone(), text.clone())
        });
        let sequence = self.journal.last;
        self.journal.together.1.insert(together, sequence);
    }

    /// Records a decision about a service as a whole.
    pub(super) fn decide_service(&mut self, service: &ServiceName, text: String) {
        self.decide_growth(service, text, Vec::new());
    }

    /// Records a decision about a service, with the containers that it made or concerns.
    pub(super) fn decide_growth(
        &mut self,
        service: &ServiceName,
        text: String,
        made: Vec<ContainerName>,
    ) {
        self.record_decision(Decision {
            service: Some(service.clone()),
            others: made,
            ..Decision::of_instance(self.now, None, text)
        });
    }

    /// Records a decision under the next number, and drops the oldest of its subject if that has
    /// too many.
    fn record_decision(&mut self, decision: Decision) {
        let decisions = &mut self.ledger.decisions;
        let journal = &mut self.journal;
        let mut old = Vec::new();
        if journal.last == 0 {
            for known in decisions.values() {
                old.extend(journal.subjects.add(known));
                journal.last = journal.last.max(known.sequence);
            }
        }
        journal.last += 1;
        let decision = Decision {
            sequence: journal.last,
            ..decision
        };
        old.extend(journal.subjects.add(&decision));
        decisions.insert(decision);
        for sequence in old {
            decisions.remove(&sequence);
        }
        if decisions.len() > DECISIONS {
            let oldest = decisions.keys().next().copied();
            if let Some(gone) = oldest.and_then(|oldest| decisions.remove(&oldest)) {
                journal.subjects.forget(&gone);
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
        let young = state == ContainerState::Running && self.is_young(name);
        let reported = (state, reason.clone(), young);
        if self.journal.containers.get(name) == Some(&reported) {
            return;
        }
        self.journal.containers.insert(name.clone(), reported);
        if state == ContainerState::Waiting && self.waits_for_machine(name) {
            // The machine's own progress, reported to its containers too, includes it.
            return;
        }
        let (text, settled) = match young {
            true => (self.started_line(name), None),
            false => self.container_line(name, state, reason),
        };
        self.tell(name.to_string(), text, settled);
    }

    fn waits_for_machine(&self, name: &ContainerName) -> bool {
        self.placed(name)
            .and_then(|(_, copy)| self.ledger.instance(&copy.instance))
            .is_some_and(|it| it.is_arriving())
    }

    /// Returns true if the copy of a container has not run for long enough.
    fn is_young(&self, name: &ContainerName) -> bool {
        let placed = self.placed(name);
        placed.is_some_and(|(_, copy)| self.runs.is_young(&copy.swarm_name))
    }

    fn started_line(&self, name: &ContainerName) -> String {
        let place = self
            .placed(name)
            .map(|(_, copy)| self.tag_of(&copy.instance));
        place.map_or_else(|| "started".to_owned(), |tag| format!("started on {tag}"))
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
            ContainerState::Unhealthy => {
                (format!("unhealthy{place}{because}"), Some(Settled::Failed))
            }
            ContainerState::Failing => (format!("failing{place}{because}"), Some(Settled::Failed)),
            ContainerState::Stopping => (format!("stopping{place}"), None),
            ContainerState::Stopped => ("stopped".to_owned(), Some(Settled::Done)),
            ContainerState::Completed => {
                let outcome = container.and_then(|it| it.outcome.as_ref());
                let failed = outcome.is_some_and(|outcome| outcome.exit_code != 0);
                let settled = if failed {
                    Settled::Failed
                } else {
                    Settled::Done
                };
                (format!("completed{because}"), Some(settled))
            }
            ContainerState::Removed => ("removed".to_owned(), Some(Settled::Done)),
            ContainerState::Unknown => (format!("unknown{because}"), None),
        }
    }
}
