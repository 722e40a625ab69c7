//! Steps of nodes and tasks of the simulated Swarm, and the effects of a machine's faults on its
//! node.

use crate::{
    clock::{Clock, Happening},
    swarm::{NodeTurn, Swarm},
    task::TaskTurn,
};
use micado_core::engine::TaskState;

impl Swarm {
    /// The machine of this node stops answering. The Swarm waits for three heartbeats, and the last
    /// one may have been a while ago.
    pub fn silence(&mut self, clock: &mut Clock, node: u64) {
        if let Some(it) = self.nodes.get_mut(&node).filter(|it| !it.silent) {
            it.silent = true;
            it.missed_at = clock.now + clock.dice.between(2 * self.heartbeat, 3 * self.heartbeat);
            clock.at(it.missed_at, Happening::Node(node, NodeTurn::Missed));
        }
    }

    /// The machine answers again. After a reboot its processes are gone.
    pub fn return_of(&mut self, clock: &mut Clock, node: u64, rebooted: bool) {
        let Some(it) = self.nodes.get_mut(&node).filter(|it| !it.left) else {
            return;
        };
        it.silent = false;
        clock.within(300, 3_000, Happening::Node(node, NodeTurn::Heard));
        let theirs: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.node == Some(node))
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            let Some(task) = self.tasks.get(&id) else {
                continue;
            };
            match (task.view.wanted, task.view.state) {
                (false, _) => clock.within(300, 5_000, Happening::Task(id, TaskTurn::Gone)),
                (true, TaskState::Running) if rebooted => {
                    clock.within(0, 300, Happening::Task(id, TaskTurn::Ends(137)))
                }
                (true, TaskState::Starting) => {
                    clock.within(300, 3_000, Happening::Task(id, TaskTurn::Runs))
                }
                _ => {}
            }
        }
    }

    /// The node leaves and never comes back.
    pub fn leave(&mut self, clock: &mut Clock, node: u64) {
        if let Some(it) = self.nodes.get_mut(&node) {
            it.silent = true;
            it.left = true;
            it.missed_at = clock.now + clock.dice.between(100, 1_000);
            clock.at(it.missed_at, Happening::Node(node, NodeTurn::Missed));
        }
    }

    pub fn node_turn(&mut self, clock: &mut Clock, node: u64, turn: NodeTurn) {
        let Some(it) = self.nodes.get_mut(&node) else {
            return;
        };
        match turn {
            NodeTurn::Missed if it.silent && it.missed_at <= clock.now && it.view.ready => {
                it.view.ready = false;
                if self.replaces_lost_tasks {
                    self.replace_lost(clock, node);
                }
                self.touch_node(&format!("n{node}"));
            }
            NodeTurn::Heard if !it.silent && !it.left && !it.view.ready => {
                it.view.ready = true;
                self.touch_node(&format!("n{node}"));
            }
            _ => {}
        }
    }

    fn replace_lost(&mut self, clock: &mut Clock, node: u64) {
        let lost: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.node == Some(node) && it.view.wanted && it.takes_room())
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.view.wanted = false;
            }
            self.succeed_by_id(clock, id);
        }
    }

    pub fn task_turn(&mut self, clock: &mut Clock, id: u64, turn: TaskTurn) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        // Changes on a silent machine are unknown until it answers again.
        let silent = task
            .node
            .is_some_and(|node| self.nodes.get(&node).is_none_or(|it| it.silent));
        let service = task.service.clone();
        match turn {
            TaskTurn::Replaced => return self.succeed_by_id(clock, id),
            _ if silent => return,
            TaskTurn::Runs
                if task.view.state == TaskState::Starting
                    && task.view.wanted
                    && task.lacks_port() =>
            {
                task.view.state = TaskState::Failed;
                task.view.wanted = false;
                task.view.message =
                    Some("Bind for 0.0.0.0 failed: port is already allocated".into());
                clock.within(5_000, 6_000, Happening::Task(id, TaskTurn::Replaced));
            }
            TaskTurn::Runs if task.view.state == TaskState::Starting && task.view.wanted => {
                task.view.state = TaskState::Running;
                task.view.ports = task.wants.clone();
                for (at, port) in task.view.ports.iter_mut().enumerate() {
                    let chosen =
                        u16::try_from(32_768 + (id * 8 + at as u64) % 28_000).unwrap_or(u16::MAX);
                    port.host = port.host.or(Some(chosen));
                }
                if let Some(it) = service.as_ref().and_then(|it| self.services.get_mut(it)) {
                    it.has_run = true;
                }
            }
            TaskTurn::Ends(code) if task.view.state == TaskState::Running && task.view.wanted => {
                task.view.exit_code = Some(code);
                task.view.wanted = false;
                task.view.ports.clear();
                if code == 0 {
                    task.view.state = TaskState::Complete;
                } else {
                    task.view.state = TaskState::Failed;
                    task.view.message = Some(format!("task: non-zero exit ({code})"));
                }
                let service = service.as_ref().and_then(|it| self.services.get(it));
                let container = service.map(|it| it.view.container.clone());
                if service.is_some_and(|it| it.restart.ends_at(code)) {
                    self.completed.extend(container);
                } else {
                    clock.within(5_000, 6_000, Happening::Task(id, TaskTurn::Replaced));
                }
            }
            TaskTurn::Gone if !task.view.wanted => {
                let alone = service
                    .as_ref()
                    .is_none_or(|it| !self.services.contains_key(it));
                if alone {
                    self.tasks.remove(&id);
                } else {
                    task.view.state = TaskState::Stopped;
                }
            }
            _ => return,
        }
        self.touch_task(service.as_deref().unwrap_or_default());
    }

    /// Makes a successor of this task, unless its service is gone or already has one.
    fn succeed_by_id(&mut self, clock: &mut Clock, id: u64) {
        let Some(task) = self.tasks.get(&id) else {
            return;
        };
        let Some(service) = task
            .service
            .clone()
            .filter(|it| self.services.contains_key(it))
        else {
            return;
        };
        if self
            .tasks
            .values()
            .any(|it| it.service.as_ref() == Some(&service) && it.view.version > task.view.version)
        {
            return;
        }
        let serial = clock.serial();
        let successor = task.successor(serial);
        self.tasks.insert(serial, successor);
        self.forget_history(&service);
        self.touch_task(&service);
    }

    /// Drops old tasks: the Swarm keeps the last few of a service.
    fn forget_history(&mut self, service: &str) {
        let ended: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, it)| {
                it.service.as_deref() == Some(service) && !it.view.wanted && !it.takes_room()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ended.iter().take(ended.len().saturating_sub(3)) {
            self.tasks.remove(id);
        }
    }
}
