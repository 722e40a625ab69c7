//! Failures that other autoscalers had, each as a fixed world; the name is the failure.

use super::*;

fn with(policy: Policy) -> Policies {
    let mut policies = Policies::standard(100);
    policies.policies.push(policy);
    policies
}

fn query(meaning: As) -> Query {
    Query {
        server: None,
        query: "jobs".to_owned(),
        meaning,
        target: 10.0,
        interval: Span::seconds(15),
    }
}

fn only(policy: Policy) -> Policies {
    Policies {
        max: 100,
        policies: vec![policy],
        ..Policies::default()
    }
}

fn queue() -> Queue {
    serde_json::from_str(r#"{"time-per-item": "20s", "clear-within": "60s"}"#).expect("a queue")
}

fn items(items: f64) -> Option<QueueSignal> {
    Some(QueueSignal {
        items,
        arrivals: 0.0,
        time_per_item: None,
        deadline: None,
    })
}

fn schedule(start: &str, hours: u64, zone: &str, min: u32) -> Policy {
    Policy::Schedule(Schedule {
        start: start.to_owned(),
        duration: Some(Span::minutes(60 * hours)),
        end: None,
        zone: zone.to_owned(),
        min,
        max: None,
    })
}

/// Policies are given again when their record is written or the manager starts.
fn restarted(rig: &Rig) -> Rig {
    let mut other = Rig::new(rig.scaling.policies().clone(), 0);
    (other.now, other.copies) = (rig.now, rig.copies.clone());
    other
}

#[test]
fn one_metric_missing_shrinks() {
    let mut rig = Rig::new(with(Policy::Query(query(As::Total))), 10);
    let changes = rig.soak(1.0, 1_800);
    assert!(changes.is_empty(), "{changes:?}");
    let verdict = rig.feed(1.0);
    let reason = Unknown::NoSource;
    assert_eq!(verdict.stop, Some(Stop::Unknown { policy: 1, reason }));
}

#[test]
fn one_of_160_missing_freezes() {
    let mut rig = Rig::standard(160);
    rig.blind = 1;
    rig.soak(110.0, 300);
    let changes = rig.soak(50.2, 900);
    // The missing copy counts as 0.7: at 160 copies, 50.6 cores need 81.
    assert_eq!(counts(&changes).last(), Some(&80));
    assert!(counts(&changes).contains(&81));
}

#[test]
fn too_many_missing_hold() {
    let mut rig = Rig::standard(20);
    rig.blind = 3;
    assert!(rig.soak(2.0, 900).is_empty());
    assert_eq!(rig.feed(2.0).stop, Some(Stop::Blind { blind: 3, of: 20 }));
}

#[test]
fn source_empty_means_zero() {
    for values in [&[][..], &[f64::NAN], &[1.0, 2.0], &[f64::INFINITY]] {
        let mut rig = Rig::new(only(Policy::Query(query(As::Total))), 5);
        rig.scaling
            .note_query(0, &[50.0], Timestamp(rig.now * 1_000));
        rig.feed(1.0);
        rig.scaling
            .note_query(0, values, Timestamp(rig.now * 1_000));
        assert!(rig.soak(1.0, 900).is_empty(), "{values:?}");
        let reason = Unknown::BadValue;
        assert_eq!(
            rig.feed(1.0).stop,
            Some(Stop::Unknown { policy: 0, reason })
        );
    }
    let mut rig = Rig::new(only(Policy::Queue(queue())), 5);
    rig.scaling.note_queue(0, None, Timestamp(rig.now * 1_000));
    assert!(rig.soak(1.0, 900).is_empty());
}

#[test]
fn zero_and_source_down_never_returns() {
    let mut policies = only(Policy::Query(query(As::Total)));
    policies.min = 2;
    let mut rig = Rig::new(policies, 0);
    assert_eq!(counts(&rig.soak(0.0, 10)), [2]);
}

#[test]
fn all_unhealthy_no_metrics() {
    let mut rig = Rig::standard(6);
    rig.soak(3.0, 300);
    rig.failing = 6;
    assert!(rig.soak(0.0, 1_200).is_empty(), "unhealthy copies hold");
    let mut rig = Rig::standard(6);
    rig.soak(3.0, 300);
    rig.blind = 6;
    let changes: Vec<Verdict> = (0..300)
        .map(|_| {
            let mut frame = rig.frame(6.0);
            frame.machines_busy = Some(1.0);
            rig.check(&frame)
        })
        .filter(Verdict::is_change)
        .collect();
    // At most one copy per lead time of 90 s; new copies are seen, and blind ones never shrink.
    assert!((1..=7).contains(&changes.len()), "{changes:?}");
    assert!(changes.iter().all(|change| change.count == change.from + 1));
}

#[test]
fn deploy_doubles() {
    // All copies are replaced at once, and burn a whole core while they start.
    let mut rig = Rig::standard(5);
    rig.soak(3.0, 300);
    rig.copies = vec![rig.now; 5];
    assert!(rig.soak(5.0, WARM_IN).is_empty());
    assert!(rig.soak(3.0, 600).is_empty());
}

#[test]
fn crashing_copies_scale_to_max() {
    let mut rig = Rig::standard(10);
    rig.soak(6.5, 300);
    rig.soak(1.0, 120);
    rig.failing = 7;
    assert!(
        rig.soak(1.0, 600).is_empty(),
        "an idle rest brings no growth"
    );
    // New copies fail too: growth ends.
    let mut rig = Rig::standard(10);
    rig.soak(3.0, 120);
    for _ in 0..1_000 {
        rig.failing = rig.count() - 4;
        rig.feed(3.0);
    }
    assert!(rig.count() <= 10, "{}", rig.count());
}

#[test]
fn failed_or_lost_copies_dampen_growth() {
    let mut rig = Rig::standard(10);
    rig.soak(6.5, 300);
    rig.failing = 4;
    // Six copies carry 5.4 of 4.2 cores.
    let changes = rig.soak(5.4, 60);
    assert!(!changes.is_empty());
}

#[test]
fn tolerance_too_coarse() {
    let mut rig = Rig::standard(100);
    rig.soak(69.0, 300);
    let changes = rig.soak(73.6, 90);
    assert_eq!(counts(&changes), [106]);
}

#[test]
fn schedule_swallowed_by_tolerance() {
    let mut rig = Rig::new(with(schedule("0 8 * * *", 2, "UTC", 24)), 23);
    rig.now += 8 * 3_600 - 600;
    let changes = rig.soak(16.0, 900);
    assert_eq!(counts(&changes), [24]);
    // The capacity is there when the window opens: one lead time earlier.
    let opens = MONDAY / 1_000 + 8 * 3_600;
    assert_eq!(changes[0].at.0 / 1_000, opens - 90);
}

#[test]
fn weekday_in_utc() {
    // Monday 08:00 in Auckland is Sunday 19:00 UTC.
    let mut rig = Rig::new(only(schedule("0 8 * * mon", 1, "Pacific/Auckland", 7)), 1);
    rig.now += 6 * 86_400 + 18 * 3_600;
    let changes = rig.soak(0.1, 3 * 3_600);
    assert_eq!(
        changes.first().map(|change| (change.count, change.at.0)),
        Some((7, MONDAY + (6 * 86_400 + 19 * 3_600 - 90) * 1_000))
    );
}

#[test]
fn dst_night() {
    // 2026-03-29, 02:00 to 03:00 does not exist in Berlin; 2026-10-25, 02:00 to 03:00 occurs twice.
    for (day, opens) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
    ] {
        let second =
            |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_second() as u64;
        let mut rig = Rig::new(only(schedule("30 2 * * *", 3, "Europe/Berlin", 5)), 1);
        rig.limits.lead = Span(0);
        rig.now = second(day);
        let grew: Vec<u64> = rig
            .soak(0.1, 86_400 / 4 * 3)
            .iter()
            .filter(|change| change.count > change.from)
            .map(|change| change.at.0 / 1_000)
            .collect();
        assert_eq!(grew, [second(opens)], "{day}");
    }
}

