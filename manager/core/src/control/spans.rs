//! Verdicts of the scaling over time: repeated ones are one span, which goes to the history once it
//! has ended.

use super::{Core, Version, scaling::view};
use crate::scaling::HeldSpan;
use micado_api::{ServiceName, Timestamp, VerdictSpan};
use std::collections::VecDeque;

/// Upper bound for ended spans in memory. They are recorded at each refresh, so that only an outage
/// of the store of many minutes can lose some.
const MOST: usize = 10_000;

/// Ended spans, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    list: VecDeque<(ServiceName, HeldSpan)>,
    /// Number of spans that ended since the start.
    number: u64,
}

impl Spans {
    pub(super) fn ended(&mut self, service: &ServiceName, span: Option<HeldSpan>) {
        let Some(span) = span else {
            return;
        };
        self.number += 1;
        self.list.push_back((service.clone(), span));
        if self.list.len() > MOST {
            self.list.pop_front();
        }
    }
}

impl Core {
    /// Ended spans of verdicts since a version, oldest first, and the present version.
    #[must_use]
    pub fn ended_spans(&self, seen: Option<Version>) -> (Version, Vec<VerdictSpan>) {
        let spans = &self.scaling.spans;
        let version = Version::new(self.seed, spans.number);
        let seen = seen.and_then(|seen| seen.number_of(self.seed)).unwrap_or(0);
        let fresh = usize::try_from(spans.number - seen.min(spans.number)).unwrap_or(usize::MAX);
        let skipped = spans.list.len().saturating_sub(fresh);
        let fresh = spans.list.iter().skip(skipped);
        (
            version,
            fresh.map(|(name, span)| span_view(name, span)).collect(),
        )
    }

    /// Spans that go on: the present verdict on each service.
    #[must_use]
    pub fn open_spans(&self) -> Vec<VerdictSpan> {
        let open = self.scaling.open_spans();
        open.map(|(name, span)| span_view(name, span)).collect()
    }

    /// Spans in memory, ended or not, of one service or of all, that began in this time.
    #[must_use]
    pub fn spans(
        &self,
        service: Option<&str>,
        from: Timestamp,
        until: Timestamp,
    ) -> Vec<VerdictSpan> {
        let ended = self.scaling.spans.list.iter();
        let ended = ended.map(|(name, span)| (name, span));
        let all = ended.chain(self.scaling.open_spans());
        all.filter(|(name, span)| {
            service.is_none_or(|service| name.as_str() == service)
                && (from..until).contains(&span.first.at)
        })
        .map(|(name, span)| span_view(name, span))
        .collect()
    }

    /// Name of the service that a name, its own or of a container, stands for.
    #[must_use]
    pub fn service_named(&self, name: &str) -> ServiceName {
        let container = self.ledger.containers().get(name);
        container.map_or_else(
            || ServiceName::trusted(name),
            |container| container.service.clone(),
        )
    }
}

fn span_view(service: &ServiceName, span: &HeldSpan) -> VerdictSpan {
    let since = span.first.at;
    VerdictSpan {
        service: service.clone(),
        first: view(&span.first, since),
        last: view(&span.last, since),
        times: span.times,
    }
}
