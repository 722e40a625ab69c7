//! Policy `target`: as many copies as keep the use per copy at a target.

use super::{
    frame::{Frame, Limits, Sums},
    ladder,
    load::Load,
    policy::PolicyError,
    wanted::Wanted,
    why::{Cause, Unknown},
};
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Share below the target that a shrink leaves free.
pub const SHRINK_MARGIN: f64 = 0.10;

/// Upper bound for the use of the busiest copy after a shrink, as a share of its maximum.
const BUSIEST: f64 = 0.97;

/// Time without any request after which a service may have no copies.
const IDLE: Duration = Duration::from_secs(300);

/// Resource that a target is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    #[default]
    Cpu,
    Memory,
    /// Requests per second and copy.
    Requests,
    /// Requests in flight per copy.
    Concurrency,
}

/// Value of the copies that is compared with the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    #[default]
    Mean,
    P90,
    Max,
}

/// Keeps the use per copy at `target`: a share of the reservation (CPU) or limit (memory), or a
/// number of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    pub metric: Metric,
    /// Default: 0.70 of CPU, 0.80 of memory. Requests have none.
    pub target: Option<f64>,
    pub of: Of,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            metric: Metric::Cpu,
            target: None,
            of: Of::Mean,
        }
    }
}

impl Target {
    /// True if it sees demand while no copy runs.
    pub(super) const fn wakes(&self) -> bool {
        matches!(self.metric, Metric::Requests | Metric::Concurrency)
    }

    fn value(&self) -> f64 {
        self.target.unwrap_or(match self.metric {
            Metric::Cpu => 0.70,
            Metric::Memory => 0.80,
            Metric::Requests | Metric::Concurrency => 1.0,
        })
    }

    /// Load that one copy carries at the target.
    #[must_use]
    pub fn share(&self, limits: &Limits) -> f64 {
        let whole = match self.metric {
            Metric::Cpu => limits.cpu,
            Metric::Memory => limits.memory,
            Metric::Requests | Metric::Concurrency => 1.0,
        };
        (self.value() * whole).max(f64::MIN_POSITIVE)
    }

    /// Most that one copy can use, if there is a bound.
    fn most(&self, limits: &Limits) -> Option<f64> {
        match self.metric {
            Metric::Cpu => Some(limits.cpu_most.max(limits.cpu)),
            Metric::Memory => Some(limits.memory),
            Metric::Requests | Metric::Concurrency => None,
        }
    }

    fn sums(&self, frame: &Frame) -> Option<Sums> {
        match self.metric {
            Metric::Cpu => Some(frame.cpu),
            Metric::Memory => Some(frame.memory),
            Metric::Requests => frame.requests,
            Metric::Concurrency => frame.in_flight,
        }
    }

    /// Use of the warm copies in all, as `of` says: the mean or a higher value times their number.
    fn warm(&self, sums: &Sums, warm: u32) -> f64 {
        let times = f64::from(warm);
        match self.of {
            Of::Mean => sums.warm,
            Of::P90 => sums.p90.map_or(sums.warm, |each| each * times),
            Of::Max => sums.busiest * times,
        }
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        let thing = "policy `target`";
        let is_share = matches!(self.metric, Metric::Cpu | Metric::Memory);
        match self.target {
            None if is_share => Ok(()),
            None => Err(PolicyError::new(
                thing,
                "a target of requests has no default",
                "set `target` to the number that one copy serves well",
            )),
            Some(share) if is_share && !(0.1..=0.95).contains(&share) => Err(PolicyError::new(
                thing,
                format!("{share} is not a share between 0.1 and 0.95"),
                "leave it out for 0.70 of CPU or 0.80 of memory",
            )),
            Some(number) if !number.is_finite() || number <= 0.0 => Err(PolicyError::new(
                thing,
                format!("{number} is not a positive number"),
                "set `target` to the number that one copy serves well",
            )),
            Some(_) => Ok(()),
        }
    }
}

