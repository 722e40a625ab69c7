//! The manager's process, as the runtime does it: feeds the core, executes its actions in order,
//! and may die between any two.

use crate::{
    clock::Happening,
    core_under_test::Core,
    invariants::{broken, calls, commits, replies, trades},
    machine::MachineTurn,
    trace,
    world::World,
};
use micado_api::{ContainerName, InstanceId, Timestamp};
use micado_core::{
    control::{Action, Call, CallKey, Event, Ticket},
    engine::{Delta, Observation},
    store::Change,
};
use std::collections::{BTreeMap, BTreeSet};

const TICK_EVERY: u64 = 10_000;

/// Number of ticks between two whole observations of the engine.
const WHOLE_EVERY: u64 = 6;

/// Sender of a trade.
pub enum Trader {
    /// The machine that the credential was made for.
    Machine(u64),
    /// A thief with the credential of this instance's machine.
    Thief(InstanceId),
}

/// State of the manager, through all of its lives.
#[derive(Default)]
pub struct Manager {
    /// `None` while its process is down.
    pub core: Option<Core>,
    /// Number of the present life.
    pub epoch: u64,
    /// True if the engine did not answer the last observation of this life, or there was none yet.
    pub blind: bool,
    /// Calls in flight, by key.
    pub open: BTreeMap<CallKey, u64>,
    /// Person and time of each request without a reply.
    pub tickets: BTreeMap<Ticket, (usize, u64)>,
    /// Senders of trades without a reply.
    pub trades: BTreeMap<Ticket, Trader>,
    /// Reports of agents without a reply.
    pub reports: BTreeSet<Ticket>,
    /// A whole observation is scheduled.
    look_pending: bool,
    /// A partial observation is scheduled.
    glance_pending: bool,
    /// Swarm services that the core asked to observe.
    asked: BTreeSet<String>,
    /// Number of the core's last request for an observation.
    number: u64,
    /// Swarm ids of observed services, by name.
    ids: BTreeMap<String, String>,
    /// Ticks until the next periodic whole observation.
    ticks: u64,
    /// Arrival of the last observation: they reach the core in order.
    last_seen_at: u64,
    /// Containers last reported to people as running.
    pub said_to_run: BTreeSet<ContainerName>,
    /// Number of boundaries between actions that were passed, over all lives.
    pub boundaries: u64,
    /// Begin of the present life.
    pub started_at: u64,
    /// Time at which it last did more than observe.
    pub last_moved: u64,
    next_ticket: Ticket,
    /// Requested wake-up of the core.
    alarm: Option<u64>,
}

impl World {
    pub fn manager_starts(&mut self, epoch: u64) {
        if epoch != self.manager.epoch || self.manager.core.is_some() {
            return;
        }
        self.say(|| "manager starts".to_owned());
        let seed = self.clock.dice.next();
        self.manager.core = Some(Core::new(self.config.clone(), self.store.contents(), seed));
        self.manager.blind = true;
        self.manager.started_at = self.clock.now;
        self.agents.unseen();
        self.clock
            .at(self.clock.now + TICK_EVERY, Happening::TickDue(epoch));
        self.deliver(Event::Tick);
        self.look_soon(100);
    }

    /// The process dies. Answers in flight are lost, but calls may still have their effect.
    pub fn manager_dies(&mut self, why: &str, down_for: (u64, u64)) {
        if self.manager.core.take().is_none() {
            return;
        }
        self.say(|| format!("manager dies: {why}"));
        self.tally.deaths += 1;
        let manager = &mut self.manager;
        manager.epoch += 1;
        manager.open.clear();
        (manager.look_pending, manager.glance_pending) = (false, false);
        (manager.number, manager.ticks) = (0, 0);
        manager.asked.clear();
        manager.ids.clear();
        manager.alarm = None;
        let (low, high) = down_for;
        for (person, _) in std::mem::take(&mut manager.tickets).into_values() {
            self.clock
                .within(low + 100, high + 3_000, Happening::Person(person));
        }
        for trader in std::mem::take(&mut self.manager.trades).into_values() {
            if let Trader::Machine(serial) = trader {
                self.clock
                    .within(1_000, 3_000, Happening::Machine(serial, MachineTurn::Joins));
            }
        }
        self.manager.reports.clear();
        self.forget_flights();
        self.clock
            .within(low, high, Happening::ManagerStarts(self.manager.epoch));
    }

