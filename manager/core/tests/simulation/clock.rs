//! Virtual time: the queue of events, and the generator of all random choices.

use crate::{machine::MachineTurn, swarm::NodeTurn, task::TaskTurn};
use micado_api::InstanceId;
use micado_core::{
    control::Answer,
    engine::{Delta, Observation},
};
use std::collections::BTreeMap;

/// Begin of every simulated world, in milliseconds since the Unix epoch.
pub const BEGINNING: u64 = 1_800_000_000_000;

/// A future event. One with an epoch belongs to one life of the manager and has no effect in the
/// next.
#[derive(Debug)]
pub enum Happening {
    /// The manager's process starts.
    ManagerStarts(u64),
    /// The manager's tick is due: it observes the engine first.
    TickDue(u64),
    /// The core receives the tick.
    Tick(u64),
    /// The core's requested wake-up.
    Wake(u64),
    /// The manager observes the whole engine.
    Look(u64),
    /// That observation reaches the core.
    Seen(u64, Box<Result<Observation, String>>),
    /// The manager observes changed and requested parts of the engine.
    Glance(u64),
    /// That observation reaches the core.
    Glimpsed(u64, Box<Result<Delta, String>>),
    /// A call reaches its target.
    Effect(u64),
    /// Its answer reaches the core.
    Answer(u64, Box<Answer>),
    /// Its time-out.
    Deadline(u64),
    /// A step of a machine.
    Machine(u64, MachineTurn),
    /// A step of a node.
    Node(u64, NodeTurn),
    /// A step of a task.
    Task(u64, TaskTurn),
    /// A step of a person.
    Person(usize),
    /// Node agents report something.
    Agents,
    /// The manager notices that a machine's agent connected or disconnected.
    Agent(InstanceId, bool),
    /// An agent has checked a copy of this Swarm service.
    Health(String),
    /// The load of services with a policy is summed up.
    Load,
    /// A fault of the environment.
    Trouble,
    /// A cloud answers again.
    CloudBack(usize),
    /// A cloud accepts orders again.
    CloudAccepts(usize),
    /// The engine answers again.
    EngineBack,
}

/// A small seeded generator (`SplitMix64`, Steele, Lea and Flood 2014): the same numbers on every
/// machine and in every release.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Draws from `0` to `limit - 1`; `0` if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }
    /// Draws from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
    pub fn per_mille(&mut self, chance: u64) -> bool {
        chance > 0 && self.next() % 1000 < chance
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// The clock, the queue and the random generator.
pub struct Clock {
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    pub dice: Dice,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Happening>,
}

impl Clock {
    pub fn new(seed: u64) -> Self {
        Self {
            now: BEGINNING,
            dice: Dice::new(seed),
            sequence: 0,
            queue: BTreeMap::new(),
        }
    }
    /// Schedules at this time, after everything that was scheduled for the same time before.
    pub fn at(&mut self, time: u64, happening: Happening) {
        self.sequence += 1;
        self.queue
            .insert((time.max(self.now), self.sequence), happening);
    }
    /// Schedules `low` to `high` milliseconds from now.
    pub fn within(&mut self, low: u64, high: u64, happening: Happening) {
        let delay = self.dice.between(low, high);
        self.at(self.now + delay, happening);
    }
    /// Takes the next event, and moves the clock there.
    pub fn next(&mut self) -> Option<Happening> {
        let ((time, _), happening) = self.queue.pop_first()?;
        self.now = time;
        Some(happening)
    }
    /// Returns a unique number.
    pub fn serial(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
