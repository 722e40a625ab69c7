//! Fluid demand of one service: what its copies serve, what waits, and what is missed.

use super::{
    options::Options,
    tally::{Second, Tally},
};

/// Demand of one service and its sums.
#[derive(Debug, Default)]
pub struct Fluid {
    /// Demand that waits, in core-seconds.
    backlog: f64,
    /// Use of each running copy in the past second, in cores.
    pub use_each: f64,
    pub tally: Tally,
}

impl Fluid {
    /// Serves the demand of one second: first what waits, then what is new. What waits longer than
    /// the patience is missed.
    pub fn serve(&mut self, demand: f64, running: u32, copies: u32, options: &Options) {
        let capacity = f64::from(running) * options.cores;
        let all = self.backlog + demand;
        let served = all.min(capacity);
        let left = all - served;
        self.backlog = left.min(capacity * options.patience.0 as f64 / 1_000.0);
        self.use_each = served / f64::from(running.max(1));
        let second = Second {
            demand,
            served,
            capacity,
            missed: left - self.backlog,
            backlog: self.backlog,
            copies,
        };
        self.tally.add(&second, options);
    }
}