    /// Passes an event to the core and executes the actions.
    pub fn deliver(&mut self, event: Event) {
        let Some(core) = self.manager.core.as_mut() else {
            return;
        };
        self.trace.told(self.clock.now, &event);
        match &event {
            Event::Observed(seen) => {
                self.manager.blind = false;
                self.agents.saw(seen);
            }
            Event::Changed(seen) => self.agents.glimpsed(seen),
            Event::Blind(_) => self.manager.blind = true,
            _ => {}
        }
        let actions = core.handle(Timestamp(self.clock.now), event);
        let missed = if self.audits {
            core.audit()
        } else {
            Vec::new()
        };
        self.tally.events += 1;
        let epoch = self.manager.epoch;
        for action in actions {
            if self.dies_here() || self.manager.epoch != epoch {
                return;
            }
            self.say(|| trace::action(&action));
            self.act(action);
        }
        self.set_alarm();
        if let Some(action) = missed.first() {
            self.check(broken(
                "dirty_set_complete",
                format!("a full pass would do more: {}", trace::action(action)),
            ));
        }
    }

    /// Schedules the core's wake-up. Earlier events may change its time.
    fn set_alarm(&mut self) {
        let wanted = self
            .manager
            .core
            .as_ref()
            .and_then(Core::wake_at)
            .map(|at| at.0.max(self.clock.now));
        if let Some(at) = wanted.filter(|_| wanted != self.manager.alarm) {
            self.clock.at(at, Happening::Wake(self.manager.epoch));
        }
        self.manager.alarm = wanted;
    }

    pub fn wake(&mut self, epoch: u64) {
        if epoch == self.manager.epoch && self.manager.alarm == Some(self.clock.now) {
            self.manager.alarm = None;
            self.deliver(Event::Wake);
        }
    }

    fn dies_here(&mut self) -> bool {
        self.manager.boundaries += 1;
        let dies = self.script.crash_at == Some(self.manager.boundaries)
            || !self.calm && self.clock.dice.per_mille(self.weather.crash);
        if dies {
            self.manager_dies("between two actions", (100, 8_000));
        }
        dies
    }

