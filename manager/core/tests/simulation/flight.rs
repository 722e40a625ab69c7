//! Calls in flight: each has its effect and its answer at times of its own, and either may be lost.

use crate::{clock::Happening, machine::MachineTurn, world::World};
use micado_api::CloudName;
use micado_cloudsetup::BrokerError;
use micado_core::{
    control::{Answer, Call, CallKey, Event},
    engine::{EngineError, Pushed},
};

/// Time-out: every call is answered within this time.
const DEADLINE: u64 = 60_000;

pub struct Flight {
    pub epoch: u64,
    pub key: CallKey,
    pub call: Call,
    given_up_at: u64,
    loses_answer: bool,
    had_effect: bool,
    answered: bool,
}

impl World {
    /// Sends a call.
    pub fn take_off(&mut self, key: CallKey, call: Call) {
        let id = self.clock.serial();
        let now = self.clock.now;
        let weather = if self.calm {
            crate::weather::Weather::clear()
        } else {
            self.weather.clone()
        };
        let dice = &mut self.clock.dice;
        let given_up_at = now + dice.between(5_000, DEADLINE);
        let hangs = matches!(&call, Call::ListMachines { cloud } if self.script.hangs.as_ref() == Some(cloud));
        let lost = dice.per_mille(weather.lost_before) || hangs;
        let late = !lost && dice.per_mille(weather.late);
        let scripted = matches!(call, Call::LaunchMachine { .. })
            && std::mem::take(&mut self.script.lose_launch_answer);
        let loses_answer = lost || late || dice.per_mille(weather.lost_after) || scripted;
        let effect_at = now
            + if late {
                dice.between(DEADLINE / 2, 3 * DEADLINE)
            } else {
                latency(&call, dice)
            };
        self.tally.calls += 1;
        self.tally.calls_lost += u64::from(loses_answer);
        if !lost {
            self.clock.at(effect_at, Happening::Effect(id));
        }
        if loses_answer {
            self.say(|| {
                format!(
                    "    (will be lost{})",
                    if lost { "" } else { " after its effect" }
                )
            });
            self.clock.at(given_up_at, Happening::Deadline(id));
        }
        self.manager.open.insert(key.clone(), id);
        self.flights.insert(
            id,
            Flight {
                epoch: self.manager.epoch,
                key,
                call,
                given_up_at,
                loses_answer,
                had_effect: lost,
                answered: false,
            },
        );
    }

    /// After the manager's death: half of the calls without an effect yet were never sent.
    pub fn forget_flights(&mut self) {
        let dice = &mut self.clock.dice;
        self.flights.retain(|_, it| {
            !it.had_effect && (it.epoch + 1 < self.manager.epoch || dice.per_mille(500))
        });
    }

    /// A call reaches its target.
    pub fn effect(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        flight.had_effect = true;
        let late = flight.answered || flight.epoch != self.manager.epoch;
        let (call, given_up_at, loses_answer) =
            (flight.call.clone(), flight.given_up_at, flight.loses_answer);
        let (answer, ready_at) = self.carry_out(&call, late);
        if late {
            self.tally.late_effects += 1;
            self.say(|| format!("late effect of {call:?}"));
            self.flights.remove(&id);
        } else if !loses_answer {
            let answers_at = ready_at + self.clock.dice.between(1, 60);
            if answers_at < given_up_at {
                self.clock
                    .at(answers_at, Happening::Answer(id, Box::new(answer)));
            } else {
                self.clock.at(given_up_at, Happening::Deadline(id));
            }
        }
    }

    /// Executes a call; returns its answer and the time at which that is ready.
    fn carry_out(&mut self, call: &Call, late: bool) -> (Answer, u64) {
        let mut ready_at = self.clock.now;
        let answer = match call {
            Call::LaunchMachine { cloud, .. } => Answer::Launched(
                self.cloud_at(cloud)
                    .and_then(|at| self.launch(at, call, late)),
            ),
            Call::TerminateMachine { cloud, instance } => Answer::Terminated(
                self.cloud_at(cloud)
                    .and_then(|at| self.take_back(at, instance))
                    .map(|at| ready_at = at),
            ),
            Call::ListMachines { cloud } => Answer::Listed(
                self.cloud_at(cloud)
                    .map(|at| self.clouds[at].list(&self.config.cluster)),
            ),
            Call::PushImage { image, .. } => Answer::Pushed(self.engine_up().map(|()| Pushed {
                reference: format!("registry.sim:5000/{image}@sha256:0"),
                id: format!("sha256:{image}"),
            })),
            Call::SaveLog { name, .. } => Answer::Log(self.engine_up().and_then(|()| {
                match self.swarm.services.contains_key(name) {
                    true => Ok(format!("the end of {name}\n")),
                    false => Err(EngineError::NotFound(format!("service {name} not found"))),
                }
            })),
            call => Answer::Engine(
                self.engine_up()
                    .and_then(|()| self.change_swarm(call, late)),
            ),
        };
        (answer, ready_at)
    }

