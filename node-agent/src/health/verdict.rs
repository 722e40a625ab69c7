//! The verdict on one container, from the outcomes of its checks. Pure.

use micado_api::{
    agent::AgentCheck,
    health::{GOOD, HealthState, STARTING_INTERVAL},
};
use std::time::Duration;

/// Part of a pause that is drawn, so that the checks of containers that started together spread.
const JITTER: f64 = 0.1;

/// The verdict on one container, and what leads to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    interval: Duration,
    start: Duration,
    retries: u64,
    /// `None` until there is one: an earlier agent may have had one.
    state: Option<HealthState>,
    /// Good and failed checks in a row.
    good: u32,
    failed: u64,
    failure: Option<String>,
}

impl Verdict {
    /// Before the first check. `is_new` if the container has just started.
    #[must_use]
    pub fn new(check: &AgentCheck, is_new: bool) -> Self {
        Self {
            interval: Duration::from_millis(check.interval_ms),
            start: Duration::from_millis(check.start_ms),
            retries: check.retries.max(1),
            state: is_new.then_some(HealthState::Starting),
            good: 0,
            failed: 0,
            failure: None,
        }
    }

    #[must_use]
    pub const fn state(&self) -> Option<HealthState> {
        self.state
    }

    /// Reason of the last failed check, if it is unhealthy.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        let is_unhealthy = self.state == Some(HealthState::Unhealthy);
        self.failure.as_deref().filter(|_| is_unhealthy)
    }

    /// Takes over the outcome of a check of a container of this age. True if the verdict changes.
    pub fn checked(&mut self, age: Duration, outcome: Result<(), String>) -> bool {
        let next = match outcome {
            Ok(()) => {
                (self.good, self.failed) = (self.good.saturating_add(1), 0);
                (self.good >= GOOD).then_some(HealthState::Healthy)
            }
            Err(failure) => {
                (self.good, self.failed) = (0, self.failed.saturating_add(1));
                // One that was healthy has started.
                let counts = age >= self.start || self.state == Some(HealthState::Healthy);
                if self.state != Some(HealthState::Unhealthy) {
                    self.failure = Some(failure);
                }
                (counts && self.failed >= self.retries).then_some(HealthState::Unhealthy)
            }
        };
        let is_changed = next.is_some() && next != self.state;
        self.state = next.or(self.state);
        is_changed
    }

    /// Time from the begin of one check to that of the next. `drawn` is from 0 to 1.
    #[must_use]
    pub fn pause(&self, age: Duration, drawn: f64) -> Duration {
        let is_judged = matches!(
            self.state,
            Some(HealthState::Healthy | HealthState::Unhealthy)
        );
        let base = match is_judged || age >= self.start {
            true => self.interval,
            false => self.interval.min(STARTING_INTERVAL),
        };
        base.mul_f64(1.0 + JITTER * (2.0 * drawn - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::{HealthCheck, Probe};

    const START: Duration = Duration::from_secs(60);

    fn verdict(is_new: bool) -> Verdict {
        let check = HealthCheck {
            probe: Some(Probe::Tcp { port: Some(80) }),
            ..HealthCheck::default()
        };
        Verdict::new(&check.by_agent("c-a-1", None).expect("a check"), is_new)
    }

    /// Outcomes of checks at this age: `+` is good, `-` failed. Returns the changes.
    fn after(verdict: &mut Verdict, age: Duration, outcomes: &str) -> Vec<(usize, HealthState)> {
        let mut changes = Vec::new();
        for (at, outcome) in outcomes.chars().enumerate() {
            let outcome = match outcome {
                '+' => Ok(()),
                _ => Err(format!("failure {at}")),
            };
            if verdict.checked(age, outcome) {
                changes.push((at, verdict.state().expect("a verdict")));
            }
        }
        changes
    }

    use HealthState::{Healthy, Starting, Unhealthy};

    #[test]
    fn three_failures_take_it_down_and_two_good_checks_up() {
        let mut one = verdict(true);
        assert_eq!(one.state(), Some(Starting));
        let changes = after(&mut one, START, "++--+---+-++");
        assert_eq!(changes, [(1, Healthy), (7, Unhealthy), (11, Healthy)]);
        assert_eq!(one.failure(), None);
    }

    #[test]
    fn failures_do_not_count_while_it_starts() {
        let mut one = verdict(true);
        let young = Duration::from_secs(59);
        assert_eq!(after(&mut one, young, "----------"), []);
        assert_eq!(after(&mut one, START, "-"), [(0, Unhealthy)]);
        // Once it was healthy, it has started.
        let mut one = verdict(true);
        let changes = after(&mut one, young, "---++---");
        assert_eq!(changes, [(4, Healthy), (7, Unhealthy)]);
    }

    #[test]
    fn the_reason_is_that_of_the_failure_that_took_it_down() {
        let mut one = verdict(true);
        after(&mut one, START, "++-");
        assert_eq!(one.failure(), None, "it is healthy still");
        after(&mut one, START, "---");
        assert_eq!(one.failure(), Some("failure 1"));
    }

    #[test]
    fn flapping_does_not_change_the_verdict() {
        let mut one = verdict(true);
        let changes = after(&mut one, START, &format!("++{}", "+-".repeat(100)));
        assert_eq!(changes, [(1, Healthy)]);
        let changes = after(&mut one, START, &format!("---{}", "+-".repeat(100)));
        assert_eq!(changes, [(1, Unhealthy)], "it failed once before");
    }

    #[test]
    fn an_agent_that_restarts_says_nothing_before_it_knows() {
        let mut one = verdict(false);
        assert_eq!(one.state(), None);
        assert_eq!(after(&mut one, START, "+-+"), []);
        assert_eq!(after(&mut one, START, "+"), [(0, Healthy)]);
        let mut one = verdict(false);
        assert_eq!(after(&mut one, START, "---"), [(2, Unhealthy)]);
    }

    #[test]
    fn checks_are_frequent_until_the_first_verdict() {
        let mut one = verdict(true);
        let (young, ms) = (Duration::from_secs(1), Duration::from_millis);
        assert_eq!(one.pause(young, 0.5), ms(250));
        assert_eq!(one.pause(START, 0.5), ms(2_000));
        after(&mut one, young, "++");
        assert_eq!(one.pause(young, 0.0), ms(1_800));
        assert_eq!(one.pause(young, 1.0), ms(2_200));
    }
}