    fn act(&mut self, action: Action) {
        if !matches!(
            &action,
            Action::Call(CallKey::Observe | CallKey::List(_), _)
        ) {
            self.manager.last_moved = self.clock.now;
        }
        match action {
            Action::Commit(changes) => self.commit(&changes),
            Action::Call(CallKey::Observe, call) => self.asked_to_look(call),
            Action::Call(key, call) => {
                self.check(calls::check(self, &key, &call));
                self.take_off(key, call);
            }
            Action::Reply(ticket, reply) if self.manager.reports.remove(&ticket) => {
                self.check(replies::recorded(&reply));
            }
            Action::Reply(ticket, reply) => match self.manager.trades.remove(&ticket) {
                Some(Trader::Machine(serial)) => self.machine_answered(serial, reply),
                Some(Trader::Thief(instance)) => {
                    self.check(trades::thief_answered_rightly(self, &instance, &reply))
                }
                None => self.replied(ticket, reply),
            },
            Action::Progress(progress) => {
                let name = ContainerName::trusted(progress.subject);
                if progress.text.starts_with("running") {
                    self.manager.said_to_run.insert(name);
                } else {
                    self.manager.said_to_run.remove(&name);
                }
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) {
        let fails = !self.calm && self.clock.dice.per_mille(self.weather.commit);
        if fails && self.clock.dice.per_mille(500) {
            self.tally.commits_failed += 1;
            return self.manager_dies("commit failed, nothing written", (0, 50));
        }
        match self.store.commit(changes) {
            Ok(written) => {
                self.tally.moved += written.iter().filter(|it| self.begins_move(it)).count() as u64;
                self.note_scaling(&written);
                self.note_returns(&written);
                self.note_restarts(&written);
                self.check(commits::check(self, &written));
            }
            Err(key) => self.check(Err(commits::conflict(&key))),
        }
        if fails {
            self.tally.commits_failed += 1;
            self.manager_dies("commit written, its answer lost", (0, 50));
        }
    }

    /// Delivers a trade; the reply goes to its sender.
    pub fn ask_to_join(&mut self, trader: Trader, request: micado_core::control::Request) {
        self.manager.next_ticket += 1;
        let ticket = self.manager.next_ticket;
        self.manager.trades.insert(ticket, trader);
        self.deliver(Event::Request(ticket, request));
    }

    /// Delivers a request; the reply goes to this person.
    pub fn ask(&mut self, person: usize, request: micado_core::control::Request) {
        self.manager.next_ticket += 1;
        let ticket = self.manager.next_ticket;
        self.manager
            .tickets
            .insert(ticket, (person, self.clock.now));
        self.deliver(Event::Request(ticket, request));
    }

    /// Delivers what agents reported.
    pub fn report(&mut self, request: micado_core::control::Request) {
        self.manager.next_ticket += 1;
        let ticket = self.manager.next_ticket;
        self.manager.reports.insert(ticket);
        self.deliver(Event::Request(ticket, request));
    }

    pub fn tick_due(&mut self, epoch: u64) {
        if epoch != self.manager.epoch || self.manager.core.is_none() {
            return;
        }
        self.clock
            .at(self.clock.now + TICK_EVERY, Happening::TickDue(epoch));
        self.manager.ticks += 1;
        if self.manager.blind || self.manager.ticks.is_multiple_of(WHOLE_EVERY) {
            self.look(epoch);
        }
        self.clock.at(
            self.manager.last_seen_at.max(self.clock.now),
            Happening::Tick(epoch),
        );
    }

    fn asked_to_look(&mut self, call: Call) {
        let Call::Observe { number, services } = call else {
            return;
        };
        self.manager.number = number;
        match services {
            None => self.look_soon(20),
            Some(services) => {
                self.manager.asked.extend(services);
                self.glance_soon(20);
            }
        }
    }

    /// Schedules a partial observation within this many milliseconds.
    fn glance_soon(&mut self, within: u64) {
        if self.manager.core.is_some() && !std::mem::replace(&mut self.manager.glance_pending, true)
        {
            self.clock
                .within(0, within, Happening::Glance(self.manager.epoch));
        }
    }

    pub fn glance(&mut self, epoch: u64) {
        let Some(core) = self
            .manager
            .core
            .as_ref()
            .filter(|_| epoch == self.manager.epoch)
        else {
            return;
        };
        let polled = core.polled();
        let manager = &mut self.manager;
        manager.glance_pending = false;
        let asked = std::mem::take(&mut manager.asked);
        let seen = if self.swarm.down {
            Err("connection refused".to_owned())
        } else {
            Ok(self
                .swarm
                .glance(manager.number, asked, polled, &mut manager.ids))
        };
        let at = self.comes_back();
        self.clock
            .at(at, Happening::Glimpsed(epoch, Box::new(seen)));
    }

    /// Arrival of an observation that begins now: observations reach the core in order.
    fn comes_back(&mut self) -> u64 {
        let takes = self.clock.dice.between(1, 60);
        self.manager.last_seen_at = self.manager.last_seen_at.max(self.clock.now + takes);
        self.manager.last_seen_at
    }

    pub fn glimpsed(&mut self, epoch: u64, seen: Result<Delta, String>) {
        if epoch == self.manager.epoch {
            self.deliver(seen.map_or_else(Event::Blind, Event::Changed));
        }
    }

    pub fn tick(&mut self, epoch: u64) {
        if epoch == self.manager.epoch {
            self.deliver(Event::Tick);
        }
    }

    /// Schedules a whole observation within this many milliseconds.
    pub fn look_soon(&mut self, within: u64) {
        if self.manager.core.is_some() && !std::mem::replace(&mut self.manager.look_pending, true) {
            self.clock
                .within(0, within, Happening::Look(self.manager.epoch));
        }
    }

    pub fn look(&mut self, epoch: u64) {
        if epoch != self.manager.epoch || self.manager.core.is_none() {
            return;
        }
        self.manager.look_pending = false;
        let seen = if self.swarm.down {
            Err("connection refused".to_owned())
        } else {
            let seen = self.swarm.observe(self.manager.number);
            let ids = seen
                .services
                .iter()
                .map(|it| (it.name.clone(), it.id.clone()));
            self.manager.ids.extend(ids);
            Ok(seen)
        };
        let at = self.comes_back();
        self.clock.at(at, Happening::Seen(epoch, Box::new(seen)));
    }

    pub fn seen(&mut self, epoch: u64, seen: Result<Observation, String>) {
        if epoch == self.manager.epoch {
            self.deliver(seen.map_or_else(Event::Blind, Event::Observed));
        }
    }

    /// Schedules the runtime's own observations: after events of nodes and services, and after
    /// changes of tasks in flight.
    pub fn poll(&mut self) {
        let Some(core) = self.manager.core.as_ref() else {
            return;
        };
        if self.swarm.down || self.manager.look_pending || self.manager.glance_pending {
            return;
        }
        let swarm = &self.swarm;
        let events = !swarm.changed_nodes.is_empty() || !swarm.changed_services.is_empty();
        if events
            || !swarm.moved.is_empty()
                && core.polled().iter().any(|name| swarm.moved.contains(name))
        {
            self.glance_soon(100);
        }
    }
}
