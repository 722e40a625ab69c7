//! Claims for all loads: no flapping, no decision on missing samples, no cycle without end.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

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

/// Highest of the last minutes over the shortest look-back.
fn highest(minutes: &[f64]) -> f64 {
    let frames = (shrink::SHORTEST / 1_000 / EVERY) as usize;
    minutes[minutes.len().saturating_sub(frames)..]
        .iter()
        .copied()
        .fold(0.0, f64::max)
}

fn needed(load: f64) -> u32 {
    (load / (SHARE * DOWN) - 1e-3).ceil() as u32
}

/// A growth: second, load and look-back.
type Growth = (u64, f64, u64);

fn cycles(segments: &[(f64, usize)], count: u32) -> Result<(), TestCaseError> {
    let mut rig = Rig::standard(count);
    let mut used = Vec::new();
    let mut shrank: Option<f64> = None;
    let mut growths: Vec<Growth> = Vec::new();
    for load in each_frame(segments) {
        let frame = rig.frame(load);
        used.push(frame.cpu.warm + frame.cpu.young);
        let (now, look_back) = (rig.now, rig.scaling.look_back().0 / 1_000);
        let verdict = rig.check(&frame);
        if verdict.count < verdict.from {
            // A look-back that has just doubled does not know the time before.
            shrank = Some(highest(&minutes(&used)));
            for (at, load, look_back) in &growths {
                let is_over = now >= at + look_back;
                prop_assert!(
                    is_over || verdict.count >= needed(*load),
                    "{verdict}: {load}"
                );
            }
        } else if verdict.count > verdict.from {
            let load = match verdict.cause {
                Cause::Rung { load, .. } => load,
                _ => frame.cpu.warm + frame.cpu.young,
            };
            if let Some(highest) = shrank.take() {
                let least = highest * UP / DOWN - 1e-3;
                prop_assert!(load >= least, "{verdict}: not {least}");
            }
            growths.push((now, load, look_back));
        }
    }
    Ok(())
}

/// Growths of saturated copies after a shrink, under a load that is high in every other half of
/// its period.
fn regrets(period_s: u64, lead: Span, low: u32, factor: f64, hours: u64) -> u64 {
    let mut rig = Rig::standard(low * 2);
    rig.limits.lead = lead;
    let (mut hurt, mut has_shrunk) = (0, false);
    for second in (0..hours * 3_600).step_by(EVERY as usize) {
        let is_high = second % period_s >= period_s / 2;
        let frame = rig.frame(f64::from(low) * if is_high { factor } else { 1.0 });
        let is_saturated = frame.saturated > 0;
        let verdict = rig.check(&frame);
        if verdict.count > verdict.from && is_saturated && has_shrunk {
            hurt += 1;
            has_shrunk = false;
        }
        has_shrunk |= verdict.count < verdict.from;
    }
    hurt
}

/// Load, frames and blind copies of each segment; use of the blind ones as a share of their most.
fn missing(
    segments: &[(f64, usize, u32)],
    hidden: &[f64],
    count: u32,
) -> Result<(), TestCaseError> {
    let mut rig = Rig::standard(count);
    let mut truth: Vec<f64> = Vec::new();
    for (load, frames, blind) in segments {
        for _ in 0..*frames {
            rig.blind = *blind;
            let frame = rig.frame(*load);
            let most = frame.cpu.busiest.max(SHARE) * f64::from(frame.copies.blind);
            let secret = hidden[truth.len() % hidden.len()] * most;
            truth.push(frame.cpu.warm + frame.cpu.young + secret);
            let verdict = rig.check(&frame);
            match verdict.cause {
                Cause::Peak { .. } if verdict.count < verdict.from => {
                    let needed = needed(highest(&minutes(&truth)));
                    prop_assert!(verdict.count >= needed, "{verdict}: it needs {needed}");
                }
                Cause::Rung {
                    window_ms, load, ..
                } if verdict.count > verdict.from => {
                    let frames = (u64::from(window_ms) / 1_000 / EVERY) as usize;
                    let sum: f64 = truth[truth.len() - frames..].iter().sum();
                    let mean = sum / frames as f64;
                    prop_assert!(mean >= load - 1e-3, "{verdict}: the truth is {mean}");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Values of an answer, the frames until the next one, and a load.
type Answer = (Vec<f64>, usize, f64);

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let value = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), 0.0..500.0_f64];
    let values = proptest::collection::vec(value, 0..3);
    proptest::collection::vec((values, 1..60_usize, 0.1..20.0_f64), 1..20)
}

fn unknown(answers: &[Answer], count: u32) -> Result<(), TestCaseError> {
    let mut policies = Policies::standard(100);
    policies.policies.push(Policy::Query(Query {
        server: None,
        query: "jobs".to_owned(),
        meaning: As::Total,
        target: 10.0,
        interval: Span::seconds(15),
    }));
    let mut rig = Rig::new(policies, count);
    for (values, frames, load) in answers {
        let is_value = matches!(values.as_slice(), [value] if value.is_finite());
        let noted_at = rig.now;
        rig.scaling
            .note_query(1, values, Timestamp(noted_at * 1_000));
        for _ in 0..*frames {
            let is_known = is_value && rig.now - noted_at <= 45;
            let verdict = rig.feed(*load);
            prop_assert!(is_known || verdict.count >= verdict.from, "{verdict}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A and B: after a shrink, growth needs 1.167 times the highest minute of the look-back; after
    /// a growth, no shrink goes below its cause for the look-back.
    #[test]
    fn a_cycle_needs_a_swing_and_a_look_back(segments in loads(), count in 1..40_u32) {
        cycles(&segments, count)?;
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
            prop_assert!(!(has_shrunk && verdict.count > verdict.from), "{verdict}");
            has_shrunk |= verdict.count < verdict.from;
        }
    }

    /// C: a load that is back within the longest look-back hurts at most four times, and once more
    /// for each calm hour; then the service stays up.
    #[test]
    fn a_load_that_returns_hurts_a_few_times(
        lead in 60..400_u64,
        share in 0.3..0.9_f64,
        low in 3..10_u32,
        factor in 2.2..4.0_f64,
    ) {
        let lead = Span::seconds(lead);
        let calm = Importance::Normal.longest_look_back(lead).0 as f64 * share;
        let hurt = regrets(2 * (calm / 1_000.0) as u64, lead, low, factor, 6);
        prop_assert!(hurt <= 4 + 6, "{hurt} times");
    }

    /// A shrink is right for every use that the blind copies may have, up to the busiest; a growth
    /// is right even if they are idle.
    #[test]
    fn decisions_hold_for_all_missing_samples(
        segments in proptest::collection::vec((0.5..30.0_f64, 1..150_usize, 0..12_u32), 1..10),
        hidden in proptest::collection::vec(0.0..1.0_f64, 1..50),
        count in 2..40_u32,
    ) {
        missing(&segments, &hidden, count)?;
    }

    /// While a policy is unknown, the count never falls.
    #[test]
    fn an_unknown_policy_never_lowers_the_count(answers in answers(), count in 1..30_u32) {
        unknown(&answers, count)?;
    }
}
