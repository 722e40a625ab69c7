//! The report of a simulation for people.

use super::Outcome;
use crate::cli::page::Page;
use comfy_table::Table;
use micado_core::simulate::{BEGIN, Judgement, Report, Row};

/// A line of the report: its name, and its value on a side.
type Line = (&'static str, fn(&Report) -> String);

const LINES: [Line; 14] = [
    ("cost", |side| format!("{:.2}", side.cost)),
    ("cost / optimum", |side| format!("{:.3}", side.relative)),
    ("machine hours", |side| format!("{:.2}", side.machine_hours)),
    ("container hours", |side| format!("{:.1}", side.copy_hours)),
    ("missed", |side| {
        format!(
            "{:.0} core-seconds, {:.2} %",
            side.missed_core_seconds, side.missed_percent
        )
    }),
    ("delay p50, p95, p99", |side| {
        format!(
            "{}, {}, {} ms",
            side.delay_p50_ms, side.delay_p95_ms, side.delay_p99_ms
        )
    }),
    ("time above 90 % use", |side| {
        format!("{} s", side.seconds_above_90_percent)
    }),
    ("changes up, down", |side| {
        format!("{}, {}", side.growths, side.shrinks)
    }),
    ("starts, stops, moves", |side| {
        format!("{}, {}, {}", side.starts, side.stops, side.moves)
    }),
    ("machines ordered", |side| side.orders.to_string()),
    ("lack, excess", |side| {
        format!(
            "{:.1} %, {:.1} %",
            side.elasticity.under_percent, side.elasticity.over_percent
        )
    }),
    ("time with lack, excess", |side| {
        format!(
            "{:.1} %, {:.1} %",
            side.elasticity.under_time_percent, side.elasticity.over_time_percent
        )
    }),
    ("instability", |side| {
        format!("{:.1} %", side.elasticity.instability_percent)
    }),
    ("priced total / optimum", |side| {
        format!("{:.3}", side.priced_relative)
    }),
];

pub(super) fn page(outcome: &Outcome<'_>) -> Page {
    let other = outcome.against.map(|report| report.side.to_uppercase());
    let mut header = vec!["", "MICADO"];
    header.extend(other.as_deref());
    let mut lines = Page::table(&header);
    for (name, value) in LINES {
        let mut row = vec![name.to_owned(), value(outcome.micado)];
        row.extend(outcome.against.map(value));
        lines.add_row(row);
    }
    let bounds = outcome.bounds;
    let mut page = Page::default().with(lines);
    if outcome.micado.services.len() > 1 {
        page = page.line("").with(services(outcome));
    }
    page = page.line("").line(format!(
        "optimum with hindsight {:.2}, bound for any policy {:.2}, without headroom {:.2}",
        bounds.optimum, bounds.bound, bounds.floor
    ));
    if let (Some(judgement), Some(report)) = (outcome.judgement, outcome.against) {
        page = page.line(sentence(judgement, &report.side));
    }
    for change in outcome.changes {
        let seconds = change.at.since(BEGIN).as_secs();
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let text = &change.text;
        page = page.line(format!(
            "{hours:02}:{minutes:02}:{:02} {text}",
            seconds % 60
        ));
    }
    page
}

/// What each of several services missed, on each side.
fn services(outcome: &Outcome<'_>) -> Table {
    let mut lines = Page::table(&[
        "SERVICE",
        "SIDE",
        "MISSED",
        "DELAY P50, P95, P99",
        "UP, DOWN",
    ]);
    let sides = [Some(outcome.micado), outcome.against];
    for (at, load) in outcome.load.split(" + ").enumerate() {
        for side in sides.into_iter().flatten() {
            let service = &side.services[at];
            lines.add_row(vec![
                load.to_owned(),
                side.side.clone(),
                format!("{:.2} %", service.missed_percent),
                format!(
                    "{}, {}, {} ms",
                    service.delay_p50_ms, service.delay_p95_ms, service.delay_p99_ms
                ),
                format!("{}, {}", service.growths, service.shrinks),
            ]);
        }
    }
    lines
}

fn sentence(judgement: Judgement, other: &str) -> String {
    let trade = "a trade of cost and missed demand";
    match judgement {
        Judgement::Better => "micado costs no more and misses no more".to_owned(),
        Judgement::TradeWon => format!("{trade}; micado's priced total is lower"),
        Judgement::TradeLost => format!("{trade}; the priced total of {other} is lower"),
        Judgement::Worse => "micado costs more and misses more".to_owned(),
    }
}

pub(super) fn table(rows: &[Row]) -> Page {
    let mut lines = Page::table(&[
        "BOOT", "SHAPE", "MICADO", "MISSED", "PRICED", "PEER", "MISSED", "PRICED",
    ]);
    for row in rows {
        let mut cells = vec![format!("{}s", row.boot_s), row.shape.to_owned()];
        for side in [row.micado, row.peer] {
            cells.push(format!("{:.3}", side.relative));
            cells.push(format!("{:.2} %", side.missed_percent));
            cells.push(format!("{:.3}", side.priced));
        }
        lines.add_row(cells);
    }
    Page::default().with(lines).line("").line(
        "costs and priced totals relative to the optimum with hindsight; means of three seeds",
    )
}
