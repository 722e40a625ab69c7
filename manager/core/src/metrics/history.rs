//! Storage of points and events: a trait that every store implements beside the records.

use super::{EventRecord, Point, RecallEvents, RecallVerdicts, Resolution};
use crate::store::StoreError;
use micado_api::{InstanceId, ServiceName, Timestamp, VerdictSpan};
use std::collections::BTreeMap;

/// A series of points: of one instance, one container or one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Series {
    Instance(InstanceId),
    /// One container by name, on any instance. Points then hold that container only.
    Container(String),
    /// All containers of a service, removed ones included, on any instance. Points then hold these
    /// only; [`totals`](super::totals) sums them up.
    Service(ServiceName),
}

impl Series {
    /// Returns true if the points of the series hold this container.
    #[must_use]
    pub fn has(&self, container: &str) -> bool {
        match self {
            Self::Instance(_) => true,
            Self::Container(name) => container == name,
            Self::Service(name) => container
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }
}

/// A query for points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    pub series: Series,
    pub resolution: Resolution,
    /// Lower bound, inclusive.
    pub from: Timestamp,
    /// Upper bound, exclusive.
    pub until: Timestamp,
}

impl Recall {
    /// Returns the part of a point that belongs to the series.
    #[must_use]
    pub fn of(&self, point: &Point) -> Option<Point> {
        if point.resolution != self.resolution || point.at < self.from || point.at >= self.until {
            return None;
        }
        if let Series::Instance(instance) = &self.series {
            return (point.instance == *instance).then(|| point.clone());
        }
        let containers = point.containers.iter();
        let containers: BTreeMap<_, _> = containers
            .filter(|(name, _)| self.series.has(name))
            .map(|(name, figures)| (name.clone(), *figures))
            .collect();
        (!containers.is_empty()).then(|| Point {
            instance: point.instance.clone(),
            containers,
            ..*point
        })
    }
}

/// Durable storage of points and events.
#[async_trait::async_trait]
pub trait History: Send + Sync + std::fmt::Debug {
    /// Writes points, durably before it returns. A point of the same instance, resolution and time
    /// is replaced, so repeating the call changes nothing.
    ///
    /// # Errors
    /// If the store does not accept them; some may have been written.
    async fn record(&self, points: &[Point]) -> Result<(), StoreError>;

    /// Returns points of that time, by time and then by instance.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError>;

    /// Returns the instances that have points of this resolution, in order.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError>;

    /// Writes events, durably before it returns. An event with the same
    /// [identity](EventRecord::identity) is replaced, so repeating the call changes nothing.
    ///
    /// # Errors
    /// If the store does not accept them; some may have been written.
    async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError>;

    /// Returns events in the order of their identities, from the end that the query names.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<EventRecord>, StoreError>;

    /// Writes verdicts, durably before it returns. A span of the same service and first check is
    /// replaced, so repeating the call changes nothing.
    ///
    /// # Errors
    /// If the store does not accept them; some may have been written.
    async fn record_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError>;

    /// Returns verdicts by their first check and then by service, from the end that the query
    /// names.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn recall_verdicts(
        &self,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError>;

    /// Deletes points older than the retention of their resolution, and events and verdicts that
    /// are older than theirs ([`EVENTS_KEPT`](super::EVENTS_KEPT),
    /// [`VERDICTS_KEPT`](super::VERDICTS_KEPT)) or not among the newest
    /// [`EVENTS_MOST`](super::EVENTS_MOST) or [`VERDICTS_MOST`](super::VERDICTS_MOST). A store may do that by itself and up to an hour late. A
    /// MongoDB deletes points of ten minutes up to a day late, because it keeps a day of them in
    /// one bucket.
    ///
    /// # Errors
    /// If the store fails.
    async fn forget(&self, now: Timestamp) -> Result<(), StoreError>;
}