    fn change_swarm(&mut self, call: &Call, late: bool) -> Result<(), EngineError> {
        match call {
            Call::CreateService {
                service,
                container,
                copy,
                node,
                ..
            } => self
                .swarm
                .create(&mut self.clock, (service, container, copy, node), late),
            Call::RemoveService { name, .. } => {
                self.swarm.remove(&mut self.clock, name);
                Ok(())
            }
            Call::SetActive { node, active } => self.swarm.set_active(node, *active),
            Call::RemoveNode { node } => {
                self.tally.strangers_removed += u64::from(self.swarm.is_stranger(node));
                self.swarm.remove_node(&mut self.clock, node);
                Ok(())
            }
            Call::RotateToken => {
                self.swarm.token += 1;
                self.tally.rotations += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn engine_up(&self) -> Result<(), EngineError> {
        if self.swarm.down {
            Err(EngineError::Unavailable("connection refused".to_owned()))
        } else {
            Ok(())
        }
    }

    fn cloud_at(&self, cloud: &CloudName) -> Result<usize, BrokerError> {
        match self.clouds.iter().position(|it| it.setup.name == *cloud) {
            None => Err(BrokerError::Refused(format!("no cloud {cloud}"))),
            Some(at) if self.clouds[at].down => {
                Err(BrokerError::Unknown("connection refused".to_owned()))
            }
            Some(at) => Ok(at),
        }
    }

    /// Delivers an answer to the core, unless that life is over or the call has timed out.
    pub fn answered(&mut self, id: u64, answer: Answer) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        if flight.epoch != self.manager.epoch {
            return;
        }
        self.manager.open.remove(&flight.key);
        if let Answer::Listed(Ok(list)) = &answer {
            for machine in self
                .clouds
                .iter_mut()
                .flat_map(|it| it.machines.values_mut())
            {
                machine.listed += u32::from(
                    list.iter()
                        .any(|it| it.id == format!("m{}", machine.serial)),
                );
            }
        }
        self.deliver(Event::Answered(flight.key, answer));
    }

    /// A call times out.
    pub fn deadline(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if flight.epoch != self.manager.epoch {
            self.flights.remove(&id);
            return;
        }
        flight.answered = true;
        let (key, answer) = (flight.key.clone(), given_up(&flight.call));
        if flight.had_effect {
            self.flights.remove(&id);
        }
        self.manager.open.remove(&key);
        self.deliver(Event::Answered(key, answer));
    }

    /// Returns true if a removal of this Swarm service by the present manager is in flight.
    pub fn removes(&self, name: &str) -> bool {
        let open = self
            .manager
            .open
            .get(&CallKey::Service(name.to_owned()))
            .and_then(|id| self.flights.get(id));
        open.is_some_and(|it| matches!(it.call, Call::RemoveService { .. }))
    }

    /// Executes a step of a machine.
    pub fn machine_turn(&mut self, serial: u64, turn: MachineTurn) {
        match turn {
            MachineTurn::Boots => self.machine_boots(serial),
            MachineTurn::Joins => self.machine_trades(serial),
            MachineTurn::Enters(token) => self.machine_joins(serial, token),
            MachineTurn::Dies => self.machine_dies(serial, "died"),
            MachineTurn::Returns => self.machine_returns(serial, false),
            MachineTurn::Gone => self.machine_gone(serial),
        }
    }
}

/// Time until a call of this kind has its effect.
fn latency(call: &Call, dice: &mut crate::clock::Dice) -> u64 {
    match call {
        Call::LaunchMachine { .. } => dice.between(50, 4_000),
        Call::TerminateMachine { .. } | Call::ListMachines { .. } => dice.between(20, 800),
        Call::PushImage { .. } => dice.between(100, 5_000),
        _ => dice.between(1, 100),
    }
}

/// Answer that the runtime passes to the core after a time-out.
fn given_up(call: &Call) -> Answer {
    let broker = || BrokerError::Unknown("no answer in time".to_owned());
    let engine = || EngineError::Unavailable("no answer in time".to_owned());
    match call {
        Call::LaunchMachine { .. } => Answer::Launched(Err(broker())),
        Call::TerminateMachine { .. } => Answer::Terminated(Err(broker())),
        Call::ListMachines { .. } => Answer::Listed(Err(broker())),
        Call::PushImage { .. } => Answer::Pushed(Err(engine())),
        Call::SaveLog { .. } => Answer::Log(Err(engine())),
        _ => Answer::Engine(Err(engine())),
    }
}
