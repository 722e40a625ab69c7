//! Faults of the manager's environment, and their repair at the end.

use crate::{
    clock::Happening,
    invariants::trades::THIEFS_KEY,
    machine::MachineTurn,
    manager::Trader,
    setup,
    swarm::{NodeTurn, STRANGER},
    task::{Task, TaskTurn},
    weather::Trouble,
    world::World,
};
use micado_api::{InstanceId, MemoryBytes, NanoCpus, Resources};
use micado_core::{
    control::Request,
    engine::{SwarmNode, TaskState},
};

/// Upper bound for a node to dial again once it can: a pause between two attempts, and the first of
/// them.
const DIALS_WITHIN: u64 = 13_000;

impl World {
    /// Causes one fault of this world's kinds, and schedules the next.
    pub fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let every = self.weather.trouble_every;
        self.clock
            .within(every / 4, every * 7 / 4, Happening::Trouble);
        let Some(&trouble) = self.clock.dice.pick(&self.weather.troubles) else {
            return;
        };
        self.say(|| format!("trouble: {trouble:?}"));
        *self.tally.troubles.entry(trouble).or_default() += 1;
        match trouble {
            Trouble::MachineDies
            | Trouble::MachineHangs
            | Trouble::MachineReboots
            | Trouble::MachineVanishes
            | Trouble::NodeCutOff
            | Trouble::NodeLeaves => {
                self.machine_trouble(trouble);
            }
            Trouble::CloudDown | Trouble::CloudRefuses => self.cloud_trouble(trouble),
            Trouble::EngineDown => self.engine_fails(),
            Trouble::ForeignService => self.foreign_service(),
            Trouble::ForeignNode => self.foreign_node(),
            Trouble::CredentialStolen => self.thief_trades(),
            Trouble::ProcessEnds => self.process_ends(0),
            Trouble::ProcessFails => self.process_ends(3),
            Trouble::ManagerDies => self.manager_dies("killed", (100, 30_000)),
            Trouble::ManagerCutOff => {
                let lasts = self.clock.dice.between(2_000, 600_000);
                self.manager_cut_off(lasts);
            }
        }
    }

    fn machine_trouble(&mut self, trouble: Trouble) {
        let running: Vec<u64> = self
            .machines()
            .filter(|it| it.runs())
            .map(|it| it.serial)
            .collect();
        let Some(&serial) = self.clock.dice.pick(&running) else {
            return;
        };
        let node = self
            .machines()
            .find(|it| it.serial == serial)
            .and_then(|it| it.node);
        match trouble {
            Trouble::MachineDies => self.machine_dies(serial, "died"),
            Trouble::MachineVanishes => self.machine_vanishes(serial),
            Trouble::MachineReboots => {
                self.fall_silent(serial, "rebooted");
                self.clock.within(
                    3_000,
                    25_000,
                    Happening::Machine(serial, MachineTurn::Returns),
                );
                self.kill_processes(node);
            }
            Trouble::NodeLeaves => {
                if let Some(machine) = self.machine_mut(serial) {
                    machine.hurt = Some("left the Swarm");
                }
                if let Some(node) = node {
                    self.swarm.leave(&mut self.clock, node);
                    self.comes_again(serial);
                }
            }
            _ => {
                self.fall_silent(serial, "went silent");
                if self.clock.dice.per_mille(700) {
                    self.clock.within(
                        2_000,
                        200_000,
                        Happening::Machine(serial, MachineTurn::Returns),
                    );
                }
            }
        }
    }

    /// Cuts the manager off from all machines for this many milliseconds; its clouds still answer.
    /// Afterwards each node reconnects at its next attempt. The machines themselves are unaffected.
    pub fn manager_cut_off(&mut self, lasts: u64) {
        self.cut_until = self.cut_until.max(self.clock.now + lasts);
        self.agents_cut_off();
        let running: Vec<u64> = self
            .machines()
            .filter(|it| it.runs())
            .map(|it| it.serial)
            .collect();
        for serial in running {
            let Some((hurt, node)) = self.machine_mut(serial).map(|it| (it.hurt, it.node)) else {
                continue;
            };
            self.fall_silent(serial, "out of sight");
            // A node that was down before, such as after an engine outage, has two reasons for its
            // silence, one after the other.
            let was_heard = node
                .and_then(|node| self.swarm.nodes.get(&node))
                .is_none_or(|node| node.view.ready);
            if let Some(machine) = self.machine_mut(serial).filter(|_| was_heard) {
                machine.hurt = hurt;
            }
            self.returns_after_cut(serial);
        }
    }

    /// Returns true while no machine can reach the manager's engine.
    pub fn cut_off(&self) -> bool {
        self.clock.now < self.cut_until
    }

    /// A machine reconnects at its next attempt.
    pub fn returns_after_cut(&mut self, serial: u64) {
        let dials = self.clock.dice.between(0, DIALS_WITHIN);
        self.clock.at(
            self.cut_until + dials,
            Happening::Machine(serial, MachineTurn::Returns),
        );
    }

    /// An engine lost its state of the Swarm; its machine's boot script trades again.
    fn comes_again(&mut self, serial: u64) {
        if self.clock.dice.per_mille(500)
            && let Some(machine) = self.machine_mut(serial)
        {
            machine.node = None;
            self.clock.within(
                1_000,
                60_000,
                Happening::Machine(serial, MachineTurn::Joins),
            );
        }
    }

    /// A reboot ends all processes; the Swarm learns that when the machine answers again.
    fn kill_processes(&mut self, node: Option<u64>) {
        let theirs: Vec<u64> = self
            .swarm
            .tasks
            .iter()
            .filter(|(_, it)| node.is_some() && it.node == node)
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.clock
                .within(26_000, 30_000, Happening::Task(id, TaskTurn::Ends(137)));
        }
    }

    /// The cloud's owner removes a machine directly: it is not listed any more.
    fn machine_vanishes(&mut self, serial: u64) {
        self.fall_silent(serial, "vanished");
        for cloud in &mut self.clouds {
            cloud.machines.remove(&serial);
        }
    }

    fn cloud_trouble(&mut self, trouble: Trouble) {
        let at = self.clock.dice.below(self.clouds.len());
        let Some(cloud) = self.clouds.get_mut(at) else {
            return;
        };
        if trouble == Trouble::CloudDown {
            cloud.down = true;
            self.clock.within(5_000, 300_000, Happening::CloudBack(at));
        } else {
            let one = self
                .clock
                .dice
                .pick(&cloud.setup.flavours)
                .map(|it| it.name.clone());
            cloud.refuses = Some(one.filter(|_| self.clock.dice.per_mille(500)));
            self.clock
                .within(30_000, 400_000, Happening::CloudAccepts(at));
        }
    }

    fn engine_fails(&mut self) {
        self.swarm.down = true;
        self.clock.within(1_000, 60_000, Happening::EngineBack);
        self.look_soon(100);
    }

    /// The engine answers again; for a moment it has heartbeats of few of its nodes.
    pub fn engine_back(&mut self) {
        if !std::mem::replace(&mut self.swarm.down, false) {
            return;
        }
        self.say(|| "engine back".to_owned());
        self.swarm.unsettled = true;
        self.swarm.revision += 1;
        let ready: Vec<u64> = self
            .swarm
            .nodes
            .iter()
            .filter(|(_, it)| it.view.ready && !it.view.manager)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            if self.clock.dice.per_mille(500)
                && let Some(node) = self.swarm.nodes.get_mut(&id)
            {
                node.view.ready = false;
                self.clock.within(
                    100,
                    self.swarm.heartbeat + 20_000,
                    Happening::Node(id, NodeTurn::Heard),
                );
            }
        }
        self.look_soon(100);
    }

    /// A foreign service without constraints: it takes room wherever the Swarm places it.
    fn foreign_service(&mut self) {
        let serial = self.clock.serial();
        let needs = Resources::new(
            MemoryBytes::mib(self.clock.dice.between(64, 900)),
            NanoCpus::millis(self.clock.dice.between(50, 800)),
        );
        let task = Task::first(
            serial,
            (format!("foreign{serial}"), None),
            needs,
            Vec::new(),
        );
        self.swarm.tasks.insert(serial, task);
        self.swarm.touch_task("");
        if let Some(task) = self.swarm.tasks.get_mut(&serial)
            && self.clock.dice.per_mille(700)
        {
            // Its owner will remove it; nothing else does.
            task.view.version = 1;
            self.clock
                .within(20_000, 400_000, Happening::Task(serial, TaskTurn::Gone));
        }
    }

    fn foreign_node(&mut self) {
        let foreign = self
            .swarm
            .nodes
            .iter()
            .find(|(_, it)| it.view.hostname == STRANGER)
            .map(|(id, _)| *id);
        let instance = self
            .clock
            .dice
            .per_mille(300)
            .then(|| InstanceId::trusted("of-nobody"));
        match foreign {
            Some(node) => {
                self.swarm.nodes.remove(&node);
                self.swarm.touch_node(&format!("n{node}"));
            }
            None => drop(self.swarm.join(
                &mut self.clock,
                SwarmNode {
                    hostname: STRANGER.to_owned(),
                    manager: false,
                    instance,
                    ..setup::managers_node()
                },
            )),
        }
    }

    /// A thief has the credential of one of the machines, and a key of their own.
    fn thief_trades(&mut self) {
        let machines: Vec<u64> = self.machines().map(|it| it.serial).collect();
        let Some(&serial) = self.clock.dice.pick(&machines) else {
            return;
        };
        let Some(instance) = self
            .machines()
            .find(|it| it.serial == serial)
            .map(|it| it.instance.clone())
        else {
            return;
        };
        if self.manager.core.is_some() {
            self.ask_to_join(
                Trader::Thief(instance.clone()),
                Request::Join {
                    instance,
                    key: THIEFS_KEY.to_owned(),
                },
            );
        }
    }

    fn process_ends(&mut self, code: i64) {
        let running: Vec<u64> = self
            .swarm
            .tasks
            .iter()
            .filter(|(_, it)| {
                it.service.is_some() && it.view.wanted && it.view.state == TaskState::Running
            })
            .map(|(id, _)| *id)
            .collect();
        if let Some(&id) = self.clock.dice.pick(&running) {
            self.clock
                .within(0, 100, Happening::Task(id, TaskTurn::Ends(code)));
        }
    }

    /// Ends all faults: clouds and engine answer, hanging machines come back or die, and people
    /// make no new requests.
    pub fn clear_up(&mut self) {
        self.say(|| "the weather clears".to_owned());
        self.calm = true;
        self.cut_until = self.clock.now;
        for cloud in &mut self.clouds {
            cloud.down = false;
            cloud.refuses = None;
        }
        self.engine_back();
        let silent: Vec<u64> = self
            .machines()
            .filter(|it| it.silent && it.gone_at.is_none())
            .map(|it| it.serial)
            .collect();
        for serial in silent {
            let turn = if self.clock.dice.per_mille(500) {
                MachineTurn::Returns
            } else {
                MachineTurn::Dies
            };
            self.clock
                .within(100, 20_000, Happening::Machine(serial, turn));
        }
    }
}