/// State of one `target` policy.
#[derive(Debug, Clone, Default)]
pub struct TargetState {
    pub load: Load,
    /// Time since when there was no request at all.
    idle_since: Option<Timestamp>,
}

impl TargetState {
    /// Takes the frame and says how many copies are wanted.
    pub fn check(
        &mut self,
        policy: &Target,
        frame: &Frame,
        limits: &Limits,
        look_back: u64,
    ) -> Wanted {
        let share = policy.share(limits);
        let copies = &frame.copies;
        let Some(sums) = policy.sums(frame) else {
            return Wanted::Unknown(Unknown::NoSource);
        };
        if copies.warm + copies.young == 0 && copies.blind > 0 {
            return Wanted::Unknown(Unknown::AllBlind);
        }
        let low = self.take(policy, frame, &sums, share, look_back);
        let wanted = copies.wanted();
        if wanted == 0 && low > 0.0 {
            return Wanted::Count(whole_copies(low / share).max(1), Cause::Woken { load: low });
        }
        let absent = absent(frame);
        let serving = wanted.saturating_sub(absent);
        if let Some(excess) = ladder::excess(&self.load, f64::from(serving) * share) {
            let count = (whole_copies(excess.load / share) + absent).max(wanted);
            let cause = Cause::Rung {
                metric: policy.metric,
                window_ms: excess.window_ms,
                shortest_ms: excess.shortest_ms,
                load: excess.load,
                share,
                sigma: excess.sigma,
            };
            return Wanted::Count(count, cause);
        }
        self.smaller(policy, frame, limits, share)
    }

    /// Adds the frame to the load. Returns its low value.
    fn take(
        &mut self,
        policy: &Target,
        frame: &Frame,
        sums: &Sums,
        share: f64,
        look_back: u64,
    ) -> f64 {
        let copies = &frame.copies;
        let young = sums.young.min(f64::from(copies.young) * share);
        let low = policy.warm(sums, copies.warm) + young;
        let high = low + f64::from(copies.blind) * share.max(sums.busiest);
        self.load
            .add(frame.at, low, high, frame.interval_ms, look_back);
        let is_idle = policy.wakes() && low == 0.0;
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(frame.at));
        low
    }

    /// The count that the busiest minute of the look-back needs, or the present one.
    fn smaller(&self, policy: &Target, frame: &Frame, limits: &Limits, share: f64) -> Wanted {
        let wanted = frame.copies.wanted();
        let same = Wanted::Count(wanted, Cause::Steady);
        let Some(peak) = self.load.peak() else {
            return same;
        };
        let may_sleep = self
            .idle_since
            .is_some_and(|since| frame.at.since(since) >= IDLE);
        let count = whole_copies(peak / (share * (1.0 - SHRINK_MARGIN))).max(u32::from(!may_sleep));
        if count >= wanted {
            return same;
        }
        if let (Some(most), Some(sums)) = (policy.most(limits), policy.sums(frame)) {
            let after = sums.busiest * f64::from(wanted) / f64::from(count.max(1));
            if after > BUSIEST * most {
                let cause = Cause::Busiest {
                    busiest: sums.busiest,
                    count,
                };
                return Wanted::Count(wanted, cause);
            }
        }
        Wanted::Count(
            count,
            Cause::Peak {
                metric: policy.metric,
                peak,
                share,
            },
        )
    }
}

/// Failing copies that count as absent: they carry nothing. At most as many as are warm, so that
/// new copies that fail too bring no further growth.
fn absent(frame: &Frame) -> u32 {
    frame.copies.failing.min(frame.copies.warm)
}

/// Rounds up to whole copies; a rounding error is no copy.
pub(super) fn whole_copies(copies: f64) -> u32 {
    (copies - 1e-6).ceil().clamp(0.0, 1e6) as u32
}

#[cfg(test)]
mod tests;
