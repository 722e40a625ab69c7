//! Futility: growth that does not lower the use per copy is paused.

use super::Copies;
use micado_api::Timestamp;

/// Part of the expected fall that counts as an effect.
const LEAST_EFFECT: f64 = 0.25;
/// Growth below this share is not judged: noise and trend are as large as its effect.
const JUDGED_FROM: f64 = 1.2;
/// Growths without effect in a row after which growth pauses.
const IN_A_ROW: u8 = 3;

/// A growth that is under way.
#[derive(Debug, Clone, Copy)]
struct Growth {
    running: u32,
    /// Use per copy, and requests in all, before the first new copy ran.
    use_each: f64,
    requests: Option<f64>,
}

/// Effect of the last growths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Futility {
    open: Option<Growth>,
    in_a_row: u8,
    paused_until: Option<Timestamp>,
}

impl Futility {
    /// Takes the present load; judges the growth under way once all its copies are warm.
    pub fn check(
        &mut self,
        now: Timestamp,
        copies: &Copies,
        load: f64,
        requests: Option<f64>,
        look_back: u64,
    ) {
        let Some(growth) = &mut self.open else {
            return;
        };
        let running = copies.running();
        if running <= growth.running {
            growth.use_each = load / f64::from(running.max(1));
            growth.requests = requests;
            growth.running = running;
        } else if copies.starting == 0 && copies.young == 0 {
            let growth = *growth;
            self.open = None;
            self.judge(now, growth, running, load, requests, look_back);
        }
    }

    fn judge(
        &mut self,
        now: Timestamp,
        growth: Growth,
        running: u32,
        load: f64,
        requests: Option<f64>,
        look_back: u64,
    ) {
        let factor = f64::from(running) / f64::from(growth.running.max(1));
        if growth.running == 0 || factor < JUDGED_FROM || growth.use_each <= 0.0 {
            return;
        }
        let expected = 1.0 - 1.0 / factor;
        let fall = 1.0 - load / f64::from(running) / growth.use_each;
        // More requests than before explain the use.
        let confirmed = growth
            .requests
            .zip(requests)
            .is_some_and(|(before, after)| after >= before * (1.0 + (factor - 1.0) / 2.0));
        if fall >= LEAST_EFFECT * expected || confirmed {
            *self = Self::default();
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= IN_A_ROW {
            self.paused_until = Some(Timestamp(now.0.saturating_add(look_back)));
        }
    }

    /// Notes a growth from `running` copies.
    pub fn grew(&mut self, running: u32, load: f64, requests: Option<f64>) {
        self.open.get_or_insert(Growth {
            running,
            use_each: load / f64::from(running.max(1)),
            requests,
        });
    }

    /// Returns the end of the pause, if growth is paused. A growth that is not judged yet pauses
    /// the next one too, once growths were futile.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> Option<Timestamp> {
        self.paused_until.filter(|until| now < *until)
    }

    /// Number of growths without effect in a row.
    #[must_use]
    pub const fn in_a_row(&self) -> u8 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests;
