//! Holds and steps of a band.

use super::*;
use crate::scaling::frame::{Copies, Sums};

fn feed(
    state: &mut BandState,
    policy: &Band,
    second: u64,
    warm: u32,
    blind: u32,
    each: f64,
) -> u32 {
    let frame = Frame {
        at: Timestamp(second * 1_000),
        interval_ms: 2_000,
        copies: Copies {
            warm,
            blind,
            ..Copies::default()
        },
        cpu: Sums {
            warm: each * f64::from(warm),
            busiest: each,
            ..Sums::default()
        },
        ..Frame::default()
    };
    match state.check(policy, &frame, &Limits::default()) {
        Wanted::Count(count, _) => count,
        Wanted::Unknown(reason) => panic!("unknown: {reason}"),
    }
}

/// First second at which another count is wanted, and that count.
fn changes(policy: &Band, warm: u32, blind: u32, each: f64) -> Option<(u64, u32)> {
    let mut state = BandState::default();
    (0..400)
        .step_by(2)
        .map(|second| (second, feed(&mut state, policy, second, warm, blind, each)))
        .find(|(_, count)| *count != warm + blind)
}

#[test]
fn a_step_waits_for_its_hold() {
    let band = Band::default();
    assert_eq!(changes(&band, 5, 0, 0.85), Some((30, 6)));
    assert_eq!(changes(&band, 5, 0, 0.15), Some((180, 4)));
    assert_eq!(changes(&band, 5, 0, 0.5), None);
    let tenth = Band {
        step_percent: 10.0,
        ..Band::default()
    };
    assert_eq!(changes(&tenth, 50, 0, 0.85), Some((30, 55)));
}

#[test]
fn blind_copies_count_against_the_step() {
    let band = Band::default();
    assert_eq!(changes(&band, 9, 1, 0.85), None);
    assert_eq!(changes(&band, 9, 1, 0.19), None);
}

#[test]
fn bands_that_must_flap_are_refused() {
    let narrow = Band {
        up: 0.7,
        down: 0.4,
        ..Band::default()
    };
    assert!(narrow.validate(1).is_err());
    assert!(narrow.validate(2).is_ok());
    assert!(Band::default().validate(1).is_ok());
}
