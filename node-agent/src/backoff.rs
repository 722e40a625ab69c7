//! Growing pauses between attempts, with jitter so that many machines do not retry at once.

use std::time::Duration;

#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`, each twice the one before.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Starts again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause: 50 to 100 % of its grown length.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(
            pauses[0] >= Duration::from_millis(100) && pauses[0] <= Duration::from_millis(200),
            "{pauses:?}"
        );
        assert!(
            pauses[11] >= Duration::from_millis(7500)
                && pauses.iter().all(|pause| *pause <= Duration::from_secs(15)),
            "{pauses:?}"
        );
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(200));
    }
}
