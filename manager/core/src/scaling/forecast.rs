//! Forecast of a load from the same time on earlier days: a quantile, over the lead time. It is a
//! floor only; it never lowers a count.

use super::span::Span;
use std::collections::VecDeque;

/// Slots of a day: five minutes each.
pub const SLOTS: usize = 288;
/// Length of a slot in milliseconds.
pub const SLOT_MS: u64 = 300_000;
/// Days that are remembered.
const DAYS: usize = 28;
/// Slots over which the present load is compared with the profile: 30 minutes.
const LEVEL: usize = 6;
/// Bounds of that comparison.
const FACTOR: (f64, f64) = (0.7, 1.5);
/// Share of unmeasured slots from which on a day is left out.
const UNMEASURED: f64 = 0.2;

/// Mean and maximum of the load in a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Slot {
    pub mean: f32,
    pub highest: f32,
}

/// One local day.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// Days since the epoch, in local time; day 0 was a Thursday.
    pub number: i64,
    slots: Vec<Option<Slot>>,
}

impl Day {
    #[must_use]
    pub fn new(number: i64) -> Self {
        Self {
            number,
            slots: vec![None; SLOTS],
        }
    }

    pub fn set(&mut self, slot: usize, value: Slot) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(value);
        }
    }

    /// Weekday from 0, a Monday, to 6.
    const fn weekday(&self) -> i64 {
        (self.number + 3).rem_euclid(7)
    }

    fn is_whole(&self) -> bool {
        let unmeasured = self.slots.iter().filter(|slot| slot.is_none()).count();
        unmeasured as f64 <= UNMEASURED * SLOTS as f64
    }

    fn mean(&self, slot: usize) -> Option<f64> {
        self.slots
            .get(slot)
            .copied()
            .flatten()
            .map(|slot| f64::from(slot.mean))
    }
}

/// Days that are compared with a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The last seven days.
    Week,
    /// The last four of the same weekday.
    Weekday,
    /// Workdays for a workday, days of the weekend for one of the weekend: the last ten.
    Workday,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Week, Self::Weekday, Self::Workday];

    const fn most(self) -> usize {
        match self {
            Self::Week => 7,
            Self::Weekday => 4,
            Self::Workday => 10,
        }
    }

    const fn has(self, day: &Day, other: &Day) -> bool {
        match self {
            Self::Week => day.number - other.number <= 7,
            Self::Weekday => day.weekday() == other.weekday(),
            Self::Workday => (day.weekday() < 5) == (other.weekday() < 5),
        }
    }
}

/// Slots of the last 28 days of a service.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    days: VecDeque<Day>,
}

/// Load that a forecast expects over a horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Quantile of the earlier days, times the present level.
    pub load: f64,
    /// Highest load that the earlier days ever had there.
    pub highest: f64,
}

impl Profile {
    /// Adds a slot of a day. Days come in order.
    pub fn add(&mut self, day: i64, slot: usize, value: Slot) {
        if self.days.back().is_none_or(|last| last.number < day) {
            self.days.push_back(Day::new(day));
            if self.days.len() > DAYS {
                self.days.pop_front();
            }
        }
        if let Some(last) = self.days.iter_mut().rev().find(|last| last.number == day) {
            last.set(slot, value);
        }
    }

    /// Days that are measured well enough, oldest first.
    pub fn whole_days(&self) -> impl DoubleEndedIterator<Item = &Day> {
        self.days.iter().filter(|day| day.is_whole())
    }

    #[must_use]
    pub fn day(&self, number: i64) -> Option<&Day> {
        self.days.iter().find(|day| day.number == number)
    }

    /// Highest load of a day within `horizon` from a slot on; the next day follows.
    #[must_use]
    pub fn actual(&self, day: i64, slot: usize, horizon: Span) -> Option<f64> {
        let count = (horizon.0.div_ceil(SLOT_MS) as usize + 1).max(1);
        let mut found: Option<f64> = None;
        for at in slot..slot + count {
            let day = self.day(day + (at / SLOTS) as i64);
            let value = day.and_then(|day| day.slots[at % SLOTS]);
            if let Some(value) = value {
                let highest = f64::from(value.highest);
                found = Some(found.map_or(highest, |other| other.max(highest)));
            }
        }
        found
    }

    /// Expects a load at a slot of `day` from the earlier days of a class, at a quantile. `None`
    /// without earlier days.
    #[must_use]
    pub fn expect(
        &self,
        day: &Day,
        slot: usize,
        horizon: Span,
        quantile: f64,
        class: Class,
    ) -> Option<Expected> {
        let mut loads = Vec::with_capacity(class.most());
        let mut levels = Vec::with_capacity(class.most());
        let earlier = self
            .whole_days()
            .rev()
            .filter(|other| other.number < day.number && class.has(day, other))
            .take(class.most());
        for other in earlier {
            loads.extend(self.actual(other.number, slot, horizon));
            levels.extend(level(day, other, slot));
        }
        loads.sort_by(f64::total_cmp);
        let at = ((loads.len() as f64 * quantile).ceil() as usize).max(1) - 1;
        let load = loads.get(at).or(loads.last())?;
        levels.sort_by(f64::total_cmp);
        let factor = levels.get(levels.len() / 2).copied().unwrap_or(1.0);
        Some(Expected {
            load: load * factor.clamp(FACTOR.0, FACTOR.1),
            highest: loads.last().copied()?,
        })
    }
}

/// Load of the last 30 minutes of a day relative to the same time of another.
fn level(day: &Day, other: &Day, slot: usize) -> Option<f64> {
    let (mut here, mut there) = (0.0, 0.0);
    for at in slot.saturating_sub(LEVEL)..slot {
        if let (Some(one), Some(two)) = (day.mean(at), other.mean(at)) {
            here += one;
            there += two;
        }
    }
    (there > 0.0).then(|| here / there)
}

/// Count that a forecast wants at least: what the load needs, at most twice the present count, and
/// at most what the earlier days ever needed.
#[must_use]
pub fn floor(expected: Expected, share: f64, count: u32) -> u32 {
    let copies = |load: f64| super::target::whole_copies(load / share);
    copies(expected.load)
        .min(copies(expected.highest))
        .min(count.max(1).saturating_mul(2))
}

/// Cost of a forecast: a load above it costs `quantile`, one below it the rest.
#[must_use]
pub fn pinball(quantile: f64, actual: f64, expected: f64) -> f64 {
    let miss = actual - expected;
    (quantile * miss).max((quantile - 1.0) * miss)
}

#[cfg(test)]
mod tests;
