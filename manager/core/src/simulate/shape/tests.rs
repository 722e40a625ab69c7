//! Reading and values of shapes.

use super::*;

fn shape(text: &str) -> Shape {
    text.parse().expect("a shape")
}

/// Demand without noise at some seconds.
fn at(text: &str, seconds: &[usize]) -> Vec<f64> {
    let separator = if text.contains(':') { ',' } else { ':' };
    let demand = shape(&format!("{text}{separator}noise=0")).demand(1);
    seconds
        .iter()
        .map(|second| (demand[*second] * 100.0).round() / 100.0)
        .collect()
}

#[test]
fn shapes_are_as_specified() {
    assert_eq!(at("steady", &[0, 21_599]), [20.0, 20.0]);
    assert_eq!(
        at("ramp", &[0, 1_800, 5_000, 9_000, 12_000]),
        [4.0, 22.0, 40.0, 22.0, 4.0]
    );
    assert_eq!(at("day", &[0, 43_200, 86_400]), [6.0, 38.0, 6.0]);
    assert_eq!(
        at("flash", &[3_599, 3_615, 3_630, 4_830]),
        [8.0, 28.0, 48.0, 22.72]
    );
    assert_eq!(at("saw", &[0, 600, 1_200]), [8.0, 20.0, 8.0]);
    assert_eq!(
        at("batch", &[0, 3_600, 5_099, 5_100]),
        [2.0, 26.0, 26.0, 2.0]
    );
    assert_eq!(at("steps:low=2", &[0, 600, 1_200]), [2.0, 4.0, 8.0]);
    let week = at("week", &[43_200, 3 * 86_400 + 43_200, 5 * 86_400 + 43_200]);
    assert_eq!(week, [38.0, 0.0, 15.2]);
    let bursts = shape("bursts:noise=0").demand(3);
    assert!(bursts.iter().all(|one| *one == 8.0 || *one == 24.0));
    let high = bursts.iter().filter(|one| **one == 24.0).count() as f64 / bursts.len() as f64;
    assert!((0.1..0.45).contains(&high), "{high}");
}

#[test]
fn noise_is_that_of_the_seed() {
    let one = shape("steady").demand(1);
    assert_eq!(one, shape("steady").demand(1));
    assert_ne!(one, shape("steady").demand(2));
    let mean = one.iter().sum::<f64>() / one.len() as f64;
    let variance = one.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / one.len() as f64;
    assert!((mean - 20.0).abs() < 0.1 && (variance.sqrt() / mean - 0.08).abs() < 0.004);
}

#[test]
fn wrong_shapes_say_what_is_right() {
    let problem = |text: &str| text.parse::<Shape>().expect_err("wrong").to_string();
    assert_eq!(
        problem("wave"),
        "load `wave` is neither a file nor a shape; shapes are steady, ramp, day, flash, saw, \
         batch, bursts, week, steps, noise30"
    );
    assert_eq!(
        problem("saw:top=3"),
        "shape `saw` has no value `top`; it has high, hours, lag, low, noise, rise"
    );
    assert_eq!(
        problem("saw:high=-3"),
        "`high=-3` is not `key=number` with a number of 0 or more"
    );
}
