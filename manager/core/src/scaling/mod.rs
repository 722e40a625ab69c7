//! Scaling of services by their load: metrics of one service in, one verdict out. Pure functions of
//! values: no I/O, no clock, no randomness.
//!
//! [`ServiceScaling::check`] takes one [`Frame`] per second or two and returns a [`Verdict`]: the
//! count of copies, and the reason as numbers. It allocates nothing while the count stays.

mod band;
mod combine;
mod critical;
mod cron;
mod forecast;
mod frame;
mod futility;
mod gate;
mod ladder;
mod lead;
mod load;
mod noise;
mod outlook;
mod peak;
mod policy;
mod query;
mod queue;
mod rule;
mod saturation;
mod schedule;
mod shrink;
mod span;
mod steps;
mod target;
mod victim;
mod wanted;
mod why;

pub use band::Band;
pub use critical::{Critical, Resource};
pub use cron::{Cron, CronError};
pub use forecast::{Class, Day, Expected, Profile, SLOT_MS, SLOTS, Slot, floor, pinball};
pub use frame::{Copies, Frame, Limits, Manual, Sums};
pub use gate::{Gate, Loss, Replay, replay};
pub use lead::{Learned, lead, warm_up};
pub use outlook::{Foresight, Outlook, Past, Slotting};
pub use policy::{Forecast, Importance, MOST_COPIES, Policies, Policy, PolicyError, Step};
pub use query::{As, Query};
pub use queue::{Queue, QueueSignal};
pub use saturation::{Ceiling, is_saturated};
pub use schedule::{Bounds, Schedule, Window};
pub use span::{Span, SpanError};
pub use target::{Metric, Of, Target};
pub use victim::{Candidate, Host, Wish, victims};
pub(crate) use why::Clock;
pub use why::{Cause, CopyCount, HeldSpan, Stop, Unknown, Verdict};

use combine::Draft;
use jiff::tz::TimeZone;
use micado_api::Timestamp;
use rule::{Rule, Sight, State, can_saturate, wants_memory};
use saturation::Saturation;
use schedule::Calendar;
use shrink::LookBack;
use std::sync::Arc;
use steps::Steps;

/// Longest time without a frame that does not count as a gap, in milliseconds.
const GAP: u64 = 10_000;

const MINUTE: u64 = 60_000;

/// State of the scaling of one service: rings, timers and learned look-back. It is not stored:
/// after a restart it only waits longer before it shrinks.
#[derive(Debug, Clone)]
pub struct ServiceScaling {
    policies: Arc<Policies>,
    rules: Vec<Rule>,
    calendar: Calendar,
    saturation: Saturation,
    look_back: LookBack,
    steps: Steps,
    /// First frame since the start or the last gap.
    since: Option<Timestamp>,
    /// Last growth for want of any metrics.
    unseen_growth_at: Option<Timestamp>,
    last: Option<Verdict>,
}

impl ServiceScaling {
    /// Makes the state for checked policies. `zone` finds a time zone by its IANA name.
    ///
    /// # Errors
    /// If a policy is invalid, or its time zone is unknown.
    pub fn new(
        policies: Arc<Policies>,
        zone: impl Fn(&str) -> Option<TimeZone>,
    ) -> Result<Self, PolicyError> {
        policies.validate()?;
        let mut windows = Vec::new();
        for policy in &policies.policies {
            if let Policy::Schedule(schedule) = policy {
                let zone = zone(&schedule.zone).ok_or_else(|| {
                    PolicyError::new(
                        "policy `schedule`",
                        format!("time zone `{}` is unknown", schedule.zone),
                        "use a name such as `Europe/Berlin`",
                    )
                })?;
                windows.push(schedule.compile(zone)?);
            }
        }
        Ok(Self {
            rules: policies.policies.iter().map(Rule::new).collect(),
            calendar: Calendar::new(windows),
            saturation: Saturation::default(),
            look_back: LookBack::new(policies.look_back.0),
            steps: Steps::default(),
            since: None,
            unseen_growth_at: None,
            last: None,
            policies,
        })
    }

    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Length of the look-back W at present.
    #[must_use]
    pub const fn look_back(&self) -> Span {
        Span(self.look_back.ms())
    }

    /// Time for which the load has not needed the copies that a shrink lets go: the look-back, and
    /// the minute whose mean is the oldest in it.
    #[must_use]
    pub const fn unneeded_for(&self) -> Span {
        Span(self.look_back.ms() + MINUTE)
    }

