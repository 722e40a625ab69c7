//! Verdicts: the reason for every count as numbers, and as a sentence for people.

use super::{span::Span, target::Metric};
use micado_api::{MemoryBytes, Timestamp};
use serde::Serialize;
use std::fmt;

/// Reason why a policy cannot tell a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// No value was ever received from its source.
    NoSource,
    /// The last value is too old.
    Stale,
    /// The source answered with an error, nothing, several values or no number.
    BadValue,
    /// No copy has a fresh sample.
    AllBlind,
}

/// Reason for a count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    Steady,
    /// A window of the ladder exceeds the copies' capacity.
    Rung {
        metric: Metric,
        window_ms: u32,
        shortest_ms: u32,
        load: f64,
        share: f64,
        sigma: f64,
    },
    Saturated {
        saturated: u32,
        warm: u32,
    },
    /// Copies were OOM-killed since the last frame.
    OomKilled {
        copies: u32,
    },
    /// A request arrived while there was no copy.
    Woken {
        load: f64,
    },
    /// The busiest minute of the look-back needs fewer copies.
    Peak {
        metric: Metric,
        peak: f64,
        share: f64,
    },
    /// A shrink to `count` would be too much for the busiest copy.
    Busiest {
        busiest: f64,
        count: u32,
    },
    Critical {
        copies: u32,
        samples: u8,
        of: u8,
    },
    BelowCritical {
        highest_share: f64,
    },
    Band {
        value: f64,
        edge: f64,
        for_ms: u64,
    },
    Queue {
        items: f64,
        left_ms: u64,
    },
    Idle {
        for_ms: u64,
    },
    Query {
        value: f64,
        target: f64,
    },
    /// All copies are blind, and their machines are busy.
    MachinesBusy {
        share: f32,
    },
    Forecast {
        floor: u32,
    },
    Schedule {
        opens_at: Timestamp,
    },
    Manual {
        until: Timestamp,
    },
    Minimum,
}

/// Stage of the pipeline that held or changed what the policies wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stop {
    Unknown { policy: u8, reason: Unknown },
    Blind { blind: u32, of: u32 },
    Moving { starting: u32, failing: u32 },
    Saturated,
    LookBack { until: Timestamp },
    ScheduleCeiling { max: u32 },
    Futile { growths: u8, until: Timestamp },
    Step { percent: f64, until: Timestamp },
    Minimum { min: u32 },
    Maximum { max: u32 },
    Quota { may: u32 },
    CoolDown { until: Timestamp },
    Draining,
    NotQuiet { quiet: u32 },
    Pinned,
}

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdict {
    pub at: Timestamp,
    /// Count before.
    pub from: u32,
    /// Count that is decided; the same as `from` if nothing changes.
    pub count: u32,
    /// Count that the policies and floors asked for.
    pub asked: u32,
    #[serde(flatten)]
    pub cause: Cause,
    #[serde(rename = "held")]
    pub stop: Option<Stop>,
}

impl Verdict {
    #[must_use]
    pub const fn is_change(&self) -> bool {
        self.count != self.from
    }

    /// True if both tell people the same: such verdicts are coalesced.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        let kinds = |verdict: &Self| {
            (
                std::mem::discriminant(&verdict.cause),
                verdict.stop.map(|stop| std::mem::discriminant(&stop)),
            )
        };
        !self.is_change()
            && !other.is_change()
            && (self.from, self.asked) == (other.from, other.asked)
            && kinds(self) == kinds(other)
    }
}

/// Longest time of a span, in milliseconds.
const LONGEST_SPAN: u64 = 1_800_000;

/// A verdict that repeats, as one record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeldSpan {
    pub first: Verdict,
    pub last: Verdict,
    pub times: u32,
}

impl HeldSpan {
    #[must_use]
    pub const fn new(verdict: Verdict) -> Self {
        Self {
            first: verdict,
            last: verdict,
            times: 1,
        }
    }

    /// Adds a verdict if it repeats; returns false if it begins another span. One does at the
    /// latest after half an hour, so that a crash loses no more.
    pub fn extend(&mut self, verdict: Verdict) -> bool {
        let lasts = verdict.at.0.saturating_sub(self.first.at.0);
        let repeats = self.last.repeats(&verdict) && lasts < LONGEST_SPAN;
        if repeats {
            self.last = verdict;
            self.times = self.times.saturating_add(1);
        }
        repeats
    }
}

/// An amount with the unit of its metric.
struct Amount(Metric, f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Metric::Cpu => write!(f, "{:.2} cores", self.1),
            Metric::Memory => write!(f, "{}", MemoryBytes(self.1 as u64)),
            Metric::Requests => write!(f, "{:.1} requests/s", self.1),
            Metric::Concurrency => write!(f, "{:.1} requests in flight", self.1),
        }
    }
}

/// A number of copies: "1 copy", "2 copies".
#[derive(Debug, Clone, Copy)]
pub struct CopyCount(pub u32);

impl CopyCount {
    /// The verb for so many.
    #[must_use]
    pub const fn are(self) -> &'static str {
        number(self.0, "is", "are")
    }
}

impl fmt::Display for CopyCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, number(self.0, "copy", "copies"))
    }
}

/// The word for one, or for several.
const fn number(count: u32, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

/// A moment in UTC, to the second.
pub(crate) struct Clock(pub(crate) Timestamp);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = i64::try_from(self.0.0 / 1_000).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(second) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => f.write_str("a far day"),
        }
    }
}

