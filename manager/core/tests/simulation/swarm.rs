//! The simulated Swarm: nodes, services and tasks, and the scheduler that brings them together.

use crate::{
    clock::{Clock, Happening},
    task::{Task, TaskTurn},
};
use micado_api::{ContainerName, InstanceId, MemoryBytes, NanoCpus, Resources, RestartPolicy};
use micado_core::{
    engine::{Delta, EngineError, Observation, SwarmNode, SwarmService, SwarmTask, TaskState},
    model::{Container, Copy, Service as ServiceRecord},
};
use std::collections::{BTreeMap, BTreeSet};

/// Host name of foreign nodes.
pub const STRANGER: &str = "stranger";

/// Next step of a node.
#[derive(Debug, Clone, Copy)]
pub enum NodeTurn {
    /// The Swarm notices its silence.
    Missed,
    /// The Swarm receives its heartbeat again.
    Heard,
}

/// A node and whether its machine answers.
pub struct Node {
    pub view: SwarmNode,
    /// Its machine is off, frozen or cut off; the Swarm notices later.
    pub silent: bool,
    /// Time at which the Swarm notices its silence.
    pub missed_at: u64,
    /// It left or was removed from the list: it never comes back.
    pub left: bool,
}

/// A Swarm service of ours.
pub struct Service {
    pub view: SwarmService,
    /// Made by a call that had timed out, or by a manager that had died.
    pub late: bool,
    /// A task of it has run.
    pub has_run: bool,
    /// Its machine's agent checks it.
    pub is_checked: bool,
    /// Policy for the successors of ended tasks.
    pub restart: RestartPolicy,
}

/// The engine, as seen by the manager's calls.
#[derive(Default)]
pub struct Swarm {
    pub nodes: BTreeMap<u64, Node>,
    pub services: BTreeMap<String, Service>,
    pub tasks: BTreeMap<u64, Task>,
    pub down: bool,
    /// Present worker token.
    pub token: u64,
    /// Token with which the last machine joined.
    pub entered_with: Option<u64>,
    /// Heartbeat of nodes, in milliseconds.
    pub heartbeat: u64,
    pub replaces_lost_tasks: bool,
    /// Containers whose process really ended for good.
    pub completed: BTreeSet<ContainerName>,
    /// Nodes with an event since the last observation.
    pub changed_nodes: BTreeSet<String>,
    /// Services with an event since the last observation.
    pub changed_services: BTreeSet<String>,
    /// Services with changed tasks since the last observation.
    pub moved: BTreeSet<String>,
    /// Tasks or nodes changed, so a pending task may fit.
    pub unsettled: bool,
    /// Counts changes.
    pub revision: u64,
}

impl Swarm {
    pub fn observe(&mut self, as_of: u64) -> Observation {
        self.changed_nodes.clear();
        self.changed_services.clear();
        self.moved.clear();
        Observation {
            as_of,
            nodes: self
                .nodes
                .values()
                .filter(|it| !it.view.id.is_empty())
                .map(|it| it.view.clone())
                .collect(),
            services: self.services.values().map(|it| it.view.clone()).collect(),
            tasks: self.tasks.values().map(|it| it.view.clone()).collect(),
        }
    }

    /// Observes nodes and services with an event, these services, and the tasks of all of them and
    /// of polled services. `ids` are the services that were observed before.
    pub fn glance(
        &mut self,
        as_of: u64,
        asked: BTreeSet<String>,
        polled: BTreeSet<String>,
        ids: &mut BTreeMap<String, String>,
    ) -> Delta {
        let nodes = std::mem::take(&mut self.changed_nodes);
        let mut services = std::mem::take(&mut self.changed_services);
        services.extend(asked);
        self.moved.clear();
        let node = |id: &String| {
            self.nodes
                .values()
                .map(|it| &it.view)
                .find(|it| it.id == *id)
        };
        let service = |name: &String| self.services.get(name).map(|it| it.view.clone());
        let services: Vec<_> = services
            .into_iter()
            .map(|name| (name.clone(), service(&name)))
            .collect();
        for (name, view) in &services {
            if let Some(view) = view {
                ids.insert(name.clone(), view.id.clone());
            }
        }
        let on_nodes = self.tasks.values().filter(|it| {
            it.view
                .node
                .as_ref()
                .is_some_and(|node| nodes.contains(node))
        });
        let mut wanted: BTreeSet<String> = on_nodes.map(|it| it.view.service.clone()).collect();
        let names = services.iter().map(|(name, _)| name).chain(&polled);
        wanted.extend(names.filter_map(|name| ids.get(name).cloned()));
        let mut tasks: BTreeMap<String, Vec<SwarmTask>> =
            wanted.into_iter().map(|id| (id, Vec::new())).collect();
        for task in self.tasks.values() {
            if let Some(tasks) = tasks.get_mut(&task.view.service) {
                tasks.push(task.view.clone());
            }
        }
        Delta {
            as_of,
            nodes: nodes
                .iter()
                .map(|id| (id.clone(), node(id).cloned()))
                .collect(),
            services,
            tasks: tasks.into_iter().collect(),
        }
    }

