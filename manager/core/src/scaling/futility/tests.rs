//! Growth without effect: the pause, and its end.

use super::*;

const LOOK_BACK: u64 = 180_000;

fn copies(warm: u32, starting: u32) -> Copies {
    Copies {
        warm,
        starting,
        ..Copies::default()
    }
}

/// Grows by half, over and over; `load` is the use of so many copies. Returns the growths until a
/// pause.
fn growths(load: impl Fn(u32) -> f64, requests: impl Fn(u32) -> Option<f64>) -> Option<u32> {
    let mut state = Futility::default();
    let mut count = 4;
    for growth in 1..=6 {
        let now = Timestamp(u64::from(growth) * 60_000);
        let more = count + count / 2;
        state.grew(count, load(count), requests(count));
        state.check(
            now,
            &copies(count, more - count),
            load(count),
            requests(count),
            LOOK_BACK,
        );
        state.check(now, &copies(more, 0), load(more), requests(more), LOOK_BACK);
        count = more;
        if state.paused(now).is_some() {
            return Some(growth);
        }
    }
    None
}

#[test]
fn use_that_grows_with_the_copies_is_futile() {
    assert_eq!(growths(f64::from, |_| None), Some(3));
}

#[test]
fn use_that_stays_is_not() {
    assert_eq!(growths(|_| 10.0, |_| None), None);
}

#[test]
fn more_requests_explain_it() {
    assert_eq!(
        growths(f64::from, |count| Some(f64::from(count) * 7.0)),
        None
    );
    assert_eq!(growths(f64::from, |_| Some(7.0)), Some(3));
}

#[test]
fn a_pause_ends_after_the_look_back() {
    let mut state = Futility::default();
    let mut count = 2;
    for minute in 0..3 {
        let now = Timestamp(minute * 60_000);
        state.grew(count, f64::from(count), None);
        state.check(
            now,
            &copies(2 * count, 0),
            f64::from(2 * count),
            None,
            LOOK_BACK,
        );
        count *= 2;
    }
    assert_eq!(state.in_a_row(), 3);
    assert!(state.paused(Timestamp(120_000 + LOOK_BACK - 1)).is_some());
    assert!(state.paused(Timestamp(120_000 + LOOK_BACK)).is_none());
}

#[test]
fn small_growths_are_not_judged() {
    let mut state = Futility::default();
    for count in 20..40 {
        state.grew(count, f64::from(count), None);
        state.check(
            Timestamp(1),
            &copies(count + 1, 0),
            f64::from(count + 1),
            None,
            LOOK_BACK,
        );
    }
    assert_eq!(state.in_a_row(), 0);
}
