//! The look-back learns from regret.

use super::*;

fn minute(minute: u64) -> Timestamp {
    Timestamp(minute * 60_000)
}

#[test]
fn a_regret_doubles_once_per_shrink() {
    let mut look_back = LookBack::new(SHORTEST);
    look_back.hurt(minute(1), Span(LONGEST));
    assert_eq!(look_back.ms(), SHORTEST);
    look_back.shrank(minute(10));
    look_back.hurt(minute(20), Span(LONGEST));
    look_back.hurt(minute(21), Span(LONGEST));
    assert_eq!(look_back.ms(), 2 * SHORTEST);
    look_back.shrank(minute(30));
    look_back.hurt(minute(61), Span(LONGEST));
    assert_eq!(look_back.ms(), 2 * SHORTEST, "more than 30 minutes later");
}

#[test]
fn it_stays_within_30_minutes_and_halves_each_calm_hour() {
    let mut look_back = LookBack::new(SHORTEST);
    for at in 0..10 {
        look_back.shrank(minute(at));
        look_back.hurt(minute(at), Span(LONGEST));
    }
    assert_eq!(look_back.ms(), LONGEST);
    let mut lengths = Vec::new();
    for hour in 1..7 {
        look_back.calm(minute(hour * 60 + 9));
        lengths.push(look_back.ms() / 1_000);
    }
    assert_eq!(lengths, [900, 450, 225, 180, 180, 180]);
}

#[test]
fn a_regret_never_shortens_it() {
    let mut look_back = LookBack::new(SHORTEST);
    for (at, longest) in [(1, 300), (2, 300), (3, 60)] {
        look_back.shrank(minute(at));
        look_back.hurt(minute(at), Span::seconds(longest));
        assert_eq!(look_back.ms(), 300_000, "at most {longest} s");
    }
}
