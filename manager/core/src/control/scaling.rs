//! Scaling of services by their load: frames of metrics in, copies added or removed. Costs nothing
//! beyond the check while no count changes.

mod foresight;

pub use foresight::Foreseen;

use super::{
    Core,
    dirty::Subject,
    owner::{Known, Owner},
    policies::refused,
    spans::Spans,
    tally::{Counts, NANO},
};
use crate::{
    model::ServicePolicy,
    scaling::{Cause, Frame, HeldSpan, Limits, Outlook, Policies, ServiceScaling, Span, Verdict},
};
use jiff::tz::TimeZone;
use micado_api::{ErrorBody, ServiceName, Timestamp, VerdictView};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Time without a frame after which a service is checked without metrics.
const UNSEEN: Duration = Duration::from_secs(10);

/// Age of an event up to which it is news: agents send their events again after a cut.
const NEWS: Duration = Duration::from_secs(60);

/// Load of one service, as the metrics show it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceLoad {
    /// Frame; of its copies, only warm and young ones are counted. The core adds the others.
    pub frame: Frame,
    /// Swarm services of running copies without a fresh sample.
    pub blind: Vec<String>,
    /// Swarm services of copies without work, if only such may go.
    pub quiet: Vec<String>,
    /// Warm-ups of copies, measured since the frame before.
    pub warm_ups: Vec<Span>,
}

/// State of the checks of each service.
#[derive(Debug, Clone, Default)]
pub(super) struct Scaling {
    notes: BTreeMap<ServiceName, Note>,
    /// OOM kills since the last frame of each service.
    killed: BTreeMap<ServiceName, u32>,
    pub(super) spans: Spans,
}

#[derive(Debug, Clone)]
struct Note {
    /// Boxed: the rings are large beside the rest.
    scaling: Box<ServiceScaling>,
    outlook: Outlook,
    /// The last frame: an earlier one, or one of the same time, is a repetition.
    frame: Option<Frame>,
    /// Time of the last frame with metrics.
    measured_at: Option<Timestamp>,
    span: Option<HeldSpan>,
    last_change: Option<Verdict>,
}

impl Owner for Scaling {
    fn prune(&mut self, known: &Known<'_>) {
        let has_policy = |service: &ServiceName| known.ledger.policies.get(service).is_some();
        self.notes.retain(|service, _| has_policy(service));
        self.killed.retain(|service, _| has_policy(service));
    }
}

impl Scaling {
    /// Takes the note of a service out, made anew after a change of its policy. A policy of a newer
    /// micado, or of a time zone that is missing here, has none.
    fn take(&mut self, policy: &ServicePolicy) -> Result<(ServiceName, Note), ErrorBody> {
        let entry = self.notes.remove_entry(&policy.service);
        let is_current = |note: &Note| *note.scaling.policies() == policy.policies;
        match entry {
            Some((name, note)) if is_current(&note) => Ok((name, note)),
            before => {
                let before = before.map(|(_, note)| note);
                let span = before.as_ref().and_then(|note| note.span);
                self.spans.ended(&policy.service, span);
                let scaling = Box::new(fresh(policy)?);
                let note = match before {
                    None => Note::new(scaling),
                    Some(before) => Note {
                        scaling,
                        span: None,
                        ..before
                    },
                };
                Ok((policy.service.clone(), note))
            }
        }
    }

    fn put(&mut self, (name, note): (ServiceName, Note)) {
        self.notes.insert(name, note);
    }

    /// Ends the present span of a service that has no policy any more.
    pub(super) fn forget(&mut self, service: &ServiceName) {
        let note = self.notes.remove(service);
        self.spans.ended(service, note.and_then(|note| note.span));
    }

    /// Hands the values of a query to its policy. The first frame makes the state.
    pub(super) fn note_query(
        &mut self,
        service: &ServiceName,
        policy: usize,
        values: &[f64],
        now: Timestamp,
    ) {
        if let Some(note) = self.notes.get_mut(service) {
            note.scaling.note_query(policy, values, now);
        }
    }

    /// The present span of each service.
    pub(super) fn open_spans(&self) -> impl Iterator<Item = (&ServiceName, &HeldSpan)> {
        let notes = self.notes.iter();
        notes.filter_map(|(service, note)| Some((service, note.span.as_ref()?)))
    }

    /// The last verdict on a service, and the last that changed its count.
    pub(super) fn views(&self, name: &ServiceName) -> (Option<VerdictView>, Option<VerdictView>) {
        let Some(note) = self.notes.get(name) else {
            return (None, None);
        };
        let now = note
            .span
            .as_ref()
            .map(|span| view(&span.last, span.first.at));
        let change = note.last_change.as_ref();
        (now, change.map(|verdict| view(verdict, verdict.at)))
    }
}

