//! The learned footprint: resources that a container of an image needs, from measured use.

use crate::model::{CopyTimes, Image, Learned, Window};
use micado_api::{Critical, ImageView, MemoryBytes, NanoCpus, Resources, Timestamp};
use std::sync::Arc;

/// Lower bound for the time that containers of a digest were measured, all together, before its
/// footprint is offered; in milliseconds.
pub const LEARN_AFTER: u64 = 600_000;

/// Duration of a window, in milliseconds.
const HOUR: u64 = 3_600_000;
/// Upper bound for the windows of a digest: 8 days.
const WINDOWS: usize = 192;
/// Number of windows that cover the last day: 24 whole hours and the present one.
const DAY: usize = 25;
/// Age in hours at which a window counts half.
const HALF_LIFE: f64 = 48.0;
/// Upper bound for the digests of an image.
const DIGESTS: usize = 3;
/// Upper bound for a value, in bytes or billionths of a core: more than any machine has, and many
/// of them can still be summed.
const MOST: u64 = 1 << 50;

/// Resources that the container of a Swarm service used over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub service: Arc<str>,
    /// Measured time, in milliseconds.
    pub measured_ms: u64,
    /// Peak of memory.
    pub memory_peak: MemoryBytes,
    /// Peak of CPU, averaged over a minute; 0 until a whole minute was measured or the container
    /// ended.
    pub cpu_peak: NanoCpus,
    /// Memory limit at which a process of it was OOM-killed, if one was.
    pub killed_at: Option<MemoryBytes>,
}

/// Resources that the containers of one digest used over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Measured time of all of them together, in milliseconds.
    pub measured_ms: u64,
    /// Peak of memory among them; above the limit after an OOM kill.
    pub memory: MemoryBytes,
    /// Peak of CPU among them, averaged over a minute.
    pub cpu: NanoCpus,
}

impl Seen {
    /// Adds one container, with values above `most` counted as that. An OOM kill counts as a need
    /// of more than its limit.
    pub fn add(&mut self, used: &Used, most: Resources) {
        let wanted = |limit: MemoryBytes| {
            MemoryBytes((limit.0.saturating_add(limit.0 / 5)).max(limit.0.saturating_add(64 << 20)))
        };
        let killed = used.killed_at.map(|limit| wanted(limit.min(most.memory)));
        self.measured_ms = self.measured_ms.saturating_add(used.measured_ms);
        self.memory = self
            .memory
            .max(used.memory_peak.min(most.memory))
            .max(killed.unwrap_or_default());
        self.cpu = self.cpu.max(used.cpu_peak.min(most.cpu));
    }
}

impl Learned {
    #[must_use]
    pub fn new(digest: &str) -> Self {
        Self {
            digest: digest.to_owned(),
            measured_ms: 0,
            windows: Vec::new(),
            times: CopyTimes::default(),
        }
    }

    /// Returns true if the measurement is worth a write: an hour begins, a peak rises, or the
    /// measured time has grown by much. Leaving out the rest lowers no footprint below the measured
    /// use.
    #[must_use]
    pub fn is_news(&self, now: Timestamp, seen: &Seen) -> bool {
        let rises = |old: u64, new: u64| new > old && new - old > old / 64;
        let hour = now.0 / HOUR * HOUR;
        let Some(present) = self.windows.last().filter(|window| window.at.0 >= hour) else {
            return true;
        };
        let measured = self.measured_ms.saturating_add(seen.measured_ms);
        let is_enough = self.measured_ms < LEARN_AFTER && measured >= LEARN_AFTER;
        let grew = seen.measured_ms >= LEARN_AFTER.max(self.measured_ms / 8);
        is_enough
            || grew
            || rises(present.memory.0, seen.memory.0)
            || rises(present.cpu.0, seen.cpu.0)
    }

    /// Adds a measurement to the window of the hour.
    pub fn learn(&mut self, now: Timestamp, seen: &Seen) {
        self.measured_ms = self.measured_ms.saturating_add(seen.measured_ms);
        let hour = Timestamp(now.0 / HOUR * HOUR);
        if self.windows.last().is_none_or(|window| window.at < hour) {
            self.windows.push(Window {
                at: hour,
                memory: MemoryBytes(0),
                cpu: NanoCpus(0),
            });
        }
        let excess = self.windows.len().saturating_sub(WINDOWS);
        self.windows.drain(..excess);
        if let Some(window) = self.windows.last_mut() {
            window.memory = window.memory.max(seen.memory);
            window.cpu = window.cpu.max(seen.cpu);
        }
    }