    /// The present task of a service.
    pub fn task_of(&self, service: &str) -> Option<&Task> {
        self.tasks
            .values()
            .filter(|it| it.service.as_deref() == Some(service))
            .max_by_key(|it| it.view.version)
    }

    /// Returns true if a service's present task really runs on a machine that answers.
    pub fn runs(&self, service: &str) -> bool {
        self.runs_on(service, |node| !node.silent)
    }

    /// As `runs`, as far as the Swarm knows: it has not missed a silent node yet.
    pub fn shows_running(&self, service: &str) -> bool {
        self.runs_on(service, |_| true)
    }

    fn runs_on(&self, service: &str, on: impl Fn(&Node) -> bool) -> bool {
        self.task_of(service).is_some_and(|task| {
            let node = task.node.and_then(|id| self.nodes.get(&id));
            task.view.state == TaskState::Running
                && task.view.wanted
                && node.is_some_and(|node| node.view.ready && on(node))
        })
    }

    pub fn node_of(&self, instance: &InstanceId) -> Option<(&u64, &Node)> {
        self.nodes
            .iter()
            .find(|(_, it)| it.view.instance.as_ref() == Some(instance) && !it.left)
    }

    pub fn join(&mut self, clock: &mut Clock, view: SwarmNode) -> u64 {
        let serial = clock.serial();
        self.nodes.insert(
            serial,
            Node {
                view: SwarmNode {
                    id: format!("n{serial}"),
                    ..view
                },
                silent: false,
                missed_at: 0,
                left: false,
            },
        );
        self.touch_node(&format!("n{serial}"));
        serial
    }

    /// Returns true for a foreign node.
    pub fn is_stranger(&self, id: &str) -> bool {
        self.nodes
            .values()
            .any(|it| it.view.id == id && it.view.hostname == STRANGER)
    }

    pub fn create(
        &mut self,
        clock: &mut Clock,
        made_from: (&ServiceRecord, &Container, &Copy, &str),
        late: bool,
    ) -> Result<(), EngineError> {
        let (service, container, copy, node) = made_from;
        let name = copy.swarm_name.clone();
        if self.services.contains_key(&name) {
            return Ok(());
        }
        let serial = clock.serial();
        let view = SwarmService {
            id: format!("s{serial}"),
            name: name.clone(),
            container: container.name.clone(),
            instance: copy.instance.clone(),
            node: Some(node.to_owned()),
            generation: copy.generation,
            edited: false,
            records: serde_json::to_string(&(service, container))
                .ok()
                .map(Into::into),
        };
        let task = Task::first(
            serial,
            (view.id.clone(), Some(name.clone())),
            service.spec.reservation,
            copy.published(&service.spec).collect(),
        );
        self.tasks.insert(serial, task);
        self.services.insert(
            name.clone(),
            Service {
                view,
                late,
                has_run: false,
                is_checked: copy.health.is_some(),
                restart: service.spec.restart,
            },
        );
        self.changed_services.insert(name.clone());
        self.touch_task(&name);
        Ok(())
    }

