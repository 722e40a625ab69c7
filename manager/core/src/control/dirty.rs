//! The dirty set: subjects touched by an event, and those with a wake-up time. The cost of a
//! reconcile pass is the size of this set.

use micado_api::{ContainerName, InstanceId, ServiceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A subject that a reconcile pass visits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Instance(InstanceId),
    Container(ContainerName),
    /// A service with a policy.
    Scaled(ServiceName),
    /// All containers without a placement.
    Plan,
    /// The worker token.
    Token,
    /// Foreign nodes.
    Foreign,
    /// Machines with a lost agent.
    Silent,
    /// Swarm services with an agent's report that the Swarm has not confirmed.
    Awaited,
    /// Machines that may be returned. Not part of a full pass: it judges by time.
    Returns,
}

/// Adds a sorted set to another. Many items are merged, which is linear; few are inserted.
pub(super) fn unite<T: Ord>(set: &mut BTreeSet<T>, mut more: BTreeSet<T>) {
    const FEW: usize = 16;
    if more.len() * FEW < set.len() {
        set.extend(more);
    } else {
        set.append(&mut more);
    }
}

/// Marked subjects, and wake-up times of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Dirty {
    pub(super) instances: BTreeSet<InstanceId>,
    pub(super) containers: BTreeSet<ContainerName>,
    pub(super) scaled: BTreeSet<ServiceName>,
    pub(super) plan: bool,
    pub(super) token: bool,
    pub(super) foreign: bool,
    pub(super) silent: bool,
    pub(super) awaited: bool,
    pub(super) returns: bool,
    /// The load of the machines was reported.
    pub(super) rebalance: bool,
    /// A machine or a Swarm service without a record may exist.
    pub(super) adopt: bool,
    due: BTreeSet<(Timestamp, Subject)>,
    at: BTreeMap<Subject, Timestamp>,
}

impl Dirty {
    pub(super) fn mark(&mut self, subject: Subject) {
        match subject {
            Subject::Instance(id) => drop(self.instances.insert(id)),
            Subject::Container(name) => drop(self.containers.insert(name)),
            Subject::Scaled(name) => drop(self.scaled.insert(name)),
            Subject::Plan => self.plan = true,
            Subject::Token => self.token = true,
            Subject::Foreign => self.foreign = true,
            Subject::Silent => self.silent = true,
            Subject::Awaited => self.awaited = true,
            Subject::Returns => self.returns = true,
        }
    }

    /// Marks subjects that need no list of records.
    pub(super) fn mark_singles(&mut self) {
        (self.plan, self.token, self.foreign) = (true, true, true);
        (self.silent, self.awaited, self.adopt) = (true, true, true);
    }

    /// Returns true if a reconcile pass has anything to visit while the engine answers.
    pub(super) fn any(&self) -> bool {
        !self.instances.is_empty()
            || !self.containers.is_empty()
            || !self.scaled.is_empty()
            || self.plan
            || self.token
            || self.foreign
            || self.returns
            || self.rebalance
            || self.adopt
    }

    /// Sets the wake-up of a subject to this time, or earlier.
    pub(super) fn wake(&mut self, subject: Subject, at: Timestamp) {
        match self.at.get(&subject) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, subject.clone()))),
            None => {}
        }
        self.due.insert((at, subject.clone()));
        self.at.insert(subject, at);
    }

    /// Removes the wake-up of a subject: a visit sets a new one.
    pub(super) fn visit(&mut self, subject: &Subject) {
        if let Some((subject, at)) = self.at.remove_entry(subject) {
            self.due.remove(&(at, subject));
        }
    }

    /// Marks every subject with a wake-up time that has passed.
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

    /// Time of the next wake-up.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}
