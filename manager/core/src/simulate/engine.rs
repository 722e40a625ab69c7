//! Lean Swarm of a simulated cluster: nodes, and one task for each Swarm service.

use crate::{
    engine::{Delta, Observation, SwarmNode, SwarmService, SwarmTask, TaskState},
    model::{Container, Copy, Service},
};
use micado_api::{InstanceId, ServiceName, Timestamp};
use std::collections::BTreeMap;

/// A Swarm service with its task.
#[derive(Debug)]
pub struct Task {
    pub service: ServiceName,
    view: SwarmService,
    task: SwarmTask,
    /// Time since which it runs.
    pub ran_at: Option<Timestamp>,
}

/// The engine that the core calls and observes.
#[derive(Debug, Default)]
pub struct Engine {
    nodes: BTreeMap<String, SwarmNode>,
    tasks: BTreeMap<String, Task>,
    /// Number of the last observation that the core asked for.
    pub looks: u64,
}

impl Engine {
    /// Creates the Swarm service of a copy. Its task starts.
    pub fn create(&mut self, service: &Service, container: &Container, copy: &Copy, node: &str) {
        let name = &copy.swarm_name;
        let view = SwarmService {
            id: name.clone(),
            name: name.clone(),
            container: container.name.clone(),
            instance: copy.instance.clone(),
            node: Some(node.to_owned()),
            generation: copy.generation,
            edited: false,
            records: None,
        };
        let task = SwarmTask {
            id: name.clone(),
            service: name.clone(),
            node: Some(node.to_owned()),
            state: TaskState::Starting,
            wanted: true,
            version: 1,
            message: None,
            exit_code: None,
            reservation: copy.reservation,
            ports: Vec::new(),
        };
        let task = Task {
            service: service.name.clone(),
            view,
            task,
            ran_at: None,
        };
        self.tasks.insert(name.clone(), task);
    }

    /// The task of a Swarm service runs from now on; false if it was removed.
    pub fn run(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(task) = self.tasks.get_mut(name) else {
            return false;
        };
        (task.task.state, task.ran_at) = (TaskState::Running, Some(now));
        true
    }

    /// Removes a Swarm service, and returns it. Its process ends at once.
    pub fn remove(&mut self, name: &str) -> Option<Task> {
        self.tasks.remove(name)
    }

    /// Tasks by the name of their Swarm service.
    pub fn tasks(&self) -> impl Iterator<Item = (&String, &Task)> {
        self.tasks.iter()
    }

    /// True if a container has a Swarm service.
    pub fn has_copy(&self, container: &Container) -> bool {
        let mut copies = container.copies.iter();
        copies.any(|copy| self.tasks.contains_key(&copy.swarm_name))
    }

    pub fn join(&mut self, node: SwarmNode) {
        self.nodes.insert(node.id.clone(), node);
    }

    /// Opens a node for tasks, or closes it.
    pub fn set_active(&mut self, node: &str, active: bool) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.active = active;
        }
    }

    pub fn remove_node(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// The whole engine.
    pub fn observe(&self) -> Observation {
        Observation {
            as_of: self.looks,
            nodes: self.nodes.values().cloned().collect(),
            services: self.tasks.values().map(|task| task.view.clone()).collect(),
            tasks: self.tasks.values().map(|task| task.task.clone()).collect(),
        }
    }

    /// These Swarm services with their tasks.
    pub fn glance(&self, names: Vec<String>) -> Delta {
        let tasks_of = |name: &String| {
            let task = self.tasks.get(name).map(|task| task.task.clone());
            (name.clone(), task.into_iter().collect())
        };
        let tasks = names.iter().map(tasks_of).collect();
        let service = |name: String| {
            let view = self.tasks.get(&name).map(|task| task.view.clone());
            (name, view)
        };
        Delta {
            as_of: self.looks,
            nodes: Vec::new(),
            services: names.into_iter().map(service).collect(),
            tasks,
        }
    }

    /// A node that changed.
    pub fn glance_at_node(&self, node: &str) -> Delta {
        Delta {
            as_of: self.looks,
            nodes: vec![(node.to_owned(), self.nodes.get(node).cloned())],
            ..Delta::default()
        }
    }
}

impl Task {
    pub const fn instance(&self) -> &InstanceId {
        &self.view.instance
    }
}
