//! The gate of the forecast: on by skill, off by failure.

use super::*;
use crate::scaling::forecast::Slot;

const HORIZON: Span = Span::minutes(10);

fn profile(days: i64, load: impl Fn(i64, usize) -> f64) -> Profile {
    let mut profile = Profile::default();
    for day in 0..days {
        for slot in 0..SLOTS {
            let value = load(day, slot) as f32;
            profile.add(
                day,
                slot,
                Slot {
                    mean: value,
                    highest: value,
                },
            );
        }
    }
    profile
}

/// A load that changes much within a slot, the same every day.
fn regular(_: i64, slot: usize) -> f64 {
    20.0 + 15.0 * (slot as f64 / 6.0).sin()
}

#[test]
fn regular_days_open_the_gate_and_others_close_it() {
    let mut gate = Gate::default();
    assert!(!gate.judge(replay(&profile(2, regular), 0.8, HORIZON)));
    assert!(gate.judge(replay(&profile(8, regular), 0.8, HORIZON)));
    assert!(gate.open(Timestamp(0)).is_some());
    let inverted = profile(8, |day, slot| match day {
        0..6 => regular(day, slot),
        _ => 55.0 - regular(day, slot),
    });
    assert!(gate.judge(replay(&inverted, 0.8, HORIZON)));
    assert!(gate.open(Timestamp(0)).is_none());
}

#[test]
fn a_random_load_keeps_it_closed() {
    let random = profile(10, |day, slot| {
        let mut random = crate::simulate::Random::new(day as u64 * 1_000 + slot as u64 / 12);
        40.0 * random.uniform()
    });
    let mut gate = Gate::default();
    gate.judge(replay(&random, 0.8, HORIZON));
    assert!(gate.open(Timestamp(0)).is_none());
}

#[test]
fn half_an_hour_far_off_closes_it_for_the_day() {
    let mut gate = Gate::default();
    gate.judge(replay(&profile(8, regular), 0.8, HORIZON));
    let midnight = Timestamp(86_400_000);
    let minute = |minute: u64| Timestamp(minute * 60_000);
    gate.follow(minute(0), 10.0, 30.0, midnight);
    gate.follow(minute(20), 25.0, 30.0, midnight);
    gate.follow(minute(40), 10.0, 30.0, midnight);
    assert!(gate.open(minute(41)).is_some());
    gate.follow(minute(70), 10.0, 30.0, midnight);
    assert!(gate.open(minute(71)).is_none());
    assert!(gate.open(midnight).is_some());
    gate.jumped(midnight);
    assert!(gate.open(Timestamp(midnight.0 + 1)).is_none());
}
