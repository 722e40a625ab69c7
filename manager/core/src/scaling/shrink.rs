//! Shrinking: the look-back W and its regret.

use super::span::Span;
use micado_api::Timestamp;

/// Shortest look-back, and the one at first.
pub const SHORTEST: u64 = 180_000;
/// Upper bound for the longest look-back.
pub const LONGEST: u64 = 1_800_000;
/// Time after a shrink within which a hasty growth is regretted.
const REGRETTED_WITHIN: u64 = 1_800_000;
/// Time without regret after which the look-back halves.
const CALM: u64 = 3_600_000;

/// The look-back W of a service: it doubles when a growth shows that a shrink was wrong.
#[derive(Debug, Clone, Copy)]
pub struct LookBack {
    shortest_ms: u64,
    ms: u64,
    /// Time of the last shrink that is not regretted yet.
    shrunk_at: Option<Timestamp>,
    /// Time of the last regret or halving.
    changed_at: Option<Timestamp>,
}

impl LookBack {
    #[must_use]
    pub fn new(shortest_ms: u64) -> Self {
        Self {
            shortest_ms,
            ms: shortest_ms,
            shrunk_at: None,
            changed_at: None,
        }
    }

    #[must_use]
    pub const fn ms(&self) -> u64 {
        self.ms
    }

    pub fn shrank(&mut self, now: Timestamp) {
        self.shrunk_at = Some(now);
    }

    /// Notes a growth of saturated copies. Soon after a shrink it doubles the look-back, once per
    /// shrink, up to `longest`. A growth of copies that had room to spare hurt nobody, so it is no
    /// regret.
    pub fn hurt(&mut self, now: Timestamp, longest: Span) {
        let is_regretted = self
            .shrunk_at
            .is_some_and(|at| now.0.saturating_sub(at.0) <= REGRETTED_WITHIN);
        if is_regretted {
            self.shrunk_at = None;
            self.ms = (self.ms * 2).min(longest.0).max(self.ms);
            self.changed_at = Some(now);
        }
    }

    /// Halves the look-back for each hour without regret.
    pub fn calm(&mut self, now: Timestamp) {
        if let Some(at) = self.changed_at
            && now.0.saturating_sub(at.0) >= CALM
        {
            self.ms = (self.ms / 2).max(self.shortest_ms);
            self.changed_at = (self.ms > self.shortest_ms).then_some(now);
        }
    }
}

#[cfg(test)]
mod tests;
