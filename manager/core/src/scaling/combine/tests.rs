//! Stages of the pipeline, each alone.

use super::*;
use crate::scaling::{Step, span::Span, why::Unknown};

const NOW: Timestamp = Timestamp(1_000_000);

fn combined(from: u32, answers: &[Answer]) -> Draft {
    let mut draft = Draft::new(from);
    combine(&mut draft, answers.iter().copied().enumerate());
    draft
}

const fn wants(count: u32) -> Answer {
    (Wanted::Count(count, Cause::Steady), None)
}

#[test]
fn the_highest_policy_wins() {
    let draft = combined(5, &[wants(3), wants(8), wants(6)]);
    assert_eq!((draft.count, draft.by), (8, Some(1)));
    assert_eq!(combined(5, &[wants(3), wants(4)]).count, 4);
}

#[test]
fn an_unknown_policy_holds_a_shrink_and_no_growth() {
    let unknown = (Wanted::Unknown(Unknown::Stale), None);
    let draft = combined(5, &[wants(3), unknown]);
    assert_eq!((draft.count, draft.asked), (5, 3));
    assert!(matches!(draft.stop, Some(Stop::Unknown { policy: 1, .. })));
    assert_eq!(combined(5, &[wants(9), unknown]).count, 9);
}

#[test]
fn a_futile_policy_does_not_grow_and_others_do() {
    let futile = (
        Wanted::Count(9, Cause::Steady),
        Some((3, Timestamp(2_000_000))),
    );
    let draft = combined(5, &[futile]);
    assert_eq!((draft.count, draft.asked), (5, 9));
    assert!(matches!(draft.stop, Some(Stop::Futile { growths: 3, .. })));
    assert_eq!(combined(5, &[futile, wants(6)]).count, 6);
    assert_eq!(combined(5, &[futile, wants(3)]).count, 5);
}

fn limited(policies: &Policies, steps: &Steps, from: u32, count: u32) -> (u32, Option<Stop>) {
    let mut draft = Draft::new(from);
    (draft.count, draft.asked) = (count, count);
    let frame = Frame::default();
    limits(&mut draft, policies, steps, &frame, &Limits::default(), NOW);
    (draft.count, draft.stop)
}

#[test]
fn steps_are_measured_from_the_count_at_their_beginning() {
    let policies = Policies {
        step_up: Some(Step {
            percent: 100.0,
            per: Span::seconds(15),
        }),
        ..Policies::standard(100)
    };
    let mut steps = Steps::default();
    assert_eq!(limited(&policies, &steps, 4, 20).0, 8);
    steps.changed(&policies, 4, 8, NOW);
    assert_eq!(
        limited(&policies, &steps, 8, 20).0,
        8,
        "within the same 15 s"
    );
    assert_eq!(limited(&policies, &Steps::default(), 10, 2).0, 5);
    assert_eq!(
        limited(&policies, &Steps::default(), 2, 1).0,
        1,
        "one is always allowed"
    );
}

#[test]
fn a_cool_down_delays_one_direction() {
    let policies = Policies {
        cool_down_up: Span::seconds(60),
        ..Policies::standard(100)
    };
    let mut steps = Steps::default();
    steps.changed(&policies, 4, 8, Timestamp(NOW.0 - 1_000));
    let until = Timestamp(NOW.0 + 59_000);
    assert_eq!(
        limited(&policies, &steps, 8, 9),
        (8, Some(Stop::CoolDown { until }))
    );
    assert_eq!(limited(&policies, &steps, 8, 7), (7, None));
}

#[test]
fn the_maximum_holds_for_every_floor() {
    let mut draft = Draft::new(5);
    let all = Limits {
        forecast: Some(50),
        ..Limits::default()
    };
    floors(&mut draft, &all, (Some((7, NOW)), None), NOW);
    assert_eq!(draft.count, 10, "a forecast at most doubles");
    let policies = Policies::standard(8);
    limits(
        &mut draft,
        &policies,
        &Steps::default(),
        &Frame::default(),
        &all,
        NOW,
    );
    assert_eq!(
        (draft.count, draft.stop),
        (8, Some(Stop::Maximum { max: 8 }))
    );
}
