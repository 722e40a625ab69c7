//! One policy with its state.

use super::{
    band::BandState,
    critical::{CriticalState, Resource},
    frame::{Frame, Limits},
    futility::Futility,
    policy::{Policies, Policy},
    query::{As, QueryState},
    queue::QueueState,
    target::{Metric, TargetState},
    wanted::Wanted,
};
use micado_api::Timestamp;

/// State of one policy, by its kind.
#[derive(Debug, Clone)]
pub(super) enum State {
    Target(Box<TargetState>),
    Critical(CriticalState),
    Band(BandState),
    Queue(QueueState),
    Query(QueryState),
    /// A schedule has no state here: see [`super::schedule::Calendar`].
    Schedule,
}

/// One policy with its state and the effect of its growths.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) state: State,
    pub(super) futility: Futility,
}

/// Values of a check that all policies see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) frame: &'a Frame,
    pub(super) limits: &'a Limits,
    pub(super) look_back: u64,
    pub(super) now: Timestamp,
}

impl Rule {
    pub(super) fn new(policy: &Policy) -> Self {
        let state = match policy {
            Policy::Target(_) => State::Target(Box::default()),
            Policy::Critical(_) => State::Critical(CriticalState::default()),
            Policy::Band(_) => State::Band(BandState::default()),
            Policy::Queue(_) => State::Queue(QueueState::default()),
            Policy::Query(_) => State::Query(QueryState::default()),
            Policy::Schedule(_) => State::Schedule,
        };
        let futility = match policy {
            Policy::Critical(critical) if critical.resource == Resource::Memory => {
                Futility::of_memory()
            }
            _ => Futility::default(),
        };
        Self { state, futility }
    }

    /// Count that the policy wants; `None` for a schedule, which is a bound and no signal.
    pub(super) fn wanted(
        &mut self,
        policy: &Policy,
        all: &Policies,
        sight: Sight<'_>,
    ) -> Option<Wanted> {
        let Sight {
            frame,
            limits,
            look_back,
            now,
        } = sight;
        let count = frame.copies.wanted();
        let wanted = match (&mut self.state, policy) {
            (State::Target(state), Policy::Target(target)) => {
                state.check(target, frame, limits, look_back)
            }
            (State::Critical(state), Policy::Critical(critical)) => {
                state.check(critical, frame, look_back)
            }
            (State::Band(state), Policy::Band(band)) => state.check(band, frame, limits),
            (State::Queue(state), Policy::Queue(queue)) => {
                state.check(queue, count, limits.lead, (all.min, all.max), now)
            }
            (State::Query(state), Policy::Query(query)) => {
                state.check(query, &frame.copies, look_back, now)
            }
            _ => return None,
        };
        if let Some(load) = self.load(policy, frame) {
            let requests = frame.requests.map(|sums| sums.warm + sums.young);
            self.futility
                .check(now, &frame.copies, load, requests, look_back);
        }
        Some(wanted)
    }

    /// Use of all copies in the policy's own signal.
    pub(super) fn load(&self, policy: &Policy, frame: &Frame) -> Option<f64> {
        let running = f64::from(frame.copies.running());
        match (&self.state, policy) {
            (State::Target(state), _) => Some(state.load.recent()),
            (State::Critical(_), _) => Some(frame.memory.warm + frame.memory.young),
            (State::Query(state), Policy::Query(query)) => match query.meaning {
                As::Total => state.value(),
                As::Average => state.value().map(|each| each * running),
            },
            _ => None,
        }
    }

    /// Notes a change of the count.
    pub(super) fn changed(&mut self) {
        match &mut self.state {
            State::Critical(state) => state.changed(),
            State::Band(state) => state.changed(),
            _ => {}
        }
    }
}

/// True if the policy looks at memory.
pub(super) fn wants_memory(policy: &Policy) -> bool {
    match policy {
        Policy::Target(target) => target.metric == Metric::Memory,
        Policy::Critical(critical) => critical.resource == Resource::Memory,
        Policy::Band(band) => band.metric == Metric::Memory,
        _ => false,
    }
}

/// True if the policy compares CPU or memory with a target: saturation hides demand from it.
pub(super) fn can_saturate(policy: &Policy) -> bool {
    match policy {
        Policy::Target(target) => matches!(target.metric, Metric::Cpu | Metric::Memory),
        _ => false,
    }
}
