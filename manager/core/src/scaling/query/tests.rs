//! Values of queries.

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn copies(warm: u32, young: u32) -> Copies {
    Copies {
        warm,
        young,
        ..Copies::default()
    }
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

fn wanted(meaning: As, value: f64, copies: Copies) -> u32 {
    let mut state = QueryState::default();
    state.note(&[value], NOW);
    match state.check(&query(meaning), &copies, 180_000, NOW) {
        Wanted::Count(count, _) => count,
        Wanted::Unknown(reason) => panic!("unknown: {reason}"),
    }
}

#[test]
fn a_total_and_an_average_differ() {
    assert_eq!(wanted(As::Total, 41.0, copies(2, 0)), 5);
    assert_eq!(wanted(As::Average, 41.0, copies(2, 0)), 9);
    assert_eq!(wanted(As::Average, 41.0, copies(2, 1)), 3, "not settled");
}

#[test]
fn it_shrinks_to_the_highest_of_the_look_back() {
    let mut state = QueryState::default();
    let mut counts = Vec::new();
    for (second, value) in [(0, 90.0), (15, 41.0), (180, 20.0), (240, 20.0)] {
        let now = Timestamp(NOW.0 + second * 1_000);
        state.note(&[value], now);
        if let Wanted::Count(count, _) =
            state.check(&query(As::Total), &copies(12, 0), 180_000, now)
        {
            counts.push(count);
        }
    }
    assert_eq!(counts, [9, 9, 9, 2]);
}

#[test]
fn three_missed_intervals_are_stale() {
    let mut state = QueryState::default();
    state.note(&[5.0], NOW);
    let later = Timestamp(NOW.0 + 45_001);
    let wanted = state.check(&query(As::Total), &copies(1, 0), 180_000, later);
    assert_eq!(wanted, Wanted::Unknown(Unknown::Stale));
}
