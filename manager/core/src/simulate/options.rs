//! Options of a run: the same for both sides.

use crate::scaling::{Policies, Span};
pub use micado_cloudsetup::Billing;

/// Seconds that are paid for `used` seconds of a machine: whole periods, or 60 s at least.
#[must_use]
pub fn paid(billing: Billing, used: u64) -> u64 {
    match billing.period() {
        None => used.max(60),
        Some(period) => used.max(1).next_multiple_of(period.as_secs()),
    }
}

/// World of a run. Machines of one flavour, each with room for `slots` copies.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub policies: Policies,
    /// Time from the order of a machine until it takes copies.
    pub boot: Span,
    /// Time from the creation of a copy until it runs.
    pub start: Span,
    /// Time that a copy runs before it counts as warm.
    pub warm_up: Span,
    /// Interval of the frames that the scaler gets: 1 s or 2 s.
    pub frame: Span,
    pub billing: Billing,
    /// Copies per machine.
    pub slots: u32,
    /// Lower bound for the machines of two or more copies, so that no machine's end stops the
    /// service: on this side, in the optimum, and as the smallest node group of the peer.
    pub least_machines: u32,
    /// Reservation of a copy, and the most it can use, in cores.
    pub cores: f64,
    /// Target of CPU, for the peer and the optimum; the first CPU target of the policies if they
    /// have one.
    pub target: f64,
    /// Time that demand waits before it is missed.
    pub patience: Span,
    /// Work of one request, in seconds of one core: only delays depend on it.
    pub service_time: f64,
    /// Price of a missed core-second relative to a rented one.
    pub lambda: f64,
    /// Price of a machine per hour.
    pub price: f64,
    /// Seed of the faults of a run with faults.
    pub faults: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policies: Policies::standard(400),
            boot: Span::seconds(90),
            start: Span::seconds(1),
            warm_up: Span::seconds(30),
            frame: Span::seconds(2),
            billing: Billing::Second,
            slots: 4,
            least_machines: 2,
            cores: 1.0,
            target: 0.70,
            patience: Span::seconds(5),
            service_time: 0.1,
            lambda: 10.0,
            price: 1.0,
            faults: None,
        }
    }
}

impl Options {
    /// Machines that `copies` need.
    #[must_use]
    pub fn machines(&self, copies: u32) -> u32 {
        let least = self.least_machines.min(copies);
        copies.div_ceil(self.slots).max(least)
    }

    /// Copies that carry a demand at the target, within the limits of the policies.
    #[must_use]
    pub fn copies(&self, demand: f64) -> u32 {
        let share = self.target * self.cores;
        ((demand / share).ceil() as u32).clamp(self.policies.min.max(1), self.policies.max)
    }
}
