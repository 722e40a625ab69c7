//! This side: the production control core with its planner and scaler, on a virtual clock. It runs
//! against a lean engine and cloud, and gets frames as node agents would report them.

mod frames;
mod launch;

use super::{
    Load, Side,
    bill::Bill,
    cloud::{self, BEGIN, Cloud, node_id},
    engine::Engine,
    faults::Faults,
    fluid::Fluid,
    options::Options,
};
use crate::{
    control::{Action, Answer, Call, Core, Event, Reply, Request},
    engine::Pushed,
    scaling::{Past, Slot, Slotting},
    store::{Change, Record},
};
use jiff::tz::TimeZone;
use micado_api::{ErrorBody, InstanceId, ServiceName, Tag, Timestamp, VerdictView};
use micado_cloudsetup::MachineState;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

/// Time before the begin of a run in which the first copies come up.
const LEAD_IN: Duration = Duration::from_secs(600);

/// Interval at which the core gets the load of earlier days.
const FORETELL: Duration = Duration::from_secs(3_600);

/// Interval of the safety net.
const TICK: Duration = Duration::from_secs(10);

/// Client of the simulated services.
const CLIENT: &str = "sim";

/// A thing that happens at a time of its own.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick,
    Foretell,
    Joins(InstanceId),
    Runs(String),
}

/// A service with its demand.
#[derive(Debug)]
struct Service {
    name: ServiceName,
    /// Sum of the use since the last frame, in core-seconds per copy.
    used: f64,
    /// Past load, as the history has it.
    slotting: Slotting,
    slots: Vec<(Timestamp, Slot)>,
}

impl Service {
    /// Takes the load before the run.
    fn remember(&mut self, begin: Timestamp, past: &[f64]) {
        let first = begin.0 - past.len() as u64 * 1_000;
        for (second, load) in (0..).zip(past) {
            let at = Timestamp(first + second * 1_000);
            self.slots.extend(self.slotting.add(at, *load));
        }
    }
}

/// The cluster: the core and its world.
#[derive(Debug)]
pub struct Ours {
    core: Core,
    options: Options,
    engine: Engine,
    cloud: Cloud,
    now: Timestamp,
    queue: BinaryHeap<Reverse<(Timestamp, Happening)>>,
    services: Vec<Service>,
    fluids: Vec<Fluid>,
    /// Seconds since the last frame.
    covered: u64,
    refusal: Option<ErrorBody>,
    /// Changes of the counts, in order.
    pub changes: Vec<VerdictView>,
}

impl Ours {
    /// Starts a cluster with enough warm copies and machines for the first demand of each service.
    ///
    /// # Errors
    /// If the core refuses the policies.
    pub fn new(options: &Options, faults: Faults, loads: &[Load]) -> Result<Self, ErrorBody> {
        let config = cloud::config(options);
        let past = loads.iter().map(|load| load.past.len()).max().unwrap_or(0);
        let begin = BEGIN.plus(Duration::from_secs(past as u64));
        let start = Timestamp(begin.0 - LEAD_IN.as_millis() as u64);
        let mut side = Self {
            cloud: Cloud::new(&config, options, begin),
            core: Core::new(config, Vec::new(), 1),
            options: options.clone(),
            engine: Engine::default(),
            now: start,
            queue: BinaryHeap::new(),
            services: Vec::new(),
            fluids: Vec::new(),
            covered: 0,
            refusal: None,
            changes: Vec::new(),
        };
        side.queue.push(Reverse((start, Happening::Tick)));
        let first = side.engine.observe();
        side.deliver(Event::Observed(first));
        side.launch(&super::first(loads));
        side.advance(begin);
        // The core returns no machine before its second look at everything.
        let again = side.engine.observe();
        side.deliver(Event::Observed(again));
        // Only what happens from now on counts.
        side.cloud.faults = faults;
        side.cloud.bill = Bill::default();
        side.fluids = loads.iter().map(|_| Fluid::default()).collect();
        for (service, load) in side.services.iter_mut().zip(loads) {
            service.remember(begin, &load.past);
        }
        side.queue.push(Reverse((begin, Happening::Foretell)));
        match side.refusal.take() {
            Some(refusal) => Err(refusal),
            None => Ok(side),
        }
    }

    /// Sends a request of a person, and keeps the first refusal.
    fn request(&mut self, request: Request) {
        self.deliver(Event::Request(0, request));
    }