#[test]
fn pending_work_counted_again() {
    let mut rig = Rig::new(only(Policy::Queue(queue())), 1);
    // 30 items of 20 s within 60 s: 10 copies, however often they are counted.
    for _ in 0..300 {
        rig.scaling
            .note_queue(0, items(30.0), Timestamp(rig.now * 1_000));
        let mut frame = rig.frame(0.0);
        frame.copies = Copies {
            warm: 1,
            starting: rig.count() - 1,
            ..Copies::default()
        };
        rig.check(&frame);
    }
    assert_eq!(rig.count(), 10);
}

#[test]
fn queue_total_never_falls() {
    // A total that was declared an average: it stays, however many copies there are.
    let mut rig = Rig::new(only(Policy::Query(query(As::Average))), 2);
    let mut last = Verdict {
        stop: None,
        ..rig.feed(0.5)
    };
    for _ in 0..120 {
        rig.scaling
            .note_query(0, &[13.0], Timestamp(rig.now * 1_000));
        last = rig.feed(0.5);
    }
    assert!(rig.count() < 20, "{}", rig.count());
    assert!(matches!(last.stop, Some(Stop::Futile { .. })), "{last}");
    assert!(last.to_string().contains("adding copies does not help"));
}

#[test]
fn busy_worker_killed() {
    let mut rig = Rig::new(only(Policy::Queue(queue())), 10);
    let mut changes = Vec::new();
    for at in 0..300 {
        rig.scaling
            .note_queue(0, items(3.0), Timestamp(rig.now * 1_000));
        let mut frame = rig.frame(8.0);
        frame.quiet = if at < 200 { 0 } else { 2 };
        changes.extend(Some(rig.check(&frame)).filter(Verdict::is_change));
    }
    assert_eq!(changes.first().map(|change| change.count), Some(8));
    assert!(changes[0].at.0 / 1_000 >= MONDAY / 1_000 + 400);
    assert_eq!(changes[0].stop, Some(Stop::NotQuiet { quiet: 2 }));
}

