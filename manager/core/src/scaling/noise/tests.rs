//! Noise of even, stepping and jumping loads.

use super::*;
use crate::simulate::Random;

fn sigma(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut noise = Noise::default();
    for sample in samples {
        noise.add(sample as f32);
    }
    noise.sigma()
}

#[test]
fn it_is_the_standard_deviation_of_a_sample() {
    for share in [0.02, 0.08, 0.16, 0.3] {
        let mut random = Random::new(1);
        let found = sigma((0..3_000).map(|_| 20.0 * (1.0 + share * random.normal())));
        let ratio = found / (20.0 * share);
        assert!((0.85..1.15).contains(&ratio), "{share}: {ratio}");
    }
}

#[test]
fn a_step_is_no_noise() {
    // The second step comes after a minute.
    let steps = (0..90).map(|at| if (30..60).contains(&at) { 250.0 } else { 75.0 });
    let found = sigma(steps);
    assert!(found < 3.0, "{found}");
}

#[test]
fn jumps_that_come_often_are() {
    let jumps = (0..300).map(|at| if at % 5 < 2 { 250.0 } else { 75.0 });
    let found = sigma(jumps);
    // As without a bound: two of five differences are 175.
    let unbound = (0.4_f64 * 175.0 * 175.0 / 2.0).sqrt();
    assert!(found > 0.9 * unbound, "{found} of {unbound}");
}
