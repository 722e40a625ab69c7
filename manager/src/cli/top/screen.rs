//! The alternate screen that `top` draws on; the previous one is restored however it ends.

use super::{
    super::{page::moment, terminal::Raw},
    Board, Silence,
};
use std::io::{self, Write};

/// Switches to the alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Default columns and rows, for a terminal that does not report its size.
const UNKNOWN: (u16, u16) = (80, 24);

/// The alternate screen. Dropping it restores the previous one.
pub(super) struct Screen(Raw);

impl Screen {
    /// `None` without a terminal.
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
        // Each line is cleared only behind its text, to avoid flicker.
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
    // A failure means that the terminal is gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