#[test]
fn rash_after_restart() {
    let mut rig = Rig::standard(10);
    rig.soak(6.5, 300);
    let mut rig = restarted(&rig);
    let held = rig.soak(0.5, 178);
    assert!(held.is_empty(), "{held:?}");
    let mut other = restarted(&rig);
    assert!(
        !other.soak(9.5, 178).is_empty(),
        "growth needs no look-back"
    );
}

#[test]
fn calm_undoes_panic() {
    let mut rig = Rig::standard(4);
    rig.soak(2.5, 900);
    rig.soak(3.9, 4);
    let grown = rig.count();
    assert!(grown > 4);
    // Copies start for ten minutes, while the load is gone.
    for _ in 0..300 {
        let mut frame = rig.frame(0.5);
        frame.copies = Copies {
            warm: 4,
            starting: rig.count() - 4,
            ..Copies::default()
        };
        rig.check(&frame);
        assert_eq!(rig.count(), grown);
    }
}

#[test]
fn soak_shrink_then_explosion() {
    // Saturated for 30 minutes at the maximum.
    let mut policies = Policies::standard(8);
    policies.min = 2;
    let mut rig = Rig::new(policies, 8);
    let changes = rig.soak(20.0, 1_800);
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn manifest_resets_count() {
    let mut rig = Rig::standard(3);
    rig.soak(6.0, 600);
    let count = rig.count();
    assert!(count > 3);
    let mut rig = restarted(&rig);
    assert!(rig.soak(5.8, 900).is_empty());
    assert_eq!(rig.count(), count);
}

#[test]
fn shrink_makes_overload_makes_growth() {
    let mut rig = Rig::standard(20);
    let changes = rig.soak(7.0, 3_600);
    // Each step is one of the way down; none goes up again.
    assert_eq!(counts(&changes), [12]);
}

#[test]
fn memory_that_only_grows() {
    // Each copy fills its memory, however many there are.
    let critical = Critical {
        resource: Resource::Memory,
        usage: 100.0,
    };
    let mut rig = Rig::new(only(Policy::Critical(critical)), 2);
    let mut last = rig.feed(0.5);
    for _ in 0..300 {
        let mut frame = rig.frame(0.5);
        frame.memory = Sums {
            warm: 120.0 * f64::from(frame.copies.warm),
            young: 120.0 * f64::from(frame.copies.young),
            busiest: 120.0,
            ..Sums::default()
        };
        last = rig.check(&frame);
    }
    assert!(rig.count() < 10, "{}", rig.count());
    assert!(
        last.to_string().contains("adding copies does not help"),
        "{last}"
    );
}
