//! The engine as last observed, indexed for the core's queries. Whole observations and deltas both
//! return [`Touched`]: the affected records.

use super::ports::{host_ports, published};
use crate::{
    engine::{Delta, Observation, SwarmNode, SwarmService, SwarmTask, TaskState},
    planner::HostPort,
};
use ahash::{HashMap, RandomState};
use indexmap::IndexMap;
use micado_api::{ContainerName, InstanceId, Resources};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// In the order of the engine's lists, so that comparing with the next list reads memory in order.
type Listed<T> = IndexMap<String, T, RandomState>;

/// The engine as last observed.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    nodes: BTreeMap<String, SwarmNode>,
    /// Ids of the nodes that claim to be an instance.
    claims: BTreeMap<InstanceId, BTreeSet<String>>,
    services: Listed<SwarmService>,
    /// Swarm names by Swarm id. A removed service stays while tasks of it do.
    names: HashMap<String, String>,
    /// Swarm names by container, sorted. Mostly one.
    of_container: BTreeMap<ContainerName, Vec<String>>,
    /// Tasks by the Swarm id of their service, latest last.
    tasks: Listed<Vec<SwarmTask>>,
    /// Swarm ids of services with tasks on a node that are not in `services`: foreign ones, and
    /// removed ones with processes that have not ended.
    others: HashMap<String, BTreeSet<String>>,
}

/// Objects changed by an observation.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) containers: BTreeSet<ContainerName>,
    /// Ids of nodes that changed, or that have changed tasks.
    pub(super) nodes: BTreeSet<String>,
    /// Instances that these nodes claim, or claimed, to be.
    pub(super) instances: BTreeSet<InstanceId>,
    /// The list of nodes, or a node itself, changed.
    pub(super) membership: bool,
}

impl Observed {
    /// Takes over a whole observation.
    pub(super) fn replace(&mut self, seen: Observation) -> Touched {
        let mut touched = Touched::default();
        let nodes: BTreeSet<String> = seen.nodes.iter().map(|node| node.id.clone()).collect();
        let gone = self.nodes.keys().filter(|id| !nodes.contains(*id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.set_node(&id, None, &mut touched);
        }
        for node in seen.nodes {
            if self.nodes.get(&node.id) != Some(&node) {
                self.set_node(&node.id.clone(), Some(node), &mut touched);
            }
        }
        if self.services.len() + seen.services.len() > 0 {
            self.replace_services(seen.services, &mut touched);
        }
        self.replace_tasks(seen.tasks, &mut touched);
        touched
    }

    fn replace_services(&mut self, seen: Vec<SwarmService>, touched: &mut Touched) {
        let changed = |service: &SwarmService| !self.has_same(&service.name, Some(service));
        let unchanged = seen.iter().filter(|service| !changed(service)).count();
        if unchanged == seen.len() && unchanged == self.services.len() {
            return;
        }
        let there: HashSet<&str> = seen.iter().map(|service| service.name.as_str()).collect();
        let names = self.services.keys();
        let gone = names.filter(|name| !there.contains(name.as_str()));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.set_service(&name, None, touched);
        }
        for service in seen {
            if !self.has_same(&service.name, Some(&service)) {
                self.set_service(&service.name.clone(), Some(service), touched);
            }
        }
    }

