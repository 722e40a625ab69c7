//! One running copy of a service. Its state is not stored: it follows from what is wanted, where it
//! is placed and what the engine shows.

use micado_api::{ContainerName, InstanceId, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// What is wanted of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// It runs.
    Running,
    /// It does not run; its record and the end of its log stay (`quit`).
    Stopped,
    /// Nothing of it stays (`remove`, `quit -rm`).
    Removed,
}

/// An instance that a container is assigned to. Each placement has a Swarm service of its own, told
/// apart by the generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The instance, which need not be up yet.
    pub instance: InstanceId,
    /// Rises with every placement of this container.
    pub generation: u32,
}

/// How a container ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its exit code.
    pub exit_code: i64,
    /// When that was seen.
    pub at: Timestamp,
}

/// One container of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `CLIENT_IMAGE.N`.
    pub name: ContainerName,
    /// The service it is a copy of.
    pub service: ServiceName,
    /// What is wanted.
    pub desired: Desired,
    /// Where it is, or will be. `None` while it waits.
    pub placement: Option<Placement>,
    /// Where it was before a move, until the new copy runs.
    pub leaving: Option<Placement>,
    /// The generation that the next placement gets.
    pub next_generation: u32,
    /// The instance that holds its volumes, once it has run there.
    pub bound_to: Option<InstanceId>,
    /// Set when its process ended by itself and its restart policy does not start it again.
    pub outcome: Option<Outcome>,
    /// Why it waits.
    pub reason: Option<String>,
    /// What the caller named the request that made it, so that a repeated request makes no second
    /// one.
    pub request: Option<String>,
    /// The end of its log, kept when its engine containers are about to go.
    pub log_tail: Option<String>,
    /// When it was launched.
    pub created_at: Timestamp,
    /// When nothing of it was left after `remove`. The record stays for a while, so that a call
    /// whose effect comes late is undone.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
}

impl Container {
    /// A container that is wanted and has no place yet.
    #[must_use]
    pub fn new(name: ContainerName, service: ServiceName, now: Timestamp) -> Self {
        Self {
            name,
            service,
            desired: Desired::Running,
            placement: None,
            leaving: None,
            next_generation: 1,
            bound_to: None,
            outcome: None,
            reason: None,
            request: None,
            log_tail: None,
            created_at: now,
            removed_at: None,
        }
    }

    /// Whether it takes, or will take, room on a machine.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        self.desired == Desired::Running && self.outcome.is_none()
    }
}
