//! Forecast of one service on a running cluster: its past, its gate, and the load of today.

use super::{
    forecast::{self, Class, Day, Expected, Profile, SLOT_MS, Slot},
    gate::{Gate, Replay, replay},
    span::Span,
};
use jiff::{civil::Date, tz::TimeZone};
use micado_api::Timestamp;
use std::sync::Arc;

/// Length of a minute in milliseconds.
const MINUTE: u64 = 60_000;

/// Load of the earlier days of a service, and how well it foretells. Made outside of the core: a
/// replay takes milliseconds.
#[derive(Debug, Clone)]
pub struct Past {
    profile: Profile,
    replay: Option<Replay>,
    zone: TimeZone,
}

impl Past {
    /// Judges the load of earlier days: slots by their begin, in order. Days are those of the zone.
    #[must_use]
    pub fn new(
        slots: impl IntoIterator<Item = (Timestamp, Slot)>,
        zone: TimeZone,
        quantile: f64,
        horizon: Span,
    ) -> Self {
        let mut profile = Profile::default();
        for (at, slot) in slots {
            let (day, number) = place(at, &zone);
            profile.add(day, number, slot);
        }
        Self {
            replay: replay(&profile, quantile, horizon),
            profile,
            zone,
        }
    }
}

/// Day and slot of a moment in local time.
fn place(at: Timestamp, zone: &TimeZone) -> (i64, usize) {
    let local = local(at, zone);
    let minutes =
        usize::from(local.hour().unsigned_abs()) * 60 + usize::from(local.minute().unsigned_abs());
    let days = local.date().since(Date::constant(1970, 1, 1));
    let days = days.map_or(0, |span| i64::from(span.get_days()));
    (days, minutes * MINUTE as usize / SLOT_MS as usize)
}

fn local(at: Timestamp, zone: &TimeZone) -> jiff::Zoned {
    let at = jiff::Timestamp::from_millisecond(at.0.cast_signed()).unwrap_or_default();
    at.to_zoned(zone.clone())
}

/// Begin of the next local day.
fn midnight(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let next = local(at, zone)
        .tomorrow()
        .and_then(|next| next.start_of_day());
    let far = at.0 + 24 * 60 * MINUTE;
    next.map_or(Timestamp(far), |next| {
        Timestamp(next.timestamp().as_millisecond().cast_unsigned())
    })
}

/// Sums a load up to slots of five minutes: their mean, and their highest minute.
#[derive(Debug, Clone, Default)]
pub struct Slotting {
    slot: Mean,
    minute: Mean,
    highest: f64,
}

/// Mean of the values of one span of time.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    /// Number of the span since the epoch.
    number: u64,
    sum: f64,
    count: u32,
}

impl Mean {
    /// Adds a value. Returns the mean of the span before if a new one begins.
    fn add(&mut self, number: u64, value: f64) -> Option<f64> {
        let before = (self.number != number && self.count > 0).then(|| self.value());
        if self.number != number {
            *self = Self {
                number,
                ..Self::default()
            };
        }
        self.sum += value;
        self.count += 1;
        before
    }

    fn value(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

impl Slotting {
    /// Adds a load. Returns the slot before, with its begin, if a new one begins.
    pub fn add(&mut self, at: Timestamp, load: f64) -> Option<(Timestamp, Slot)> {
        let begin = Timestamp(self.slot.number * SLOT_MS);
        let minute = self.minute.add(at.0 / MINUTE, load);
        self.highest = self.highest.max(minute.unwrap_or_default());
        let mean = self.slot.add(at.0 / SLOT_MS, load)?;
        let highest = std::mem::take(&mut self.highest).max(mean);
        let slot = Slot {
            mean: mean as f32,
            highest: highest as f32,
        };
        Some((begin, slot))
    }
}

/// Forecast of a service, with what was seen of today. It begins anew with the manager.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    past: Option<Arc<Past>>,
    gate: Gate,
    slotting: Slotting,
    today: Option<Day>,
    /// Present slot, and the load that is expected from it on.
    expected: Option<(u64, Expected)>,
}

/// Present state of a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foresight {
    /// Too few days are measured.
    Young,
    /// It is not better than the present load.
    Closed,
    /// It counts, and wants this many copies at least.
    Open { floor: u32 },
}

impl Outlook {
    /// Takes the past, once an hour. Returns true if the forecast begins or ceases to count.
    pub fn take(&mut self, past: Arc<Past>) -> bool {
        let has_changed = self.gate.judge(past.replay);
        self.past = Some(past);
        self.expected = None;
        has_changed
    }

    /// Follows the present load. `horizon` is the lead time, `quantile` the demand to be ready for.
    pub fn follow(&mut self, now: Timestamp, load: f64, horizon: Span, quantile: f64) {
        let slot = self.slotting.add(now, load);
        let Some(past) = self.past.clone() else {
            return;
        };
        if let Some((begin, slot)) = slot {
            let (day, number) = place(begin, &past.zone);
            self.day(&past, day).set(number, slot);
            if let Some((_, expected)) = self.expected {
                let load = f64::from(slot.highest);
                let until = midnight(now, &past.zone);
                self.gate.follow(now, load, expected.load, until);
            }
        }
        let present = now.0 / SLOT_MS;
        if self.expected.is_none_or(|(slot, _)| slot != present) {
            let class = self.gate.open(now);
            let expected =
                class.and_then(|class| self.expect(&past, now, horizon, quantile, class));
            self.expected = expected.map(|expected| (present, expected));
        }
    }

    /// The present day: what the past has of it, and what was seen since.
    fn day(&mut self, past: &Past, number: i64) -> &mut Day {
        let is_other = self.today.as_ref().is_none_or(|day| day.number != number);
        if is_other {
            let known = past.profile.day(number).cloned();
            self.today = Some(known.unwrap_or_else(|| Day::new(number)));
        }
        self.today.get_or_insert_with(|| Day::new(number))
    }

    fn expect(
        &mut self,
        past: &Past,
        now: Timestamp,
        horizon: Span,
        quantile: f64,
        class: Class,
    ) -> Option<Expected> {
        let (number, slot) = place(now, &past.zone);
        let day = self.day(past, number);
        past.profile.expect(day, slot, horizon, quantile, class)
    }

    /// True if the forecast counts.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.gate.open(now).is_some()
    }

    /// The count that the forecast wants at least, for this share of a copy and present count.
    #[must_use]
    pub fn foresight(&self, share: f64, count: u32) -> Foresight {
        match (&self.past, self.expected) {
            (_, Some((_, expected))) => Foresight::Open {
                floor: forecast::floor(expected, share, count),
            },
            (Some(past), None) if past.replay.is_some() => Foresight::Closed,
            _ => Foresight::Young,
        }
    }
}

#[cfg(test)]
mod tests;
