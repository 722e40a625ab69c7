//! A regular day is foreseen, and an irregular one is not.

use super::*;
use crate::scaling::forecast::SLOTS;

const DAY: u64 = 24 * 60 * MINUTE;

/// Monday, 2026-01-05, 00:00 UTC.
const MONDAY: u64 = 1_767_571_200_000;

/// Load of an office: 10 cores by night, 40 from eight to six.
fn office(at: u64) -> f64 {
    let hour = at % DAY / (60 * MINUTE);
    if (8..18).contains(&hour) { 40.0 } else { 10.0 }
}

fn slots(days: u64, load: impl Fn(u64) -> f64) -> Vec<(Timestamp, Slot)> {
    (0..days * SLOTS as u64)
        .map(|number| {
            let at = MONDAY + number * SLOT_MS;
            let mean = load(at) as f32;
            let highest = mean;
            (Timestamp(at), Slot { mean, highest })
        })
        .collect()
}

fn past(days: u64, load: impl Fn(u64) -> f64) -> Arc<Past> {
    let slots = slots(days, load);
    Arc::new(Past::new(slots, TimeZone::UTC, 0.8, Span::minutes(2)))
}

/// Follows a day from midnight until this time, and returns the floor at the end for copies of one
/// core.
fn at(outlook: &mut Outlook, day: u64, until: u64, load: impl Fn(u64) -> f64) -> Foresight {
    let begin = MONDAY + day * DAY;
    for second in (0..until / 1_000).step_by(10) {
        let now = begin + second * 1_000;
        outlook.follow(Timestamp(now), load(now), Span::minutes(2), 0.8);
    }
    outlook.foresight(1.0, 40)
}

#[test]
fn an_opening_is_foreseen() {
    let mut outlook = Outlook::default();
    assert!(outlook.take(past(5, office)));
    let hour = 60 * MINUTE;
    assert_eq!(
        at(&mut outlook, 5, 7 * hour, office),
        Foresight::Open { floor: 10 }
    );
    // The slot that ends at eight, and the one after it.
    assert_eq!(
        at(&mut outlook, 5, 8 * hour - MINUTE, office),
        Foresight::Open { floor: 40 }
    );
}

#[test]
fn too_few_days_and_irregular_days_are_no_forecast() {
    let mut outlook = Outlook::default();
    assert!(!outlook.take(past(2, office)));
    assert_eq!(outlook.foresight(1.0, 4), Foresight::Young);
    // Every other day is turned upside down.
    let odd = |at: u64| match at / DAY % 2 {
        0 => office(at),
        _ => 50.0 - office(at),
    };
    assert!(!outlook.take(past(8, odd)));
    assert_eq!(at(&mut outlook, 8, 60 * MINUTE, odd), Foresight::Closed);
}

#[test]
fn a_day_unlike_the_others_closes_the_gate_until_midnight() {
    let mut outlook = Outlook::default();
    outlook.take(past(5, office));
    let hour = 60 * MINUTE;
    assert_eq!(
        at(&mut outlook, 5, 12 * hour, |_| 10.0),
        Foresight::Closed,
        "a holiday"
    );
    let noon = at(&mut outlook, 6, 12 * hour, office);
    assert!(matches!(noon, Foresight::Open { .. }), "{noon:?}");
}

#[test]
fn slots_hold_the_mean_and_the_highest_minute() {
    let mut slotting = Slotting::default();
    let mut made = Vec::new();
    for second in 0..600_u64 {
        let load = if (60..120).contains(&second) {
            4.0
        } else {
            1.0
        };
        made.extend(slotting.add(Timestamp(MONDAY + second * 1_000), load));
    }
    let (at, slot) = made[0];
    assert_eq!((made.len(), at), (1, Timestamp(MONDAY)));
    assert!((slot.mean - 1.6).abs() < 1e-6 && (slot.highest - 4.0).abs() < 1e-6);
}
