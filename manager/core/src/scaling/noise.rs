//! Noise of one sample, from successive differences: a trend does not count as noise.

/// Time constant of the average, in samples of 2 s: 300 s.
const MEMORY: f32 = 150.0;

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
            self.variance += weight * (half_square - self.variance);
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
