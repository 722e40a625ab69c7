//! Machines of a run: what they cost, and how often they changed.

use super::options::{Options, paid};

/// Sums over all machines of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bill {
    pub machine_seconds: u64,
    pub paid_seconds: u64,
    pub orders: u32,
    pub returns: u32,
    pub moves: u32,
    /// Machines of every second.
    pub machines: Vec<u32>,
}

impl Bill {
    /// Pays for a machine that was used for this many seconds.
    pub fn pay(&mut self, used: u64, options: &Options) {
        self.machine_seconds += used;
        self.paid_seconds += paid(options.billing, used);
    }

    /// Cost in money.
    #[must_use]
    pub fn cost(&self, options: &Options) -> f64 {
        self.paid_seconds as f64 / 3_600.0 * options.price
    }
}
