//! What is claimed of all loads: no flapping, no decision on missing samples, no cycle without end.

use super::*;
use proptest::prelude::*;

/// Load that one copy carries, and the margins.
const SHARE: f64 = 0.7;
const UP: f64 = 1.05;
const DOWN: f64 = 0.9;

/// Segments of load: cores and duration in frames.
fn loads() -> impl Strategy<Value = Vec<(f64, usize)>> {
    proptest::collection::vec((0.5..40.0_f64, 1..200_usize), 1..12)
}

/// Means of the last minute at every frame.
fn minutes(loads: &[f64]) -> Vec<f64> {
    (0..loads.len())
        .map(|at| {
            let from = (at + 1).saturating_sub(30);
            loads[from..=at].iter().sum::<f64>() / (at + 1 - from) as f64
        })
        .collect()
}

fn each_frame(segments: &[(f64, usize)]) -> Vec<f64> {
    segments
        .iter()
        .flat_map(|(load, frames)| std::iter::repeat_n(*load, *frames))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A and B: after a shrink, growth needs 1.167 times the highest minute of the look-back; after
    /// a growth, no shrink goes below its cause for the look-back.
    #[test]
    fn a_cycle_needs_a_swing_and_a_look_back(segments in loads(), count in 1..40_u32) {
        let mut rig = Rig::standard(count);
        let all = each_frame(&segments);
        let mut used = Vec::new();
        let mut shrank: Option<f64> = None;
        let mut causes: Vec<(u64, f64, u64)> = Vec::new();
        for load in all {
            let frame = rig.frame(load);
            used.push(frame.cpu.warm + frame.cpu.young);
            let minutes = minutes(&used);
            // A look-back that has just doubled does not know the time before.
            let frames = (shrink::SHORTEST / 1_000 / EVERY) as usize;
            let now = rig.now;
            let look_back = rig.scaling.look_back().0 / 1_000;
            let verdict = rig.check(&frame);
            if verdict.count < verdict.from {
                let highest = minutes[minutes.len().saturating_sub(frames)..].iter().copied().fold(0.0, f64::max);
                shrank = Some(highest);
                for (at, cause, for_s) in &causes {
                    let least = (cause / (SHARE * DOWN) - 1e-3).ceil() as u32;
                    prop_assert!(now >= at + for_s || verdict.count >= least, "{verdict}: grew for {cause}");
                }
            } else if verdict.count > verdict.from {
                let load = match verdict.cause {
                    Cause::Rung { load, .. } => load,
                    _ => frame.cpu.warm + frame.cpu.young,
                };
                if let Some(highest) = shrank.take() {
                    prop_assert!(load >= highest * UP / DOWN - 1e-3, "{verdict}: the highest minute had {highest}");
                }
                causes.push((now, load, look_back));
            }
        }
    }

    /// Loads within a ratio of 1.167 never grow a service again after it shrank.
    #[test]
    fn a_narrow_load_never_cycles(
        base in 0.5..30.0_f64,
        factors in proptest::collection::vec((1.0..1.16_f64, 1..200_usize), 1..15),
        count in 1..60_u32,
    ) {
        let mut rig = Rig::standard(count);
        let mut has_shrunk = false;
        for load in each_frame(&factors) {
            let verdict = rig.feed(base * load);
            // A shrink leaves no copy that is too busy, so the load is never hidden.
            prop_assert!(!(has_shrunk && verdict.count > verdict.from), "{verdict}");
            has_shrunk |= verdict.count < verdict.from;
        }
    }

    /// C: a load that hurts at every return does so at most four times, and once more for each calm
    /// hour; then the service stays up.
    #[test]
    fn a_load_that_returns_hurts_a_few_times(period in 5..30_u64, low in 3..10_u32, factor in 2.2..4.0_f64) {
        const HOURS: u64 = 6;
        let mut rig = Rig::standard(low * 2);
        let low = f64::from(low);
        let (mut hurt, mut has_shrunk) = (0, false);
        for second in (0..HOURS * 3_600).step_by(EVERY as usize) {
            let is_high = second % (period * 60) >= period * 30;
            let load = if is_high { low * factor } else { low };
            let frame = rig.frame(load);
            let is_saturated = frame.saturated > 0;
            let verdict = rig.check(&frame);
            if verdict.count > verdict.from && is_saturated && has_shrunk {
                hurt += 1;
                has_shrunk = false;
            }
            has_shrunk |= verdict.count < verdict.from;
        }
        prop_assert!(hurt <= 4 + HOURS, "{hurt} times");
    }

    /// A shrink is right for every use that the blind copies may have, up to the busiest; a growth
    /// is right even if they are idle.
    #[test]
    fn decisions_hold_for_all_missing_samples(
        segments in proptest::collection::vec((0.5..30.0_f64, 1..150_usize, 0..12_u32), 1..10),
        hidden in proptest::collection::vec(0.0..1.0_f64, 1..50),
        count in 2..40_u32,
    ) {
        let mut rig = Rig::standard(count);
        let mut truth = Vec::new();
        for (load, frames, blind) in segments {
            for _ in 0..frames {
                rig.blind = blind;
                let frame = rig.frame(load);
                let most = frame.cpu.busiest.max(SHARE);
                let secret = hidden[truth.len() % hidden.len()] * most * f64::from(frame.copies.blind);
                truth.push(frame.cpu.warm + frame.cpu.young + secret);
                let verdict = rig.check(&frame);
                let minutes = minutes(&truth);
                if let (true, Cause::Peak { .. }) = (verdict.count < verdict.from, verdict.cause) {
                    let frames = (180 / EVERY) as usize;
                    let highest = minutes[minutes.len().saturating_sub(frames)..].iter().copied().fold(0.0, f64::max);
                    let needed = (highest / (SHARE * DOWN) - 1e-3).ceil() as u32;
                    prop_assert!(verdict.count >= needed, "{verdict}: {highest} needs {needed}");
                }
                if let (true, Cause::Rung { window_ms, load, .. }) = (verdict.count > verdict.from, verdict.cause) {
                    let frames = (u64::from(window_ms) / 1_000 / EVERY) as usize;
                    let mean = truth[truth.len() - frames..].iter().sum::<f64>() / frames as f64;
                    prop_assert!(mean >= load - 1e-3, "{verdict}: the truth is {mean}");
                }
            }
        }
    }

    /// While a policy is unknown, the count never falls.
    #[test]
    fn an_unknown_policy_never_lowers_the_count(
        answers in proptest::collection::vec(
            (proptest::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), 0.0..500.0_f64], 0..3), 1..60_usize, 0.1..20.0_f64),
            1..20,
        ),
        count in 1..30_u32,
    ) {
        let query = Query { query: "jobs".to_owned(), meaning: As::Total, target: 10.0, interval: Span::seconds(15) };
        let mut policies = Policies::standard(100);
        policies.policies.push(Policy::Query(query));
        let mut rig = Rig::new(policies, count);
        for (values, frames, load) in answers {
            for at in 0..frames {
                if at == 0 {
                    rig.scaling.note_query(1, &values, Timestamp(rig.now * 1_000));
                }
                let is_known = matches!(values.as_slice(), [value] if value.is_finite()) && at as u64 * EVERY <= 45;
                let verdict = rig.feed(load);
                prop_assert!(is_known || verdict.count >= verdict.from, "{verdict}");
            }
        }
    }
}
