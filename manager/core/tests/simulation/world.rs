//! One simulated world: its state, and the step to the next event.

use crate::{
    agents::Agents,
    clock::{Clock, Happening},
    flight::Flight,
    health::Healths,
    invariants::{self, Broken},
    machine::{Cloud, Machine},
    manager::Manager,
    people::People,
    scaling::Loads,
    setup,
    store::Store,
    swarm::Swarm,
    tally::Tally,
    trace::Trace,
    weather::Weather,
};
use micado_api::{CloudName, InstanceId};
use micado_core::control::Config;
use std::collections::BTreeMap;

/// State of the world.
pub struct World {
    pub clock: Clock,
    pub weather: Weather,
    pub config: Config,
    pub store: Store,
    pub clouds: Vec<Cloud>,
    pub swarm: Swarm,
    pub manager: Manager,
    pub flights: BTreeMap<u64, Flight>,
    pub people: People,
    pub agents: Agents,
    pub healths: Healths,
    pub loads: Loads,
    pub trace: Trace,
    pub tally: Tally,
    /// End of a cut between the manager and all machines.
    pub cut_until: u64,
    /// No more faults, and no new requests.
    pub calm: bool,
    /// Settings of a directed scenario.
    pub script: Script,
    /// After every event, a full pass must find nothing more to do.
    pub audits: bool,
    /// First violated invariant.
    pub broken: Option<Broken>,
}

/// Faults of a directed scenario, each once.
#[derive(Default)]
pub struct Script {
    /// The answer to the next order of a machine is lost after its effect.
    pub lose_launch_answer: bool,
    /// The store was lost once: objects in the Swarm without a record are adopted.
    pub store_lost: bool,
    /// This cloud answers no list.
    pub hangs: Option<CloudName>,
    /// The next machine never joins.
    pub never_joins: bool,
    /// The manager dies at this boundary between two actions, counted from the world's beginning.
    pub crash_at: Option<u64>,
}

impl World {
    /// The world of this seed, with faults and people.
    pub fn drawn(seed: u64, trace: Trace) -> Self {
        let mut clock = Clock::new(seed);
        let weather = Weather::drawn(&mut clock.dice);
        let config = setup::config(&mut clock.dice);
        let people = People::drawn(&mut clock.dice);
        let mut world = Self::with(clock, weather, config, people, trace);
        for person in 0..world.people.count() {
            world.clock.within(100, 5_000, Happening::Person(person));
        }
        world.clock.within(1_000, 30_000, Happening::Trouble);
        world.clock.within(5_000, 40_000, Happening::Agents);
        world.clock.within(0, 2_000, Happening::Load);
        world
    }

    /// A world without faults, in which only requested things happen.
    pub fn quiet(seed: u64, config: Config) -> Self {
        let mut world = Self::with(
            Clock::new(seed),
            Weather::clear(),
            config,
            People::nobody(),
            Trace::kept(),
        );
        world.calm = true;
        world
    }

    fn with(
        mut clock: Clock,
        weather: Weather,
        config: Config,
        people: People,
        trace: Trace,
    ) -> Self {
        let heartbeat = u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let mut swarm = Swarm {
            replaces_lost_tasks: weather.replaces_lost_tasks,
            heartbeat,
            ..Swarm::default()
        };
        swarm.join(&mut clock, setup::managers_node());
        let clouds = setup::clouds(&config);
        clock.within(0, 1_000, Happening::ManagerStarts(0));
        Self {
            clock,
            weather,
            config,
            store: Store::default(),
            clouds,
            swarm,
            manager: Manager::default(),
            flights: BTreeMap::new(),
            people,
            agents: Agents::default(),
            healths: Healths::default(),
            loads: Loads::default(),
            trace,
            tally: Tally::default(),
            cut_until: 0,
            calm: false,
            script: Script::default(),
            audits: true,
            broken: None,
        }
    }

    /// Handles the next event and checks the invariants.
    ///
    /// # Errors
    /// The first violation.
    pub fn step(&mut self) -> Result<(), Broken> {
        // Frames and checks are no steps of their own: they would be most of them.
        let happening = loop {
            match self.clock.next() {
                Some(often @ (Happening::Load | Happening::Health(_))) => self.happen(often),
                other => break other,
            }
            if self.broken.is_some() {
                break self.clock.next();
            }
        };
        let Some(happening) = happening else {
            return Ok(());
        };
        self.tally.steps += 1;
        self.happen(happening);
        self.swarm.schedule(&mut self.clock);
        self.agents_see_starts();
        self.poll();
        match self.broken.take() {
            Some(broken) => Err(broken),
            None => invariants::check(self),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ManagerStarts(epoch) => self.manager_starts(epoch),
            Happening::TickDue(epoch) => self.tick_due(epoch),
            Happening::Wake(epoch) => self.wake(epoch),
            Happening::Tick(epoch) => self.tick(epoch),
            Happening::Look(epoch) => self.look(epoch),
            Happening::Seen(epoch, seen) => self.seen(epoch, *seen),
            Happening::Glance(epoch) => self.glance(epoch),
            Happening::Glimpsed(epoch, seen) => self.glimpsed(epoch, *seen),
            Happening::Effect(flight) => self.effect(flight),
            Happening::Answer(flight, answer) => self.answered(flight, *answer),
            Happening::Deadline(flight) => self.deadline(flight),
            Happening::Machine(machine, turn) => self.machine_turn(machine, turn),
            Happening::Node(node, turn) => self.swarm.node_turn(&mut self.clock, node, turn),
            Happening::Task(task, turn) => self.swarm.task_turn(&mut self.clock, task, turn),
            Happening::Person(person) => self.person_acts(person),
            Happening::Agents => self.agents_speak(),
            Happening::Agent(instance, connected) => self.agent_is(instance, connected),
            Happening::Load => self.load_frame(),
            Happening::Health(service) => self.health_checked(service),
            Happening::Trouble => self.trouble(),
            Happening::CloudBack(cloud) => self.clouds[cloud].down = false,
            Happening::CloudAccepts(cloud) => self.clouds[cloud].refuses = None,
            Happening::EngineBack => self.engine_back(),
        }
    }

    /// Adds a line to the trace.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        self.trace.line(self.clock.now, text);
    }

    /// Records a violated invariant; the first one counts.
    pub fn check(&mut self, held: Result<(), Broken>) {
        if let Err(broken) = held
            && self.broken.is_none()
        {
            self.broken = Some(broken);
        }
    }

    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.clouds.iter().flat_map(|it| it.machines.values())
    }
    pub fn machine_mut(&mut self, serial: u64) -> Option<&mut Machine> {
        self.clouds
            .iter_mut()
            .find_map(|it| it.machines.get_mut(&serial))
    }
    pub fn machine_of(&self, instance: &InstanceId) -> Option<&Machine> {
        self.clouds.iter().find_map(|it| it.of(instance))
    }
}
