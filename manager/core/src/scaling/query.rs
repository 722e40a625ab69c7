//! Policy `query`: a count from the value of a query. Only its evaluation is here.

use super::{
    frame::Copies,
    peak::Peak,
    policy::PolicyError,
    span::Span,
    target::whole_copies,
    wanted::Wanted,
    why::{Cause, Unknown},
};
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Meaning of the value. There is no default: half of all errors with queries are this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum As {
    /// The value is of the whole service.
    Total,
    /// The value is per copy.
    Average,
}

/// Value of a query, compared with a target per copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Query {
    /// Address of the Prometheus, such as `http://prometheus:9090`. A running cluster needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub query: String,
    #[serde(rename = "as")]
    pub meaning: As,
    /// Value that one copy carries.
    pub target: f64,
    #[serde(default = "interval")]
    pub interval: Span,
}

const fn interval() -> Span {
    Span::seconds(15)
}

/// Number of intervals after which a value is stale.
const STALE_AFTER: u64 = 3;

impl Query {
    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        let thing = "policy `query`";
        if self.query.trim().is_empty() {
            return Err(PolicyError::new(thing, "the query is empty", "write one"));
        }
        if !self.target.is_finite() || self.target <= 0.0 {
            return Err(PolicyError::new(
                thing,
                format!("target {} is not a positive number", self.target),
                "set it to the value that one copy carries",
            ));
        }
        if self.interval < Span::seconds(1) {
            return Err(PolicyError::new(
                thing,
                format!("interval {} is below 1s", self.interval),
                "leave it out for 15s",
            ));
        }
        Ok(())
    }
}

/// Last value. An answer that is not one finite number counts as unknown until the next good one.
#[derive(Debug, Clone, Default)]
pub struct QueryState {
    value: Option<(f64, Timestamp)>,
    is_bad: bool,
    /// Copies that the values of the look-back needed, as a fraction.
    peak: Peak,
}

impl QueryState {
    /// Takes the values of one answer: exactly one finite number is a value.
    pub fn note(&mut self, values: &[f64], at: Timestamp) {
        match values {
            [value] if value.is_finite() => {
                self.value = Some((*value, at));
                self.is_bad = false;
            }
            _ => self.is_bad = true,
        }
    }

    /// The last value.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.value.map(|(value, _)| value)
    }

    /// Returns the count that the value needs. It shrinks only to what the highest value of the
    /// look-back needed. An average grows only settled copies: it tells nothing of new ones.
    pub fn check(
        &mut self,
        policy: &Query,
        copies: &Copies,
        look_back: u64,
        now: Timestamp,
    ) -> Wanted {
        if self.is_bad {
            return Wanted::Unknown(Unknown::BadValue);
        }
        let Some((value, at)) = self.value else {
            return Wanted::Unknown(Unknown::NoSource);
        };
        if now.0.saturating_sub(at.0) > STALE_AFTER * policy.interval.0 {
            return Wanted::Unknown(Unknown::Stale);
        }
        let count = copies.wanted();
        let needed = match policy.meaning {
            As::Total => value / policy.target,
            As::Average => value * f64::from(count) / policy.target,
        };
        let target = policy.target;
        let is_settled = copies.starting + copies.young == 0;
        if policy.meaning == As::Average && !is_settled {
            return Wanted::Count(count, Cause::Steady);
        }
        self.peak.add(now, needed.max(0.0), look_back);
        let wanted = whole_copies(needed);
        let highest = self.peak.value().map_or(wanted, whole_copies);
        Wanted::Count(
            wanted.max(highest.min(count)),
            Cause::Query { value, target },
        )
    }
}

#[cfg(test)]
mod tests;
