//! Noise of one sample, from successive differences: a trend does not count as noise, and neither
//! does a step.

/// Time constant of the average, in samples of 2 s: 300 s.
const MEMORY: f32 = 150.0;

/// Upper bound for what one difference counts, as a multiple of the average: three deviations. A
/// difference above it is a step of the load, unless such differences come often: if more than one
/// in nine are, the average rises until they are not.
const STEP: f32 = 9.0;

/// Lower bound for that bound, as a deviation relative to the load, so that an average of nothing
/// can rise.
const FLOOR: f32 = 0.04;

/// Average of half the squared differences between successive samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noise {
    last: Option<f32>,
    variance: f32,
    count: u16,
}

impl Noise {
    /// Adds a sample. The average is a plain mean until it holds 150 differences.
    pub fn add(&mut self, sample: f32) {
        if let Some(last) = self.last.replace(sample) {
            self.count = self.count.saturating_add(1);
            let weight = 1.0 / f32::from(self.count).min(MEMORY);
            let half_square = (sample - last) * (sample - last) / 2.0;
            let floor = FLOOR * sample.max(last);
            let most = (STEP * self.variance).max(floor * floor);
            self.variance += weight * (half_square.min(most) - self.variance);
        }
    }

    /// Standard deviation of one sample.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        f64::from(self.variance).sqrt()
    }

    /// Forgets the last sample, so that a gap is not a difference.
    pub fn interrupt(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests;
