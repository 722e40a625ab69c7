//! One container of a service: a numbered slot and the copies that run or ran for it. Its state is
//! not stored: it follows from the desired state, the copies and the observation.

use super::Health;
use micado_api::{
    ContainerName, HealthState, InstanceId, PortMapping, Resources, ServiceName, ServiceSpec,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// Desired state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    Running,
    /// Not running; its record and the end of its log stay (`quit`).
    Stopped,
    /// Removed completely (`remove`, `quit -rm`).
    Removed,
}

/// One run of a container on an instance. Each copy has a Swarm service of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Rises with every copy of the container.
    pub generation: u32,
    /// Instance that it is assigned to, which need not be up yet.
    pub instance: InstanceId,
    /// Name of its Swarm service: a DNS label, unique per cluster.
    pub swarm_name: String,
    /// Version of the service's spec that it runs.
    pub spec: u32,
    /// Resources promised to it on its machine.
    pub reservation: Resources,
    pub phase: Phase,
    /// Machine ports for those of its spec that name none, in that order. Empty if the engine
    /// chooses them.
    #[serde(default, skip_serializing_if = "<[u16]>::is_empty")]
    pub ports: Box<[u16]>,
    /// End of its last run, if its machine's agent reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<End>,
    /// Health by the checks of its machine's agent; `None` if it has none. Boxed: most have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<Health>>,
}

/// End of one run of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub exit_code: i64,
    /// It was an OOM kill.
    pub oom: bool,
    /// Time by the machine's clock, or the report's if that is earlier.
    pub at: Timestamp,
}

/// Phase of a copy. Its resources, ports and volumes are taken until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Placed; it has not run yet.
    Starting,
    /// Running, or being restarted in place.
    Serving,
    /// Its Swarm service is removed; its process has not ended yet.
    Retiring {
        /// Time of that decision.
        since: Timestamp,
    },
    /// Its process has ended, or its machine is lost. The copy is dropped with its Swarm service.
    Ended,
}

impl Copy {
    /// Returns true while the copy is wanted: it runs or is to run.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Serving)
    }

    /// Returns true while the copy's reservation, ports and volumes are taken.
    #[must_use]
    pub fn takes_room(&self) -> bool {
        self.phase != Phase::Ended
    }

    /// Returns true if no check says that it is not fit for requests. One whose health is unknown
    /// was adopted: it ran before.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.health.as_ref().is_none_or(|health| {
            matches!(health.state, HealthState::Healthy | HealthState::Unknown)
        })
    }

    /// Returns true if its check has not passed since its process started.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        let health = self.health.as_ref();
        health.is_some_and(|health| health.state == HealthState::Starting)
    }

    /// The ports of its spec, with the machine ports that were chosen for it.
    pub fn published<'a>(
        &'a self,
        spec: &'a ServiceSpec,
    ) -> impl Iterator<Item = PortMapping> + 'a {
        let mut chosen = self.ports.iter().copied();
        spec.ports.iter().map(move |port| PortMapping {
            host: port.host.or_else(|| chosen.next()),
            ..*port
        })
    }

    /// Records an end, unless a later one is known: reports may come late and again.
    pub fn ended(&mut self, end: End) {
        if self.last_end.as_ref().is_none_or(|last| last.at <= end.at) {
            self.last_end = Some(end);
        }
    }

    /// Returns true if its last run ended with this code and was an OOM kill.
    #[must_use]
    pub fn was_oom_killed(&self, exit_code: Option<i64>) -> bool {
        let last = self.last_end.as_ref();
        last.is_some_and(|end| end.oom && Some(end.exit_code) == exit_code)
    }
}

/// End of a container's process that nobody requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub exit_code: i64,
    /// Time at which that was observed.
    pub at: Timestamp,
}

/// One container of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub name: ContainerName,
    pub service: ServiceName,
    pub desired: Desired,
    /// Copies, newest last. Two are live during a move.
    pub copies: Vec<Copy>,
    /// Generation of the next copy.
    pub next_generation: u32,
    /// Instance that holds its volumes, once it has run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<InstanceId>,
    /// Set when its process ended by itself and its restart policy does not start it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Reason why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The caller's name for the launch request, so that a repeated request makes no second
    /// container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// End of its log, saved before its engine containers are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
    /// Only a person moves or stops it (`protect`).
    #[serde(default)]
    pub protected: bool,
    /// Time of launch.
    pub created_at: Timestamp,
    /// Time at which `remove` was complete. The record stays for a while, so that a call that takes
    /// effect late is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

impl Container {
    /// A wanted container without a placement.
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
            protected: false,
            created_at: now,
            removed_at: None,
        }
    }

    /// Returns true if it is to run.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        self.desired == Desired::Running && self.outcome.is_none()
    }

    /// Returns the copy that is to run: the newest live one.
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

    #[must_use]
    pub fn copy(&self, generation: u32) -> Option<&Copy> {
        self.copies
            .iter()
            .find(|copy| copy.generation == generation)
    }

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
