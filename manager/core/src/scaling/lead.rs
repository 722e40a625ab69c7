//! Learned times: boots of a flavour, starts and warm-ups of an image.

use super::span::Span;
use serde::{Deserialize, Serialize};

/// Number of times that are remembered.
const KEPT: usize = 20;
/// Number of times from which on the 90th percentile is used.
const ENOUGH: usize = 5;
/// Time that the loop itself takes.
const LOOP: Span = Span::seconds(2);
/// Bounds of a learned warm-up.
const WARM_UP: (u64, u64) = (5_000, 120_000);
/// Deviation from the settled use at which a copy counts as settled.
const SETTLED: f64 = 0.25;
/// Relative change of the 90th percentile that is worth a write.
const NEWS: f64 = 0.10;

/// The last 20 times of one kind. Failed orders are not samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Oldest first.
    times: Vec<Span>,
}

impl Learned {
    /// Adds a time. Returns true if the result moved by more than 10 %, which is worth a write.
    pub fn add(&mut self, time: Span, default: Span) -> bool {
        let before = self.value(default).0 as f64;
        if self.times.len() >= KEPT {
            self.times.remove(0);
        }
        self.times.push(time);
        let after = self.value(default).0 as f64;
        (after - before).abs() > NEWS * before
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Returns the 90th percentile, the highest of fewer than five, or the default.
    #[must_use]
    pub fn value(&self, default: Span) -> Span {
        let count = self.times.len().min(KEPT);
        let mut sorted = [Span(0); KEPT];
        sorted[..count].copy_from_slice(&self.times[..count]);
        sorted[..count].sort_unstable();
        match count {
            0 => default,
            1..ENOUGH => sorted[count - 1],
            _ => sorted[(count * 9).div_ceil(10) - 1],
        }
    }
}

/// Time from the decision to one more warm copy: boot of a machine if one must be rented, start and
/// warm-up of the copy, and one pass of the loop.
#[must_use]
pub const fn lead(boot: Option<Span>, start: Span, warm_up: Span) -> Span {
    let boot = match boot {
        Some(boot) => boot.0,
        None => 0,
    };
    Span(boot + start.0 + warm_up.0 + LOOP.0)
}

/// Returns the warm-up of one copy from its use: the age at which three samples in a row lie within
/// 25 % of the mean of its second minute, or within `noise` of it. `samples` holds age and use,
/// oldest first. `None` if the second minute is not there yet.
#[must_use]
pub fn warm_up(samples: &[(Span, f64)], noise: f64) -> Option<Span> {
    let second = || {
        samples
            .iter()
            .filter(|(age, _)| (60_000..120_000).contains(&age.0))
            .map(|(_, used)| used)
    };
    if samples.last()?.0.0 < 118_000 || second().next().is_none() {
        return None;
    }
    let mean = second().sum::<f64>() / second().count() as f64;
    let is_settled = |used: f64| (used - mean).abs() <= (SETTLED * mean).max(noise);
    let first = samples
        .windows(3)
        .find(|three| three.iter().all(|(_, used)| is_settled(*used)))
        .map_or(WARM_UP.1, |three| three[0].0.0);
    Some(Span(first.clamp(WARM_UP.0, WARM_UP.1)))
}

#[cfg(test)]
mod tests;
