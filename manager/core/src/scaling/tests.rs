//! The scaler as a whole, on a small rig: claims for all loads, and failures that others had.

mod claims;
mod scenarios;

use super::*;

/// Time that a copy takes to run, and to be warm, in seconds.
const STARTS_IN: u64 = 4;
const WARM_IN: u64 = 34;
/// Interval of the frames, in seconds.
const EVERY: u64 = 2;
/// A Monday, 00:00 UTC, in milliseconds.
const MONDAY: u64 = 1_767_571_200_000;

/// A service whose copies of one core share a load.
#[derive(Debug, Clone)]
struct Rig {
    scaling: ServiceScaling,
    limits: Limits,
    now: u64,
    /// Second of each copy's creation.
    copies: Vec<u64>,
    blind: u32,
    failing: u32,
}

impl Rig {
    /// A rig with warm copies and a full look-back is ready after [`Rig::soak`].
    fn new(policies: Policies, count: u32) -> Self {
        let scaling = ServiceScaling::new(Arc::new(policies), zones).expect("valid policies");
        Self {
            scaling,
            limits: Limits::default(),
            now: MONDAY / 1_000,
            copies: vec![0; count as usize],
            blind: 0,
            failing: 0,
        }
    }

    fn standard(count: u32) -> Self {
        Self::new(Policies::standard(1_000), count)
    }

    fn count(&self) -> u32 {
        self.copies.len() as u32
    }

    /// Metrics of the copies while all share `load`.
    fn frame(&self, load: f64) -> Frame {
        let age = |created: &u64| self.now - created;
        let starting = self.copies.iter().filter(|at| age(at) < STARTS_IN).count() as u32;
        let old = self.copies.iter().filter(|at| age(at) >= WARM_IN).count() as u32;
        let young = self.count() - starting - old;
        let failing = self.failing.min(old);
        let blind = self.blind.min(old - failing);
        let warm = old - failing - blind;
        let running = f64::from((warm + young + blind).max(1));
        let each = (load / running).min(1.0);
        let sums = Sums {
            warm: each * f64::from(warm),
            young: each.min(0.7) * f64::from(young),
            busiest: if warm > 0 { each } else { 0.0 },
            ..Sums::default()
        };
        Frame {
            at: Timestamp(self.now * 1_000),
            interval_ms: (EVERY * 1_000) as u32,
            copies: Copies {
                warm,
                young,
                blind,
                starting,
                failing,
            },
            saturated: if each >= 0.97 { warm } else { 0 },
            cpu: sums,
            ..Frame::default()
        }
    }

    /// Checks a frame, and carries the verdict out.
    fn check(&mut self, frame: &Frame) -> Verdict {
        self.check_within(frame, u32::MAX)
    }

    /// As [`Self::check`], while machines can hold this many copies.
    fn check_within(&mut self, frame: &Frame, may: u32) -> Verdict {
        let room = |count: u32| count.min(may);
        let scaling = &mut self.scaling;
        let verdict = scaling.check_within(frame, &self.limits, frame.at, room);
        self.copies.resize(verdict.count as usize, self.now);
        self.now += EVERY;
        verdict
    }

    fn feed(&mut self, load: f64) -> Verdict {
        let frame = self.frame(load);
        self.check(&frame)
    }

    fn feed_within(&mut self, load: f64, may: u32) -> Verdict {
        let frame = self.frame(load);
        self.check_within(&frame, may)
    }

    /// Feeds a constant load for a time; returns all changes.
    fn soak(&mut self, load: f64, seconds: u64) -> Vec<Verdict> {
        (0..seconds / EVERY)
            .map(|_| self.feed(load))
            .filter(Verdict::is_change)
            .collect()
    }
}

/// Time zones as rules, so that tests need no database.
fn zones(name: &str) -> Option<TimeZone> {
    let rule = match name {
        "UTC" => return Some(TimeZone::UTC),
        "Europe/Berlin" => "CET-1CEST,M3.5.0,M10.5.0/3",
        "Pacific/Auckland" => "NZST-12NZDT,M9.5.0,M4.1.0/3",
        _ => return None,
    };
    TimeZone::posix(rule).ok()
}

fn counts(changes: &[Verdict]) -> Vec<u32> {
    changes.iter().map(|change| change.count).collect()
}

#[test]
fn a_service_takes_at_most_a_kilobyte_and_a_half() {
    let rig = Rig::standard(3);
    let target = std::mem::size_of::<target::TargetState>();
    let peak = 40 * 8;
    let rules = std::mem::size_of::<Rule>();
    let whole = std::mem::size_of::<ServiceScaling>() + rules + target + peak;
    assert!(
        whole <= 1_536,
        "{whole} bytes: {target} of the target, {rules} of a rule"
    );
    drop(rig);
}

