//! Saturation: the copies use all they can have, so the measured load is only a lower bound.

use super::{Frame, Span};
use micado_api::Timestamp;

/// Time for which at least half of the warm copies must be saturated, in milliseconds.
const FOR: u64 = 8_000;

/// Facts about one copy that tell if it could use more.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ceiling {
    /// CPU use in cores, and the reservation.
    pub cpu: f64,
    pub reservation: f64,
    /// Busy share of its machine, 0 to 1.
    pub machine_busy: f64,
    pub is_throttled: bool,
    /// Share of time that its processes waited for CPU, in percent, if the kernel reports it.
    pub cpu_pressure: Option<f64>,
    /// Memory use as a share of the limit.
    pub memory_share: f64,
    pub was_oom_killed: bool,
}

/// Returns true if a copy cannot have more CPU or memory.
#[must_use]
pub fn is_saturated(copy: &Ceiling) -> bool {
    (copy.machine_busy >= 0.97 && copy.cpu >= 0.97 * copy.reservation)
        || copy.is_throttled
        || copy.cpu_pressure.is_some_and(|share| share >= 20.0)
        || copy.memory_share >= 0.97
        || copy.was_oom_killed
}

/// Duration of the present saturation, and the growth that it caused last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Saturation {
    for_ms: u64,
    /// End of the time that the last growth has to take effect.
    open_until: Option<Timestamp>,
}

impl Saturation {
    /// Takes a frame. Returns the count that saturation wants, if it wants more copies.
    pub fn check(&mut self, frame: &Frame, factor: f64) -> Option<u32> {
        let copies = &frame.copies;
        let is_saturated = copies.warm > 0 && frame.saturated * 2 >= copies.warm;
        self.for_ms = match is_saturated {
            true => self.for_ms + u64::from(frame.interval_ms),
            false => 0,
        };
        if !self.is_open(frame) {
            return None;
        }
        self.open_until = None;
        (self.for_ms >= FOR).then(|| (f64::from(copies.running()) * factor).ceil() as u32)
    }

    /// True if the last growth has taken effect, or had the time for it.
    #[must_use]
    pub fn is_open(&self, frame: &Frame) -> bool {
        let is_settled = frame.copies.starting == 0 && frame.copies.young == 0;
        self.open_until
            .is_none_or(|until| is_settled || frame.at >= until)
    }

    /// Notes a growth that saturation caused: none follows until its copies are warm, or twice the
    /// lead time has passed.
    pub fn grew(&mut self, now: Timestamp, lead: Span) {
        self.open_until = Some(Timestamp(now.0.saturating_add(2 * lead.0)));
    }

    /// True while at least half of the warm copies are saturated.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.for_ms > 0
    }
}

#[cfg(test)]
mod tests;
