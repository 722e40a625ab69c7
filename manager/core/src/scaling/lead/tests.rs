//! Learned times.

use super::*;

#[test]
fn the_90th_percentile_of_the_last_twenty_counts() {
    let default = Span::seconds(90);
    let mut learned = Learned::default();
    assert_eq!(learned.value(default), default);
    for seconds in [40, 60, 50] {
        learned.add(Span::seconds(seconds), default);
    }
    assert_eq!(
        learned.value(default),
        Span::seconds(60),
        "the highest of a few"
    );
    (0..20).for_each(|_| _ = learned.add(Span::seconds(45), default));
    assert_eq!(
        learned.value(default),
        Span::seconds(45),
        "older ones are forgotten"
    );
    assert!(
        !learned.add(Span::seconds(300), default),
        "one slow boot of twenty"
    );
    learned.add(Span::seconds(300), default);
    assert!(learned.add(Span::seconds(300), default));
    assert_eq!(learned.value(default), Span::seconds(300));
}

#[test]
fn a_lead_has_a_boot_only_if_a_machine_must_be_rented() {
    let (start, warm_up) = (Span::seconds(1), Span::seconds(10));
    assert_eq!(lead(None, start, warm_up), Span::seconds(13));
    assert_eq!(
        lead(Some(Span::seconds(90)), start, warm_up),
        Span::seconds(103)
    );
}

#[test]
fn a_copy_is_warm_once_its_use_has_settled() {
    let use_at = |burns_for: u64| -> Vec<(Span, f64)> {
        (0..60)
            .map(|at| {
                (
                    Span::seconds(2 * at),
                    if 2 * at < burns_for { 1.0 } else { 0.4 },
                )
            })
            .collect()
    };
    assert_eq!(warm_up(&use_at(20), 0.0), Some(Span::seconds(20)));
    assert_eq!(warm_up(&use_at(0), 0.0), Some(Span::seconds(5)), "clamped");
    assert_eq!(warm_up(&use_at(20)[..40], 0.0), None, "too early to tell");
    assert_eq!(warm_up(&use_at(20), 0.6), Some(Span::seconds(5)), "noise");
}