impl Note {
    fn new(scaling: Box<ServiceScaling>) -> Self {
        Self {
            scaling,
            outlook: Outlook::default(),
            frame: None,
            measured_at: None,
            span: None,
            last_change: None,
        }
    }

    /// Notes a verdict. Returns the span that it ends.
    fn took(&mut self, verdict: Verdict, is_changed: bool) -> Option<HeldSpan> {
        if is_changed {
            self.last_change = Some(verdict);
        }
        let goes_on = self.span.as_mut().is_some_and(|span| span.extend(verdict));
        match goes_on {
            true => None,
            false => self.span.replace(HeldSpan::new(verdict)),
        }
    }
}

/// State for the policies of a service. Time zones are those of this machine's database.
fn fresh(policy: &ServicePolicy) -> Result<ServiceScaling, ErrorBody> {
    let zone = |name: &str| TimeZone::get(name).ok();
    let scaling = ServiceScaling::new(Arc::new(policy.policies.clone()), zone);
    scaling.map_err(|error| refused(&error))
}

pub(super) fn view(verdict: &Verdict, since: Timestamp) -> VerdictView {
    VerdictView {
        at: verdict.at,
        since,
        text: verdict.to_string(),
        detail: serde_json::to_value(verdict).unwrap_or_default(),
    }
}

impl Core {
    /// Checks each service against its new load.
    pub(super) fn loads(&mut self, loads: Vec<(ServiceName, ServiceLoad)>) {
        // Without the engine, running copies cannot be told from others: all counts hold.
        if !self.sees() {
            return;
        }
        self.tally_pending();
        for (service, load) in loads {
            self.check_load(&service, &load);
            if let Some(note) = self.scaling.notes.get_mut(&service) {
                note.measured_at = Some(self.now);
            }
        }
    }

    fn check_load(&mut self, service: &ServiceName, load: &ServiceLoad) {
        let counts = self.counted(service);
        let Some(policy) = self.ledger.policies.get(service) else {
            return;
        };
        if is_off(policy, &counts) {
            return;
        }
        let mut limits = self.limits_of(policy, &counts);
        let Ok((name, mut note)) = self.scaling.take(policy) else {
            return;
        };
        let mut frame = load.frame;
        if note.frame.is_some_and(|last| frame.at <= last.at) {
            return self.scaling.put((name, note));
        }
        counts.fill(&mut frame);
        frame.oom_killed = self.scaling.killed.remove(service).unwrap_or(0);
        note.frame = Some(frame);
        limits.forecast = note.foresee(&policy.policies, &frame, &limits);
        let now = self.now;
        let verdict = note.scaling.check_within(&frame, &limits, now, |count| {
            let from = frame.copies.wanted();
            from + self.room_for(service, count - from)
        });
        let unneeded_for = note.scaling.unneeded_for();
        let is_changed = self.apply(service, &counts, &verdict, load, unneeded_for);
        let ended = note.took(verdict, is_changed);
        self.scaling.spans.ended(&name, ended);
        if let Some(at) = note.scaling.next_edge(now, limits.lead) {
            let subject = Subject::Scaled(name.clone());
            self.ledger.dirty.wake(subject, at);
        }
        self.scaling.put((name, note));
        self.learn_warm_ups(service, &load.warm_ups);
    }

    /// Checks a service without metrics, unless frames of it come: floors and schedules hold
    /// without them too.
    pub(super) fn check_unseen(&mut self, service: &ServiceName) {
        let note = self.scaling.notes.get(service);
        let measured_at = note.and_then(|note| note.measured_at);
        if measured_at.is_some_and(|at| self.now.since(at) < UNSEEN) {
            return;
        }
        let load = ServiceLoad {
            frame: Frame {
                at: self.now,
                interval_ms: 1_000,
                ..Frame::default()
            },
            ..ServiceLoad::default()
        };
        self.check_load(service, &load);
    }

    /// Notes an OOM kill in a copy of a service.
    pub(super) fn was_killed(&mut self, service: &ServiceName, at: Timestamp) {
        if self.ledger.policies.get(service).is_some() && self.now.since(at) < NEWS {
            *self.scaling.killed.entry(service.clone()).or_default() += 1;
        }
    }

