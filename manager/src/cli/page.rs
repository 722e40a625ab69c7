//! Printed pages: lines and plain tables, one below the other. Control characters in them are
//! escaped, because names and messages may be foreign.

use comfy_table::{ContentArrangement, Row, Table, presets};
use micado_api::{Timestamp, foreign::escaped};
use std::{fmt::Write as _, time::Duration};

#[derive(Debug, Default)]
pub(super) struct Page(Vec<Block>);

#[derive(Debug)]
enum Block {
    Line(String),
    Table(Box<Table>),
}

impl Page {
    pub(super) fn table(header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !header.is_empty() {
            table.set_header(header);
        }
        table
    }

    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        let line = line.into();
        self.0.push(Block::Line(escaped(&line).into_owned()));
        self
    }

    pub(super) fn with(mut self, mut table: Table) -> Self {
        for row in table.row_iter_mut() {
            let cells = row.cell_iter().map(|cell| cell.content());
            *row = Row::from(
                cells
                    .map(|cell| escaped(&cell).into_owned())
                    .collect::<Vec<_>>(),
            );
        }
        self.0.push(Block::Table(Box::new(table)));
        self
    }

    /// Formats as text that ends in a line end, or is empty. Only a terminal limits the width.
    pub(super) fn text(self, terminal: bool) -> String {
        let mut text = String::new();
        for block in self.0 {
            match block {
                Block::Line(line) => _ = writeln!(text, "{line}"),
                Block::Table(mut table) => {
                    for column in table.column_iter_mut() {
                        column.set_padding((0, 2));
                    }
                    if !terminal {
                        table.force_no_tty();
                    }
                    _ = writeln!(text, "{}", table.trim_fmt());
                }
            }
        }
        text
    }
}

/// Formats an age in the largest unit that fits: `3m`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match now.since(then).as_secs() {
        seconds if seconds < MINUTE => format!("{seconds}s"),
        seconds if seconds < HOUR => format!("{}m", seconds / MINUTE),
        seconds if seconds < DAY => format!("{}h", seconds / HOUR),
        seconds => format!("{}d", seconds / DAY),
    }
}

/// Formats a time in UTC, to the second: `2026-11-03 10:00:00Z`.
pub(super) fn moment(at: Timestamp) -> String {
    let since_epoch = at.since(Timestamp::default());
    let whole = Duration::from_secs(since_epoch.as_secs());
    let moment = jiff::SignedDuration::try_from(whole)
        .ok()
        .and_then(|whole| jiff::Timestamp::from_duration(whole).ok());
    moment.map_or_else(
        || format!("{} ms", at.0),
        |moment| moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_for_people() {
        let now = Timestamp(1_793_700_000_000);
        let ago = |seconds: u64| age(now, Timestamp(now.0 - seconds * 1000));
        assert_eq!(
            [
                ago(0),
                ago(59),
                ago(60),
                ago(3599),
                ago(7200),
                ago(86_400 * 40)
            ],
            ["0s", "59s", "1m", "59m", "2h", "40d"]
        );
        assert_eq!(age(Timestamp(0), now), "0s");
        assert_eq!(moment(Timestamp(1_793_700_000_999)), "2026-11-03 10:00:00Z");
        assert_eq!(moment(Timestamp(u64::MAX)), format!("{} ms", u64::MAX));
    }

    #[test]
    fn foreign_text_moves_no_cursor_and_starts_no_line() {
        let mut table = Page::table(&["NAME", "REASON"]);
        table.add_row(["web", "user \u{1b}[2Ja\u{7}\nweb  running"]);
        assert_eq!(
            Page::default().line("web: b\r\nc").with(table).text(false),
            "web: b\\r\\nc\nNAME  REASON\nweb   user \\u{1b}[2Ja\\u{7}\\nweb  running\n"
        );
    }

    #[test]
    fn a_table_has_no_borders_and_no_trailing_blanks() {
        let mut table = Page::table(&["NAME", "STATE"]);
        table.add_row(["a", "running"]).add_row(["long", ""]);
        assert_eq!(
            Page::default().line("all:").with(table).text(false),
            "all:\nNAME  STATE\na     running\nlong\n"
        );
    }
}