    /// Delivers an event, and executes the actions with all that follows from them.
    fn deliver(&mut self, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            for action in self.core.handle_all(self.now, std::mem::take(&mut events)) {
                match action {
                    Action::Commit(changes) => self.note_changes(&changes),
                    Action::Call(key, call) => match self.call(call) {
                        Reaction::Answer(answer) => events.push(Event::Answered(key, answer)),
                        Reaction::Event(event) => events.push(event),
                    },
                    Action::Reply(_, reply) => self.note_reply(reply),
                    Action::Progress(_) => {}
                }
            }
        }
    }

    fn note_reply(&mut self, reply: Result<Reply, ErrorBody>) {
        if let Err(error) = reply {
            self.refusal.get_or_insert(error);
        }
    }

    /// Notes changes of counts, by the decisions that are committed.
    fn note_changes(&mut self, changes: &[Change]) {
        if self.now <= self.cloud.begin {
            return;
        }
        let names = changes.iter().filter_map(|change| match &change.record {
            Some(Record::Decision(decision)) => decision.service.clone(),
            _ => None,
        });
        for name in names {
            let view = self.core.scaling(name.as_str()).ok();
            let change = view.and_then(|view| view.last_change);
            let Some(change) = change.filter(|change| change.at == self.now) else {
                continue;
            };
            let number = |key: &str| change.detail.get(key).and_then(serde_json::Value::as_u64);
            let is_growth = number("count") > number("from");
            let at = self
                .services
                .iter()
                .position(|service| service.name == name);
            if let Some(fluid) = at.and_then(|at| self.fluids.get_mut(at)) {
                fluid.tally.growths += u32::from(is_growth);
                fluid.tally.shrinks += u32::from(!is_growth);
            }
            self.changes.push(change);
        }
    }

    fn call(&mut self, call: Call) -> Reaction {
        let done = Reaction::Answer(Answer::Engine(Ok(())));
        match call {
            Call::LaunchMachine { instance, tag, .. } => self.order(instance, tag),
            Call::TerminateMachine { instance, .. } => {
                self.cloud.give_back(&instance, self.now, &self.options);
                Reaction::Answer(Answer::Terminated(Ok(())))
            }
            Call::ListMachines { .. } => Reaction::Answer(Answer::Listed(Ok(self.cloud.list()))),
            Call::CreateService {
                service,
                container,
                copy,
                node,
                ..
            } => {
                let is_move = self.engine.has_copy(&container);
                self.engine.create(&service, &container, &copy, &node);
                self.cloud.bill.moves += u32::from(is_move);
                self.tally_of(&service.name, |tally| tally.starts += 1);
                if let Some(machine) = self.cloud.machines.get_mut(&copy.instance) {
                    machine.copies += 1;
                }
                let runs = Happening::Runs(copy.swarm_name);
                self.after(self.start(), runs);
                done
            }
            Call::RemoveService { name, .. } => {
                self.removed(&name);
                done
            }
            Call::SetActive { node, active } => {
                self.engine.set_active(&node, active);
                done
            }
            Call::RemoveNode { node } => {
                self.engine.remove_node(&node);
                done
            }
            Call::RotateToken => done,
            // Images need no push and logs are of no use: neither is asked for.
            Call::PushImage { image, .. } => Reaction::Answer(Answer::Pushed(Ok(Pushed {
                id: image.clone(),
                reference: image,
            }))),
            Call::SaveLog { .. } => Reaction::Answer(Answer::Log(Ok(String::new()))),
            Call::Observe { number, services } => {
                self.engine.looks = number;
                Reaction::Event(match services {
                    None => Event::Observed(self.engine.observe()),
                    Some(names) => Event::Changed(self.engine.glance(names)),
                })
            }
        }
    }

    fn order(&mut self, instance: InstanceId, tag: Tag) -> Reaction {
        let number = self.cloud.bill.orders;
        let ordered = self.cloud.order(&instance, tag, self.now);
        if ordered.is_ok() {
            let boot = self.options.boot.0.div_ceil(1_000);
            let boot = match self.now < self.cloud.begin {
                true => 0,
                false => self.cloud.faults.boot(number, boot),
            };
            self.after(Duration::from_secs(boot), Happening::Joins(instance));
        }
        Reaction::Answer(Answer::Launched(ordered))
    }

    fn start(&self) -> Duration {
        Duration::from_millis(self.options.start.0)
    }

    fn tally_of(&mut self, name: &ServiceName, change: impl FnOnce(&mut super::tally::Tally)) {
        let at = self
            .services
            .iter()
            .position(|service| service.name == *name);
        if let Some(fluid) = at.and_then(|at| self.fluids.get_mut(at)) {
            change(&mut fluid.tally);
        }
    }

    fn removed(&mut self, name: &str) {
        let Some(task) = self.engine.remove(name) else {
            return;
        };
        self.tally_of(&task.service, |tally| tally.stops += 1);
        if let Some(machine) = self.cloud.machines.get_mut(task.instance()) {
            machine.copies -= 1;
        }
    }

    fn after(&mut self, time: Duration, what: Happening) {
        self.queue.push(Reverse((self.now.plus(time), what)));
    }

    /// Lets everything happen until a moment.
    fn advance(&mut self, until: Timestamp) {
        loop {
            let queued = self.queue.peek().map(|Reverse((at, _))| *at);
            let wake = self.core.wake_at().map(|at| at.max(self.now));
            let Some(next) = queued.into_iter().chain(wake).min() else {
                break;
            };
            if next > until {
                break;
            }
            self.now = next;
            match queued == Some(next) {
                true => {
                    if let Some(Reverse((_, happening))) = self.queue.pop() {
                        self.happen(happening);
                    }
                }
                false => self.deliver(Event::Wake),
            }
        }
        self.now = until;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => {
                self.deliver(Event::Tick);
                self.after(TICK, Happening::Tick);
            }
            Happening::Foretell => {
                self.foretell();
                self.after(FORETELL, Happening::Foretell);
            }
            Happening::Joins(instance) => self.join(&instance),
            Happening::Runs(name) => {
                if self.engine.run(&name, self.now) {
                    let seen = self.engine.glance(vec![name]);
                    self.deliver(Event::Changed(seen));
                }
            }
        }
    }

    /// Reports the load of earlier days to the core, as the task that reads the history does.
    fn foretell(&mut self) {
        for foreseen in self.core.foreseen() {
            let mut services = self.services.iter();
            let Some(service) = services.find(|service| service.name == foreseen.service) else {
                continue;
            };
            let slots = service.slots.iter().copied();
            let past = Past::new(slots, TimeZone::UTC, foreseen.quantile, foreseen.horizon);
            self.deliver(Event::Profile(foreseen.service, Arc::new(past)));
        }
    }

    fn join(&mut self, id: &InstanceId) {
        let Some(machine) = self.cloud.machines.get_mut(id) else {
            return;
        };
        machine.state = MachineState::Running;
        machine.joined_at = Some(self.now);
        let tag = machine.tag.clone();
        self.engine.join(self.cloud.node(id, &tag));
        let seen = self.engine.glance_at_node(&node_id(id));
        self.deliver(Event::Changed(seen));
        self.deliver(Event::Agent {
            instance: id.clone(),
            connected: true,
        });
    }

    /// Lets a machine die, if one does now. Its copies end; agent and cloud show it.
    fn bury(&mut self) {
        let Some(number) = self.cloud.faults.death(self.cloud.second(self.now)) else {
            return;
        };
        let runs = |machine: &cloud::Machine| machine.state == MachineState::Running;
        let machines = self.cloud.machines.iter();
        let ids: Vec<&InstanceId> = machines
            .filter(|(_, machine)| runs(machine))
            .map(|(id, _)| id)
            .collect();
        let Some(id) = ids.get(number as usize % ids.len().max(1)) else {
            return;
        };
        let id = (*id).clone();
        if let Some(machine) = self.cloud.machines.get_mut(&id) {
            machine.state = MachineState::Dead;
        }
        self.deliver(Event::Agent {
            instance: id,
            connected: false,
        });
    }

    fn serve(&mut self, demands: &[f64]) {
        let mut counts: BTreeMap<&ServiceName, (u32, u32)> = BTreeMap::new();
        for (_, task) in self.engine.tasks() {
            let machine = self.cloud.machines.get(task.instance());
            let lives = machine.is_some_and(|machine| machine.state == MachineState::Running);
            let (running, copies) = counts.entry(&task.service).or_default();
            *running += u32::from(task.ran_at.is_some() && lives);
            *copies += 1;
        }
        let services = self.services.iter_mut().zip(&mut self.fluids);
        for ((service, fluid), demand) in services.zip(demands) {
            let (running, copies) = counts.get(&service.name).copied().unwrap_or_default();
            fluid.serve(*demand, running, copies, &self.options);
            service.used += fluid.use_each;
            let slot = service
                .slotting
                .add(self.now, fluid.use_each * f64::from(running));
            service.slots.extend(slot);
        }
        let machines = self.cloud.machines.len() as u32;
        self.cloud.bill.machines.push(machines);
    }
}

#[cfg(test)]
impl Ours {
    /// True if every wanted copy runs.
    pub fn is_settled(&self) -> bool {
        let views = self.services.iter();
        let mut views = views.filter_map(|service| self.core.scaling(service.name.as_str()).ok());
        views.all(|view| view.count == view.running)
    }

    pub fn copies_on_machines(&self) -> impl Iterator<Item = u32> {
        self.cloud.machines.values().map(|machine| machine.copies)
    }
}

/// Immediate effect of a call.
enum Reaction {
    Answer(Answer),
    Event(Event),
}

impl Side for Ours {
    fn name(&self) -> &'static str {
        "micado"
    }

    fn step(&mut self, demands: &[f64]) {
        self.bury();
        self.serve(demands);
        self.advance(Timestamp(self.now.0 + 1_000));
        self.send_frame();
    }

    fn end(&mut self) {
        self.cloud.end(self.now, &self.options);
    }

    fn services(&self) -> &[Fluid] {
        &self.fluids
    }

    fn bill(&self) -> &Bill {
        &self.cloud.bill
    }
}
