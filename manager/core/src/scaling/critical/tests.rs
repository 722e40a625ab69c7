//! Steps of the critical usage.

use super::*;
use crate::scaling::frame::{Copies, Sums};
use micado_api::Timestamp;

const LOOK_BACK: u64 = 180_000;

fn feed(state: &mut CriticalState, at: u64, warm: u32, busiest: f64) -> u32 {
    let policy = Critical {
        resource: Resource::Memory,
        usage: 100.0,
    };
    let frame = Frame {
        at: Timestamp(1_000_000 + at * 2_000),
        interval_ms: 2_000,
        copies: Copies {
            warm,
            ..Copies::default()
        },
        memory: Sums {
            warm: busiest * f64::from(warm),
            busiest,
            ..Sums::default()
        },
        ..Frame::default()
    };
    match state.check(&policy, &frame, LOOK_BACK) {
        Wanted::Count(count, _) => count,
        Wanted::Unknown(reason) => panic!("unknown: {reason}"),
    }
}

#[test]
fn three_of_four_samples_add_one_copy() {
    let mut state = CriticalState::default();
    let uses = [120.0, 90.0, 120.0, 120.0];
    let counts: Vec<u32> = uses
        .iter()
        .enumerate()
        .map(|(at, used)| feed(&mut state, at as u64, 2, *used))
        .collect();
    assert_eq!(counts, [2, 2, 2, 3]);
    state.changed();
    assert_eq!(feed(&mut state, 4, 3, 120.0), 3);
}

#[test]
fn it_shrinks_by_one_once_the_rest_stays_below() {
    let mut state = CriticalState::default();
    (0..20).for_each(|at| _ = feed(&mut state, at, 3, 90.0));
    let mut counts: Vec<u32> = (20..200).map(|at| feed(&mut state, at, 3, 50.0)).collect();
    assert_eq!(counts.first(), Some(&3));
    assert_eq!(counts.last(), Some(&2));
    counts.dedup();
    assert_eq!(counts, [3, 2]);
    // 50 * 3 / 2 is 75 of 100; 70 * 3 / 2 would be more than 80.
    let mut state = CriticalState::default();
    assert!((0..200).all(|at| feed(&mut state, at, 3, 70.0) == 3));
}
