//! Policy `schedule`: a floor, and perhaps a ceiling, during windows of local time. The floor rises
//! one lead time earlier, so that the capacity is there when the window opens.

use super::{cron::Cron, policy::PolicyError, span::Span};
use jiff::{
    ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest window: a week.
const LONGEST: Span = Span::seconds(7 * 86_400);

/// One kind of window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// Cron expression of the opening, in local time.
    pub start: String,
    /// Either the duration, or the cron expression of the end.
    #[serde(default)]
    pub duration: Option<Span>,
    #[serde(default)]
    pub end: Option<String>,
    /// IANA name of the time zone.
    #[serde(default = "utc")]
    pub zone: String,
    pub min: u32,
    #[serde(default)]
    pub max: Option<u32>,
}

fn utc() -> String {
    "UTC".to_owned()
}

const MINUTE: u64 = 60_000;

const THING: &str = "policy `schedule`";

impl Schedule {
    pub(super) fn validate(&self, max: u32) -> Result<(), PolicyError> {
        self.compile(TimeZone::UTC)?;
        let most = self.max.unwrap_or(max).min(max);
        if self.min > most {
            return Err(PolicyError::new(
                THING,
                format!("min {} is above max {most}", self.min),
                "raise max of the window or of the service",
            ));
        }
        Ok(())
    }

    /// Parses the expressions.
    ///
    /// # Errors
    /// If an expression is wrong, or not exactly one of duration and end is given.
    pub fn compile(&self, zone: TimeZone) -> Result<Window, PolicyError> {
        let cron = |text: &str| {
            text.parse::<Cron>()
                .map_err(|error| PolicyError::new(THING, error.to_string(), "mend it"))
        };
        let end = match (self.duration, &self.end) {
            (Some(duration), None)
                if duration.0.is_multiple_of(MINUTE)
                    && duration > Span(0)
                    && duration <= LONGEST =>
            {
                End::After(duration)
            }
            (Some(duration), None) => {
                return Err(PolicyError::new(
                    THING,
                    format!("duration {duration} is not a number of minutes up to 7d"),
                    "round it, or shorten the window",
                ));
            }
            (None, Some(end)) => End::At(cron(end)?),
            _ => {
                return Err(PolicyError::new(
                    THING,
                    "a window needs either `duration` or `end`",
                    "give exactly one of them",
                ));
            }
        };
        Ok(Window {
            start: cron(&self.start)?,
            end,
            zone,
            min: self.min,
            max: self.max,
        })
    }
}

#[derive(Debug, Clone)]
enum End {
    After(Span),
    At(Cron),
}

/// A schedule with its time zone.
#[derive(Debug, Clone)]
pub struct Window {
    start: Cron,
    end: End,
    zone: TimeZone,
    min: u32,
    max: Option<u32>,
}

/// Bounds that a window sets at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub min: u32,
    pub max: Option<u32>,
    pub opens_at: Timestamp,
    pub closes_at: Timestamp,
}

impl Window {
    /// Returns the bounds at `now`: from one lead time before the opening, until the end. The
    /// ceiling holds only while the window is open.
    #[must_use]
    pub fn bounds(&self, now: Timestamp, lead: Span) -> Option<Bounds> {
        let longest = match &self.end {
            End::After(duration) => *duration,
            End::At(_) => LONGEST,
        };
        let from = Timestamp(now.0.saturating_sub(longest.0));
        let to = Timestamp(now.0.saturating_add(lead.0));
        let mut found: Option<Bounds> = None;
        for opens_at in self.times(&self.start, from, to) {
            let closes_at = match &self.end {
                End::After(duration) => Timestamp(opens_at.0.saturating_add(duration.0)),
                End::At(cron) => {
                    let after = Timestamp(opens_at.0 + 1);
                    let latest = Timestamp(opens_at.0.saturating_add(LONGEST.0));
                    self.times(cron, after, latest).next().unwrap_or(latest)
                }
            };
            if now < closes_at {
                found = Some(Bounds {
                    min: self.min,
                    max: self.max.filter(|_| opens_at <= now),
                    opens_at,
                    closes_at,
                });
                break;
            }
        }
        found
    }

    /// Moments of an expression from `from` to `to`, both included, in order.
    fn times<'a>(
        &'a self,
        cron: &'a Cron,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let mut date = self.local(from).map(DateTime::date);
        let last = self.local(to).map(DateTime::date);
        let dates = std::iter::from_fn(move || {
            let present = date?;
            date = present.checked_add(1.day()).ok();
            (present <= last?).then_some(present)
        });
        dates
            .filter(|date| cron.is_on(*date))
            .flat_map(move |date| cron.times().map(move |time| (date, time)))
            .filter_map(move |(date, time)| self.moment(date, time))
            .filter(move |at| (from..=to).contains(at))
    }

    fn local(&self, at: Timestamp) -> Option<DateTime> {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
        Some(self.zone.to_datetime(at))
    }

    /// Moment of a local time. One that does not exist becomes the next that does; of one that
    /// occurs twice, the first counts.
    fn moment(&self, date: Date, (hour, minute): (i8, i8)) -> Option<Timestamp> {
        let local = self
            .zone
            .to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
        let at = match local.offset() {
            AmbiguousOffset::Gap { .. } => {
                let later = local.later().ok()?;
                self.zone
                    .preceding(later)
                    .next()
                    .map(|change| change.timestamp())?
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                local.earlier().ok()?
            }
        };
        u64::try_from(at.as_millisecond()).ok().map(Timestamp)
    }
}

/// Bounds of all windows together: the highest floor with the opening of its window, and the lowest
/// ceiling.
pub type Together = (Option<(u32, Timestamp)>, Option<u32>);

/// All windows of a service.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    windows: Vec<Window>,
    /// Minutes of now and of now plus the lead time, and the bounds in them.
    cached: Option<((u64, u64), Together)>,
}

impl Calendar {
    #[must_use]
    pub const fn new(windows: Vec<Window>) -> Self {
        Self {
            windows,
            cached: None,
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Next time at which the bounds may change: windows open and close at whole minutes, and
    /// floors rise one lead time before.
    #[must_use]
    pub fn next_edge(&self, now: Timestamp, lead: Span) -> Option<Timestamp> {
        let after = |ms: u64| (ms / MINUTE + 1) * MINUTE;
        let edge = after(now.0).min(after(now.0 + lead.0) - lead.0);
        (!self.is_empty()).then_some(Timestamp(edge))
    }

    /// Returns the bounds at `now`. A ceiling below the floor of another window is raised to it.
    /// Windows open and close at whole minutes, so the bounds of a minute are evaluated once.
    pub fn bounds(&mut self, now: Timestamp, lead: Span) -> Together {
        let minutes = (now.0 / MINUTE, (now.0 + lead.0) / MINUTE);
        if let Some((at, together)) = self.cached
            && at == minutes
        {
            return together;
        }
        let mut floor: Option<(u32, Timestamp)> = None;
        let mut ceiling: Option<u32> = None;
        for window in &self.windows {
            let Some(bounds) = window.bounds(now, lead) else {
                continue;
            };
            if floor.is_none_or(|(min, _)| bounds.min > min) {
                floor = Some((bounds.min, bounds.opens_at));
            }
            ceiling = ceiling.into_iter().chain(bounds.max).min();
        }
        let least = floor.map_or(0, |(min, _)| min);
        let together = (floor, ceiling.map(|max| max.max(least)));
        self.cached = Some((minutes, together));
        together
    }
}

#[cfg(test)]
mod tests;
