//! Copies for items.

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn wanted(policy: &str, signal: QueueSignal) -> u32 {
    let policy: Queue = serde_json::from_str(policy).expect("a queue");
    let mut state = QueueState::default();
    state.note(Some(signal), NOW);
    match state.check(&policy, 1, Span::seconds(100), (1, 50), NOW) {
        Wanted::Count(count, _) => count,
        Wanted::Unknown(reason) => panic!("unknown: {reason}"),
    }
}

fn signal(items: f64, arrivals: f64, deadline: Option<u64>) -> QueueSignal {
    QueueSignal {
        items,
        arrivals,
        time_per_item: Some(Span::seconds(10)),
        deadline: deadline.map(|after| Timestamp(NOW.0 + after * 1_000)),
    }
}

#[test]
fn a_deadline_leaves_the_lead_time_out() {
    // 100 s of 300 s are the lead time: 60 items of 10 s in 200 s.
    assert_eq!(wanted("{}", signal(60.0, 0.0, Some(300))), 3);
    assert_eq!(wanted(r#"{"slots": 2}"#, signal(60.0, 0.0, Some(300))), 2);
    assert_eq!(
        wanted("{}", signal(1.0, 0.0, Some(110))),
        50,
        "no time is left"
    );
}

#[test]
fn arrivals_count_for_a_queue_that_is_cleared_over_and_over() {
    let policy = r#"{"clear-within": "100s"}"#;
    assert_eq!(wanted(policy, signal(50.0, 0.0, None)), 5);
    assert_eq!(wanted(policy, signal(50.0, 0.5, None)), 10);
    assert_eq!(wanted("{}", signal(7.0, 0.0, None)), 7, "one slot each");
}

#[test]
fn an_empty_queue_wants_the_minimum_after_a_minute() {
    let policy: Queue = serde_json::from_str("{}").expect("a queue");
    let mut state = QueueState::default();
    let counts: Vec<Wanted> = [0, 59, 60]
        .iter()
        .map(|second| {
            let now = Timestamp(NOW.0 + second * 1_000);
            state.note(Some(signal(0.0, 0.0, None)), now);
            state.check(&policy, 9, Span(0), (2, 50), now)
        })
        .collect();
    let count =
        |count| move |wanted: &Wanted| matches!(wanted, Wanted::Count(found, _) if *found == count);
    assert!(
        counts[..2].iter().all(count(9)) && count(2)(&counts[2]),
        "{counts:?}"
    );
}

#[test]
fn an_old_signal_is_unknown() {
    let policy: Queue = serde_json::from_str("{}").expect("a queue");
    let mut state = QueueState::default();
    state.note(Some(signal(5.0, 0.0, None)), NOW);
    let later = Timestamp(NOW.0 + 91_000);
    let wanted = state.check(&policy, 9, Span(0), (1, 50), later);
    assert_eq!(wanted, Wanted::Unknown(Unknown::Stale));
}
