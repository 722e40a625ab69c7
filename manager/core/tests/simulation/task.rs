//! One simulated Swarm task, from pending to its end.

use micado_api::{PortMapping, Resources};
use micado_core::engine::{SwarmTask, TaskState};

/// Next step of a task.
#[derive(Debug, Clone, Copy)]
pub enum TaskTurn {
    /// Its process runs.
    Runs,
    /// Its process ends with this code.
    Ends(i64),
    /// The Swarm makes its successor.
    Replaced,
    /// It has stopped and is dropped.
    Gone,
}

/// A task of ours or a foreign one.
pub struct Task {
    pub view: SwarmTask,
    /// Swarm name of its service; `None` for a foreign one.
    pub service: Option<String>,
    /// Requested machine ports.
    pub wants: Vec<PortMapping>,
    pub node: Option<u64>,
}

impl Task {
    /// Returns true if it takes room on its node.
    pub fn takes_room(&self) -> bool {
        self.node.is_some() && matches!(self.view.state, TaskState::Starting | TaskState::Running)
    }
    /// Returns true if a foreign process on its node has one of the ports that were chosen for it:
    /// one in 50, on each node others.
    pub fn lacks_port(&self) -> bool {
        let node = self.node.unwrap_or_default();
        let mut chosen = self.wants.iter().filter_map(|port| port.host);
        chosen.any(|port| port >= 25_000 && (u64::from(port) + 7 * node).is_multiple_of(50))
    }
    /// The next task of the same service.
    pub fn successor(&self, serial: u64) -> Self {
        let view = SwarmTask {
            id: format!("t{serial}"),
            node: None,
            state: TaskState::New,
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
            state: TaskState::New,
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
