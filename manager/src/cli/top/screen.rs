//! The terminal that `top` draws on: another screen than the one before, which comes back however
//! we end.

use super::{
    super::{page::moment, terminal::Raw},
    Board, Silence,
};
use std::io::{self, Write};

/// To the alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The columns and rows of a terminal that does not tell: what all have had.
const UNKNOWN: (u16, u16) = (80, 24);

/// Our screen. Dropping it brings the one before back.
pub(super) struct Screen(Raw);

impl Screen {
    /// Nothing when there is no terminal.
    pub(super) fn take() -> io::Result<Option<Self>> {
        let Some(raw) = Raw::take()? else {
            return Ok(None);
        };
        raw.restore_on_panic(|| say(LEAVE));
        say(ENTER);
        Ok(Some(Self(raw)))
    }

    /// Draws what fits.
    pub(super) fn draw(&self, board: &Board, silent: Option<&Silence>) -> io::Result<()> {
        let (columns, rows) = match self.0.window()? {
            (0, _) | (_, 0) => UNKNOWN,
            known => known,
        };
        let trouble = silent.map(|it| {
            format!(
                "the manager does not answer since {}: {}",
                moment(it.since),
                it.words
            )
        });
        let lines = board.fit(trouble.as_deref(), columns.into(), rows.into());
        // Each line is wiped only behind what it says, so that nothing flickers.
        let text = format!(
            "\x1b[H{}\x1b[J",
            lines
                .iter()
                .map(|line| format!("{line}\x1b[K"))
                .collect::<Vec<_>>()
                .join("\r\n")
        );
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        say(LEAVE);
    }
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // The terminal is gone if this fails.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
