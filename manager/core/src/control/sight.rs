//! The engine as last seen, indexed for the questions that the core asks.

use super::placing::host_ports;
use crate::{
    engine::{NodeView, Observation, ServiceView, TaskState, TaskView},
    planner::HostPort,
};
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
    /// What the tasks of others have on each node: room and ports.
    foreign: BTreeMap<String, (Resources, BTreeSet<HostPort>)>,
    /// Indices of nodes whose instance has several.
    doubles: BTreeMap<InstanceId, Vec<usize>>,
}

impl Sight {
    pub(super) fn new(observation: Observation) -> Self {
        let Observation {
            nodes,
            services,
            tasks,
        } = observation;
        let mut node_of: BTreeMap<InstanceId, usize> = BTreeMap::new();
        let mut doubles: BTreeMap<InstanceId, Vec<usize>> = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            if let Some(instance) = &node.instance {
                let other = node_of.get(instance).map(|other| &nodes[*other]);
                if let Some(first) = node_of.get(instance).filter(|_| other.is_some()) {
                    doubles
                        .entry(instance.clone())
                        .or_insert_with(|| vec![*first])
                        .push(index);
                }
                if other.is_none_or(|other| !other.ready) {
                    node_of.insert(instance.clone(), index);
                }
            }
        }
        let mut by_service: BTreeMap<String, Vec<TaskView>> = BTreeMap::new();
        for task in tasks {
            by_service
                .entry(task.service.clone())
                .or_default()
                .push(task);
        }
        for tasks in by_service.values_mut() {
            tasks.sort_by_key(|task| task.version);
        }
        let mut of_container: BTreeMap<ContainerName, BTreeSet<String>> = BTreeMap::new();
        for service in &services {
            of_container
                .entry(service.container.clone())
                .or_default()
                .insert(service.name.clone());
        }
        let ours: BTreeSet<&str> = services.iter().map(|service| service.id.as_str()).collect();
        let foreign = foreign(
            by_service
                .iter()
                .filter(|(service, _)| !ours.contains(service.as_str()))
                .flat_map(|(_, tasks)| tasks),
        );
        let services = services
            .into_iter()
            .map(|service| (service.name.clone(), service))
            .collect();
        Self {
            nodes,
            node_of,
            services,
            of_container,
            tasks: by_service,
            foreign,
            doubles,
        }
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
        self.of_container
            .get(container)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
    /// Its tasks, the latest last.
    pub(super) fn tasks_of(&self, name: &str) -> &[TaskView] {
        self.services
            .get(name)
            .and_then(|service| self.tasks.get(&service.id))
            .map_or(&[], Vec::as_slice)
    }
    /// The task that Swarm wants to run, else the last one it wanted.
    pub(super) fn task(&self, name: &str) -> Option<&TaskView> {
        let tasks = self.tasks_of(name);
        tasks
            .iter()
            .rev()
            .find(|task| task.wanted)
            .or_else(|| tasks.last())
    }
    /// The last task of a Swarm service whose process ended or failed to start, if its present one
    /// does not run.
    pub(super) fn failure(&self, name: &str) -> Option<&TaskView> {
        if self
            .task(name)
            .is_some_and(|task| task.state == TaskState::Running)
        {
            return None;
        }
        self.tasks_of(name)
            .iter()
            .rev()
            .find(|task| matches!(task.state, TaskState::Failed | TaskState::Complete))
    }
    /// Whether a node is at it: starting it, or running it.
    pub(super) fn is_held(&self, name: &str) -> bool {
        self.task(name).is_some_and(|task| {
            task.wanted && matches!(task.state, TaskState::Starting | TaskState::Running)
        })
    }
    /// Whether a task of a Swarm service is on this node still that is not wanted any more.
    pub(super) fn ends(&self, name: &str, node: &str) -> bool {
        let there = |task: &&TaskView| {
            task.node.as_deref() == Some(node)
                && matches!(task.state, TaskState::Starting | TaskState::Running)
        };
        self.tasks_of(name)
            .iter()
            .filter(there)
            .any(|task| !task.wanted)
    }
    pub(super) fn runs(&self, name: &str) -> bool {
        self.task(name)
            .is_some_and(|task| task.wanted && task.state == TaskState::Running)
    }
    /// What the tasks on a node that belong to no service of ours reserve there.
    pub(super) fn foreign_reserved(&self, node: &str) -> Resources {
        self.foreign
            .get(node)
            .map_or_else(Resources::default, |(reserved, _)| *reserved)
    }
    /// The machine ports that they have.
    pub(super) fn foreign_ports(&self, node: &str) -> BTreeSet<HostPort> {
        self.foreign
            .get(node)
            .map_or_else(BTreeSet::new, |(_, ports)| ports.clone())
    }
    /// The nodes of an instance, if it has several: a machine that joined again left the old one
    /// behind.
    pub(super) fn doubles(&self, instance: &InstanceId) -> impl Iterator<Item = &NodeView> {
        self.doubles
            .get(instance)
            .into_iter()
            .flatten()
            .map(|index| &self.nodes[*index])
    }
}

/// What tasks have on each node: those of others, and those of ours that are still stopping. They
/// take room and ports too.
fn foreign<'a>(
    tasks: impl Iterator<Item = &'a TaskView>,
) -> BTreeMap<String, (Resources, BTreeSet<HostPort>)> {
    let mut foreign: BTreeMap<String, (Resources, BTreeSet<HostPort>)> = BTreeMap::new();
    for task in tasks.filter(|task| {
        matches!(task.state, TaskState::Starting | TaskState::Running) || task.wanted
    }) {
        if let Some(node) = &task.node {
            let (reserved, ports) = foreign.entry(node.clone()).or_default();
            *reserved += task.reservation;
            ports.extend(host_ports(&task.ports));
        }
    }
    foreign
}
