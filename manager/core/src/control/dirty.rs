//! What has to be visited again: subjects that an event has touched, and those that asked to be
//! woken at a time. The cost of a reconcile pass is the size of this set.

use micado_api::{ContainerName, InstanceId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that a reconcile pass visits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Instance(InstanceId),
    Container(ContainerName),
    /// Everything that waits for a place.
    Plan,
    /// The worker token.
    Token,
    /// Nodes that we did not rent.
    Foreign,
    /// Machines whose agents have gone.
    Silent,
    /// Swarm services that agents reported an event of.
    Awaited,
}

/// Subjects to visit, and when others are due.
#[derive(Debug, Clone, Default)]
pub(super) struct Dirty {
    pub(super) instances: BTreeSet<InstanceId>,
    pub(super) containers: BTreeSet<ContainerName>,
    pub(super) plan: bool,
    pub(super) token: bool,
    pub(super) foreign: bool,
    pub(super) silent: bool,
    pub(super) awaited: bool,
    /// A machine or a Swarm service may be there that no record knows.
    pub(super) adopt: bool,
    due: BTreeSet<(Timestamp, Subject)>,
    at: BTreeMap<Subject, Timestamp>,
}

impl Dirty {
    pub(super) fn mark(&mut self, subject: Subject) {
        match subject {
            Subject::Instance(id) => drop(self.instances.insert(id)),
            Subject::Container(name) => drop(self.containers.insert(name)),
            Subject::Plan => self.plan = true,
            Subject::Token => self.token = true,
            Subject::Foreign => self.foreign = true,
            Subject::Silent => self.silent = true,
            Subject::Awaited => self.awaited = true,
        }
    }

    /// Marks what needs no list of records.
    pub(super) fn mark_singles(&mut self) {
        (self.plan, self.token, self.foreign) = (true, true, true);
        (self.silent, self.awaited, self.adopt) = (true, true, true);
    }

    /// Whether a reconcile pass that observes the engine has anything to visit.
    pub(super) fn any(&self) -> bool {
        !self.instances.is_empty()
            || !self.containers.is_empty()
            || self.plan
            || self.token
            || self.foreign
            || self.adopt
    }

    /// Wakes a subject then, or earlier.
    pub(super) fn wake(&mut self, subject: Subject, at: Timestamp) {
        match self.at.get(&subject) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, subject.clone()))),
            None => {}
        }
        self.due.insert((at, subject.clone()));
        self.at.insert(subject, at);
    }

    /// Forgets when a subject wanted to be woken: a visit says so anew.
    pub(super) fn visit(&mut self, subject: &Subject) {
        if let Some((subject, at)) = self.at.remove_entry(subject) {
            self.due.remove(&(at, subject));
        }
    }

    /// Marks every subject whose time has come.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            let Some((_, subject)) = self.due.pop_first() else {
                return;
            };
            self.at.remove(&subject);
            self.mark(subject);
        }
    }

    /// When the next subject is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}
