//! Events of containers that node agents report, a moment before the Swarm shows them: each is a
//! reason to observe, and identifies an OOM kill.

use super::{Core, dirty::Subject, owner::Known, owner::Owner};
use crate::engine::SwarmTask;
use micado_api::{
    InstanceId, Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

/// Upper bound for the Swarm to show what an agent reported.
const SWARM_FOLLOWS: Duration = Duration::from_secs(5);

/// Upper bound for remembered events of one Swarm service, to recognise repetitions.
const EVENTS: usize = 16;

/// Reports of agents.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports {
    pub(super) of: HashMap<String, Report>,
    /// Swarm services to poll, until when, and their tasks at the time of the report.
    awaited: BTreeMap<String, (Timestamp, Vec<SwarmTask>)>,
    changed: bool,
}

/// Reports about the containers of one Swarm service.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    events: VecDeque<ContainerEvent>,
    /// Time of the last end, and its exit code if it was an OOM kill.
    ended: Option<(Timestamp, Option<i64>)>,
}

impl Owner for Reports {
    fn prune(&mut self, known: &Known<'_>) {
        self.of
            .retain(|name, _| known.ledger.index.by_swarm_name(name).is_some());
    }
}

impl Report {
    /// Exit code of the last end, if it was an OOM kill.
    fn killed(&self) -> Option<i64> {
        self.ended.and_then(|(_, killed)| killed)
    }
}

impl Reports {
    /// Swarm services with a report that the Swarm has not shown yet.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &String> {
        self.awaited.keys()
    }

    /// Returns true if they changed since the last call.
    pub(super) fn awaited_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Core {
    /// Handles a report. An agent reports only about containers of its own machine, and a repeated
    /// event counts once.
    pub(super) fn happened(&mut self, instance: &InstanceId, event: ContainerEvent) {
        let Some(name) = event.service.clone() else {
            return;
        };
        // Looked up in the records, which exist before the engine was observed.
        let index = &self.ledger.index;
        let Some(container) = index.by_swarm_name(&name).cloned() else {
            return;
        };
        let placed = self.ledger.container(&container).is_some_and(|container| {
            let mut copies = container.copies.iter();
            copies.any(|copy| copy.swarm_name == name && copy.instance == *instance)
        });
        if !placed {
            return;
        }
        let report = self.reports.of.entry(name.clone()).or_default();
        if report.events.contains(&event) {
            return;
        }
        // A repeated or restored event may arrive after a later one. A clock that is ahead must not
        // postpone it.
        let at = event.at.min(self.now);
        if let ContainerHappening::Died { exit_code, oom } = event.what
            && report.ended.is_none_or(|(last, _)| last <= at)
        {
            report.ended = Some((at, oom.then_some(exit_code)));
        }
        report.events.push_back(event);
        if report.events.len() > EVENTS {
            report.events.pop_front();
        }
        let observed = self.observed.as_ref();
        let tasks = observed.map_or(&[][..], |observed| observed.tasks_of(&name));
        let until = self.now.plus(SWARM_FOLLOWS);
        self.reports.changed |= !self.reports.awaited.contains_key(&name);
        self.reports.awaited.insert(name, (until, tasks.to_vec()));
        self.ledger.dirty.wake(Subject::Awaited, until);
        self.ledger.dirty.containers.insert(container);
    }

    /// Stops polling for reports that the Swarm has shown, or will not show any more.
    pub(super) fn visit_awaited(&mut self) {
        if self.reports.awaited.is_empty() {
            return;
        }
        let Some(observed) = &self.observed else {
            return;
        };
        let now = self.now;
        let before = self.reports.awaited.len();
        self.reports
            .awaited
            .retain(|name, (until, tasks)| *until > now && observed.tasks_of(name) == tasks);
        self.reports.changed |= self.reports.awaited.len() != before;
        let next = self.reports.awaited.values().map(|(until, _)| *until).min();
        self.visit(Subject::Awaited);
        next.into_iter().for_each(|at| self.wake(at));
    }

    /// Returns true if the end of a Swarm service's container with this code was an OOM kill.
    pub(super) fn was_killed(&self, swarm_name: &str, exit_code: Option<i64>) -> bool {
        let report = self.reports.of.get(swarm_name);
        exit_code.is_some() && report.and_then(Report::killed) == exit_code
    }
}
