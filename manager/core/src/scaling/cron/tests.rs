//! Reading of expressions.

use super::*;
use jiff::civil::date;

fn cron(text: &str) -> Cron {
    text.parse().expect("a cron expression")
}

#[test]
fn lists_ranges_steps_and_names_are_read() {
    let times: Vec<_> = cron("0,30 8-9 * * *").times().collect();
    assert_eq!(times, [(8, 0), (8, 30), (9, 0), (9, 30)]);
    assert_eq!(cron("*/20 0 * * *").times().count(), 3);
    let workdays = cron("0 8 * * mon-fri");
    let is_on: Vec<bool> = (2..9)
        .map(|day| workdays.is_on(date(2026, 3, day)))
        .collect();
    assert_eq!(is_on, [true, true, true, true, true, false, false]);
    assert!(cron("0 0 * * 7").is_on(date(2026, 3, 8)), "7 is Sunday");
    assert!(cron("0 0 1 jan *").is_on(date(2026, 1, 1)));
    assert!(!cron("0 0 1 jan *").is_on(date(2026, 2, 1)));
}

#[test]
fn a_day_and_a_weekday_match_if_either_does() {
    let either = cron("0 0 13 * fri");
    assert!(either.is_on(date(2026, 3, 6)), "a Friday");
    assert!(either.is_on(date(2026, 4, 13)), "a Monday");
    assert!(!either.is_on(date(2026, 3, 7)));
}

#[test]
fn wrong_expressions_say_why() {
    let problem = |text: &str| text.parse::<Cron>().expect_err("wrong").to_string();
    assert!(problem("61 * * * *").contains("minute `61` is not within 0 and 59"));
    assert!(problem("0 9-8 * * *").contains("hour `9-8` runs backwards"));
    assert!(problem("*/0 * * * *").contains("step `0` of the minute is not positive"));
    assert!(problem("0 8 * * mondays").contains("weekday `mondays`"));
}