/// The sentence for people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, count) = (self.from, self.count);
        match count.cmp(&from) {
            std::cmp::Ordering::Greater => write!(f, "grew {from} -> {count}: ")?,
            std::cmp::Ordering::Less => write!(f, "shrank {from} -> {count}: ")?,
            std::cmp::Ordering::Equal => write!(f, "kept {from}: ")?,
        }
        self.cause_text(f)?;
        match self.stop {
            Some(stop) => write!(f, "; wants {}, {stop}", self.asked),
            None => Ok(()),
        }
    }
}

impl Verdict {
    fn cause_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Steady => write!(f, "the load fits"),
            Cause::Rung {
                metric,
                window_ms,
                load,
                share,
                ..
            } => write!(
                f,
                "{} over {} is {:.2} of what {} may carry ({} each)",
                Amount(metric, load),
                Span(window_ms.into()),
                load / (share * f64::from(self.from.max(1))),
                CopyCount(self.from),
                Amount(metric, share),
            ),
            Cause::Saturated { saturated, warm } => {
                let unit = number(warm, "copy", "copies");
                let use_all = number(saturated, "uses all it can", "use all they can");
                write!(f, "{saturated} of {warm} warm {unit} {use_all} have")
            }
            Cause::OomKilled { copies } => {
                let was = number(copies, "was", "were");
                write!(f, "{} {was} OOM-killed", CopyCount(copies))
            }
            Cause::Peak {
                metric,
                peak,
                share,
            } => write!(
                f,
                "the busiest minute of the look-back had {}, and a copy may carry {}",
                Amount(metric, peak),
                Amount(metric, share),
            ),
            Cause::Busiest { busiest, count } => write!(
                f,
                "the busiest copy uses {busiest:.2}, too much for {}",
                CopyCount(count)
            ),
            Cause::Critical {
                copies,
                samples,
                of,
            } => write!(
                f,
                "{} {} above the critical usage in {samples} of {of} samples",
                CopyCount(copies),
                number(copies, "is", "are"),
            ),
            Cause::BelowCritical { highest_share } => write!(
                f,
                "the busiest copy stays at {highest_share:.2} of the critical usage"
            ),
            _ => self.other_cause(f),
        }
    }

    fn other_cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Band {
                value,
                edge,
                for_ms,
            } => write!(
                f,
                "{:.0} % is beyond {:.0} % for {}",
                value * 100.0,
                edge * 100.0,
                Span(for_ms)
            ),
            Cause::Queue { items, left_ms } => write!(
                f,
                "{items} items waiting or in work, {} left for them",
                Span(left_ms)
            ),
            Cause::Idle { for_ms } => write!(f, "no work for {}", Span(for_ms)),
            Cause::Query { value, target } => {
                write!(f, "the query gives {value}, the target is {target}")
            }
            Cause::MachinesBusy { share } => write!(
                f,
                "no copy has metrics, and their machines are {:.0} % busy",
                share * 100.0
            ),
            Cause::Forecast { floor } => write!(f, "the forecast needs {floor}"),
            Cause::Schedule { opens_at } => {
                write!(f, "the window of {} needs it", Clock(opens_at))
            }
            Cause::Manual { until } => {
                write!(f, "set by hand until {}", Clock(until))
            }
            Cause::Woken { load } => write!(f, "{load:.1} requests wait, and no copy runs"),
            Cause::Minimum => write!(f, "the minimum"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { policy, reason } => {
                write!(f, "held: policy {} is unknown ({reason})", policy + 1)
            }
            Self::Blind { blind, of } => {
                let (unit, are) = (number(*of, "copy", "copies"), number(*blind, "is", "are"));
                write!(f, "held: {blind} of {of} {unit} {are} blind")
            }
            Self::Moving { starting, failing } => {
                let are = number(*starting, "is", "are");
                write!(
                    f,
                    "held: {} {are} starting, {failing} failing",
                    CopyCount(*starting)
                )
            }
            Self::Saturated => f.write_str("held: copies are saturated"),
            Self::LookBack { until } => {
                write!(f, "held until the look-back is full at {}", Clock(*until))
            }
            Self::ScheduleCeiling { max } => write!(f, "the schedule allows {max}"),
            Self::Futile { growths, .. } => write!(
                f,
                "held: adding copies does not help ({growths} growths without effect)",
            ),
            Self::Step { percent, .. } => write!(f, "limited to a step of {percent} %"),
            Self::Minimum { min } => write!(f, "the minimum is {min}"),
            Self::Maximum { max } => write!(f, "the maximum is {max}"),
            Self::Quota { may } => write!(f, "may have {may}"),
            Self::CoolDown { until } => write!(f, "held: cools down until {}", Clock(*until)),
            Self::Draining => f.write_str("held: a drain moves copies of it"),
            Self::NotQuiet { quiet } => {
                let are = number(*quiet, "is", "are");
                write!(f, "held: only {} {are} quiet", CopyCount(*quiet))
            }
            Self::Pinned => f.write_str("pinned"),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSource => "no value yet",
            Self::Stale => "its last value is too old",
            Self::BadValue => "its source gives no single number",
            Self::AllBlind => "no copy has metrics",
        })
    }
}

#[cfg(test)]
mod tests;
