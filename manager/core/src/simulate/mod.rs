//! Simulation of one service under a load, on a virtual clock: the production scaler beside a peer
//! and a bound. Pure functions of values; used by `micado simulate` and by tests.

mod bound;
mod csv;
mod options;
mod ours;
mod peer;
mod random;
mod report;
mod shape;
mod tally;
mod world;

pub use bound::{Flavour, bound, optimum};
pub use csv::{CsvError, demand};
pub use options::{Billing, Options};
pub use ours::Ours;
pub use peer::Peer;
pub use random::Random;
pub use report::{Bounds, Elasticity, Judgement, Report};
pub use shape::{SIX, Shape, ShapeError, names};
pub use tally::Point;
pub use world::{Copy, Machine, Side, World};

use crate::scaling::{PolicyError, Verdict};

/// Seconds over which the demand is averaged before copies are counted: noise is not need.
const MINUTE: usize = 60;

/// Result of one side.
#[derive(Debug, Clone)]
pub struct Run {
    pub report: Report,
    pub points: Vec<Point>,
    /// Changes of the count with their reasons; the peer gives none.
    pub changes: Vec<Verdict>,
}

/// Runs the production scaler under a demand of one value a second.
///
/// # Errors
/// If a policy is invalid.
pub fn run_ours(demand: &[f64], options: &Options, optimum: f64) -> Result<Run, PolicyError> {
    let mut world = World::new(options, first(demand));
    let mut side = Ours::new(&world)?;
    let run = run(demand, &mut world, &mut side, optimum);
    let changes = side.changes;
    Ok(Run { changes, ..run })
}

/// Runs the peer under the same demand.
#[must_use]
pub fn run_peer(demand: &[f64], options: &Options, optimum: f64) -> Run {
    let mut world = World::new(options, first(demand));
    let mut side = Peer::new(&world);
    run(demand, &mut world, &mut side, optimum)
}

fn run(demand: &[f64], world: &mut World, side: &mut impl Side, optimum: f64) -> Run {
    for demand in demand {
        world.step(*demand, side);
    }
    world.end();
    Run {
        report: Report::new(side.name(), &world.tally, &world.options, optimum),
        points: std::mem::take(&mut world.tally.points),
        changes: Vec::new(),
    }
}

/// Demand at the beginning: the mean of the first minute.
fn first(demand: &[f64]) -> f64 {
    let count = demand.len().min(MINUTE);
    demand[..count].iter().sum::<f64>() / count.max(1) as f64
}

/// Returns the bounds of a demand, in money.
#[must_use]
pub fn bounds(demand: &[f64], options: &Options) -> Bounds {
    let boot = options.boot.0 / 1_000;
    let means = means(demand);
    let copies = |target: f64| {
        let share = target * options.cores;
        means
            .iter()
            .map(move |mean| (mean / share - 1e-9).ceil().max(0.0) as u32)
    };
    let needed: Vec<u32> = copies(options.target)
        .map(|copies| options.machines(copies))
        .collect();
    let flavour = Flavour {
        cores: f64::from(options.slots) * options.cores,
        memory: f64::from(options.slots),
        price: options.price / 3_600.0,
    };
    let at = |target: f64| {
        let promised: Vec<(f64, f64)> = copies(target)
            .map(|copies| (f64::from(copies) * options.cores, f64::from(copies)))
            .collect();
        bound(&promised, &[flavour], boot)
    };
    Bounds {
        optimum: optimum(&needed, boot) as f64 / 3_600.0 * options.price,
        bound: at(options.target),
        floor: at(1.0),
    }
}

/// Means of the last minute at every second.
fn means(demand: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    demand
        .iter()
        .enumerate()
        .map(|(at, one)| {
            sum += one;
            if at >= MINUTE {
                sum -= demand[at - MINUTE];
            }
            sum.max(0.0) / (at + 1).min(MINUTE) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests;