    /// Next time at which a schedule may change its bounds.
    #[must_use]
    pub fn next_edge(&self, now: Timestamp, lead: Span) -> Option<Timestamp> {
        self.calendar.next_edge(now, lead)
    }

    /// Load that one copy carries at the target of the first CPU or memory target. The use of a
    /// young copy is cut off there.
    #[must_use]
    pub fn share(&self, metric: Metric, limits: &Limits) -> Option<f64> {
        self.policies
            .policies
            .iter()
            .find_map(|policy| match policy {
                Policy::Target(target) if target.metric == metric => Some(target.share(limits)),
                _ => None,
            })
    }

    /// Takes the answer of a `query` policy's source: all values of it, or none after an error.
    pub fn note_query(&mut self, policy: usize, values: &[f64], at: Timestamp) {
        if let Some(State::Query(state)) = self.rules.get_mut(policy).map(|rule| &mut rule.state) {
            state.note(values, at);
        }
    }

    /// Takes the state of a `queue` policy's queue; `None` after an error of its source.
    pub fn note_queue(&mut self, policy: usize, signal: Option<QueueSignal>, at: Timestamp) {
        if let Some(State::Queue(state)) = self.rules.get_mut(policy).map(|rule| &mut rule.state) {
            state.note(signal, at);
        }
    }

    /// Decides the count of copies, as [`Self::check_within`] with room for all.
    pub fn check(&mut self, frame: &Frame, limits: &Limits, now: Timestamp) -> Verdict {
        self.check_within(frame, limits, now, |count| count)
    }

    /// Decides the count of copies. A frame that was checked already gives the same verdict and
    /// changes nothing. `room` returns the part of a higher count that machines, present or to rent
    /// within the place quota, can hold. It is asked only if nothing else stops the growth.
    pub fn check_within(
        &mut self,
        frame: &Frame,
        limits: &Limits,
        now: Timestamp,
        room: impl FnOnce(u32) -> u32,
    ) -> Verdict {
        if let Some(last) = self.last
            && last.at == frame.at
        {
            return last;
        }
        self.follow(frame);
        let mut draft = Draft::new(frame.copies.wanted());
        self.ask(&mut draft, frame, limits, now);
        let filled_at = self.since.unwrap_or(frame.at).0 + self.policies.look_back.0;
        combine::evidence(&mut draft, frame, &self.saturation, Timestamp(filled_at));
        let schedule = match self.calendar.is_empty() {
            true => (None, None),
            false => self.calendar.bounds(now, limits.lead),
        };
        combine::floors(&mut draft, limits, schedule, now);
        combine::limits(&mut draft, &self.policies, &self.steps, frame, limits, now);
        combine::quota(&mut draft, room);
        if draft.count != draft.from {
            self.changed(&draft, frame, limits, now);
        }
        self.look_back.calm(now);
        let verdict = draft.verdict(frame.at);
        self.last = Some(verdict);
        verdict
    }

    /// Notes gaps: after one, windows and look-back fill anew.
    fn follow(&mut self, frame: &Frame) {
        let copies = &frame.copies;
        let is_dark = copies.blind > 0 && copies.warm + copies.young == 0;
        let is_gap = self
            .last
            .is_some_and(|last| frame.at < last.at || frame.at.0 - last.at.0 > GAP);
        if self.since.is_none() {
            self.since = Some(frame.at);
        }
        if is_dark || is_gap {
            // The mean of a whole minute must lie behind the gap.
            self.since = Some(Timestamp(frame.at.0 + MINUTE));
            for rule in &mut self.rules {
                if let State::Target(state) = &mut rule.state {
                    state.load.interrupt();
                }
            }
        }
    }

    /// Asks all policies, and saturation, how many copies they want.
    fn ask(&mut self, draft: &mut Draft, frame: &Frame, limits: &Limits, now: Timestamp) {
        let policies = Arc::clone(&self.policies);
        let sight = Sight {
            frame,
            limits,
            look_back: self.look_back.ms(),
            now,
        };
        let answers = self.rules.iter_mut().zip(&policies.policies).enumerate();
        combine::combine(
            draft,
            answers.filter_map(|(at, (rule, policy))| {
                let wanted = rule.wanted(policy, &policies, sight)?;
                let pause = rule.futility.paused(now);
                Some((
                    at,
                    (wanted, pause.map(|until| (rule.futility.in_a_row(), until))),
                ))
            }),
        );
        if draft.by.is_none() && draft.stop.is_none() && !self.calendar.is_empty() {
            // A schedule alone: the minimum outside its windows.
            draft.count = policies.min.min(draft.from);
        }
        self.saturate(draft, frame, now);
        self.replace_killed(draft, frame);
        self.grow_unseen(draft, frame, limits, now);
    }

