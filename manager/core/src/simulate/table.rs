//! Table of all shapes: both sides, as means over seeds.

use super::{Load, Options, Report, SIX, Shape, bounds, run_ours, run_peer};
use crate::scaling::Span;
use micado_api::ErrorBody;
use serde::Serialize;

/// Means of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Means {
    /// Cost relative to the integer optimum.
    pub relative: f64,
    pub missed_percent: f64,
    /// Priced total relative to the integer optimum.
    pub priced: f64,
    pub starts: f64,
    pub orders: f64,
    pub moves: f64,
}

/// One shape, or the mean of the six.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub boot_s: u64,
    pub shape: &'static str,
    pub micado: Means,
    pub peer: Means,
}

/// Name of the row with the mean of the six shapes.
pub const MEAN: &str = "mean of six";

impl Means {
    fn add(&mut self, report: &Report, share: f64) {
        self.relative += report.relative * share;
        self.missed_percent += report.missed_percent * share;
        self.priced += report.priced_relative * share;
        self.starts += f64::from(report.starts) * share;
        self.orders += f64::from(report.orders) * share;
        self.moves += f64::from(report.moves) * share;
    }

    fn merge(&mut self, other: &Self, share: f64) {
        self.relative += other.relative * share;
        self.missed_percent += other.missed_percent * share;
        self.priced += other.priced * share;
        self.starts += other.starts * share;
        self.orders += other.orders * share;
        self.moves += other.moves * share;
    }
}

/// Runs the six shapes and bursts for every boot, with the seeds `seed`, `seed + 1` and
/// `seed + 2`.
///
/// # Errors
/// If the core refuses the policies.
pub fn table(boots: &[Span], seed: u64, options: &Options) -> Result<Vec<Row>, ErrorBody> {
    const SEEDS: u64 = 3;
    let mut rows = Vec::new();
    for boot in boots {
        let options = Options {
            boot: *boot,
            ..options.clone()
        };
        let boot_s = boot.0 / 1_000;
        let row = |shape| Row {
            boot_s,
            shape,
            micado: Means::default(),
            peer: Means::default(),
        };
        let mut mean = row(MEAN);
        for name in SIX.into_iter().chain(["bursts"]) {
            let mut sums = row(name);
            for seed in seed..seed + SEEDS {
                let Ok(shape) = name.parse::<Shape>() else {
                    continue;
                };
                let loads = [Load::new(shape.demand(seed), 0)];
                let best = bounds(&loads, &options).optimum;
                let ours = run_ours(&loads, &options, best)?.report;
                let peer = run_peer(&loads, &options, best).report;
                sums.micado.add(&ours, 1.0 / SEEDS as f64);
                sums.peer.add(&peer, 1.0 / SEEDS as f64);
            }
            if SIX.contains(&name) {
                mean.micado.merge(&sums.micado, 1.0 / SIX.len() as f64);
                mean.peer.merge(&sums.peer, 1.0 / SIX.len() as f64);
            }
            rows.push(sums);
        }
        rows.push(mean);
    }
    Ok(rows)
}
