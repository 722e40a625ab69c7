//! Queries for the verdicts of the scaling.

use super::Order;
use micado_api::{Timestamp, VerdictSpan};
use std::time::Duration;

/// Retention of verdicts.
pub const VERDICTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Upper bound for retained verdicts, the newest: some hundreds of megabytes.
pub const VERDICTS_MOST: u64 = 500_000;

/// A query for verdicts, by the time of their first check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallVerdicts {
    /// Only verdicts on this service.
    pub service: Option<String>,
    /// Lower bound, inclusive.
    pub from: Timestamp,
    /// Upper bound, exclusive.
    pub until: Timestamp,
    /// Order of the answer. Decides which verdicts `most` leaves out.
    pub order: Order,
    /// Upper bound for the number of verdicts.
    pub most: usize,
}

impl RecallVerdicts {
    /// Query for the oldest or newest verdicts of all, this many at most.
    #[must_use]
    pub fn any(order: Order, most: usize) -> Self {
        Self {
            service: None,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
            order,
            most,
        }
    }

    /// Returns true if the query selects this span.
    #[must_use]
    pub fn wants(&self, span: &VerdictSpan) -> bool {
        let service = self.service.as_ref();
        (self.from..self.until).contains(&span.first.at)
            && service.is_none_or(|service| span.service.as_str() == service)
    }

    /// Returns the selected spans, each once, in order. Of two that began together, the longer one
    /// is the later.
    #[must_use]
    pub fn of(&self, mut all: Vec<VerdictSpan>) -> Vec<VerdictSpan> {
        all.retain(|span| self.wants(span));
        all.sort_by(|one, other| {
            let began = (one.first.at, &one.service).cmp(&(other.first.at, &other.service));
            began.then(other.times.cmp(&one.times))
        });
        all.dedup_by(|one, other| one.first.at == other.first.at && one.service == other.service);
        if self.order == Order::NewestFirst {
            all.reverse();
        }
        all.truncate(self.most);
        all
    }
}