    /// Doubles a service whose copies hide demand.
    fn saturate(&mut self, draft: &mut Draft, frame: &Frame, now: Timestamp) {
        let Some(by) = self.policies.policies.iter().position(can_saturate) else {
            return;
        };
        let factor = self.policies.importance.saturation_factor();
        let Some(count) = self.saturation.check(frame, factor) else {
            return;
        };
        if count <= draft.count {
            return;
        }
        if let Some(until) = self.rules[by].futility.paused(now) {
            let growths = self.rules[by].futility.in_a_row();
            draft.asked = draft.asked.max(count);
            draft.stop = Some(Stop::Futile { growths, until });
            return;
        }
        (draft.count, draft.asked, draft.by, draft.stop) = (count, count, Some(by), None);
        draft.cause = Cause::Saturated {
            saturated: frame.saturated,
            warm: frame.copies.warm,
        };
    }

    /// Adds one copy for each that was OOM-killed: the memory that it wanted is more than it may
    /// have. Not again until these copies are warm.
    fn replace_killed(&mut self, draft: &mut Draft, frame: &Frame) {
        let by = self.policies.policies.iter().position(wants_memory);
        let Some(by) = by.filter(|_| frame.oom_killed > 0 && self.saturation.is_open(frame)) else {
            return;
        };
        let count = draft.from + frame.oom_killed;
        if count > draft.count {
            (draft.count, draft.asked, draft.by, draft.stop) = (count, count, Some(by), None);
            draft.cause = Cause::OomKilled {
                copies: frame.oom_killed,
            };
        }
    }

    /// Adds one copy per lead time while all copies are blind on busy machines.
    fn grow_unseen(&mut self, draft: &mut Draft, frame: &Frame, limits: &Limits, now: Timestamp) {
        let copies = &frame.copies;
        let is_unseen = copies.blind > 0 && copies.warm + copies.young == 0;
        let Some(share) = frame
            .machines_busy
            .filter(|share| is_unseen && *share >= 0.97)
        else {
            return;
        };
        let is_due = self
            .unseen_growth_at
            .is_none_or(|at| now.0.saturating_sub(at.0) >= limits.lead.0);
        if is_due && draft.count == draft.from {
            (draft.count, draft.asked, draft.stop) = (draft.from + 1, draft.from + 1, None);
            draft.cause = Cause::MachinesBusy { share };
        }
    }

    /// Notes a change of the count for the rules that depend on it.
    fn changed(&mut self, draft: &Draft, frame: &Frame, limits: &Limits, now: Timestamp) {
        self.steps
            .changed(&self.policies, draft.from, draft.count, now);
        if draft.count < draft.from {
            self.look_back.shrank(now);
        } else {
            self.grew(draft, frame, limits, now);
        }
        self.rules.iter_mut().for_each(Rule::changed);
    }

    fn grew(&mut self, draft: &Draft, frame: &Frame, limits: &Limits, now: Timestamp) {
        let mut is_hurt = false;
        match draft.cause {
            Cause::Rung { shortest_ms, .. } => {
                is_hurt = shortest_ms <= load::SAMPLE_MS
                    && frame.saturated > 0
                    && frame.saturated * 2 >= frame.copies.warm;
            }
            Cause::Saturated { .. } | Cause::OomKilled { .. } => {
                is_hurt = true;
                self.saturation.grew(now, limits.lead);
            }
            Cause::MachinesBusy { .. } => self.unseen_growth_at = Some(now),
            _ => {}
        }
        // With copies on the way, the load was seen to come: the shrink was not wrong.
        if is_hurt && frame.copies.starting == 0 {
            let longest = self.policies.importance.longest_look_back(limits.lead);
            self.look_back.hurt(now, longest);
        }
        let look_back = self.look_back.ms();
        let Some(by) = draft.by else {
            return;
        };
        let requests = frame.requests.map(|sums| sums.warm + sums.young);
        let rule = &mut self.rules[by];
        if let Some(load) = rule.load(&self.policies.policies[by], frame) {
            rule.futility.grew(frame.copies.running(), load, requests);
        }
        if let State::Target(state) = &mut rule.state {
            let cause = match draft.cause {
                Cause::Rung { load, .. } => load,
                _ => state.load.highest(),
            };
            state.load.remember(now, cause, look_back);
        }
    }
}

#[cfg(test)]
mod tests;
