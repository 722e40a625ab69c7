//! Limits of step and pace: largest step in a time, and cool-downs of each direction.

use super::{
    policy::{Policies, Step},
    why::Stop,
};
use micado_api::Timestamp;

/// The last change in each direction, and the counts that steps are measured from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steps {
    grew_at: Option<Timestamp>,
    shrank_at: Option<Timestamp>,
    /// Count and time at the beginning of the present step time.
    up: Option<(u32, Timestamp)>,
    down: Option<(u32, Timestamp)>,
}

impl Steps {
    /// Returns the count that the steps allow, if it is less of a change.
    pub(super) fn limited(
        &self,
        policies: &Policies,
        from: u32,
        count: u32,
        now: Timestamp,
    ) -> Option<(u32, Stop)> {
        let stop = |step: Step, (_, since): (u32, Timestamp)| Stop::Step {
            percent: step.percent,
            until: Timestamp(since.0.saturating_add(step.per.0)),
        };
        if count > from {
            let step = policies.step_up?;
            let base = current(self.up, step, from, now);
            let most = base.0.saturating_add(size(step, base.0)).max(from);
            (count > most).then(|| (most, stop(step, base)))
        } else {
            let step = policies.step_down?;
            let base = current(self.down, step, from, now);
            let least = base.0.saturating_sub(size(step, base.0)).min(from);
            (count < least).then(|| (least, stop(step, base)))
        }
    }

    /// Returns the end of the cool-down of this direction. The other direction never delays it.
    pub(super) fn cools_until(
        &self,
        policies: &Policies,
        from: u32,
        count: u32,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (at, cool_down) = match count.cmp(&from) {
            std::cmp::Ordering::Greater => (self.grew_at?, policies.cool_down_up),
            std::cmp::Ordering::Less => (self.shrank_at?, policies.cool_down_down),
            std::cmp::Ordering::Equal => return None,
        };
        let until = Timestamp(at.0.saturating_add(cool_down.0));
        (now < until).then_some(until)
    }

    /// Notes a change.
    pub(super) fn changed(&mut self, policies: &Policies, from: u32, count: u32, now: Timestamp) {
        if count > from {
            self.grew_at = Some(now);
            self.up = policies
                .step_up
                .map(|step| current(self.up, step, from, now));
        } else {
            self.shrank_at = Some(now);
            self.down = policies
                .step_down
                .map(|step| current(self.down, step, from, now));
        }
    }
}

fn current(
    base: Option<(u32, Timestamp)>,
    step: Step,
    from: u32,
    now: Timestamp,
) -> (u32, Timestamp) {
    base.filter(|(_, at)| now.0.saturating_sub(at.0) < step.per.0)
        .unwrap_or((from, now))
}

fn size(step: Step, count: u32) -> u32 {
    ((f64::from(count) * step.percent / 100.0).floor() as u32).max(1)
}
