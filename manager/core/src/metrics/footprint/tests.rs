//! Learning of footprints, and their offers.

use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const UNBOUNDED: Resources = Resources {
    memory: MemoryBytes(u64::MAX),
    cpu: NanoCpus(u64::MAX),
};

fn seen(mib: u64, millis: u64) -> Seen {
    Seen {
        measured_ms: LEARN_AFTER,
        memory: MemoryBytes::mib(mib),
        cpu: NanoCpus::millis(millis),
    }
}

fn hour(number: u64) -> Timestamp {
    Timestamp(number * HOUR + 1)
}

/// Memory in MiB and CPU in thousandths of a core.
fn figures(needs: Option<Resources>) -> Option<(u64, u64)> {
    needs.map(|it| (it.memory.0 / MIB, it.cpu.0 / 1_000_000))
}

fn used(peak: u64, killed_at: Option<u64>) -> Used {
    Used {
        service: "".into(),
        measured_ms: 5,
        memory_peak: MemoryBytes::mib(peak),
        cpu_peak: NanoCpus(7),
        killed_at: killed_at.map(MemoryBytes::mib),
    }
}

fn image() -> Image {
    Image {
        digest: Some("one".to_owned()),
        ..Image::new("web", Timestamp(0))
    }
}

#[test]
fn a_margin_is_added_and_rounded_up() {
    let mut image = image();
    image.learn("one", hour(1), &seen(100, 100));
    assert_eq!(figures(image.footprint()), Some((115, 120)));
    assert_eq!(
        image.view().suggested,
        Some(Critical {
            memory: Some(MemoryBytes(115 * MIB / 100 * 85)),
            cpu: Some(NanoCpus::millis(102))
        })
    );
    let mut idle = self::image();
    idle.learn(
        "one",
        hour(1),
        &Seen {
            memory: MemoryBytes(1),
            cpu: NanoCpus(1),
            ..seen(0, 0)
        },
    );
    assert_eq!(figures(idle.footprint()), Some((16, 10)), "never less");
}

#[test]
fn nothing_is_offered_before_enough_was_seen() {
    let mut image = image();
    image.learn(
        "one",
        hour(1),
        &Seen {
            measured_ms: LEARN_AFTER - 1,
            ..seen(100, 100)
        },
    );
    assert_eq!(
        (
            image.footprint(),
            image.view().suggested,
            image.view().measured_ms
        ),
        (None, None, LEARN_AFTER - 1)
    );
    image.learn(
        "one",
        hour(1),
        &Seen {
            measured_ms: 1,
            ..Seen::default()
        },
    );
    assert_eq!(figures(image.footprint()), Some((115, 120)));
}

#[test]
fn a_kill_wants_more_than_the_limit() {
    let mut all = Seen::default();
    all.add(&used(60, Some(64)), UNBOUNDED);
    assert_eq!(
        (all.memory, all.cpu, all.measured_ms),
        (MemoryBytes::mib(128), NanoCpus(7), 5),
        "64 MiB more"
    );
    all.add(&used(1000, Some(1000)), UNBOUNDED);
    assert_eq!(
        (all.memory, all.measured_ms),
        (MemoryBytes::mib(1200), 10),
        "a fifth more"
    );
    all.add(&used(1500, Some(100)), UNBOUNDED);
    assert_eq!(all.memory, MemoryBytes::mib(1500));
}

#[test]
fn what_was_used_a_day_ago_counts_and_what_was_used_long_ago_fades() {
    let mut learned = Learned::new("one");
    learned.learn(hour(0), &seen(1000, 500));
    (1..=24).for_each(|at| learned.learn(hour(at), &seen(100, 100)));
    assert_eq!(figures(Some(learned.needs())), Some((1150, 580)));
    learned.learn(hour(25), &seen(100, 100));
    assert_eq!(
        figures(Some(learned.needs())),
        Some((115, 120)),
        "one hour of 26 weighs less than a twentieth"
    );
    let mut heavy = Learned::new("one");
    (0..10).for_each(|at| heavy.learn(hour(at), &seen(1000, 500)));
    (10..58).for_each(|at| heavy.learn(hour(at), &seen(100, 100)));
    assert_eq!(
        figures(Some(heavy.needs())),
        Some((1150, 580)),
        "ten hours do not"
    );
    (58..250).for_each(|at| heavy.learn(hour(at), &seen(100, 100)));
    assert_eq!(
        (figures(Some(heavy.needs())), heavy.windows.len()),
        (Some((115, 120)), WINDOWS)
    );
}

#[test]
fn a_new_digest_begins_with_what_the_one_before_needs() {
    let mut image = image();
    image.learn("one", hour(1), &seen(100, 100));
    image.pulls("two");
    assert_eq!(figures(image.footprint()), Some((115, 120)));
    image.learn(
        "two",
        hour(2),
        &Seen {
            measured_ms: 1,
            ..seen(200, 10)
        },
    );
    assert_eq!(
        (figures(image.footprint()), image.view().measured_ms),
        (Some((230, 120)), 1),
        "never below what was seen of the new one"
    );
    image.learn("two", hour(2), &seen(0, 0));
    assert_eq!(figures(image.footprint()), Some((230, 20)));
}

