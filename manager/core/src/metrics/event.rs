//! Records of container events, and queries for them.

use micado_api::{
    ContainerName, InstanceId, ServiceName, Tag, Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use std::time::Duration;

/// How long events are kept.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many of them, the newest: some hundreds of megabytes. A container that fails at each start
/// makes one or two a second.
pub const EVENTS_MOST: u64 = 500_000;

/// The copy of a container that an instance has: what its agent knows as a Swarm service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The Swarm service.
    pub swarm_service: String,
    /// The container.
    pub container: ContainerName,
    /// The service that the container is of.
    pub service: ServiceName,
    /// The image, as it was asked for.
    pub image: String,
    /// Where it is.
    pub instance: InstanceId,
    /// Tag of the instance.
    pub tag: Tag,
}

/// An event of a container of ours. Identified by instance, engine id, time and kind (started, died,
/// ...): writing it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    pub placed: Placed,
    /// The engine's id of what ran.
    pub engine_id: String,
    /// By the machine's clock.
    pub at: Timestamp,
    pub what: ContainerHappening,
}

/// Identifies a record. Records are recalled in this order.
pub type Identity<'a> = (Timestamp, &'a str, &'a str, &'static str);

impl EventRecord {
    /// The record of an event that the instance's agent reported.
    #[must_use]
    pub fn new(placed: Placed, event: &ContainerEvent) -> Self {
        Self {
            placed,
            engine_id: event.id.clone(),
            at: event.at,
            what: event.what,
        }
    }

    /// The event as the agent reported it.
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
    /// Only those of this container, or of the containers of this service.
    pub name: Option<String>,
    /// Only those on instances that people called so.
    pub tag: Option<String>,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to and without this one.
    pub until: Timestamp,
    /// Order of the answer, which decides what `most` leaves out.
    pub order: Order,
    /// So many at most.
    pub most: usize,
}

/// Order of recalled events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

impl RecallEvents {
    /// So many of the oldest or newest of all.
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

    /// Whether this is one of them.
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

    /// Those of these that are wanted, each once, in order.
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
