//! Saturation: its evidence, and the doublings that follow.

use super::*;
use crate::scaling::Copies;
use micado_api::Timestamp;

fn frame(second: u64, warm: u32, young: u32, saturated: u32) -> Frame {
    Frame {
        at: Timestamp(second * 1_000),
        interval_ms: 2_000,
        copies: Copies {
            warm,
            young,
            ..Copies::default()
        },
        saturated,
        ..Frame::default()
    }
}

#[test]
fn four_samples_of_half_the_warm_copies_double() {
    let mut state = Saturation::default();
    let wanted: Vec<_> = (0..5)
        .map(|at| state.check(&frame(at * 2, 4, 0, 2), 2.0))
        .collect();
    assert_eq!(wanted, [None, None, None, Some(8), Some(8)]);
    assert_eq!(state.check(&frame(10, 4, 0, 1), 2.0), None);
    assert_eq!(state.check(&frame(12, 4, 0, 4), 2.0), None);
}

#[test]
fn one_growth_per_saturation() {
    let lead = Span::seconds(60);
    let mut state = Saturation::default();
    (0..4).for_each(|at| _ = state.check(&frame(at * 2, 4, 0, 4), 2.0));
    state.grew(Timestamp(6_000), lead);
    // The new copies are not warm yet.
    assert_eq!(state.check(&frame(10, 4, 4, 4), 2.0), None);
    assert_eq!(state.check(&frame(124, 4, 4, 4), 2.0), None);
    // Twice the lead time has passed.
    assert_eq!(state.check(&frame(126, 4, 4, 4), 2.0), Some(16));
    state.grew(Timestamp(126_000), lead);
    assert_eq!(state.check(&frame(128, 8, 0, 8), 2.0), Some(16));
}

#[test]
fn a_copy_is_saturated_if_it_cannot_have_more() {
    let calm = Ceiling {
        cpu: 0.5,
        reservation: 0.5,
        machine_busy: 0.9,
        memory_share: 0.9,
        ..Ceiling::default()
    };
    assert!(!is_saturated(&calm));
    let cases = [
        Ceiling {
            machine_busy: 0.98,
            ..calm
        },
        Ceiling {
            is_throttled: true,
            ..calm
        },
        Ceiling {
            cpu_pressure: Some(20.0),
            ..calm
        },
        Ceiling {
            memory_share: 0.98,
            ..calm
        },
        Ceiling {
            was_oom_killed: true,
            ..calm
        },
    ];
    assert!(cases.iter().all(is_saturated));
    // The machine is full, but not of this copy.
    let beside = Ceiling {
        machine_busy: 1.0,
        cpu: 0.1,
        ..calm
    };
    assert!(!is_saturated(&beside));
}
