//! What instances are: nothing at all.

use crate::{
    simulator::Shared,
    world::{Effect, World},
};
use jiff::Timestamp;
use std::sync::Arc;

/// Who does what the world wants done.
#[derive(Debug)]
pub(crate) enum Machines {
    /// Records only.
    None,
}

impl Machines {
    /// Begins to do it. What is done at once is in the world already when this returns; whether that is so.
    pub(crate) fn begin(&self, _shared: &Arc<Shared>, world: &mut World, effect: Effect, now: Timestamp) -> bool {
        match self {
            Self::None => {
                pretend(world, effect, now);
                true
            }
        }
    }
}

/// A machine of no substance does everything at once.
fn pretend(world: &mut World, effect: Effect, now: Timestamp) {
    match effect {
        Effect::Boot(id) => {
            world.started(&id, now);
            let address = made_up(world.records().instances.len());
            world.up(&id, &address, now);
        }
        Effect::Halt(id, _) => world.gone(&id, now),
        Effect::Run(job) => world.ran(&job, 0, now),
    }
}

/// An address that no other machine has.
fn made_up(number: usize) -> String {
    format!("10.{}.{}.{}", 64 + number / 62_500 % 64, number / 250 % 250, number % 250 + 2)
}
