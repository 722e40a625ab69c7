//! Means, noise and gaps of a load.

use super::*;
use proptest::prelude::*;

const LOOK_BACK: u64 = 180_000;

fn fed(values: &[f64], ms: u32) -> Load {
    let mut load = Load::default();
    for (at, value) in values.iter().enumerate() {
        let now = Timestamp(1_000_000 + u64::from(ms) * at as u64);
        load.add(now, *value, *value, ms, LOOK_BACK);
    }
    load
}

fn windows(load: &Load) -> Vec<u32> {
    load.means().map(|mean| mean.window_ms / 1_000).collect()
}

proptest! {
    #[test]
    fn means_are_those_of_the_last_seconds(
        values in proptest::collection::vec(0.0..50.0_f64, 60..400),
        short in any::<bool>(),
    ) {
        let ms = if short { 1_000 } else { 2_000 };
        let values = &values[..values.len() / 2 * 2];
        let load = fed(values, ms);
        for mean in load.means() {
            let count = (mean.window_ms / ms) as usize;
            let expected = values[values.len() - count..].iter().sum::<f64>() / count as f64;
            prop_assert!((mean.value - expected).abs() < 1e-3, "{mean:?} is not {expected}");
        }
    }
}

#[test]
fn a_window_counts_once_it_is_full() {
    assert_eq!(windows(&fed(&[1.0; 4], 2_000)), [2, 4]);
    assert_eq!(windows(&fed(&[1.0; 30], 2_000)), [2, 4, 10, 30, 60]);
    assert_eq!(windows(&fed(&[1.0; 3], 1_000)), [1, 2]);
    assert_eq!(windows(&fed(&[1.0; 60], 1_000)), [1, 2, 4, 10, 30, 60]);
}

#[test]
fn frames_of_one_second_slide() {
    let load = fed(&[1.0, 1.0, 1.0, 3.0, 5.0], 1_000);
    let mean = |ms| {
        load.means()
            .find(|mean| mean.window_ms == ms)
            .expect("a mean")
            .value
    };
    assert!((mean(1_000) - 5.0).abs() < 1e-6);
    assert!((mean(2_000) - 4.0).abs() < 1e-6);
    assert!((mean(4_000) - 1.5).abs() < 1e-6);
}

#[test]
fn a_trend_is_no_noise() {
    let trend: Vec<f64> = (0..300).map(|at| 10.0 + 0.02 * f64::from(at)).collect();
    assert!(fed(&trend, 2_000).sigma() < 0.02);
    let noisy: Vec<f64> = (0..300).map(|at| 10.0 + f64::from(at % 2)).collect();
    assert!((fed(&noisy, 2_000).sigma() - 0.5_f64.sqrt()).abs() < 0.01);
}

#[test]
fn a_gap_empties_the_windows_and_keeps_the_noise() {
    let noisy: Vec<f64> = (0..60).map(|at| 10.0 + f64::from(at % 2)).collect();
    let mut load = fed(&noisy, 2_000);
    let (sigma, peak) = (load.sigma(), load.peak());
    load.interrupt();
    assert!(load.means().next().is_none());
    load.add(Timestamp(9_000_000), 90.0, 90.0, 2_000, LOOK_BACK);
    assert!((load.sigma() - sigma).abs() < 1e-9);
    assert!(load.peak() > peak);
}
