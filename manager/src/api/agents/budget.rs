//! A token bucket: how much one machine may send in a time.

use std::time::Duration;
use tokio::time::Instant;

/// Refills steadily up to its burst. What was taken too much is owed: nothing more is taken until
/// it is paid.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Time to refill one unit.
    per_unit: Duration,
    /// Time to refill all of it.
    burst: Duration,
    /// When it will be full again.
    full_at: Instant,
}

impl Budget {
    /// A full one of `burst` units, refilled by `per_second`.
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        let per_unit = Duration::from_secs(1) / per_second;
        Self {
            per_unit,
            burst: per_unit * burst,
            full_at: Instant::now(),
        }
    }

    /// When something may be taken next; may be past.
    pub(super) fn ready(&self) -> Instant {
        self.full_at.checked_sub(self.burst).unwrap_or(self.full_at)
    }

    pub(super) fn take(&mut self, units: u32) {
        self.full_at = self.full_at.max(Instant::now()) + self.per_unit * units;
    }

    pub(super) fn is_full(&self) -> bool {
        self.full_at <= Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_what_is_owed_is_waited_for() {
        let mut budget = Budget::new(10, 2);
        let now = Instant::now();
        assert!(budget.is_full() && budget.ready() <= now);
        budget.take(10);
        assert!(!budget.is_full() && budget.ready() <= now, "all of it");
        budget.take(4);
        assert_eq!(budget.ready() - now, Duration::from_secs(2));
        advance(Duration::from_secs(7)).await;
        assert!(budget.is_full());
        advance(Duration::from_secs(3600)).await;
        budget.take(11);
        assert!(budget.ready() > Instant::now(), "time saves up no more");
    }
}
