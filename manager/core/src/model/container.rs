//! One container of a service: a numbered slot, and the copies that run or ran for it. Its state is
//! not stored: it follows from what is wanted, its copies and what the engine shows.

use micado_api::{ContainerName, InstanceId, Resources, ServiceName, Timestamp};
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

/// One run of a container somewhere. Each copy has a Swarm service of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Rises with every copy of the container.
    pub generation: u32,
    /// The instance that it is assigned to, which need not be up yet.
    pub instance: InstanceId,
    /// The name of its Swarm service: a DNS label, unique per cluster.
    pub swarm_name: String,
    /// The version of the service's spec that it runs.
    pub spec: u32,
    /// What it is promised on its machine.
    pub reservation: Resources,
    /// Its progress from placement to end.
    pub phase: Phase,
}

/// The life of a copy. Its room, ports and volumes are taken until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Placed; it has not run yet.
    Starting,
    /// It runs, or ran and is being restarted in place.
    Serving,
    /// Its Swarm service is removed; its process has not ended yet.
    Retiring {
        /// When that was decided.
        since: Timestamp,
    },
    /// Its process has ended, or its machine is lost. The copy goes with its Swarm service.
    Ended,
}

impl Copy {
    /// Whether it is wanted: it runs or is to run.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Serving)
    }

    /// Whether its reservation, ports and volumes are taken.
    #[must_use]
    pub fn takes_room(&self) -> bool {
        self.phase != Phase::Ended
    }
}

/// The end of a container's process by itself.
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
    /// The service it belongs to.
    pub service: ServiceName,
    /// What is wanted.
    pub desired: Desired,
    /// Its copies, newest last. Two live ones stand beside each other during a move.
    pub copies: Vec<Copy>,
    /// The generation that the next copy gets.
    pub next_generation: u32,
    /// The instance that holds its volumes, once it has run there.
    pub bound_to: Option<InstanceId>,
    /// Set when its process ended by itself and its restart policy does not start it again.
    pub outcome: Option<Outcome>,
    /// Why it waits.
    pub reason: Option<String>,
    /// The caller's name for the request that made it, so that a repeated request makes no second
    /// one.
    pub request: Option<String>,
    /// The end of its log, kept when its engine containers are about to go.
    pub log_tail: Option<String>,
    /// When it was launched.
    pub created_at: Timestamp,
    /// When nothing of it was left after `remove`. The record stays for a while, so that a call
    /// that takes effect late is undone.
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
            copies: Vec::new(),
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

    /// Whether it is to run.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        self.desired == Desired::Running && self.outcome.is_none()
    }

    /// The copy that is to run: the newest live one.
    #[must_use]
    pub fn primary(&self) -> Option<&Copy> {
        self.copies.iter().rev().find(|copy| copy.is_live())
    }

    /// Live copies that the primary replaces, oldest first.
    pub fn replaced(&self) -> impl Iterator<Item = &Copy> {
        let primary = self.primary().map(|copy| copy.generation);
        self.copies
            .iter()
            .filter(move |copy| copy.is_live() && Some(copy.generation) != primary)
    }

    /// The copy of this generation.
    #[must_use]
    pub fn copy(&self, generation: u32) -> Option<&Copy> {
        self.copies
            .iter()
            .find(|copy| copy.generation == generation)
    }

    /// The same, to be changed.
    pub fn copy_mut(&mut self, generation: u32) -> Option<&mut Copy> {
        self.copies
            .iter_mut()
            .find(|copy| copy.generation == generation)
    }

    /// Copies that take room on an instance.
    pub fn copies_on<'a>(&'a self, instance: &'a InstanceId) -> impl Iterator<Item = &'a Copy> {
        self.copies
            .iter()
            .filter(move |copy| copy.instance == *instance && copy.takes_room())
    }
}