#[test]
fn few_digests_are_kept_and_the_present_one_always() {
    let mut image = image();
    for digest in ["one", "two", "three", "four"] {
        image.learn(digest, hour(1), &seen(100, 100));
    }
    let digests = |image: &Image| {
        image
            .learned
            .iter()
            .map(|it| it.digest.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(digests(&image), ["one", "three", "four"]);
    image.pulls("three");
    assert_eq!(digests(&image), ["one", "four", "three"]);
    image.learn("five", hour(1), &seen(100, 100));
    assert_eq!(digests(&image), ["four", "three", "five"]);
}

#[test]
fn little_is_worth_a_write() {
    let mut learned = Learned::new("one");
    assert!(learned.is_news(hour(1), &Seen::default()), "an hour begins");
    learned.learn(
        hour(1),
        &Seen {
            measured_ms: 0,
            ..seen(640, 640)
        },
    );
    let news = |mib, millis, measured_ms| {
        learned.is_news(
            hour(1),
            &Seen {
                measured_ms,
                ..seen(mib, millis)
            },
        )
    };
    assert_eq!(
        [news(650, 650, 0), news(651, 0, 0), news(0, 651, 0)],
        [false, true, true],
        "a rise by more than a 64th"
    );
    assert_eq!(
        [news(0, 0, LEARN_AFTER - 1), news(0, 0, LEARN_AFTER)],
        [false, true],
        "it is enough"
    );
    learned.measured_ms = 16 * LEARN_AFTER;
    let news = |measured_ms| {
        learned.is_news(
            hour(1),
            &Seen {
                measured_ms,
                ..Seen::default()
            },
        )
    };
    assert_eq!(
        [
            news(LEARN_AFTER),
            news(2 * LEARN_AFTER - 1),
            news(2 * LEARN_AFTER)
        ],
        [false, false, true],
        "by an eighth"
    );
    assert!(
        !learned.is_news(hour(0), &seen(640, 640)),
        "the clock was set back"
    );
}

/// Hours between two measurements, and peaks.
fn lives() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec(
        (
            prop_oneof![4 => Just(0_u64), 4 => Just(1_u64), 1 => 0_u64..300],
            0_u64..1 << 40,
            0_u64..1 << 40,
        ),
        1..120,
    )
}

fn learned(life: &[(u64, u64, u64)]) -> (Learned, u64) {
    let mut learned = Learned::new("one");
    let mut now = 0;
    for (hours, memory, cpu) in life {
        now += hours;
        let seen = Seen {
            measured_ms: 1,
            memory: MemoryBytes(*memory),
            cpu: NanoCpus(*cpu),
        };
        if learned.is_news(hour(now), &seen) {
            learned.learn(hour(now), &seen);
        }
    }
    (learned, now)
}

proptest! {
    #[test]
    fn never_below_what_was_seen_in_the_last_day(life in lives()) {
        let (learned, now) = learned(&life);
        let needs = learned.needs();
        let mut at = 0;
        for (hours, memory, cpu) in life {
            at += hours;
            if now - at <= 24 {
                prop_assert!(needs.memory.0 >= memory && needs.cpu.0 >= cpu, "{} hours ago {} and {}, now {:?}", now - at, memory, cpu, needs);
            }
        }
    }

    /// A higher measurement never lowers the need.
    #[test]
    fn monotone_in_what_was_seen(life in lives(), which in any::<prop::sample::Index>(), more in 0_u64..1 << 40) {
        let take_all = |life: &[(u64, u64, u64)]| {
            let (mut learned, mut now) = (Learned::new("one"), 0);
            for (hours, memory, cpu) in life {
                now += hours;
                learned.learn(hour(now), &Seen { measured_ms: 1, memory: MemoryBytes(*memory), cpu: NanoCpus(*cpu) });
            }
            learned.needs()
        };
        let mut larger = life.clone();
        let at = which.index(larger.len());
        larger[at].1 += more;
        larger[at].2 += more;
        prop_assert!(take_all(&life).fits_in(&take_all(&larger)));
    }

    #[test]
    fn figures_beyond_all_reason_are_harmless(memory in any::<u64>(), cpu in any::<u64>(), killed in proptest::option::of(any::<u64>())) {
        let mut seen = Seen::default();
        let used = Used { measured_ms: u64::MAX, memory_peak: MemoryBytes(memory), cpu_peak: NanoCpus(cpu), killed_at: killed.map(MemoryBytes), ..used(0, None) };
        seen.add(&used, UNBOUNDED);
        seen.add(&used, UNBOUNDED);
        let mut image = image();
        image.learn("one", Timestamp(u64::MAX), &seen);
        let needs = image.footprint().expect("long enough");
        prop_assert!(needs.memory.0 <= 2 * MOST && needs.cpu.0 <= 2 * MOST);
    }
}