    pub fn remove(&mut self, clock: &mut Clock, name: &str) {
        if self.services.remove(name).is_none() {
            return;
        }
        let theirs: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.service.as_deref() == Some(name))
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            task.view.wanted = false;
            if task.takes_room() {
                clock.within(50, 10_000, Happening::Task(id, TaskTurn::Gone));
            } else {
                self.tasks.remove(&id);
            }
        }
        self.changed_services.insert(name.to_owned());
        self.touch_task(name);
    }

    pub fn set_active(&mut self, id: &str, active: bool) -> Result<(), EngineError> {
        let node = self
            .nodes
            .values_mut()
            .find(|it| it.view.id == id)
            .ok_or_else(|| EngineError::NotFound(format!("node {id} not found")))?;
        node.view.active = active;
        self.touch_node(id);
        Ok(())
    }

    pub fn remove_node(&mut self, clock: &mut Clock, id: &str) {
        let Some(serial) = self
            .nodes
            .iter()
            .find(|(_, it)| it.view.id == id)
            .map(|(serial, _)| *serial)
        else {
            return;
        };
        self.nodes.remove(&serial);
        let theirs: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.node == Some(serial))
            .map(|(id, _)| *id)
            .collect();
        for task in theirs {
            if let Some(task) = self.tasks.remove(&task)
                && task.view.wanted
                && task
                    .service
                    .as_ref()
                    .is_some_and(|it| self.services.contains_key(it))
            {
                self.succeed(clock, &task);
            }
        }
        self.touch_node(id);
    }

    /// Makes a successor of this task.
    pub fn succeed(&mut self, clock: &mut Clock, task: &Task) {
        let serial = clock.serial();
        self.tasks.insert(serial, task.successor(serial));
        if let Some(service) = task.service.clone() {
            self.touch_task(&service);
        }
    }

    pub fn touch_node(&mut self, id: &str) {
        self.changed_nodes.insert(id.to_owned());
        self.unsettled = true;
        self.revision += 1;
    }

    pub fn touch_task(&mut self, service: &str) {
        self.moved.insert(service.to_owned());
        self.unsettled = true;
        self.revision += 1;
    }

    /// Assigns pending tasks to nodes with room, oldest first.
    pub fn schedule(&mut self, clock: &mut Clock) {
        if self.down || !std::mem::take(&mut self.unsettled) {
            return;
        }
        let pending: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.view.state <= TaskState::Pending && it.view.wanted)
            .map(|(id, _)| *id)
            .collect();
        for id in pending {
            let found = self.tasks.get(&id).map(|task| self.fitting(task));
            let (Some(found), Some(task)) = (found, self.tasks.get_mut(&id)) else {
                continue;
            };
            match found {
                Ok((serial, node)) => {
                    task.node = Some(serial);
                    task.view.node = Some(node);
                    task.view.state = TaskState::Starting;
                    task.view.message = None;
                    clock.within(50, 3_000, Happening::Task(id, TaskTurn::Runs));
                    if let Some(service) = task.service.clone() {
                        self.moved.insert(service);
                    }
                }
                Err(message) => {
                    task.view.state = TaskState::Pending;
                    task.view.message = Some(message.to_owned());
                }
            }
        }
    }

    fn fitting(&self, task: &Task) -> Result<(u64, String), &'static str> {
        let pin = task
            .service
            .as_ref()
            .and_then(|it| self.services.get(it))
            .and_then(|it| it.view.node.as_ref());
        let mut why = "no suitable node (scheduling constraints not satisfied)";
        for (serial, node) in &self.nodes {
            if !node.view.ready
                || !node.view.active
                || node.view.manager
                || pin.is_some_and(|pin| *pin != node.view.id)
            {
                continue;
            }
            if !(self.taken(*serial) + task.view.reservation).fits_in(&node.view.size) {
                why = "no suitable node (insufficient resources on 1 node)";
            } else if self
                .tasks
                .values()
                .any(|it| it.node == Some(*serial) && it.takes_room() && clash(it, task))
            {
                why = "no suitable node (host-mode port already in use on 1 node)";
            } else {
                return Ok((*serial, node.view.id.clone()));
            }
        }
        Err(why)
    }

    /// Resources reserved on a node.
    pub fn taken(&self, node: u64) -> Resources {
        let none = Resources::new(MemoryBytes(0), NanoCpus(0));
        self.tasks
            .values()
            .filter(|it| it.node == Some(node) && it.takes_room())
            .fold(none, |sum, it| sum + it.view.reservation)
    }
}

fn clash(one: &Task, other: &Task) -> bool {
    one.wants.iter().any(|a| {
        a.host.is_some()
            && other
                .wants
                .iter()
                .any(|b| a.host == b.host && a.protocol == b.protocol)
    })
}