#[test]
fn a_frame_is_checked_once() {
    let mut rig = Rig::standard(4);
    rig.soak(2.0, 60);
    let frame = rig.frame(4.0);
    let first = rig.scaling.check(&frame, &rig.limits, frame.at);
    let again = rig.scaling.check(&frame, &rig.limits, frame.at);
    assert!(first.is_change());
    assert_eq!(first, again);
}

#[test]
fn growth_is_told_in_numbers_and_in_a_sentence() {
    let mut rig = Rig::standard(4);
    rig.soak(2.0, 300);
    let verdict = rig.feed(3.8);
    assert_eq!(
        verdict.to_string(),
        "grew 4 -> 6: 3.80 cores over 2s is 1.36 of what 4 copies may carry (0.70 cores each)"
    );
    let json = serde_json::to_value(verdict).expect("JSON");
    assert_eq!(
        (&json["cause"], &json["from"], &json["count"]),
        (&"rung".into(), &4.into(), &6.into())
    );
}

#[test]
fn a_pin_and_a_quota_are_named() {
    let mut rig = Rig::standard(4);
    rig.soak(2.0, 300);
    let mut other = rig.clone();
    let verdict = rig.feed_within(3.8, 5);
    assert_eq!(
        (verdict.count, verdict.asked, verdict.stop),
        (5, 6, Some(Stop::Quota { may: 5 }))
    );
    other.limits.is_pinned = true;
    let verdict = other.feed_within(3.8, 0);
    assert_eq!((verdict.count, verdict.stop), (4, Some(Stop::Pinned)));
    let verdict = other.feed(3.8);
    assert_eq!(
        (verdict.count, verdict.asked, verdict.stop),
        (4, 6, Some(Stop::Pinned))
    );
}

#[test]
fn a_floor_by_hand_ends() {
    let mut rig = Rig::standard(3);
    rig.soak(1.8, 300);
    rig.limits.manual = Some(Manual {
        floor: 8,
        until: Timestamp((rig.now + 600) * 1_000),
    });
    assert_eq!(counts(&rig.soak(1.8, 590)), [8]);
    // The step of 50 % per 30 s limits the way down.
    assert_eq!(counts(&rig.soak(1.8, 600)), [4, 3]);
}

#[test]
fn a_shrink_waits_for_the_look_back() {
    let mut rig = Rig::standard(10);
    rig.soak(6.9, 400);
    let began = rig.now;
    let changes = rig.soak(1.2, 400);
    assert_eq!(counts(&changes).last(), Some(&2));
    let after = changes[0].at.0 / 1_000 - began;
    // The minute's mean falls for one minute, then the look-back runs.
    assert!((180..=260).contains(&after), "{after} s");
}

#[test]
fn a_load_that_was_seen_to_come_is_no_regret() {
    for (starting, minutes) in [(0, 6), (3, 3)] {
        let mut rig = Rig::standard(20);
        let changes = rig.soak(3.0, 900);
        assert!(changes.iter().any(|verdict| verdict.count < verdict.from));
        let grew = (0..5).find_map(|_| {
            let mut frame = rig.frame(30.0);
            frame.copies.starting = starting;
            let verdict = rig.check(&frame);
            (verdict.count > verdict.from).then_some(verdict)
        });
        assert!(grew.is_some(), "its copies are saturated");
        assert_eq!(rig.scaling.look_back(), Span::minutes(minutes));
    }
}

#[test]
fn repeated_verdicts_are_one_span() {
    let mut rig = Rig::standard(4);
    let mut spans: Vec<HeldSpan> = Vec::new();
    for at in 0..200 {
        let verdict = rig.feed(if at < 100 { 2.0 } else { 0.5 });
        let extends = spans.last_mut().is_some_and(|span| span.extend(verdict));
        if !extends {
            spans.push(HeldSpan::new(verdict));
        }
    }
    assert!(spans.len() < 8, "{spans:#?}");
}

/// A check of 1000 services. The bound is generous, because the machine may be busy.
#[test]
fn a_check_is_cheap() {
    let mut services: Vec<Rig> = (0..1_000).map(|_| Rig::standard(4)).collect();
    services.iter_mut().for_each(|rig| _ = rig.soak(2.0, 400));
    let began = std::time::Instant::now();
    services.iter_mut().for_each(|rig| _ = rig.feed(2.0));
    let took = began.elapsed();
    println!("1000 checks: {took:?}");
    assert!(took.as_millis() < 50, "{took:?}");
}
