//! Virtual time: what will happen when, and the dice that decide everything left to chance.

use crate::{machine::MachineTurn, swarm::NodeTurn, task::TaskTurn};
use micado_api::InstanceId;
use micado_core::{
    control::Answer,
    engine::{Delta, Observation},
};
use std::collections::BTreeMap;

/// When every simulated world begins, in milliseconds since the Unix epoch.
pub const BEGINNING: u64 = 1_800_000_000_000;

/// Something that will happen. Those that carry an epoch concern one life of the manager and come
/// to nothing in the next.
#[derive(Debug)]
pub enum Happening {
    /// The manager's process starts.
    ManagerStarts(u64),
    /// The manager's tick is due: it looks at the engine first.
    TickDue(u64),
    /// The core is told of the tick.
    Tick(u64),
    /// The core wanted to be woken then.
    Wake(u64),
    /// The manager looks at the engine.
    Look(u64),
    /// What it saw then reaches the core.
    Seen(u64, Box<Result<Observation, String>>),
    /// The manager looks at what has changed of the engine, and what it asked for.
    Glance(u64),
    /// What it saw then reaches the core.
    Glimpsed(u64, Box<Result<Delta, String>>),
    /// A call reaches the one it was made to.
    Effect(u64),
    /// Its answer reaches the core.
    Answer(u64, Box<Answer>),
    /// It is given up.
    Deadline(u64),
    /// A machine goes on.
    Machine(u64, MachineTurn),
    /// A node goes on.
    Node(u64, NodeTurn),
    /// A task goes on.
    Task(u64, TaskTurn),
    /// A person does the next thing.
    Person(usize),
    /// Node agents say something.
    Agents,
    /// The manager finds that a machine's agent is connected, or is not any more.
    Agent(InstanceId, bool),
    /// Something breaks.
    Trouble,
    /// A cloud answers again.
    CloudBack(usize),
    /// A cloud takes orders again.
    CloudAccepts(usize),
    /// The engine answers again.
    EngineBack,
}

/// A small seeded generator (`SplitMix64`, Steele, Lea and Flood 2014): the same numbers on every
/// machine and in every release.
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
    /// From `0` to `limit - 1`; `0` when `limit` is.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }
    /// From `low` to `high`, both included.
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

/// The clock, what is to come, and the dice.
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
    /// At this moment, after all that was set for the same moment before.
    pub fn at(&mut self, time: u64, happening: Happening) {
        self.sequence += 1;
        self.queue
            .insert((time.max(self.now), self.sequence), happening);
    }
    /// From `low` to `high` milliseconds from now.
    pub fn within(&mut self, low: u64, high: u64, happening: Happening) {
        let delay = self.dice.between(low, high);
        self.at(self.now + delay, happening);
    }
    /// The next thing to happen; the clock moves there.
    pub fn next(&mut self) -> Option<Happening> {
        let ((time, _), happening) = self.queue.pop_first()?;
        self.now = time;
        Some(happening)
    }
    /// A number that no other call gave.
    pub fn serial(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
