//! Gate of the forecast: it counts only while a replay of the last days shows that it is better
//! than the present load.

use super::{
    forecast::{Class, Day, Profile, SLOTS, pinball},
    span::Span,
};
use micado_api::Timestamp;

/// Days that must be measured before a forecast is tried.
const DAYS_AT_LEAST: usize = 3;
/// Days that are judged, and how many of them must be better.
const JUDGED: usize = 4;
const BETTER: usize = 3;
/// Loss relative to that of the present load below which a day is better.
const GAIN: f64 = 0.85;
/// Days with a larger loss after which the gate closes.
const WORSE: usize = 2;
/// Load relative to the forecast outside of which it is wrong, and the time until it is off.
const WRONG: (f64, f64) = (0.5, 1.5);
const WRONG_FOR: u64 = 1_800_000;
/// Time that the forecast is off after a jump of the clock.
const AFTER_JUMP: u64 = 86_400_000;

/// Losses of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    pub forecast: f64,
    /// Loss of the load as it is when a slot begins, taken as a forecast.
    pub present: f64,
}

impl Loss {
    fn is_better(&self) -> bool {
        self.forecast <= GAIN * self.present
    }
    fn is_worse(&self) -> bool {
        self.forecast > self.present
    }
}

/// Result of a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    pub class: Class,
    pub days: u32,
    pub better: u32,
    pub worse: u32,
}

/// Replays the last days for each class, and returns the one with the least loss. `None` before
/// there are enough days.
#[must_use]
pub fn replay(profile: &Profile, quantile: f64, horizon: Span) -> Option<Replay> {
    if profile.whole_days().count() < DAYS_AT_LEAST {
        return None;
    }
    let replays = Class::ALL.iter().filter_map(|class| {
        let losses: Vec<Loss> = profile
            .whole_days()
            .rev()
            .take(JUDGED)
            .filter_map(|day| loss(profile, day, *class, quantile, horizon))
            .collect();
        let sum: f64 = losses.iter().map(|loss| loss.forecast).sum();
        let mean = sum / losses.len().max(1) as f64;
        let count = |is: fn(&Loss) -> bool| losses.iter().filter(|loss| is(loss)).count() as u32;
        let replay = Replay {
            class: *class,
            days: losses.len() as u32,
            better: count(Loss::is_better),
            worse: count(Loss::is_worse),
        };
        (!losses.is_empty()).then_some((mean, replay))
    });
    replays
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, replay)| replay)
}

/// Losses of a day over all its slots.
fn loss(profile: &Profile, day: &Day, class: Class, quantile: f64, horizon: Span) -> Option<Loss> {
    let mut sum = Loss::default();
    let mut count = 0;
    for slot in 0..SLOTS {
        let expected = profile.expect(day, slot, horizon, quantile, class);
        // The slot that has just ended: of the one that begins, nothing is known.
        let now = match slot.checked_sub(1) {
            Some(before) => profile.actual(day.number, before, Span(0)),
            None => profile.actual(day.number - 1, SLOTS - 1, Span(0)),
        };
        let actual = profile.actual(day.number, slot, horizon);
        if let (Some(expected), Some(now), Some(actual)) = (expected, now, actual) {
            sum.forecast += pinball(quantile, actual, expected.load);
            sum.present += pinball(quantile, actual, now);
            count += 1;
        }
    }
    (count > SLOTS / 2).then_some(sum)
}

/// State of the gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    class: Option<Class>,
    wrong_since: Option<Timestamp>,
    off_until: Option<Timestamp>,
}

impl Gate {
    /// Takes the result of a replay, once an hour. Returns true if the gate opened or closed.
    pub fn judge(&mut self, replay: Option<Replay>) -> bool {
        let was_open = self.class.is_some();
        self.class = match replay {
            None => None,
            Some(replay) if replay.worse as usize >= WORSE => None,
            Some(replay) if replay.better as usize >= BETTER => Some(replay.class),
            Some(replay) => self.class.map(|_| replay.class),
        };
        was_open != self.class.is_some()
    }

    /// Compares the load with the forecast. After 30 minutes far from it, the gate stays closed
    /// until `midnight`.
    pub fn follow(&mut self, now: Timestamp, load: f64, expected: f64, midnight: Timestamp) {
        let is_wrong = load < WRONG.0 * expected || load > WRONG.1 * expected;
        self.wrong_since = is_wrong.then(|| self.wrong_since.unwrap_or(now));
        let is_long = |since: Timestamp| now.0.saturating_sub(since.0) >= WRONG_FOR;
        if self.wrong_since.is_some_and(is_long) {
            self.close_until(midnight);
        }
    }

    /// Notes a jump of the clock: slots and times do not fit for a day.
    pub fn jumped(&mut self, now: Timestamp) {
        self.close_until(Timestamp(now.0.saturating_add(AFTER_JUMP)));
    }

    fn close_until(&mut self, until: Timestamp) {
        self.off_until = self.off_until.max(Some(until));
    }

    /// Class of the days to forecast from, if the gate is open.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> Option<Class> {
        self.class
            .filter(|_| self.off_until.is_none_or(|until| now >= until))
    }
}

#[cfg(test)]
mod tests;
