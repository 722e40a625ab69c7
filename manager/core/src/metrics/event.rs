//! Records of container events, and queries for them.

use micado_api::{
    ContainerName, InstanceId, ServiceName, Tag, Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use std::time::Duration;

/// Retention of events.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Upper bound for retained events, the newest: some hundreds of megabytes. A container that fails
/// at each start makes one or two a second.
pub const EVENTS_MOST: u64 = 500_000;

/// A copy of a container on an instance: what its agent knows as a Swarm service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub swarm_service: String,
    pub container: ContainerName,
    pub service: ServiceName,
    /// Image, as requested.
    pub image: String,
    pub instance: InstanceId,
    /// Tag of the instance.
    pub tag: Tag,
}

/// An event of a container of ours. Its identity is instance, engine id, time and kind (started,
/// died, ...): writing it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    pub placed: Placed,
    /// The engine's id of the container.
    pub engine_id: String,
    /// Time by the machine's clock.
    pub at: Timestamp,
    pub what: ContainerHappening,
}

/// Identity of a record. Records are recalled in this order.
pub type Identity<'a> = (Timestamp, &'a str, &'a str, &'static str);

impl EventRecord {
    /// Makes the record of an event that the instance's agent reported.
    #[must_use]
    pub fn new(placed: Placed, event: &ContainerEvent) -> Self {
        Self {
            placed,
            engine_id: event.id.clone(),
            at: event.at,
            what: event.what,
        }
    }

    /// Returns the event as the agent reported it.
    #[must_use]
    pub fn event(&self) -> ContainerEvent {
        ContainerEvent {
            id: self.engine_id.clone(),
            service: Some(self.placed.swarm_service.clone()),
            at: self.at,
            what: self.what,
        }
    }

    #[must_use]
    pub fn identity(&self) -> Identity<'_> {
        (
            self.at,
            self.placed.instance.as_str(),
            &self.engine_id,
            self.what.word(),
        )
    }
}

/// A query for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallEvents {
    /// Only events of this container, or of the containers of this service.
    pub name: Option<String>,
    /// Only events on instances with this tag.
    pub tag: Option<String>,
    /// Lower bound, inclusive.
    pub from: Timestamp,
    /// Upper bound, exclusive.
    pub until: Timestamp,
    /// Order of the answer. Decides which events `most` leaves out.
    pub order: Order,
    /// Upper bound for the number of events.
    pub most: usize,
}

/// Order of recalled events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

impl RecallEvents {
    /// Query for the oldest or newest events of all, this many at most.
    #[must_use]
    pub fn any(order: Order, most: usize) -> Self {
        Self {
            name: None,
            tag: None,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
            order,
            most,
        }
    }

    /// Returns true if the query selects this record.
    #[must_use]
    pub fn wants(&self, it: &EventRecord) -> bool {
        let named = |name: &String| {
            it.placed.container.as_str() == name || it.placed.service.as_str() == name
        };
        let on = |tag: &String| it.placed.tag.as_str() == tag;
        self.from <= it.at
            && it.at < self.until
            && self.name.as_ref().is_none_or(named)
            && self.tag.as_ref().is_none_or(on)
    }

    /// Returns the selected records, each once, in order.
    #[must_use]
    pub fn of(&self, mut all: Vec<EventRecord>) -> Vec<EventRecord> {
        all.retain(|it| self.wants(it));
        all.sort_by(|a, b| a.identity().cmp(&b.identity()));
        all.dedup_by(|a, b| a.identity() == b.identity());
        if self.order == Order::NewestFirst {
            all.reverse();
        }
        all.truncate(self.most);
        all
    }
}
