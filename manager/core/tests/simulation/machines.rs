//! Steps of machines: order, boot, join, faults and return.

use crate::{
    clock::Happening,
    invariants::trades,
    machine::{Machine, MachineTurn},
    manager::Trader,
    world::World,
};
use micado_api::{ErrorBody, ErrorCode, InstanceId, MemoryBytes, NanoCpus, Resources};
use micado_cloudsetup::{BrokerError, Machine as Listed, MachineState};
use micado_core::{
    control::{Call, Reply, Request},
    engine::SwarmNode,
};
use std::collections::BTreeMap;

impl World {
    /// Rents a machine, or returns the existing one of that name.
    pub fn launch(&mut self, at: usize, call: &Call, late: bool) -> Result<Listed, BrokerError> {
        let Call::LaunchMachine {
            instance,
            tag,
            location,
            application,
            flavour,
            ..
        } = call
        else {
            return Err(BrokerError::Refused("not an order".to_owned()));
        };
        let cloud = &self.clouds[at];
        if let Some(there) = cloud.of(instance) {
            return Ok(cloud.listed(&self.config.cluster, there));
        }
        if cloud
            .refuses
            .as_ref()
            .is_some_and(|which| which.as_ref().is_none_or(|it| it == flavour))
        {
            return Err(BrokerError::Refused(format!(
                "quota exceeded for {flavour}"
            )));
        }
        let serial = self.clock.serial();
        let machine = Machine {
            serial,
            instance: instance.clone(),
            tag: tag.clone(),
            location: location.clone(),
            application: application.clone(),
            flavour: flavour.clone(),
            state: MachineState::Pending,
            address: None,
            node: None,
            joined_at: None,
            gone_at: None,
            hurt: None,
            silent: false,
            late,
            listed: 0,
        };
        self.tally.machines += 1;
        self.say(|| format!("m{serial} made for {instance}"));
        self.clouds[at].machines.insert(serial, machine);
        self.fate(at, serial);
        let cloud = &self.clouds[at];
        cloud
            .machines
            .get(&serial)
            .map(|it| cloud.listed(&self.config.cluster, it))
            .ok_or_else(|| BrokerError::Unknown("lost".to_owned()))
    }

    /// Schedules the boot of a new machine, or draws its fault.
    fn fate(&mut self, at: usize, serial: u64) {
        let patience =
            u64::try_from(self.clouds[at].setup.join_timeout.as_millis()).unwrap_or(u64::MAX);
        let (boots, joins) = (
            self.clock.dice.between(2_000, 30_000),
            self.clock.dice.between(500, 10_000),
        );
        let scripted = std::mem::take(&mut self.script.never_joins);
        let goes_wrong = !self.calm && self.clock.dice.per_mille(self.weather.boot);
        let fate = if scripted {
            0
        } else {
            self.clock.dice.below(3)
        };
        let now = self.clock.now;
        if !goes_wrong && !scripted {
            self.clock
                .at(now + boots, Happening::Machine(serial, MachineTurn::Boots));
            self.clock.at(
                now + boots + joins,
                Happening::Machine(serial, MachineTurn::Joins),
            );
            return;
        }
        self.tally.boots_failed += 1;
        let hurt = ["never joins", "dies while it boots", "joins late"][fate];
        self.say(|| format!("m{serial} {hurt}"));
        if fate != 1 || self.clock.dice.per_mille(500) {
            self.clock
                .at(now + boots, Happening::Machine(serial, MachineTurn::Boots));
        }
        if fate == 1 {
            self.clock.at(
                now + boots + joins,
                Happening::Machine(serial, MachineTurn::Dies),
            );
        } else if fate == 2 {
            let then = now + patience * 3 / 4 + self.clock.dice.between(0, patience);
            self.clock.at(
                then.max(now + boots),
                Happening::Machine(serial, MachineTurn::Joins),
            );
        }
        if let Some(machine) = self.machine_mut(serial) {
            machine.hurt = Some(hurt);
        }
    }