    fn replace_tasks(&mut self, seen: Vec<SwarmTask>, touched: &mut Touched) {
        let known = |task: &SwarmTask| {
            let tasks = self.tasks.get(&task.service);
            tasks.is_some_and(|tasks| tasks.contains(task))
        };
        let count: usize = self.tasks.values().map(Vec::len).sum();
        if seen.len() == count && seen.iter().all(known) {
            return;
        }
        let mut by_service: Listed<Vec<SwarmTask>> = Listed::default();
        for task in seen {
            match by_service.get_mut(&task.service) {
                Some(tasks) => tasks.push(task),
                None => drop(by_service.insert(task.service.clone(), vec![task])),
            }
        }
        let gone = self.tasks.keys().filter(|id| !by_service.contains_key(*id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.set_tasks(&id, Vec::new(), touched);
        }
        for (id, mut tasks) in by_service {
            tasks.sort_by_key(|task| task.version);
            if self.tasks.get(&id) != Some(&tasks) {
                self.set_tasks(&id, tasks, touched);
            }
        }
    }

    /// Takes over a partial observation.
    pub(super) fn apply(&mut self, delta: Delta) -> Touched {
        let mut touched = Touched::default();
        for (id, node) in delta.nodes {
            if self.nodes.get(&id) != node.as_ref() {
                self.set_node(&id, node, &mut touched);
            }
        }
        for (name, service) in delta.services {
            if !self.has_same(&name, service.as_ref()) {
                self.set_service(&name, service, &mut touched);
            }
        }
        for (id, mut tasks) in delta.tasks {
            tasks.sort_by_key(|task| task.version);
            if self.tasks.get(&id).map_or(&[][..], Vec::as_slice) != tasks {
                self.set_tasks(&id, tasks, &mut touched);
            }
        }
        touched
    }

    fn set_node(&mut self, id: &str, node: Option<SwarmNode>, touched: &mut Touched) {
        touched.membership = true;
        touched.nodes.insert(id.to_owned());
        let new = node.as_ref().and_then(|node| node.instance.clone());
        if let Some(new) = new {
            self.claims
                .entry(new.clone())
                .or_default()
                .insert(id.to_owned());
            touched.instances.insert(new);
        }
        let old = match node {
            Some(node) => self.nodes.insert(id.to_owned(), node),
            None => self.nodes.remove(id),
        };
        let claimed = self.nodes.get(id).and_then(|node| node.instance.as_ref());
        if let Some(old) = old
            .and_then(|node| node.instance)
            .filter(|old| claimed != Some(old))
            && let Some(nodes) = self.claims.get_mut(&old)
        {
            nodes.remove(id);
            if nodes.is_empty() {
                self.claims.remove(&old);
            }
            touched.instances.insert(old);
        } else if let Some(same) = claimed {
            touched.instances.insert(same.clone());
        }
    }

    /// Returns true if this is known of a service. Its records never change while it exists.
    fn has_same(&self, name: &str, service: Option<&SwarmService>) -> bool {
        let (Some(known), Some(seen)) = (self.services.get(name), service) else {
            return service.is_none() && !self.services.contains_key(name);
        };
        let SwarmService {
            id,
            name,
            container,
            instance,
            node,
            generation,
            edited,
            records: _,
        } = known;
        let same_place = *instance == seen.instance && *node == seen.node;
        let same_copy = *container == seen.container && *generation == seen.generation;
        let same_copy = same_copy && *edited == seen.edited;
        *id == seen.id && *name == seen.name && same_place && same_copy
    }

    /// Drops the records of a container's services: they are most of an observation, and needed
    /// only to adopt a container without a record.
    pub(super) fn drop_records(&mut self, container: &ContainerName) {
        for name in self.of_container.get(container).into_iter().flatten() {
            if let Some(service) = self.services.get_mut(name) {
                service.records = None;
            }
        }
    }

    fn set_service(&mut self, name: &str, service: Option<SwarmService>, touched: &mut Touched) {
        let old = match service {
            Some(service) => {
                self.names.insert(service.id.clone(), name.to_owned());
                let names = self
                    .of_container
                    .entry(service.container.clone())
                    .or_default();
                if let Err(at) = names.binary_search_by(|other| other.as_str().cmp(name)) {
                    names.reserve_exact(1);
                    names.insert(at, name.to_owned());
                }
                touched.containers.insert(service.container.clone());
                self.index_tasks(&service.id, false);
                let on = self.tasks.get(&service.id).into_iter().flatten();
                let nodes = on.filter_map(|task| task.node.clone());
                touched.nodes.extend(nodes);
                self.services.insert(name.to_owned(), service)
            }
            None => self.services.swap_remove(name),
        };
        let Some(old) = old else { return };
        let now = self.services.get(name);
        if now.is_none_or(|now| now.container != old.container)
            && let Some(names) = self.of_container.get_mut(&old.container)
        {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.of_container.remove(&old.container);
            }
        }
        if now.is_none_or(|now| now.id != old.id) {
            self.index_tasks(&old.id, true);
            let on = self.tasks.get(&old.id).into_iter().flatten();
            touched
                .nodes
                .extend(on.filter_map(|task| task.node.clone()));
            if !self.tasks.contains_key(&old.id) {
                self.names.remove(&old.id);
            }
        }
        touched.containers.insert(old.container);
    }

    fn set_tasks(&mut self, service: &str, mut tasks: Vec<SwarmTask>, touched: &mut Touched) {
        let name = self.names.get(service);
        let ours = name.and_then(|name| self.services.get(name));
        match ours.filter(|ours| ours.id == service) {
            Some(ours) => drop(touched.containers.insert(ours.container.clone())),
            None => {
                self.index_tasks(service, false);
                let old = self.tasks.get(service).into_iter().flatten();
                let nodes = old.chain(&tasks).filter_map(|task| task.node.clone());
                touched.nodes.extend(nodes);
            }
        }
        if tasks.is_empty() {
            self.tasks.swap_remove(service);
            if self
                .names
                .get(service)
                .is_some_and(|name| self.services.get(name).is_none_or(|it| it.id != service))
            {
                self.names.remove(service);
            }
        } else {
            tasks.shrink_to_fit();
            self.tasks.insert(service.to_owned(), tasks);
            if self.is_other(service) {
                self.index_tasks(service, true);
            }
        }
    }

    fn is_other(&self, service: &str) -> bool {
        self.names
            .get(service)
            .and_then(|name| self.services.get(name))
            .is_none_or(|ours| ours.id != service)
    }

    /// Updates the nodes with tasks of a service that is not, or no longer, ours.
    fn index_tasks(&mut self, service: &str, there: bool) {
        for task in self.tasks.get(service).into_iter().flatten() {
            let Some(node) = &task.node else { continue };
            if there {
                self.others
                    .entry(node.clone())
                    .or_default()
                    .insert(service.to_owned());
            } else if let Some(services) = self.others.get_mut(node) {
                services.remove(service);
                if services.is_empty() {
                    self.others.remove(node);
                }
            }
        }
    }

