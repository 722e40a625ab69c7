//! The peak is never below the true one within the look-back, and falls soon after it.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_peak_lasts_for_the_look_back_and_little_longer(
        values in proptest::collection::vec(0.0..100.0_f64, 1..900),
        look_back in 180_000..1_800_000_u64,
    ) {
        let mut peak = Peak::default();
        let step = (look_back / STEPS).max(1_000) + 2_000;
        for (at, value) in values.iter().enumerate() {
            let now = 1_000_000 + 2_000 * at as u64;
            peak.add(Timestamp(now), *value, look_back);
            let highest = |over: u64| {
                let count = (over / 2_000) as usize;
                values[at.saturating_sub(count)..=at].iter().copied().fold(0.0, f64::max)
            };
            let found = peak.value().expect("one");
            prop_assert!(found >= highest(look_back));
            prop_assert!(found <= highest(look_back + step) * 1.000_001 + 1e-6);
        }
    }

    #[test]
    fn a_longer_look_back_loses_no_peak(
        values in proptest::collection::vec(0.0..100.0_f64, 200..600),
        doubles_at in 50..150_usize,
    ) {
        let mut peak = Peak::default();
        let mut highest = 0.0_f64;
        for (at, value) in values.iter().enumerate() {
            let look_back = if at < doubles_at { 180_000 } else { 1_800_000 };
            let now = 1_000_000 + 2_000 * at as u64;
            peak.add(Timestamp(now), *value, look_back);
            highest = if at < doubles_at { peak.value().expect("one") } else { highest.max(*value) };
            prop_assert!(peak.value().expect("one") >= highest);
            prop_assert!(peak.entries.len() <= MOST);
        }
    }
}
