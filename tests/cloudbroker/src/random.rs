//! Randomness derived from a seed alone.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A seeded random generator.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True with probability `rate`, clamped to 0..=1.
    pub(crate) fn chance(&mut self, rate: f64) -> bool {
        self.0.random_bool(rate.clamp(0.0, 1.0))
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }
}
