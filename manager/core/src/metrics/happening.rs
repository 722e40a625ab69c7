//! What happened to containers, as it is kept, and which of it is wanted.

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
    /// What people call that.
    pub tag: Tag,
}

/// Something that happened to a container of ours. There is one for an instance, an engine's id, a
/// time and a word (started, died, ...): writing it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// To what.
    pub placed: Placed,
    /// The engine's id of what ran.
    pub engine_id: String,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// What.
    pub what: ContainerHappening,
}

/// By what one happening is told from all others, in the order in which they are recalled.
pub type Identity<'a> = (Timestamp, &'a str, &'a str, &'static str);

impl Happening {
    /// What the agent of this one's instance said of it.
    #[must_use]
    pub fn new(placed: Placed, event: &ContainerEvent) -> Self {
        Self {
            placed,
            engine_id: event.id.clone(),
            at: event.at,
            what: event.what,
        }
    }

    /// As its agent said it.
    #[must_use]
    pub fn event(&self) -> ContainerEvent {
        ContainerEvent {
            id: self.engine_id.clone(),
            service: Some(self.placed.swarm_service.clone()),
            at: self.at,
            what: self.what,
        }
    }

    /// What tells it from all others.
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

/// Which of the events are wanted.
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
    /// Which come first: those are had when there are more than wanted.
    pub first: First,
    /// So many at most.
    pub most: usize,
}

/// Which events come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The oldest.
    Oldest,
    /// The newest.
    Newest,
}

impl RecallEvents {
    /// So many of the oldest or newest of all.
    #[must_use]
    pub fn any(first: First, most: usize) -> Self {
        Self {
            name: None,
            tag: None,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
            first,
            most,
        }
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn wants(&self, it: &Happening) -> bool {
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
    pub fn of(&self, mut all: Vec<Happening>) -> Vec<Happening> {
        all.retain(|it| self.wants(it));
        all.sort_by(|a, b| a.identity().cmp(&b.identity()));
        all.dedup_by(|a, b| a.identity() == b.identity());
        if self.first == First::Newest {
            all.reverse();
        }
        all.truncate(self.most);
        all
    }
}
