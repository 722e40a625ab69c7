//! The pipeline of a check: from the answers of the policies to one verdict. Each stage may change
//! or stop it, and names itself.

use super::{
    frame::{Frame, Limits},
    policy::Policies,
    saturation::Saturation,
    steps::Steps,
    wanted::Wanted,
    why::{Cause, Stop, Verdict},
};
use micado_api::Timestamp;

/// Share of the copies that may be blind without stopping every shrink; one always may.
const BLIND_SHARE: f64 = 0.10;

/// A verdict in the making.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub(super) from: u32,
    pub(super) count: u32,
    pub(super) asked: u32,
    pub(super) cause: Cause,
    pub(super) stop: Option<Stop>,
    /// The policy with the highest count.
    pub(super) by: Option<usize>,
}

impl Draft {
    pub(super) const fn new(from: u32) -> Self {
        Self {
            from,
            count: from,
            asked: from,
            cause: Cause::Steady,
            stop: None,
            by: None,
        }
    }

    pub(super) const fn verdict(self, at: Timestamp) -> Verdict {
        Verdict {
            at,
            from: self.from,
            count: self.count,
            asked: self.asked,
            cause: self.cause,
            stop: self.stop,
        }
    }

    const fn grows(&self) -> bool {
        self.count > self.from
    }

    const fn shrinks(&self) -> bool {
        self.count < self.from
    }

    fn raise(&mut self, floor: u32, cause: Cause) {
        if floor > self.count {
            self.count = floor;
            self.asked = self.asked.max(floor);
            self.cause = cause;
            self.stop = None;
        }
    }

    /// Sets another count. The last stage to do so is named, with what was asked of the first.
    fn limit(&mut self, count: u32, stop: Stop) {
        if count != self.count {
            if self.stop.is_none() {
                self.asked = self.count;
            }
            (self.count, self.stop) = (count, Some(stop));
        }
    }

    fn hold(&mut self, stop: Stop) {
        self.limit(self.from, stop);
    }
}

/// Answers of the policies, with the end of the pause of those that are futile.
pub(super) type Answer = (Wanted, Option<(u8, Timestamp)>);

/// Takes the highest count of the policies. An unknown one stops a shrink.
pub(super) fn combine(draft: &mut Draft, answers: impl Iterator<Item = (usize, Answer)>) {
    let mut highest: Option<(u32, Cause, usize)> = None;
    let mut unknown = None;
    let mut futile = None;
    for (at, (wanted, pause)) in answers {
        match (wanted, pause) {
            (Wanted::Unknown(reason), _) => {
                unknown = unknown.or(Some(Stop::Unknown {
                    policy: at as u8,
                    reason,
                }));
            }
            (Wanted::Count(count, _), Some((growths, until))) if count > draft.from => {
                futile = Some((count, Stop::Futile { growths, until }));
                if highest.is_none_or(|(other, ..)| draft.from > other) {
                    highest = Some((draft.from, Cause::Steady, at));
                }
            }
            (Wanted::Count(count, cause), _) => {
                if highest.is_none_or(|(other, ..)| count > other) {
                    highest = Some((count, cause, at));
                }
            }
        }
    }
    if let Some((count, cause, at)) = highest {
        (draft.count, draft.asked, draft.cause, draft.by) = (count, count, cause, Some(at));
    }
    if let Some(stop) = unknown
        && (draft.shrinks() || highest.is_none())
    {
        draft.hold(stop);
        draft.stop = Some(stop);
    }
    if let Some((asked, stop)) = futile
        && !draft.grows()
    {
        (draft.asked, draft.stop) = (asked, Some(stop));
    }
}

/// Stops a shrink that the metrics do not support.
pub(super) fn evidence(
    draft: &mut Draft,
    frame: &Frame,
    saturation: &Saturation,
    filled_at: Timestamp,
) {
    if !draft.shrinks() {
        return;
    }
    let copies = &frame.copies;
    let allowed = (f64::from(copies.wanted()) * BLIND_SHARE).max(1.0);
    if copies.running() > 0 && copies.blind == copies.running() || f64::from(copies.blind) > allowed
    {
        draft.hold(Stop::Blind {
            blind: copies.blind,
            of: copies.wanted(),
        });
    } else if copies.starting + copies.failing > 0 {
        draft.hold(Stop::Moving {
            starting: copies.starting,
            failing: copies.failing,
        });
    } else if saturation.is_on() {
        draft.hold(Stop::Saturated);
    } else if frame.at < filled_at {
        draft.hold(Stop::LookBack { until: filled_at });
    }
}

/// Raises the count to the floors of forecast, schedule and hand, and lowers it to the schedule's
/// ceiling.
pub(super) fn floors(
    draft: &mut Draft,
    limits: &Limits,
    schedule: super::schedule::Together,
    now: Timestamp,
) {
    if let Some(floor) = limits.forecast {
        let floor = floor.min(draft.from.max(1).saturating_mul(2));
        draft.raise(floor, Cause::Forecast { floor });
    }
    let (floor, ceiling) = schedule;
    if let Some((min, opens_at)) = floor {
        draft.raise(min, Cause::Schedule { opens_at });
    }
    if let Some(max) = ceiling.filter(|max| *max < draft.count) {
        draft.limit(max, Stop::ScheduleCeiling { max });
    }
    if let Some(manual) = limits.manual.filter(|manual| now < manual.until) {
        let until = manual.until;
        draft.raise(manual.floor, Cause::Manual { until });
    }
}

/// Applies the limits: steps, minimum and maximum, quiet copies, cool-downs, drains, pins.
pub(super) fn limits(
    draft: &mut Draft,
    policies: &Policies,
    steps: &Steps,
    frame: &Frame,
    limits: &Limits,
    now: Timestamp,
) {
    if let Some((count, stop)) = steps.limited(policies, draft.from, draft.count, now) {
        draft.limit(count, stop);
    }
    if draft.count < policies.min {
        match draft.from < policies.min {
            true => draft.raise(policies.min, Cause::Minimum),
            false => draft.limit(policies.min, Stop::Minimum { min: policies.min }),
        }
    }
    if draft.count > policies.max {
        draft.limit(policies.max, Stop::Maximum { max: policies.max });
    }
    if policies.stops_only_quiet() && draft.shrinks() && draft.from <= policies.max {
        let quiet = frame.quiet + frame.copies.starting + frame.copies.failing;
        let least = draft.from.saturating_sub(quiet);
        if draft.count < least {
            draft.limit(least, Stop::NotQuiet { quiet });
        }
    }
    if let Some(until) = steps.cools_until(policies, draft.from, draft.count, now) {
        draft.hold(Stop::CoolDown { until });
    }
    if limits.is_draining && draft.shrinks() {
        draft.hold(Stop::Draining);
    }
    if limits.is_pinned {
        draft.hold(Stop::Pinned);
    }
}

/// Limits a growth to what machines, present or to rent, can hold.
pub(super) fn quota(draft: &mut Draft, room: impl FnOnce(u32) -> u32) {
    if draft.grows() {
        let may = room(draft.count);
        if may < draft.count {
            draft.limit(may.max(draft.from), Stop::Quota { may });
        }
    }
}

#[cfg(test)]
mod tests;
