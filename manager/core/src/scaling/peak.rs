//! Peak of a value over the last W: a monotone deque with a bounded number of entries.

use micado_api::Timestamp;
use std::collections::VecDeque;

/// Number of steps that W is divided into. A peak is kept for up to one step longer than W.
const STEPS: u64 = 32;

/// Upper bound for the entries. At a longer W, older entries are finer than a step.
const MOST: usize = 40;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// End of the step, in seconds since the epoch.
    until: u32,
    value: f32,
}

/// Values in falling order, each with the end of its step.
#[derive(Debug, Clone)]
pub struct Peak {
    entries: VecDeque<Entry>,
}

impl Default for Peak {
    fn default() -> Self {
        Self {
            entries: VecDeque::with_capacity(MOST),
        }
    }
}

impl Peak {
    /// Adds a value, and drops those older than `look_back` milliseconds.
    pub fn add(&mut self, now: Timestamp, value: f64, look_back: u64) {
        let (second, look_back) = (now.0 / 1_000, look_back.div_ceil(1_000));
        let step = (look_back / STEPS).max(1);
        let until = ((second / step + 1) * step) as u32;
        // Rounded up, so that a sum never exceeds its own peak.
        let value = (value as f32).next_up();
        while self.entries.back().is_some_and(|last| last.value <= value) {
            self.entries.pop_back();
        }
        match self.entries.back_mut() {
            Some(last) if last.until >= until => {}
            _ => {
                if self.entries.len() >= MOST {
                    self.thin();
                }
                self.entries.push_back(Entry { until, value });
            }
        }
        while self
            .entries
            .front()
            .is_some_and(|first| u64::from(first.until) + look_back < second)
        {
            self.entries.pop_front();
        }
    }

    /// Returns the highest value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.entries.front().map(|first| f64::from(first.value))
    }

    /// Merges neighbours: the larger value with the later end, so that the peak never falls early.
    fn thin(&mut self) {
        let mut kept = 0;
        for at in (0..self.entries.len()).step_by(2) {
            let later = self.entries.get(at + 1).unwrap_or(&self.entries[at]).until;
            self.entries[kept] = Entry {
                until: later,
                value: self.entries[at].value,
            };
            kept += 1;
        }
        self.entries.truncate(kept);
    }
}

#[cfg(test)]
mod tests;