    pub fn machine_boots(&mut self, serial: u64) {
        if let Some(machine) = self.machine_mut(serial)
            && machine.state == MachineState::Pending
        {
            machine.state = MachineState::Running;
            machine.address = Some(format!("10.0.{}.{}", serial >> 8 & 255, serial & 255));
        }
    }

    /// The boot script trades: it needs the manager, and either message may be lost.
    pub fn machine_trades(&mut self, serial: u64) {
        let Some(machine) = self.machines().find(|it| {
            it.serial == serial && it.state == MachineState::Running && it.node.is_none()
        }) else {
            return;
        };
        let (silent, request) = (
            machine.silent,
            Request::Join {
                instance: machine.instance.clone(),
                key: machine.key(),
            },
        );
        let lost = !self.calm && self.clock.dice.per_mille(self.weather.lost_before);
        if silent || lost || self.cut_off() || self.manager.core.is_none() {
            return self.trades_again(serial);
        }
        self.ask_to_join(Trader::Machine(serial), request);
    }

    fn trades_again(&mut self, serial: u64) {
        self.clock
            .within(1_000, 3_000, Happening::Machine(serial, MachineTurn::Joins));
    }

    /// Handles the reply to a trade. The worker token is read after it, and used a while later.
    pub fn machine_answered(&mut self, serial: u64, reply: Result<Reply, ErrorBody>) {
        self.check(trades::answered_truly(self, serial, &reply));
        let lost = !self.calm && self.clock.dice.per_mille(self.weather.lost_after);
        match reply {
            Ok(_) if !lost && !self.swarm.down => {
                let token = self.swarm.token;
                self.clock.within(
                    10,
                    5_000,
                    Happening::Machine(serial, MachineTurn::Enters(token)),
                );
            }
            Err(error) if matches!(error.code, ErrorCode::Conflict | ErrorCode::Gone) => {
                self.tally.trades_refused += 1;
                self.say(|| format!("m{serial} gives up: {}", error.message));
            }
            _ => self.trades_again(serial),
        }
    }

    /// Last step of the boot script: the engine joins if the token is still valid.
    pub fn machine_joins(&mut self, serial: u64, token: u64) {
        let now = self.clock.now;
        let Some((cloud, machine)) = self
            .clouds
            .iter()
            .find_map(|cloud| cloud.machines.get(&serial).map(|it| (cloud, it)))
        else {
            return;
        };
        if machine.state != MachineState::Running || machine.node.is_some() {
            return;
        }
        let stale = token != self.swarm.token;
        if stale || self.swarm.down || machine.silent || self.cut_off() {
            self.tally.stale_tokens += u64::from(stale);
            return self.trades_again(serial);
        }
        let size = cloud
            .setup
            .flavours
            .iter()
            .find(|it| it.name == machine.flavour)
            .and_then(|it| it.size);
        let mut size = size.unwrap_or(Resources::new(MemoryBytes::mib(1536), NanoCpus::cores(1)));
        if self.weather.short_memory {
            size.memory = MemoryBytes(size.memory.0 / 50 * 49);
        }
        let labels = [
            ("tag", machine.tag.as_str()),
            ("location", machine.location.as_str()),
            ("cloud", cloud.setup.name.as_str()),
            ("flavour", machine.flavour.as_str()),
            ("application", machine.application.as_str()),
        ];
        let view = SwarmNode {
            id: String::new(),
            hostname: machine.tag.to_string(),
            instance: Some(machine.instance.clone()),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            ready: true,
            active: true,
            manager: false,
            size,
            platform: None,
            address: machine.address.clone(),
        };
        self.check(trades::joins_rightly(self, machine));
        self.swarm.entered_with = Some(token);
        let node = self.swarm.join(&mut self.clock, view);
        self.say(|| format!("m{serial} joins as n{node}"));
        let mut again = false;
        if let Some(machine) = self.machine_mut(serial) {
            again = machine.joined_at.is_some();
            machine.node = Some(node);
            machine.joined_at = Some(now);
        }
        self.tally.came_again += u64::from(again);
    }

