//! Calls to the outside: at most one about each subject at a time, and none for a while after a
//! failure.

use super::{Call, CallKey, Core, owner::Known, owner::Owner};
use ahash::HashSet;
use micado_api::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Retention of failures after the call may be repeated.
const RETRY_MEMORY: Duration = Duration::from_secs(600);

/// Calls in flight, and recent failures.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    in_flight: HashSet<CallKey>,
    /// Consecutive failures, and the time from which the call may be repeated.
    retry: BTreeMap<CallKey, (u32, Timestamp)>,
    /// Calls to be made, in order.
    pub(super) out: Vec<(CallKey, Call)>,
    /// Number of the last requested observation.
    pub(super) looks: u64,
    /// Swarm services to observe once the observation in flight has arrived.
    look_at: BTreeSet<String>,
    /// True to observe the whole engine then.
    look_whole: bool,
}

impl Owner for Calls {
    fn prune(&mut self, known: &Known<'_>) {
        let now = known.now;
        self.retry
            .retain(|_, (_, at)| now.since(*at) <= RETRY_MEMORY);
    }
}

impl Calls {
    pub(super) fn is_in_flight(&self, key: &CallKey) -> bool {
        self.in_flight.contains(key)
    }

    /// Records the end of a call. After a failure the same call must wait, longer with each
    /// consecutive one.
    pub(super) fn came_back(&mut self, key: &CallKey, well: bool, now: Timestamp) {
        if well {
            self.retry.remove(key);
            return;
        }
        let failures = self
            .retry
            .get(key)
            .map_or(1, |(failures, _)| failures.saturating_add(1));
        let wait = Duration::from_secs(1 << failures.min(5));
        self.retry.insert(key.clone(), (failures, now.plus(wait)));
    }

    /// Allows an immediate repetition of a failed call. Returns true if it had failed.
    pub(super) fn forgive(&mut self, key: &CallKey) -> bool {
        self.retry.remove(key).is_some()
    }

    pub(super) fn ended(&mut self, key: &CallKey) {
        self.in_flight.remove(key);
    }
}

impl Core {
    /// Makes a call, unless the same one is in flight or has failed a moment ago.
    pub(super) fn call(&mut self, call: Call) {
        let key = call.key();
        match self.calls.retry.get(&key) {
            Some((_, at)) if *at > self.now => self.wake(*at),
            _ if self.calls.in_flight.insert(key.clone()) => self.calls.out.push((key, call)),
            _ => {}
        }
    }

    /// Returns true if the call would be made now.
    pub(super) fn is_due(&self, key: &CallKey) -> bool {
        let retry = self.calls.retry.get(key);
        !self.calls.is_in_flight(key) && retry.is_none_or(|(_, at)| *at <= self.now)
    }

    pub(super) fn came_back(&mut self, key: &CallKey, well: bool) {
        self.calls.came_back(key, well, self.now);
    }

    /// Requests a whole observation, now or once the one in flight has arrived. Returns its number.
    pub(super) fn observe(&mut self) -> u64 {
        self.calls.look_whole = true;
        self.calls.looks + 1
    }

    /// As [`Self::observe`], for one Swarm service.
    pub(super) fn observe_service(&mut self, name: &str) -> u64 {
        self.calls.look_at.insert(name.to_owned());
        self.calls.looks + 1
    }

    /// Sends the next request for an observation, once the last has arrived.
    pub(super) fn send_look(&mut self) {
        let wanted = self.calls.look_whole || !self.calls.look_at.is_empty();
        if !wanted || self.calls.is_in_flight(&CallKey::Observe) {
            return;
        }
        self.calls.looks += 1;
        let services = std::mem::take(&mut self.calls.look_at);
        let whole = std::mem::take(&mut self.calls.look_whole);
        let call = Call::Observe {
            number: self.calls.looks,
            services: (!whole).then(|| services.into_iter().collect()),
        };
        self.call(call);
    }
}
