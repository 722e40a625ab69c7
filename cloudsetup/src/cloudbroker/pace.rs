//! Rate limit of an account: calls per second, and pauses that the broker requests.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Window of the rate limit.
const SECOND: Duration = Duration::from_secs(1);
/// First pause after a rate refusal without a time; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause granted to a broker.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Rate limiter of one account. Callers are served in the order of their requests.
#[derive(Debug)]
pub(super) struct Pace {
    /// Times of the latest calls, at most a second's worth.
    sent: tokio::sync::Mutex<VecDeque<Instant>>,
    per_second: usize,
    hold: Mutex<Hold>,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Instant,
    /// The next pause of our own.
    next: Duration,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        let hold = Hold {
            until: Instant::now(),
            next: FIRST_PAUSE,
        };
        Self {
            sent: tokio::sync::Mutex::default(),
            per_second: usize::try_from(per_second).unwrap_or(usize::MAX).max(1),
            hold: Mutex::new(hold),
        }
    }

    /// Waits until a call may go out. Fails at once with the remaining time if that is later than
    /// `deadline`.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<(), Duration> {
        let late = |at: Instant| at.saturating_duration_since(Instant::now());
        let mut sent = tokio::time::timeout_at(deadline, self.sent.lock())
            .await
            .map_err(|_| late(self.hold().until))?;
        loop {
            let now = Instant::now();
            while sent.front().is_some_and(|first| *first + SECOND <= now) {
                sent.pop_front();
            }
            let full = sent
                .front()
                .filter(|_| sent.len() >= self.per_second)
                .map(|first| *first + SECOND);
            let at = full.unwrap_or(now).max(self.hold().until);
            if at > deadline {
                return Err(late(at));
            }
            if at <= now {
                sent.push_back(now);
                return Ok(());
            }
            sleep_until(at).await;
        }
    }

    /// The broker is overloaded: holds all calls for the requested time, or for a growing one.
    pub(super) fn slow_down(&self, asked: Option<Duration>) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, next) = (Instant::now(), (hold.next * 2).min(LONGEST_PAUSE));
        let pause = match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            // Concurrent calls that are refused together are one refusal.
            None if hold.until > now => return,
            None => std::mem::replace(&mut hold.next, next),
        };
        hold.until = hold.until.max(now + pause);
    }

    /// The broker has answered properly.
    pub(super) fn fine(&self) {
        self.hold
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next = FIRST_PAUSE;
    }

    fn hold(&self) -> Hold {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(100)
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_calls_go_out_in_any_second() {
        let (pace, begun) = (Pace::new(3), Instant::now());
        let mut at = Vec::new();
        for _ in 0..7 {
            pace.turn(soon()).await.expect("in time");
            at.push(begun.elapsed().as_secs());
        }
        assert_eq!(at, [0, 0, 0, 1, 1, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_kept_by_all_and_grows() {
        let (pace, begun) = (Pace::new(10), Instant::now());
        for (expected, asked) in [
            (1, None),
            (3, None),
            (3 + 7, Some(7)),
            (10 + 4, None),
            (14 + 300, Some(3600)),
        ] {
            pace.slow_down(asked.map(Duration::from_secs));
            // The second of two concurrent calls.
            pace.slow_down(asked.map(Duration::from_secs));
            let turn = pace.turn(begun + Duration::from_secs(1000));
            turn.await.expect("in time");
            assert_eq!(begun.elapsed().as_secs(), expected);
        }
        pace.fine();
        pace.slow_down(None);
        pace.turn(soon()).await.expect("in time");
        assert_eq!(begun.elapsed().as_secs(), 314 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once() {
        let (pace, begun) = (Pace::new(1), Instant::now());
        pace.slow_down(Some(Duration::from_secs(200)));
        assert_eq!(pace.turn(soon()).await, Err(Duration::from_secs(200)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
