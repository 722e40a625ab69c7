//! Memory and CPU as one number.

use micado_api::Resources;

/// The sum of memory and CPU as shares of the largest machine that is there or can be rented. The
/// order of rooms by it is the order of what they would have left after any given container, so
/// best fit needs no other.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Scale {
    memory: f64,
    cpu: f64,
}

impl Scale {
    /// A scale for machines of at most this size.
    pub fn new(largest: Resources) -> Self {
        let unit = |most: u64| (1_u64 << 40) as f64 / most.max(1) as f64;
        Self {
            memory: unit(largest.memory.0),
            cpu: unit(largest.cpu.0),
        }
    }

    /// These resources as one number. It never falls when memory or CPU grows.
    pub fn size(self, resources: Resources) -> u64 {
        (resources.memory.0 as f64 * self.memory + resources.cpu.0 as f64 * self.cpu) as u64
    }
}
