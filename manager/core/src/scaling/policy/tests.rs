//! Reading and refusing policies.

use super::*;

fn parsed(json: &str) -> Policies {
    serde_json::from_str(json).expect("JSON")
}

fn refusal(json: &str) -> String {
    let error = parsed(json).validate().expect_err("a refusal");
    error.to_string()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let policies = parsed(r#"{"policies": [{"kind": "target"}]}"#);
    assert_eq!(
        (policies.min, policies.max, policies.look_back),
        (1, 10, Span::seconds(180))
    );
    assert_eq!(policies, Policies::standard(10));
    assert_eq!(policies.validate(), Ok(()));
}

#[test]
fn every_kind_is_read_and_written() {
    let policies = parsed(
        r#"{"min": 2, "max": 40, "importance": "high", "step-up": {"percent": 100, "per": "15s"},
            "policies": [
                {"kind": "target", "metric": "memory", "target": 0.75, "of": "max"},
                {"kind": "critical", "resource": "cpu", "usage": 0.9},
                {"kind": "band", "up": 0.8, "down": 0.3},
                {"kind": "queue", "time-per-item": "20s", "clear-within": "5m"},
                {"kind": "schedule", "start": "0 8 * * mon-fri", "duration": "10h", "min": 4},
                {"kind": "query", "query": "sum(jobs)", "as": "total", "target": 5}
            ]}"#,
    );
    assert_eq!(policies.validate(), Ok(()));
    let kinds: Vec<_> = policies.policies.iter().map(Policy::kind).collect();
    assert_eq!(
        kinds,
        ["target", "critical", "band", "queue", "schedule", "query"]
    );
    let written = serde_json::to_string(&policies).expect("JSON");
    assert_eq!(parsed(&written), policies);
}

#[test]
fn refusals_name_the_thing_the_cause_and_the_next_step() {
    let cases = [
        (
            r#"{"min": 5, "max": 4}"#,
            "limits: min 5 is above max 4; set min to at most max, and max to at least 1",
        ),
        (
            r#"{"min": 0, "policies": [{"kind": "target"}]}"#,
            "limits: min is 0, and no policy sees work while nothing runs; set min to 1, or add a \
             `queue`, `schedule`, `query` or request policy",
        ),
        (
            r#"{"policies": [{"kind": "target", "target": 70}]}"#,
            "policy `target`: 70 is not a share between 0.1 and 0.95; leave it out for 0.70 of CPU \
             or 0.80 of memory",
        ),
        (
            r#"{"policies": [{"kind": "band", "up": 0.8, "down": 0.5}]}"#,
            "policy `band`: a step from 1 to 2 copies crosses the whole band 0.5..0.8, so it would \
             step back at once; set down to at most 0.40, or min to more copies",
        ),
        (
            r#"{"policies":
                [{"kind": "schedule", "start": "0 8 * *", "duration": "1h", "min": 1}]}"#,
            "policy `schedule`: `0 8 * *` is not a cron expression: it has not five fields; write \
             five fields such as `0 8 * * mon-fri`; mend it",
        ),
        (
            r#"{"policies":
                [{"kind": "schedule", "start": "0 8 * * *", "duration": "1h", "min": 11}]}"#,
            "policy `schedule`: min 11 is above max 10; raise max of the window or of the service",
        ),
        (
            r#"{"policies": [{"kind": "query", "query": "", "as": "total", "target": 5}]}"#,
            "policy `query`: the query is empty; write one",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(refusal(json), message);
    }
}

#[test]
fn a_query_without_a_meaning_and_unknown_fields_are_refused() {
    let read = |json: &str| serde_json::from_str::<Policies>(json).is_err();
    assert!(read(
        r#"{"policies": [{"kind": "query", "query": "x", "target": 5}]}"#
    ));
    assert!(read(r#"{"policies": [{"kind": "target", "tarret": 0.5}]}"#));
    assert!(read(r#"{"minimum": 1}"#));
}

#[test]
fn importance_is_one_knob() {
    let quantiles =
        [Importance::Low, Importance::Normal, Importance::High].map(Importance::quantile);
    assert_eq!(quantiles, [0.5, 0.8, 0.95]);
}