    /// Executes a verdict. Returns true if the count changed.
    fn apply(
        &mut self,
        name: &ServiceName,
        counts: &Counts,
        verdict: &Verdict,
        load: &ServiceLoad,
        unneeded_for: Span,
    ) -> bool {
        if verdict.count > verdict.from {
            // Work that has ended is not begun again for the minimum.
            if counts.completed > 0 && verdict.cause == Cause::Minimum {
                return false;
            }
            let made = self.add_containers(name, verdict.count - verdict.from, None);
            self.decide_growth(name, verdict.to_string(), made);
            return true;
        }
        let surplus = verdict.from - verdict.count;
        if surplus == 0 {
            return false;
        }
        let policy = self.ledger.policies.get(name);
        let only_quiet = policy.is_some_and(|policy| policy.policies.stops_only_quiet());
        let quiet = only_quiet.then_some(load.quiet.as_slice());
        let gone = self.shrink_by(name, surplus, &load.blind, quiet);
        if gone.is_empty() {
            return false;
        }
        let mut text = verdict.to_string();
        if gone.len() < surplus as usize {
            text = format!("{text}; the others may not go, {} did", gone.len());
        }
        self.decide_service(name, text);
        if matches!(verdict.cause, Cause::Peak { .. }) {
            let since = Timestamp(self.now.0.saturating_sub(unneeded_for.0));
            self.shed(&gone, since);
        }
        self.quit_containers(&gone, true);
        true
    }

    /// Verdict of other policies on the last load of a service.
    pub(super) fn try_policy(
        &self,
        name: &ServiceName,
        policies: &Policies,
    ) -> Result<Option<VerdictView>, ErrorBody> {
        let policy = ServicePolicy {
            policies: policies.clone(),
            ..match self.ledger.policies.get(name) {
                Some(present) => present.clone(),
                None => ServicePolicy::new(name.clone(), policies.clone(), self.now),
            }
        };
        let mut scaling = fresh(&policy)?;
        let frame = self.scaling.notes.get(name).and_then(|note| note.frame);
        let limits = self.limits_of(&policy, &self.counts(name));
        let verdict = frame.map(|frame| scaling.check(&frame, &limits, self.now));
        Ok(verdict.map(|verdict| view(&verdict, verdict.at)))
    }

    /// Raises the counts of all services to their floors, without any metrics.
    pub(super) fn enforce_floors(&mut self) {
        self.tally_pending();
        let names: Vec<ServiceName> = self.ledger.policies.keys().cloned().collect();
        for name in names {
            self.enforce_floor(&name);
        }
    }

    /// Raises the count to the minimum, or to a person's floor.
    pub(super) fn enforce_floor(&mut self, name: &ServiceName) {
        let Some(policy) = self.ledger.policies.get(name).cloned() else {
            return;
        };
        let counts = self.counted(name);
        let from = counts.wanted();
        if is_off(&policy, &counts) || policy.is_pinned || counts.completed > 0 {
            return;
        }
        let Policies { min, max, .. } = policy.policies;
        let manual = policy.floor(self.now).filter(|manual| manual.floor > min);
        let floor = manual.map_or(min, |manual| manual.floor.min(max));
        if from >= floor || self.ledger.service(name).is_none() {
            return;
        }
        let cause = manual.map_or(Cause::Minimum, |manual| Cause::Manual {
            until: manual.until,
        });
        let verdict = Verdict {
            at: self.now,
            from,
            count: floor,
            asked: floor,
            cause,
            stop: None,
        };
        let made = self.add_containers(name, floor - from, None);
        self.decide_growth(name, verdict.to_string(), made);
        if let Ok((name, mut note)) = self.scaling.take(&policy) {
            self.scaling.spans.ended(&name, note.took(verdict, true));
            self.scaling.put((name, note));
        }
    }

    pub(super) fn limits_of(&self, policy: &ServicePolicy, counts: &Counts) -> Limits {
        let reservation = self.ledger.service(&policy.service);
        let reservation = reservation.map(|service| service.spec.reservation);
        let reservation = reservation.unwrap_or_default();
        let cpu = reservation.cpu.0 as f64 / NANO;
        let cpu_most = counts.least_cores.map_or(cpu, |cores| cores as f64 / NANO);
        Limits {
            cpu,
            cpu_most: cpu_most.max(cpu),
            memory: reservation.memory.0 as f64,
            lead: self.lead_of(&policy.service),
            manual: policy.manual,
            is_pinned: policy.is_pinned,
            is_draining: counts.is_moving,
            ..Limits::default()
        }
    }
}

/// A service that a person stopped: no copy is wanted, and no policy keeps it at none.
fn is_off(policy: &ServicePolicy, counts: &Counts) -> bool {
    counts.wanted() == 0 && policy.policies.min > 0
}

#[cfg(test)]
mod tests;
