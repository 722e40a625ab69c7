//! Growth windows at work: the excess that grows a service, and the time it takes.

use super::*;
use crate::simulate::Random;
use micado_api::Timestamp;

/// Seconds of a constant load, after a minute at `before`, until it exceeds `capacity`.
fn seconds_until(before: f64, load: f64, capacity: f64, ms: u32) -> Option<u32> {
    let mut state = Load::default();
    let mut now = 1_000_000;
    let mut add = |state: &mut Load, value: f64| {
        now += u64::from(ms);
        state.add(Timestamp(now), value, value, ms, 180_000);
        excess(state, capacity).is_some()
    };
    for _ in 0..300_000 / ms {
        assert!(!add(&mut state, before), "it grows too early");
    }
    (1..=120_000 / ms)
        .find(|_| add(&mut state, load))
        .map(|frames| frames * ms / 1_000)
}

#[test]
fn a_shorter_window_needs_a_larger_excess() {
    assert_eq!(seconds_until(5.0, 20.0, 10.0, 2_000), Some(2));
    assert_eq!(seconds_until(9.0, 12.0, 10.0, 2_000), Some(4));
    assert_eq!(seconds_until(9.9, 11.2, 10.0, 2_000), Some(10));
    assert_eq!(seconds_until(9.9, 10.6, 10.0, 2_000), Some(52));
    assert_eq!(seconds_until(9.9, 10.45, 10.0, 2_000), None);
    assert_eq!(seconds_until(5.0, 20.0, 10.0, 1_000), Some(1));
}

#[test]
fn the_highest_window_says_how_much() {
    let mut load = Load::default();
    for at in 0..200 {
        load.add(Timestamp(1_000_000 + at * 2_000), 5.0, 5.0, 2_000, 180_000);
    }
    load.add(Timestamp(1_400_000), 40.0, 40.0, 2_000, 180_000);
    let found = excess(&load, 10.0).expect("more than the capacity");
    assert_eq!((found.window_ms, found.shortest_ms), (2_000, 2_000));
    assert!((found.load - 40.0).abs() < 1e-6);
}

#[test]
fn noise_alone_rarely_grows() {
    // Noise of 16 % around a load that fits: 6 hours.
    let mut random = Random::new(1);
    let mut load = Load::default();
    let mut grew = 0;
    for at in 0..10_800 {
        let value = 20.0 * (1.0 + 0.16 * random.normal());
        load.add(
            Timestamp(1_000_000 + at * 2_000),
            value,
            value,
            2_000,
            180_000,
        );
        grew += u32::from(at > 30 && excess(&load, 21.7).is_some());
    }
    assert!(grew <= 3, "{grew} growths");
}
