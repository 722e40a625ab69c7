//! Sentences of verdicts.

use super::*;

fn said(from: u32, count: u32, cause: Cause, stop: Option<Stop>) -> String {
    let asked = if stop.is_some() { 14 } else { count };
    Verdict {
        at: Timestamp(0),
        from,
        count,
        asked,
        cause,
        stop,
    }
    .to_string()
}

#[test]
fn every_cause_and_stage_has_a_sentence() {
    let saturated = Cause::Saturated {
        saturated: 3,
        warm: 4,
    };
    assert_eq!(
        said(4, 8, saturated, None),
        "grew 4 -> 8: 3 of 4 warm copies use all they can have"
    );
    assert_eq!(
        said(4, 9, saturated, Some(Stop::Quota { may: 9 })),
        "grew 4 -> 9: 3 of 4 warm copies use all they can have; wants 14, may have 9"
    );
    let peak = Cause::Peak {
        metric: Metric::Memory,
        peak: 3.0 * 1_073_741_824.0,
        share: 858_993_459.0,
    };
    assert_eq!(
        said(8, 4, peak, None),
        "shrank 8 -> 4: the busiest minute of the look-back had 3 GiB, and a copy may carry 819 MiB"
    );
    let unknown = Stop::Unknown {
        policy: 1,
        reason: Unknown::Stale,
    };
    assert_eq!(
        said(8, 8, Cause::Steady, Some(unknown)),
        "kept 8: the load fits; wants 14, held: policy 2 is unknown (its last value is too old)"
    );
    let schedule = Cause::Schedule {
        opens_at: Timestamp(1_767_600_000_000),
    };
    assert_eq!(
        said(2, 4, schedule, None),
        "grew 2 -> 4: the window of 2026-01-05T08:00:00Z needs it"
    );
    let killed = Cause::OomKilled { copies: 1 };
    assert_eq!(
        said(1, 2, killed, None),
        "grew 1 -> 2: 1 copy was OOM-killed"
    );
    let queue = Cause::Queue {
        items: 30.0,
        left_ms: 60_000,
    };
    assert_eq!(
        said(1, 10, queue, None),
        "grew 1 -> 10: 30 items waiting or in work, 1m left for them"
    );
}

#[test]
fn numbers_are_for_programs() {
    let verdict = Verdict {
        at: Timestamp(5),
        from: 2,
        count: 2,
        asked: 1,
        cause: Cause::Steady,
        stop: Some(Stop::Blind { blind: 2, of: 2 }),
    };
    let json = serde_json::to_string(&verdict).expect("JSON");
    assert_eq!(
        json,
        "{\"at\":5,\"from\":2,\"count\":2,\"asked\":1,\"cause\":\"steady\",\
         \"held\":{\"stage\":\"blind\",\"blind\":2,\"of\":2}}"
    );
}
