//! Where points and events are kept: a trait, implemented by every store beside the records.

use super::{EventRecord, Point, RecallEvents, Resolution};
use crate::store::StoreError;
use micado_api::{InstanceId, Timestamp};

/// Points of one instance or one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Series {
    /// One instance's.
    Instance(InstanceId),
    /// One container's, by name: on whatever instance it was. Points then hold that container only.
    Container(String),
}

/// A query for points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    pub series: Series,
    pub resolution: Resolution,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to and without this one.
    pub until: Timestamp,
}

impl Recall {
    /// What is wanted of a point.
    #[must_use]
    pub fn of(&self, point: &Point) -> Option<Point> {
        if point.resolution != self.resolution || point.at < self.from || point.at >= self.until {
            return None;
        }
        match &self.series {
            Series::Instance(instance) => (point.instance == *instance).then(|| point.clone()),
            Series::Container(name) => {
                let containers = [(name.clone(), *point.containers.get(name)?)].into();
                Some(Point {
                    instance: point.instance.clone(),
                    containers,
                    ..*point
                })
            }
        }
    }
}

/// A durable home for points and events.
#[async_trait::async_trait]
pub trait History: Send + Sync + std::fmt::Debug {
    /// Keeps points, durably before it returns. One of the same instance, resolution and time is
    /// replaced: doing it again changes nothing.
    ///
    /// # Errors
    /// When the store does not take them; some may have been written.
    async fn record(&self, points: &[Point]) -> Result<(), StoreError>;

    /// Points of that time, by time and then by instance.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError>;

    /// The instances that points of this resolution are kept of, in their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError>;

    /// Keeps events, durably before it returns. One with the same [identity](EventRecord::identity)
    /// is replaced: doing it again changes nothing.
    ///
    /// # Errors
    /// When the store does not take them; some may have been written.
    async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError>;

    /// Events in the order of what they are told apart by, from whichever end is wanted.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<EventRecord>, StoreError>;

    /// Lets go of points that are older than their resolution is kept, and of events that are older
    /// than [`EVENTS_KEPT`](super::EVENTS_KEPT) or not among the newest
    /// [`EVENTS_MOST`](super::EVENTS_MOST). A store may do that by itself and late: up to an hour,
    /// and a MongoDB lets go of points of ten minutes up to a day late, for it keeps a day of them
    /// as one.
    ///
    /// # Errors
    /// When the store fails.
    async fn forget(&self, now: Timestamp) -> Result<(), StoreError>;
}