    /// Returns a machine; returns the time at which it is gone.
    /// A return as the broker carries it out, or refuses it.
    pub fn take_back(&mut self, at: usize, instance: &InstanceId) -> Result<u64, BrokerError> {
        let cloud = &self.clouds[at];
        let runs = cloud.of(instance).is_some_and(|it| it.gone_at.is_none());
        // Not drawn, so that all else is as without it: a fifth of all, until the weather is calm.
        let number = u32::from_str_radix(instance.as_str(), 16).unwrap_or(1);
        let is_locked = runs && !self.calm && number.is_multiple_of(5);
        if is_locked || runs && cloud.refuses == Some(None) {
            return Err(BrokerError::Refused("it is locked".to_owned()));
        }
        Ok(self.terminate(at, instance))
    }

    pub fn terminate(&mut self, at: usize, instance: &InstanceId) -> u64 {
        let takes = self
            .clock
            .dice
            .between(200, if self.calm { 20_000 } else { 80_000 });
        let now = self.clock.now;
        let Some(machine) = self.clouds[at]
            .machines
            .values_mut()
            .find(|it| it.instance == *instance)
        else {
            return now;
        };
        if let Some(gone_at) = machine.gone_at {
            return gone_at;
        }
        let (serial, node, gone_at) = (machine.serial, machine.node, now + takes);
        machine.state = MachineState::Stopping;
        machine.silent = true;
        machine.gone_at = Some(gone_at);
        self.clock
            .within(0, 1_000, Happening::Agent(instance.clone(), false));
        self.clock
            .at(gone_at, Happening::Machine(serial, MachineTurn::Gone));
        if let Some(node) = node {
            self.swarm.silence(&mut self.clock, node);
        }
        gone_at
    }

    pub fn machine_gone(&mut self, serial: u64) {
        let now = self.clock.now;
        for cloud in &mut self.clouds {
            cloud
                .machines
                .retain(|id, it| *id != serial || it.gone_at.is_none_or(|at| at > now));
        }
        self.say(|| format!("m{serial} gone"));
    }

    /// The machine stops running, but stays listed by its cloud.
    pub fn machine_dies(&mut self, serial: u64, why: &'static str) {
        let Some(machine) = self.machine_mut(serial) else {
            return;
        };
        if machine.gone_at.is_some() {
            return;
        }
        machine.state = MachineState::Dead;
        self.fall_silent(serial, why);
    }

    /// The machine freezes or is cut off; its cloud still lists it as running.
    pub fn fall_silent(&mut self, serial: u64, why: &'static str) {
        let Some(machine) = self.machine_mut(serial) else {
            return;
        };
        machine.silent = true;
        machine.hurt = Some(why);
        let (node, instance) = (machine.node, machine.instance.clone());
        self.say(|| format!("m{serial} {why}"));
        self.clock
            .within(0, 18_000, Happening::Agent(instance, false));
        if let Some(node) = node {
            self.swarm.silence(&mut self.clock, node);
        }
    }

    /// The machine answers again, if it can.
    pub fn machine_returns(&mut self, serial: u64, rebooted: bool) {
        if self.cut_off() {
            return self.returns_after_cut(serial);
        }
        let Some(machine) = self.machine_mut(serial) else {
            return;
        };
        if machine.state != MachineState::Running {
            return;
        }
        machine.silent = false;
        let (node, instance) = (machine.node, machine.instance.clone());
        self.say(|| format!("m{serial} returns"));
        self.clock
            .within(18_000, 30_000, Happening::Agent(instance, true));
        if let Some(node) = node {
            self.swarm.return_of(&mut self.clock, node, rebooted);
        }
    }
}
