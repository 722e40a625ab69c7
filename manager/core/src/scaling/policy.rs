//! Scaling policies of a service as people write them: types, defaults and validation.

use super::{
    band::Band,
    critical::Critical,
    query::Query,
    queue::Queue,
    schedule::Schedule,
    shrink::{LONGEST, SHORTEST},
    span::Span,
    target::Target,
};
use serde::{Deserialize, Serialize};

/// One way to tell how many copies are needed. Others may be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    Target(Target),
    Critical(Critical),
    Band(Band),
    Queue(Queue),
    Schedule(Schedule),
    Query(Query),
}

impl Policy {
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Target(_) => "target",
            Self::Critical(_) => "critical",
            Self::Band(_) => "band",
            Self::Queue(_) => "queue",
            Self::Schedule(_) => "schedule",
            Self::Query(_) => "query",
        }
    }
}

/// Upper bound for the copies of a service: of its policy, and of a count that a person sets.
pub const MOST_COPIES: u32 = 10_000;

/// Weight of missed demand against idle capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    Low,
    #[default]
    Normal,
    High,
}

impl Importance {
    /// Cost of a missed core-second relative to an idle one.
    #[must_use]
    pub const fn lambda(self) -> f64 {
        match self {
            Self::Low => 1.0,
            Self::Normal => 4.0,
            Self::High => 19.0,
        }
    }
    /// Quantile of demand to be ready for: lambda / (1 + lambda).
    #[must_use]
    pub const fn quantile(self) -> f64 {
        self.lambda() / (1.0 + self.lambda())
    }
    /// Longest look-back after regrets. A copy that is missed costs its lead time, paid for while
    /// it boots, and as much demand: keeping one for longer than both are worth does not pay.
    #[must_use]
    pub fn longest_look_back(self, lead: Span) -> Span {
        let worth = (1.0 + self.lambda()) * lead.0 as f64;
        Span((worth as u64).min(LONGEST))
    }
    /// Factor of a growth when the copies are saturated.
    #[must_use]
    pub const fn saturation_factor(self) -> f64 {
        match self {
            Self::High => 2.5,
            Self::Low | Self::Normal => 2.0,
        }
    }
}

/// Use of the forecast: the load of the same time on earlier days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forecast {
    Off,
    /// Show what it wants, and change nothing.
    Show,
    /// A floor, while a replay of the last days shows that it is better than the present load.
    #[default]
    Auto,
}

/// Largest step in one direction within a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// Share of the copies, in percent; a step of one copy is always allowed.
    pub percent: f64,
    pub per: Span,
}

/// All policies of a service, and its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policies {
    pub min: u32,
    pub max: u32,
    pub importance: Importance,
    pub forecast: Forecast,
    /// Look-back at first: nothing shrinks below what the busiest minute of it needed.
    pub look_back: Span,
    pub step_up: Option<Step>,
    pub step_down: Option<Step>,
    pub cool_down_up: Span,
    pub cool_down_down: Span,
    /// Only copies without work may go. A `queue` policy implies it.
    pub stop_when_quiet: bool,
    pub policies: Vec<Policy>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            min: 1,
            max: 10,
            importance: Importance::Normal,
            forecast: Forecast::Auto,
            look_back: Span(SHORTEST),
            step_up: None,
            step_down: Some(Step {
                percent: 50.0,
                per: Span::seconds(30),
            }),
            cool_down_up: Span(0),
            cool_down_down: Span(0),
            stop_when_quiet: false,
            policies: Vec::new(),
        }
    }
}

/// A refused policy: the thing, the cause and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{thing}: {cause}; {next}")]
pub struct PolicyError {
    pub thing: String,
    pub cause: String,
    pub next: String,
}

impl PolicyError {
    pub(super) fn new(thing: &str, cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            thing: thing.to_owned(),
            cause: cause.into(),
            next: next.into(),
        }
    }
}

impl Policies {
    /// One `target` policy on CPU with all defaults.
    #[must_use]
    pub fn standard(max: u32) -> Self {
        Self {
            max,
            policies: vec![Policy::Target(Target::default())],
            ..Self::default()
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot work, with the reason and a remedy.
    pub fn validate(&self) -> Result<(), PolicyError> {
        self.validate_limits()?;
        for policy in &self.policies {
            match policy {
                Policy::Target(target) => target.validate()?,
                Policy::Critical(critical) => critical.validate()?,
                Policy::Band(band) => band.validate(self.min)?,
                Policy::Queue(queue) => queue.validate()?,
                Policy::Schedule(schedule) => schedule.validate(self.max)?,
                Policy::Query(query) => query.validate()?,
            }
        }
        Ok(())
    }

    /// True if only copies without work may go.
    #[must_use]
    pub fn stops_only_quiet(&self) -> bool {
        self.stop_when_quiet
            || self
                .policies
                .iter()
                .any(|policy| matches!(policy, Policy::Queue(_)))
    }

    fn validate_limits(&self) -> Result<(), PolicyError> {
        if self.max == 0 || self.min > self.max {
            return Err(PolicyError::new(
                "limits",
                format!("min {} is above max {}", self.min, self.max),
                "set min to at most max, and max to at least 1",
            ));
        }
        if self.max > MOST_COPIES {
            return Err(PolicyError::new(
                "limits",
                format!("max {} is above {MOST_COPIES}", self.max),
                "set max to at most that",
            ));
        }
        let wakes = |policy: &Policy| {
            matches!(
                policy,
                Policy::Queue(_) | Policy::Schedule(_) | Policy::Query(_)
            ) || matches!(policy, Policy::Target(target) if target.wakes())
        };
        if self.min == 0 && !self.policies.iter().any(wakes) {
            return Err(PolicyError::new(
                "limits",
                "min is 0, and no policy sees work while nothing runs",
                "set min to 1, or add a `queue`, `schedule`, `query` or request policy",
            ));
        }
        if self.look_back < Span::seconds(60) || self.look_back > Span::minutes(30) {
            return Err(PolicyError::new(
                "limits",
                format!("look-back {} is not within 1m and 30m", self.look_back),
                "leave it out for 3m",
            ));
        }
        for step in [self.step_up, self.step_down].into_iter().flatten() {
            if step.percent.is_nan() || step.percent <= 0.0 || step.per.0 == 0 {
                return Err(PolicyError::new(
                    "limits",
                    format!(
                        "a step of {} % per {} never changes anything",
                        step.percent, step.per
                    ),
                    "set a positive percent and time, or null for no limit",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
