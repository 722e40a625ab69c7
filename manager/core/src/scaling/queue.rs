//! Policy `queue`: as many copies as finish the items in time.

use super::{
    policy::PolicyError,
    span::Span,
    target::whole_copies,
    wanted::Wanted,
    why::{Cause, Unknown},
};
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Time without any item after which the minimum is wanted, in milliseconds.
const IDLE: u64 = 60_000;

/// Work on items that wait or are in work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Queue {
    /// Time of one copy per item. Without it, it is measured: busy time over finished items.
    #[serde(default)]
    pub time_per_item: Option<Span>,
    /// Items that a copy works on at once.
    #[serde(default = "one")]
    pub slots: u32,
    /// Time in which present and arriving items must be finished, over and over.
    #[serde(default)]
    pub clear_within: Option<Span>,
    /// Age of a signal at which it is stale.
    #[serde(default = "stale_after")]
    pub stale_after: Span,
}

const fn one() -> u32 {
    1
}

const fn stale_after() -> Span {
    Span::seconds(90)
}

/// State of the queue, as its source reports it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueSignal {
    /// Items that wait or are in work.
    pub items: f64,
    /// Arrivals per second.
    pub arrivals: f64,
    /// Measured time of one copy per item, if known.
    pub time_per_item: Option<Span>,
    /// Time by which all present items must be finished, if there is one.
    pub deadline: Option<Timestamp>,
}

impl Queue {
    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        let thing = "policy `queue`";
        if self.slots == 0 {
            return Err(PolicyError::new(thing, "slots is 0", "set it to 1 or more"));
        }
        let is_zero = |span: Option<Span>| span == Some(Span(0));
        if is_zero(self.time_per_item) || is_zero(self.clear_within) {
            return Err(PolicyError::new(
                thing,
                "a time of zero cannot be kept",
                "set `time-per-item` and `clear-within` to times such as `20s`",
            ));
        }
        Ok(())
    }
}

/// Last signal, and the time since when there was no item.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueState {
    signal: Option<(QueueSignal, Timestamp)>,
    is_bad: bool,
    empty_since: Option<Timestamp>,
}

impl QueueState {
    /// Takes a value of the source; an error is unknown, never zero.
    pub fn note(&mut self, signal: Option<QueueSignal>, at: Timestamp) {
        let is_number = |signal: &QueueSignal| {
            signal.items.is_finite() && signal.items >= 0.0 && signal.arrivals.is_finite()
        };
        self.is_bad = !signal.as_ref().is_some_and(is_number);
        if let (Some(signal), false) = (signal, self.is_bad) {
            let is_empty = signal.items == 0.0;
            self.empty_since = is_empty.then(|| self.empty_since.unwrap_or(at));
            self.signal = Some((signal, at));
        }
    }

    /// Returns the count that the items need, within `bounds`: minimum and maximum.
    pub fn check(
        &self,
        policy: &Queue,
        count: u32,
        lead: Span,
        bounds: (u32, u32),
        now: Timestamp,
    ) -> Wanted {
        let Some((signal, at)) = self.signal else {
            return Wanted::Unknown(match self.is_bad {
                true => Unknown::BadValue,
                false => Unknown::NoSource,
            });
        };
        if now.0.saturating_sub(at.0) > policy.stale_after.0 {
            return Wanted::Unknown(Unknown::Stale);
        }
        if self.is_bad {
            return Wanted::Unknown(Unknown::BadValue);
        }
        if signal.items == 0.0 {
            let idle = self
                .empty_since
                .map_or(0, |since| now.0.saturating_sub(since.0));
            return match idle >= IDLE {
                true => Wanted::Count(bounds.0, Cause::Idle { for_ms: idle }),
                false => Wanted::Count(count, Cause::Steady),
            };
        }
        needed(policy, &signal, lead, bounds, now)
    }
}

/// Copies for the items: an absolute number, so copies that wait for a machine are part of it.
fn needed(
    policy: &Queue,
    signal: &QueueSignal,
    lead: Span,
    (min, max): (u32, u32),
    now: Timestamp,
) -> Wanted {
    let Some(each) = policy.time_per_item.or(signal.time_per_item) else {
        return Wanted::Unknown(Unknown::NoSource);
    };
    let each = each.0 as f64 / 1_000.0;
    let slots = f64::from(policy.slots);
    let mut wanted = min.max(1);
    let mut left_ms = 0;
    if let Some(within) = policy.clear_within {
        left_ms = within.0;
        let rate = signal.items / (within.0 as f64 / 1_000.0) + signal.arrivals.max(0.0);
        wanted = wanted.max(whole_copies(rate * each / slots));
    }
    if let Some(deadline) = signal.deadline {
        left_ms = deadline.0.saturating_sub(now.0).saturating_sub(lead.0);
        let left = left_ms as f64 / 1_000.0;
        let copies = match left <= each {
            true => max,
            false => whole_copies(signal.items * each / (slots * left)),
        };
        wanted = wanted.max(copies);
    }
    if policy.clear_within.is_none() && signal.deadline.is_none() {
        wanted = wanted.max(whole_copies(signal.items / slots));
    }
    let items = signal.items;
    Wanted::Count(wanted, Cause::Queue { items, left_ms })
}

#[cfg(test)]
mod tests;