    /// Returns the resources that a container needs by these windows.
    #[must_use]
    pub fn needs(&self) -> Resources {
        let memory = with_margin(self.peak(|window| window.memory.0), 1 << 20).max(16 << 20);
        let cpu = with_margin(self.peak(|window| window.cpu.0), 10_000_000).max(10_000_000);
        Resources::new(MemoryBytes(memory), NanoCpus(cpu))
    }

    fn is_enough(&self) -> bool {
        self.measured_ms >= LEARN_AFTER
    }

    /// Maximum of the last day, or the 95th percentile of all windows, weighted by age, if that is
    /// more.
    fn peak(&self, figure: impl Fn(&Window) -> u64) -> u64 {
        let lately = self
            .windows
            .iter()
            .rev()
            .take(DAY)
            .map(&figure)
            .max()
            .unwrap_or(0);
        let newest = self.windows.last().map_or(0, |window| window.at.0);
        let weight = |window: &Window| {
            let hours = (newest.saturating_sub(window.at.0) / HOUR) as f64;
            ((-hours / HALF_LIFE).exp2() * f64::from(1 << 30)) as u64
        };
        let mut values: Vec<(u64, u64)> = self
            .windows
            .iter()
            .map(|window| (figure(window), weight(window)))
            .collect();
        values.sort_unstable();
        let enough = values.iter().map(|(_, weight)| weight).sum::<u64>() * 95;
        let mut below = 0;
        let percentile = values.iter().find(|(_, weight)| {
            below += weight * 100;
            below >= enough
        });
        lately.max(percentile.map_or(0, |(value, _)| *value))
    }
}

/// Adds 15 % and rounds up to whole units.
fn with_margin(peak: u64, unit: u64) -> u64 {
    let peak = peak.min(MOST);
    (peak + (peak * 15).div_ceil(100)).next_multiple_of(unit)
}

impl Image {
    /// An image without any measurement.
    #[must_use]
    pub fn new(name: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            digest: None,
            critical: Critical::default(),
            learned: Vec::new(),
            seen_at: now,
        }
    }

    /// Makes this the digest that nodes pull.
    pub fn pulls(&mut self, digest: &str) {
        if self.digest.as_deref() != Some(digest) {
            self.digest = Some(digest.to_owned());
            // The present digest comes last.
            self.learned.sort_by_key(|it| it.digest == digest);
        }
    }

    #[must_use]
    pub fn learned_of(&self, digest: &str) -> Option<&Learned> {
        self.learned.iter().find(|it| it.digest == digest)
    }

    /// Adds a measurement of a digest. Above the upper bound, the oldest digest that is not the
    /// present one is dropped.
    pub fn learn(&mut self, digest: &str, now: Timestamp, seen: &Seen) {
        self.seen_at = self.seen_at.max(now);
        if self.learned_of(digest).is_none() {
            self.learned.push(Learned::new(digest));
        }
        if self.learned.len() > DIGESTS
            && let Some(oldest) = self
                .learned
                .iter()
                .position(|it| it.digest != digest && Some(&it.digest) != self.digest.as_ref())
        {
            self.learned.remove(oldest);
        }
        self.learned
            .iter_mut()
            .filter(|it| it.digest == digest)
            .for_each(|it| it.learn(now, seen));
    }

    /// Sets the measured times of a digest.
    pub fn took(&mut self, digest: &str, times: CopyTimes) {
        let mut learned = self.learned.iter_mut();
        if let Some(learned) = learned.find(|learned| learned.digest == digest) {
            learned.times = times;
        }
    }

    /// Returns the learned resources of a container: of the present digest, or of the previous one
    /// until enough of the present one was measured.
    #[must_use]
    pub fn footprint(&self) -> Option<Resources> {
        let present = self
            .digest
            .as_deref()
            .and_then(|digest| self.learned_of(digest));
        if let Some(present) = present.filter(|it| it.is_enough()) {
            return Some(present.needs());
        }
        let before = self.learned.iter().rev().find(|it| it.is_enough())?.needs();
        let so_far = present.map(Learned::needs).unwrap_or_default();
        Some(Resources::new(
            before.memory.max(so_far.memory),
            before.cpu.max(so_far.cpu),
        ))
    }

    /// Returns the image as the API shows it.
    #[must_use]
    pub fn view(&self) -> ImageView {
        let footprint = self.footprint();
        let suggested = |needs: Resources| Critical {
            memory: Some(MemoryBytes(needs.memory.0 / 100 * 85)),
            cpu: Some(NanoCpus(needs.cpu.0 / 100 * 85)),
        };
        ImageView {
            image: self.name.clone(),
            digest: self.digest.clone(),
            critical: self.critical,
            suggested: footprint.map(suggested),
            footprint,
            measured_ms: self
                .digest
                .as_deref()
                .and_then(|digest| self.learned_of(digest))
                .map_or(0, |it| it.measured_ms),
            services: Vec::new(),
            revisions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
