//! Plausibility of a machine's clock: points and events are filed by it.

use super::EVENTS_KEPT;
use micado_api::{
    Timestamp,
    agent::{ContainerEvent, SampleBatch},
};
use std::time::Duration;

/// Upper bound for a batch to be ahead of the manager's clock.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Upper bound for a batch that is not marked late to be behind. After a cut, an agent resends up
/// to ten minutes of batches unchanged, without the mark.
const BEHIND: Duration = Duration::from_secs(15 * 60);
/// Upper bound for a late batch to be behind: the retention of samples.
const LATE: Duration = Duration::from_secs(3600);

/// Returns the deviation of a batch's clock as text, if it is too large.
pub(super) fn doubt(now: Timestamp, batch: &SampleBatch) -> Option<String> {
    off(now, batch.at, if batch.late { LATE } else { BEHIND })
}

/// As [`doubt`], for an event: it may be as late as the retention of events.
pub(super) fn doubt_event(now: Timestamp, event: &ContainerEvent) -> Option<String> {
    off(now, event.at, EVENTS_KEPT)
}

fn off(now: Timestamp, at: Timestamp, may_be_behind: Duration) -> Option<String> {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead > AHEAD {
        return Some(format!("{} s ahead of", ahead.as_secs()));
    }
    (behind > may_be_behind).then(|| format!("{} s behind", behind.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::agent::{ContainerHappening, MachineSample};

    #[test]
    fn a_clock_may_be_off_by_minutes_and_what_is_late_by_an_hour() {
        const MINUTE: i64 = 60_000;
        let now = Timestamp(1_793_700_000_000);
        let of = |by: i64, late| {
            let at = Timestamp(now.0.saturating_add_signed(by));
            doubt(
                now,
                &SampleBatch {
                    sequence: 1,
                    at,
                    late,
                    machine: MachineSample::default(),
                    containers: Vec::new(),
                },
            )
        };
        assert!(
            [0, 5 * MINUTE, -15 * MINUTE]
                .iter()
                .all(|by| of(*by, false).is_none() && of(*by, true).is_none())
        );
        assert_eq!(
            of(5 * MINUTE + 1000, true).as_deref(),
            Some("301 s ahead of")
        );
        assert_eq!(
            of(-15 * MINUTE - 1000, false).as_deref(),
            Some("901 s behind")
        );
        let event = |by: i64| {
            let at = Timestamp(now.0.saturating_add_signed(by));
            doubt_event(
                now,
                &ContainerEvent {
                    id: "e1".to_owned(),
                    service: None,
                    at,
                    what: ContainerHappening::Healthy,
                },
            )
            .is_some()
        };
        assert_eq!(
            [
                5 * MINUTE,
                6 * MINUTE,
                -7 * 1440 * MINUTE,
                -7 * 1440 * MINUTE - 1
            ]
            .map(event),
            [false, true, false, true]
        );
        assert_eq!(
            (of(-60 * MINUTE, true), of(-61 * MINUTE, true).as_deref()),
            (None, Some("3660 s behind"))
        );
    }
}