    /// All nodes of the Swarm.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &SwarmNode> {
        self.nodes.values()
    }

    pub(super) fn node(&self, id: &str) -> Option<&SwarmNode> {
        self.nodes.get(id)
    }

    /// Nodes that claim to be an instance.
    pub(super) fn claimants(&self, instance: &InstanceId) -> impl Iterator<Item = &SwarmNode> {
        let ids = self.claims.get(instance).into_iter().flatten();
        ids.filter_map(|id| self.nodes.get(id))
    }

    /// Instances that nodes claim to be.
    pub(super) fn claimed(&self) -> impl Iterator<Item = &InstanceId> {
        self.claims.keys()
    }

    /// Containers that have a Swarm service.
    pub(super) fn containers(&self) -> impl Iterator<Item = &ContainerName> {
        self.of_container.keys()
    }

    pub(super) fn service(&self, name: &str) -> Option<&SwarmService> {
        self.services.get(name)
    }

    pub(super) fn has_service(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }

    /// The Swarm services of a container.
    pub(super) fn services_of(
        &self,
        container: &ContainerName,
    ) -> impl Iterator<Item = &SwarmService> {
        let names = self.of_container.get(container).into_iter().flatten();
        names.filter_map(|name| self.services.get(name))
    }

    /// Tasks of a Swarm service, the latest last.
    pub(super) fn tasks_of(&self, name: &str) -> &[SwarmTask] {
        self.services
            .get(name)
            .and_then(|service| self.tasks.get(&service.id))
            .map_or(&[], Vec::as_slice)
    }

    /// The task that Swarm wants to run, else the last one that it wanted.
    pub(super) fn task(&self, name: &str) -> Option<&SwarmTask> {
        let tasks = self.tasks_of(name);
        tasks
            .iter()
            .rev()
            .find(|task| task.wanted)
            .or_else(|| tasks.last())
    }

    /// The last task of a Swarm service with a process that ended or failed to start, if its
    /// present one does not run.
    pub(super) fn failure(&self, name: &str) -> Option<&SwarmTask> {
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

    /// Returns true if a node starts or runs it.
    pub(super) fn is_held(&self, name: &str) -> bool {
        self.task(name)
            .is_some_and(|task| task.wanted && has_process(task))
    }

    /// Returns true if an unwanted task of a Swarm service is still on this node.
    pub(super) fn ends(&self, name: &str, node: &str) -> bool {
        self.tasks_of(name)
            .iter()
            .any(|task| !task.wanted && task.node.as_deref() == Some(node) && has_process(task))
    }

    pub(super) fn runs(&self, name: &str) -> bool {
        self.task(name)
            .is_some_and(|task| task.wanted && task.state == TaskState::Running)
    }

    /// Tells if a removed Swarm service still has a process on this node: `Some(true)` if
    /// certain, `Some(false)` if possible, or `None`. Swarm keeps the tasks of a removed service
    /// until their processes have ended. Their service is known if it was observed before. If not,
    /// a task of an unknown service that is to end may belong to it.
    pub(super) fn ending(&self, name: &str, node: &str) -> Option<bool> {
        let services = self.others.get(node).into_iter().flatten();
        let known = services.map(|id| (id, self.names.get(id).map(|known| known == name)));
        let its = known.filter(|(_, is_it)| *is_it != Some(false));
        let ending = its.filter(|(id, _)| {
            let tasks = self.tasks.get(*id).into_iter().flatten();
            let mut here = tasks.filter(|task| task.node.as_deref() == Some(node));
            here.any(|task| !task.wanted && has_process(task))
        });
        ending.map(|(_, is_it)| is_it.is_some()).max()
    }

    /// Use of a node by tasks that are no copies of ours; `is_counted` names removed services that
    /// are counted elsewhere.
    pub(super) fn foreign(&self, node: &str, is_counted: impl Fn(&str) -> bool) -> ForeignUse {
        let mut foreign = ForeignUse::default();
        let services = self.others.get(node).into_iter().flatten();
        let tasks = services
            .filter(|id| !self.names.get(*id).is_some_and(|name| is_counted(name)))
            .flat_map(|id| self.tasks.get(id).into_iter().flatten());
        for task in tasks.filter(|task| task.node.as_deref() == Some(node)) {
            if has_process(task) || task.wanted {
                foreign.reserved += task.reservation;
                foreign.containers += 1;
                foreign.ports.extend(host_ports(task.ports.iter().copied()));
                foreign.published += published(&task.ports);
            }
        }
        foreign
    }
}

/// Use of a node by tasks that are no copies of ours.
#[derive(Debug, Default)]
pub(super) struct ForeignUse {
    pub(super) reserved: Resources,
    pub(super) containers: u32,
    pub(super) published: u32,
    pub(super) ports: BTreeSet<HostPort>,
}

/// Whether a node starts or runs the task's process.
fn has_process(task: &SwarmTask) -> bool {
    matches!(task.state, TaskState::Starting | TaskState::Running)
}
