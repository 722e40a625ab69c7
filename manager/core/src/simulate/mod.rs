//! Simulation of services under loads, on a virtual clock: the production control core beside a
//! peer and a bound. Pure functions of values; used by `micado simulate` and by tests.

mod bill;
mod bound;
mod cloud;
mod csv;
mod engine;
mod faults;
mod fluid;
mod options;
mod ours;
mod peer;
mod plot;
mod random;
mod report;
mod shape;
mod table;
mod tally;
mod world;

pub use bound::{Flavour, bound, optimum};
pub use cloud::BEGIN;
pub use csv::{CsvError, demand, filled};
pub use options::{Billing, Options};
pub use plot::plot;
pub use random::Random;
pub use report::{Bounds, Elasticity, Judgement, Report, ServiceReport};
pub use shape::{SIX, Shape, ShapeError, names};
pub use table::{MEAN, Means, Row, table};
pub use tally::Point;

use bill::Bill;
use faults::Faults;
use fluid::Fluid;
use micado_api::{ErrorBody, VerdictView};
use ours::Ours;
use peer::Peer;

/// Seconds over which the demand is averaged before copies are counted: noise is not need.
const MINUTE: usize = 60;

/// Seconds of a day.
const DAY: usize = 86_400;

/// One contender: a cluster that serves demands.
trait Side {
    fn name(&self) -> &'static str;
    /// Serves one second of the demand of each service, and decides what follows.
    fn step(&mut self, demands: &[f64]);
    /// Pays for what is left.
    fn end(&mut self);
    fn services(&self) -> &[Fluid];
    fn bill(&self) -> &Bill;
}

/// Result of one side.
#[derive(Debug, Clone)]
pub struct Run {
    pub report: Report,
    /// Sums of all services.
    pub points: Vec<Point>,
    /// Machines of every second.
    pub machines: Vec<u32>,
    /// Changes of the counts with their reasons; the peer gives none.
    pub changes: Vec<VerdictView>,
}

/// Demand of one service in core-seconds per second, one value a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Demand before the run, for the forecast. The run begins on a Monday at 00:00 UTC, or so much
    /// later.
    pub past: Vec<f64>,
    pub demand: Vec<f64>,
}

impl Load {
    /// Takes the first days as the past.
    #[must_use]
    pub fn new(mut demand: Vec<f64>, days: u32) -> Self {
        let at = demand.len().min(days as usize * DAY);
        let rest = demand.split_off(at);
        Self {
            past: demand,
            demand: rest,
        }
    }
}

/// Runs the production control core under the loads of services.
///
/// # Errors
/// If the core refuses the policies.
pub fn run_ours(loads: &[Load], options: &Options, optimum: f64) -> Result<Run, ErrorBody> {
    let mut side = Ours::new(options, faults(loads, options), loads)?;
    let run = run(loads, &mut side, options, optimum);
    let changes = side.changes;
    Ok(Run { changes, ..run })
}

/// Runs the peer under the same loads.
#[must_use]
pub fn run_peer(loads: &[Load], options: &Options, optimum: f64) -> Run {
    let mut side = Peer::new(options, faults(loads, options), &first(loads));
    run(loads, &mut side, options, optimum)
}

fn run(loads: &[Load], side: &mut impl Side, options: &Options, optimum: f64) -> Run {
    let mut now = vec![0.0; loads.len()];
    for second in 0..length(loads) {
        for (now, load) in now.iter_mut().zip(loads) {
            *now = load.demand.get(second).copied().unwrap_or_default();
        }
        side.step(&now);
    }
    side.end();
    Run {
        report: Report::new(side, options, optimum),
        points: report::merged(side).points,
        machines: side.bill().machines.clone(),
        changes: Vec::new(),
    }
}

/// Seconds of the longest demand.
fn length(loads: &[Load]) -> usize {
    let lengths = loads.iter().map(|load| load.demand.len());
    lengths.max().unwrap_or(0)
}

fn faults(loads: &[Load], options: &Options) -> Faults {
    Faults::new(options.faults, length(loads) as u64)
}

/// Demands at the beginning: the means of the first minute.
fn first(loads: &[Load]) -> Vec<f64> {
    let mean = |load: &Load| {
        let count = load.demand.len().min(MINUTE);
        load.demand[..count].iter().sum::<f64>() / count.max(1) as f64
    };
    loads.iter().map(mean).collect()
}

/// Returns the bounds of the loads together, in money.
#[must_use]
pub fn bounds(loads: &[Load], options: &Options) -> Bounds {
    let boot = options.boot.0 / 1_000;
    let means: Vec<Vec<f64>> = loads.iter().map(|load| means(&load.demand)).collect();
    // Copies of all services in each second.
    let copies = |target: f64| -> Vec<u32> {
        let share = target * options.cores;
        let of = |mean: &Vec<f64>, at: usize| {
            let mean = mean.get(at).copied().unwrap_or_default();
            (mean / share - 1e-9).ceil().max(0.0) as u32
        };
        (0..length(loads))
            .map(|at| means.iter().map(|mean| of(mean, at)).sum())
            .collect()
    };
    let needed: Vec<u32> = copies(options.target)
        .into_iter()
        .map(|copies| options.machines(copies))
        .collect();
    let flavour = Flavour {
        cores: f64::from(options.slots) * options.cores,
        memory: f64::from(options.slots),
        price: options.price / 3_600.0,
    };
    // The machines of the first second are there already, with all their slots.
    let first = needed
        .first()
        .map_or(0, |machines| machines * options.slots);
    let at = |target: f64| {
        let mut promised: Vec<(f64, f64)> = copies(target)
            .into_iter()
            .map(|copies| (f64::from(copies) * options.cores, f64::from(copies)))
            .collect();
        if let Some(promise) = promised.first_mut() {
            *promise = (f64::from(first) * options.cores, f64::from(first));
        }
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
