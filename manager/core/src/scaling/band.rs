//! Policy `band`: a step up above one threshold and a step down below another.

use super::{
    frame::{Frame, Limits},
    policy::PolicyError,
    span::Span,
    target::Metric,
    wanted::Wanted,
    why::{Cause, Unknown},
};
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Thresholds are shares of the reservation (CPU) or limit (memory) per copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Band {
    pub metric: Metric,
    pub up: f64,
    pub down: f64,
    /// Time beyond the threshold before a step.
    pub hold_up: Span,
    pub hold_down: Span,
    /// Size of a step in copies.
    pub step: u32,
    /// Size of a step in percent of the copies, if that is more.
    pub step_percent: f64,
}

impl Default for Band {
    fn default() -> Self {
        Self {
            metric: Metric::Cpu,
            up: 0.80,
            down: 0.20,
            hold_up: Span::seconds(30),
            hold_down: Span::seconds(180),
            step: 1,
            step_percent: 0.0,
        }
    }
}

impl Band {
    fn step_of(&self, count: u32) -> u32 {
        let share = (f64::from(count) * self.step_percent / 100.0).floor() as u32;
        self.step.max(share).max(1)
    }

    /// Refuses bands where the step down leads above the upper threshold or the step up below the
    /// lower one: such a band must flap.
    pub(super) fn validate(&self, min: u32) -> Result<(), PolicyError> {
        let thing = "policy `band`";
        if !matches!(self.metric, Metric::Cpu | Metric::Memory) {
            return Err(PolicyError::new(
                thing,
                "requests have no share",
                "use a `target` policy for requests",
            ));
        }
        if !(self.down > 0.0 && self.down < self.up && self.up <= 1.0) {
            return Err(PolicyError::new(
                thing,
                format!(
                    "down {} and up {} are not 0 < down < up <= 1",
                    self.down, self.up
                ),
                "leave them out for 0.20 and 0.80",
            ));
        }
        let count = min.max(1);
        let after = count + self.step_of(count);
        let ratio = f64::from(after) / f64::from(count);
        if self.up / self.down < ratio {
            return Err(PolicyError::new(
                thing,
                format!(
                    "a step from {count} to {after} copies crosses the whole band {}..{}, \
                     so it would step back at once",
                    self.down, self.up
                ),
                format!(
                    "set down to at most {:.2}, or min to more copies",
                    self.up / ratio
                ),
            ));
        }
        Ok(())
    }
}

/// Time of the first sample beyond each threshold.
#[derive(Debug, Clone, Copy, Default)]
pub struct BandState {
    above_since: Option<Timestamp>,
    below_since: Option<Timestamp>,
}

impl BandState {
    pub fn check(&mut self, policy: &Band, frame: &Frame, limits: &Limits) -> Wanted {
        let copies = &frame.copies;
        let wanted = copies.wanted();
        if copies.warm == 0 {
            *self = Self::default();
            return match copies.blind {
                0 => Wanted::Count(wanted, Cause::Steady),
                _ => Wanted::Unknown(Unknown::AllBlind),
            };
        }
        let (sums, whole) = match policy.metric {
            Metric::Memory => (&frame.memory, limits.memory),
            _ => (&frame.cpu, limits.cpu),
        };
        let seen = f64::from(copies.warm);
        let hidden = f64::from(copies.blind);
        // Blind copies count as idle for a step up, and as the busiest for a step down.
        let low = sums.warm / (seen + hidden) / whole;
        let high = (sums.warm + hidden * sums.busiest.max(policy.down * whole)) / (seen + hidden);
        let high = high / whole;
        note(&mut self.above_since, low > policy.up, frame.at);
        note(&mut self.below_since, high < policy.down, frame.at);
        let settled = copies.starting == 0 && copies.young == 0;
        let due = |since: Option<Timestamp>, hold: Span| {
            since.is_some_and(|since| frame.at.0.saturating_sub(since.0) >= hold.0)
        };
        let cause = |value, edge, hold: Span| Cause::Band {
            value,
            edge,
            for_ms: hold.0,
        };
        let step = policy.step_of(wanted);
        if settled && due(self.above_since, policy.hold_up) {
            Wanted::Count(wanted + step, cause(low, policy.up, policy.hold_up))
        } else if due(self.below_since, policy.hold_down) {
            let count = wanted.saturating_sub(step).max(1);
            Wanted::Count(count, cause(high, policy.down, policy.hold_down))
        } else {
            Wanted::Count(wanted, Cause::Steady)
        }
    }

    /// Starts both holds anew after a change of count.
    pub fn changed(&mut self) {
        *self = Self::default();
    }
}

fn note(since: &mut Option<Timestamp>, is_beyond: bool, now: Timestamp) {
    *since = is_beyond.then(|| since.unwrap_or(now));
}

#[cfg(test)]
mod tests;
