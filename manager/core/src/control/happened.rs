//! Events of containers that node agents report, a moment before the Swarm shows them: each is a
//! reason to observe, and an end is recorded with its copy.

use super::{Core, dirty::Subject, owner::Known, owner::Owner};
use crate::{
    engine::SwarmTask,
    model::{Copy, End},
};
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

/// The same once the engine answers again: its nodes have to find it first.
const SWARM_RETURNS: Duration = Duration::from_secs(30);

/// Upper bound for remembered events of one Swarm service, to recognise repetitions.
const EVENTS: usize = 16;

/// Reports of agents.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports {
    /// Latest events of each Swarm service.
    pub(super) of: HashMap<String, VecDeque<ContainerEvent>>,
    /// Swarm services to poll, until when, and their tasks at the time of the report.
    awaited: BTreeMap<String, (Timestamp, Vec<SwarmTask>)>,
    changed: bool,
}

impl Owner for Reports {
    fn prune(&mut self, known: &Known<'_>) {
        self.of
            .retain(|name, _| known.ledger.index.by_swarm_name(name).is_some());
    }
}

impl Reports {
    /// Swarm services with a report that the Swarm has not shown yet.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &String> {
        self.awaited.keys()
    }

    /// Gives the Swarm time to show what was reported while it could not be observed.
    pub(super) fn sight_is_back(&mut self, now: Timestamp) {
        for (until, _) in self.awaited.values_mut() {
            *until = now.plus(SWARM_RETURNS);
        }
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
        let is_its = |copy: &Copy| copy.swarm_name == name && copy.instance == *instance;
        let Some(record) = self.ledger.container(&container) else {
            return;
        };
        let Some(copy) = record.copies.iter().find(|copy| is_its(copy)) else {
            return;
        };
        let is_wanted = record.wants_room() && copy.is_live();
        let service = record.service.clone();
        let events = self.reports.of.entry(name.clone()).or_default();
        if events.contains(&event) {
            return;
        }
        if let ContainerHappening::Died { exit_code, oom } = event.what {
            // A clock that is ahead must not hide later ends.
            let at = event.at.min(self.now);
            let end = End { exit_code, oom, at };
            self.ledger.edit_container(&container, |record| {
                let mut copies = record.copies.iter_mut();
                if let Some(copy) = copies.find(|copy| is_its(copy)) {
                    copy.ended(end);
                }
            });
            // It is started again, which no look may show.
            if is_wanted {
                self.returns.needed(instance);
            }
        }
        events.push_back(event.clone());
        if events.len() > EVENTS {
            events.pop_front();
        }
        if let ContainerHappening::Died { oom: true, .. } = event.what {
            self.was_killed(&service, event.at);
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
        // Reports made while the engine does not answer are awaited until it does.
        let Some(observed) = self.observed.as_ref().filter(|_| self.blind.is_none()) else {
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
}
