//! One simulated Swarm task: from waiting for room to its end.

use micado_api::{PortMapping, Resources};
use micado_core::engine::{SwarmTask, TaskState};

/// What a task does next, by itself.
#[derive(Debug, Clone, Copy)]
pub enum TaskTurn {
    /// Its process is up.
    Runs,
    /// Its process ends with this code.
    Ends(i64),
    /// The Swarm puts another in its place.
    Replaced,
    /// It has stopped and is forgotten.
    Gone,
}

/// A task, of ours or of others.
pub struct Task {
    pub view: SwarmTask,
    /// The Swarm name of its service; `None` for a foreign one.
    pub service: Option<String>,
    /// The machine ports that it asks for.
    pub wants: Vec<PortMapping>,
    pub node: Option<u64>,
}

impl Task {
    /// Whether it takes room on its node.
    pub fn takes_room(&self) -> bool {
        self.node.is_some() && matches!(self.view.state, TaskState::Starting | TaskState::Running)
    }
    /// The next task of the same service.
    pub fn successor(&self, serial: u64) -> Self {
        let view = SwarmTask {
            id: format!("t{serial}"),
            node: None,
            state: TaskState::Pending,
            wanted: true,
            version: self.view.version + 1,
            message: None,
            exit_code: None,
            ports: Vec::new(),
            service: self.view.service.clone(),
            reservation: self.view.reservation,
        };
        Self {
            view,
            service: self.service.clone(),
            wants: self.wants.clone(),
            node: None,
        }
    }
    pub fn first(
        serial: u64,
        service: (String, Option<String>),
        reservation: Resources,
        wants: Vec<PortMapping>,
    ) -> Self {
        let view = SwarmTask {
            id: format!("t{serial}"),
            service: service.0,
            node: None,
            state: TaskState::Pending,
            wanted: true,
            version: 1,
            message: None,
            exit_code: None,
            reservation,
            ports: Vec::new(),
        };
        Self {
            view,
            service: service.1,
            wants,
            node: None,
        }
    }
}
