//! The engine as last seen, indexed for the questions that the core asks.

use crate::engine::{NodeView, Observation, ServiceView, TaskState, TaskView};
use micado_api::{ContainerName, InstanceId, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// One observation of the engine.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) nodes: Vec<NodeView>,
    /// Index into `nodes`; of several nodes of one instance the one that is ready.
    node_of: BTreeMap<InstanceId, usize>,
    services: BTreeMap<String, ServiceView>,
    /// Swarm names by container.
    of_container: BTreeMap<ContainerName, BTreeSet<String>>,
    /// Tasks by the Swarm id of their service, latest last.
    tasks: BTreeMap<String, Vec<TaskView>>,
    ours: BTreeSet<String>,
}

impl Sight {
    pub(super) fn new(observation: Observation) -> Self {
        let Observation { nodes, services, tasks } = observation;
        let mut node_of: BTreeMap<InstanceId, usize> = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            if let Some(instance) = &node.instance {
                let other = node_of.get(instance).map(|other| &nodes[*other]);
                if other.is_none_or(|other| !other.ready) {
                    node_of.insert(instance.clone(), index);
                }
            }
        }
        let mut by_service: BTreeMap<String, Vec<TaskView>> = BTreeMap::new();
        for task in tasks {
            by_service.entry(task.service.clone()).or_default().push(task);
        }
        for tasks in by_service.values_mut() {
            tasks.sort_by_key(|task| task.version);
        }
        let mut of_container: BTreeMap<ContainerName, BTreeSet<String>> = BTreeMap::new();
        for service in &services {
            of_container.entry(service.container.clone()).or_default().insert(service.name.clone());
        }
        let ours = services.iter().map(|service| service.id.clone()).collect();
        let services = services.into_iter().map(|service| (service.name.clone(), service)).collect();
        Self { nodes, node_of, services, of_container, tasks: by_service, ours }
    }

    /// The node of an instance.
    pub(super) fn node(&self, instance: &InstanceId) -> Option<&NodeView> {
        self.node_of.get(instance).map(|index| &self.nodes[*index])
    }
    /// Our Swarm services, by name.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceView> {
        self.services.values()
    }
    pub(super) fn service(&self, name: &str) -> Option<&ServiceView> {
        self.services.get(name)
    }
    pub(super) fn has_service(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }
    /// The Swarm services of a container.
    pub(super) fn services_of(&self, container: &ContainerName) -> impl Iterator<Item = &str> {
        self.of_container.get(container).into_iter().flatten().map(String::as_str)
    }
    fn tasks_of(&self, name: &str) -> &[TaskView] {
        self.services.get(name).and_then(|service| self.tasks.get(&service.id)).map_or(&[], Vec::as_slice)
    }
    /// The task that Swarm wants to run, else the last one it wanted.
    pub(super) fn task(&self, name: &str) -> Option<&TaskView> {
        let tasks = self.tasks_of(name);
        tasks.iter().rev().find(|task| task.wanted).or_else(|| tasks.last())
    }
    /// The last task of a Swarm service that failed, if its present one does not run.
    pub(super) fn failure(&self, name: &str) -> Option<&TaskView> {
        if self.task(name).is_some_and(|task| matches!(task.state, TaskState::Running | TaskState::Complete)) {
            return None;
        }
        self.tasks_of(name).iter().rev().find(|task| task.state == TaskState::Failed)
    }
    pub(super) fn runs(&self, name: &str) -> bool {
        self.task(name).is_some_and(|task| task.wanted && task.state == TaskState::Running)
    }
    /// The tasks on this node that belong to no service of ours: those of others, and those of ours that are still stopping. They take room and ports too.
    pub(super) fn foreign_tasks<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a TaskView> {
        let foreign = self.tasks.iter().filter(|(service, _)| !self.ours.contains(*service)).flat_map(|(_, tasks)| tasks);
        let takes_room = |task: &TaskView| matches!(task.state, TaskState::Starting | TaskState::Running) || task.wanted;
        foreign.filter(move |task| takes_room(task) && task.node.as_deref() == Some(node))
    }
    /// What the tasks of others reserve on this node.
    pub(super) fn foreign_reserved(&self, node: &str) -> Resources {
        self.foreign_tasks(node).fold(Resources::default(), |sum, task| sum + task.reservation)
    }
}
