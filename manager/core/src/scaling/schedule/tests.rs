//! Windows over the year, in zones with summer time.

use super::*;

fn at(text: &str) -> Timestamp {
    let at = text.parse::<jiff::Timestamp>().expect("a time");
    Timestamp(at.as_millisecond() as u64)
}

fn window(start: &str, end: Result<u64, &str>, zone: &str) -> Window {
    let zone = TimeZone::posix(zone).expect("a zone");
    Schedule {
        start: start.to_owned(),
        duration: end.ok().map(Span::minutes),
        end: end.err().map(ToOwned::to_owned),
        zone: String::new(),
        min: 4,
        max: Some(9),
    }
    .compile(zone)
    .expect("a window")
}

const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

#[test]
fn the_floor_comes_one_lead_time_early_and_the_ceiling_in_time() {
    let window = window("0 8 * * *", Ok(60), BERLIN);
    let lead = Span::minutes(5);
    let bounds = |text| {
        let bounds = window.bounds(at(text), lead);
        bounds.map(|bounds| (bounds.min, bounds.max))
    };
    assert_eq!(bounds("2026-01-05T06:54:59Z"), None);
    assert_eq!(bounds("2026-01-05T06:55:00Z"), Some((4, None)));
    assert_eq!(bounds("2026-01-05T07:00:00Z"), Some((4, Some(9))));
    assert_eq!(bounds("2026-01-05T07:59:59Z"), Some((4, Some(9))));
    assert_eq!(bounds("2026-01-05T08:00:00Z"), None);
    // In summer, an hour earlier in UTC.
    assert_eq!(bounds("2026-07-05T06:30:00Z"), Some((4, Some(9))));
}

#[test]
fn an_end_may_be_an_expression() {
    let window = window("0 20 * * fri", Err("0 6 * * mon"), BERLIN);
    let is_open = |text| window.bounds(at(text), Span(0)).is_some();
    assert!(!is_open("2026-01-09T18:59:00Z"));
    assert!(is_open("2026-01-09T19:00:00Z"));
    assert!(is_open("2026-01-12T04:59:00Z"));
    assert!(!is_open("2026-01-12T05:00:00Z"));
}

#[test]
fn a_time_that_does_not_exist_opens_at_the_next_that_does() {
    let window = window("30 2 * * *", Ok(60), BERLIN);
    let opens = |text| {
        window
            .bounds(at(text), Span(0))
            .map(|bounds| bounds.opens_at)
    };
    // The clock goes from 02:00 to 03:00, which is 01:00 UTC.
    assert_eq!(
        opens("2026-03-29T01:00:00Z"),
        Some(at("2026-03-29T01:00:00Z"))
    );
    assert_eq!(opens("2026-03-29T00:59:00Z"), None);
    // The clock goes from 03:00 back to 02:00: 02:30 occurs at 00:30 and 01:30 UTC.
    assert_eq!(
        opens("2026-10-25T00:30:00Z"),
        Some(at("2026-10-25T00:30:00Z"))
    );
    assert_eq!(opens("2026-10-25T01:35:00Z"), None);
}

#[test]
fn the_highest_floor_and_the_lowest_ceiling_hold() {
    let mut low = window("0 8 * * *", Ok(600), BERLIN);
    (low.min, low.max) = (2, Some(3));
    let high = window("0 9 * * *", Ok(60), BERLIN);
    let mut calendar = Calendar::new(vec![low, high]);
    let mut bounds = |text| {
        let (floor, ceiling) = calendar.bounds(at(text), Span(0));
        (floor.map(|(min, _)| min), ceiling)
    };
    assert_eq!(bounds("2026-01-05T07:30:00Z"), (Some(2), Some(3)));
    assert_eq!(bounds("2026-01-05T08:30:00Z"), (Some(4), Some(4)));
    assert_eq!(bounds("2026-01-05T12:00:00Z"), (Some(2), Some(3)));
    assert_eq!(bounds("2026-01-05T18:00:00Z"), (None, None));
}
