//! Forecasts of regular days.

use super::*;

/// Load of a workday or a day of the weekend, in a slot.
fn load(day: i64, slot: usize) -> f32 {
    let is_weekend = (day + 3).rem_euclid(7) >= 5;
    let is_open = (96..216).contains(&slot);
    match (is_open, is_weekend) {
        (true, false) => 40.0,
        (true, true) => 10.0,
        (false, _) => 4.0,
    }
}

fn profile(days: i64) -> Profile {
    let mut profile = Profile::default();
    for day in 0..days {
        for slot in 0..SLOTS {
            let mean = load(day, slot);
            let highest = mean * 1.1;
            profile.add(day, slot, Slot { mean, highest });
        }
    }
    profile
}

#[test]
fn an_opening_is_seen_one_lead_time_ahead() {
    let profile = profile(28);
    // Day 25 is a Monday.
    let today = profile.day(25).expect("a day");
    let at = |slot, horizon, class| {
        let expected = profile
            .expect(today, slot, horizon, 0.8, class)
            .expect("days");
        (expected.load * 10.0).round() / 10.0
    };
    let horizon = Span::minutes(6);
    assert_eq!(at(93, horizon, Class::Workday), 4.4);
    assert_eq!(at(95, horizon, Class::Workday), 44.0);
    assert_eq!(at(95, horizon, Class::Weekday), 44.0);
}

#[test]
fn the_present_level_scales_it_within_bounds() {
    let mut profile = profile(28);
    for slot in 0..120 {
        let mean = 10.0 * load(28, slot);
        profile.add(
            28,
            slot,
            Slot {
                mean,
                highest: mean,
            },
        );
    }
    let today = profile.day(28).expect("a day").clone();
    let expected = profile
        .expect(&today, 120, Span::minutes(5), 0.5, Class::Week)
        .expect("days");
    assert!((expected.load - 66.0).abs() < 0.1, "{expected:?}");
    // Never more than the days before ever had, and at most twice the count.
    assert_eq!(floor(expected, 0.7, 100), 63);
    assert_eq!(floor(expected, 0.7, 10), 20);
}

#[test]
fn days_with_holes_are_left_out() {
    let mut profile = profile(2);
    profile.add(
        2,
        3,
        Slot {
            mean: 1.0,
            highest: 1.0,
        },
    );
    assert_eq!(profile.whole_days().count(), 2);
    assert!(
        Profile::default()
            .expect(&Day::new(5), 0, Span(0), 0.5, Class::Week)
            .is_none()
    );
}

#[test]
fn only_28_days_are_kept() {
    assert_eq!(profile(40).days.len(), DAYS);
}
