//! Load of one service in one metric: a ring of 30 samples of 2 s, means over windows, noise and
//! the peak of the look-back.

use super::{noise::Noise, peak::Peak};
use micado_api::Timestamp;

/// Duration of a sample in milliseconds.
pub const SAMPLE_MS: u32 = 2_000;

/// Number of samples: one minute.
const SAMPLES: usize = 30;

/// Lengths of the windows, in samples, that have a running sum: 4, 10, 30 and 60 s.
const LENGTHS: [usize; 4] = [2, 5, 15, 30];

/// Mean of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    pub window_ms: u32,
    pub value: f64,
}

/// A part of a sample, from frames shorter than 2 s.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    low: f64,
    high: f64,
    ms: u32,
}

/// Samples of the last minute. The low value counts blind copies as idle; the high one, used only
/// for the peak, counts each as the busiest.
#[derive(Debug, Clone)]
pub struct Load {
    low: [f32; SAMPLES],
    high: [f32; SAMPLES],
    /// Sums of the low values over `LENGTHS`.
    sums: [f64; LENGTHS.len()],
    high_sum: f64,
    /// Number of samples ever taken since the last interruption.
    taken: u32,
    part: Part,
    /// The last two frames: low value and duration.
    frames: [(f32, u32); 2],
    noise: Noise,
    peak: Peak,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            low: [0.0; SAMPLES],
            high: [0.0; SAMPLES],
            sums: [0.0; LENGTHS.len()],
            high_sum: 0.0,
            taken: 0,
            part: Part::default(),
            frames: [(0.0, 0); 2],
            noise: Noise::default(),
            peak: Peak::default(),
        }
    }
}

impl Load {
    /// Adds the sums of one frame. Returns true if it completed a sample.
    pub fn add(&mut self, now: Timestamp, low: f64, high: f64, ms: u32, look_back: u64) -> bool {
        self.frames = [self.frames[1], (low as f32, ms)];
        self.part.low += low * f64::from(ms);
        self.part.high += high * f64::from(ms);
        self.part.ms += ms;
        if self.part.ms < SAMPLE_MS {
            return false;
        }
        let part = std::mem::take(&mut self.part);
        let mean = |sum: f64| (sum / f64::from(part.ms)) as f32;
        self.push(mean(part.low), mean(part.high));
        self.peak.add(now, self.high_mean(), look_back);
        true
    }

    fn push(&mut self, low: f32, high: f32) {
        let at = self.taken as usize % SAMPLES;
        for (sum, length) in self.sums.iter_mut().zip(LENGTHS) {
            let left = (self.taken as usize >= length)
                .then(|| self.low[(self.taken as usize - length) % SAMPLES]);
            *sum += f64::from(low) - f64::from(left.unwrap_or(0.0));
        }
        if self.taken as usize >= SAMPLES {
            self.high_sum -= f64::from(self.high[at]);
        }
        self.high_sum += f64::from(high);
        self.low[at] = low;
        self.high[at] = high;
        self.noise.add(low);
        self.taken += 1;
        // Rounding errors of the running sums do not pile up.
        if at + 1 == SAMPLES {
            self.sums[LENGTHS.len() - 1] = self.low.iter().map(|one| f64::from(*one)).sum();
            self.high_sum = self.high.iter().map(|one| f64::from(*one)).sum();
        }
    }

    /// Returns the means of all windows that are full, shortest first; the first is of one second
    /// if frames are that short.
    pub fn means(&self) -> impl Iterator<Item = Mean> + '_ {
        let [(before, before_ms), (last, last_ms)] = self.frames;
        let short = (last_ms > 0 && last_ms <= 1_500).then_some(Mean {
            window_ms: 1_000,
            value: f64::from(last),
        });
        let both = f64::from(before_ms + last_ms);
        let two = if last_ms >= SAMPLE_MS - 500 {
            Some(f64::from(last))
        } else if before_ms > 0 {
            let sum =
                f64::from(before) * f64::from(before_ms) + f64::from(last) * f64::from(last_ms);
            Some(sum / both)
        } else {
            None
        };
        let two = two.map(|value| Mean {
            window_ms: SAMPLE_MS,
            value,
        });
        let long = self
            .sums
            .iter()
            .zip(LENGTHS)
            .filter(|(_, length)| self.taken as usize >= *length)
            .map(|(sum, length)| Mean {
                window_ms: SAMPLE_MS * length as u32,
                value: sum.max(0.0) / length as f64,
            });
        short.into_iter().chain(two).chain(long)
    }

    /// Mean of the high values over the last minute, or what there is of it.
    fn high_mean(&self) -> f64 {
        let count = (self.taken as usize).clamp(1, SAMPLES);
        self.high_sum.max(0.0) / count as f64
    }

    /// Mean over ten seconds, or over what there is.
    #[must_use]
    pub fn recent(&self) -> f64 {
        match self.taken as usize {
            0 => f64::from(self.frames[1].0),
            taken if taken >= LENGTHS[1] => self.sums[1].max(0.0) / LENGTHS[1] as f64,
            taken => self.sums[1].max(0.0) / taken as f64,
        }
    }

    /// Highest mean of all windows that are full.
    #[must_use]
    pub fn highest(&self) -> f64 {
        self.means().map(|mean| mean.value).fold(0.0, f64::max)
    }

    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.noise.sigma()
    }

    /// Keeps a load that caused a growth: nothing shrinks below it within the look-back.
    pub fn remember(&mut self, now: Timestamp, load: f64, look_back: u64) {
        self.peak.add(now, load, look_back);
    }

    /// Highest minute of the look-back, and the loads that caused growths in it.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        self.peak.value()
    }

    /// Empties the windows after a gap: samples before and after it do not make one mean.
    pub fn interrupt(&mut self) {
        let (noise, peak) = (self.noise, std::mem::take(&mut self.peak));
        *self = Self {
            noise,
            peak,
            ..Self::default()
        };
        self.noise.interrupt();
    }
}

#[cfg(test)]
mod tests;
