//! The terminal that we run in, handed to somebody else: every key goes there, and it is as it was when we end.

use micado_api::agent::SessionNote;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal};

/// Our terminal in raw mode. Dropping it restores it.
pub(super) struct Raw(Termios);

impl Raw {
    /// Nothing when standard input and output are not both a terminal.
    pub(super) fn take() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }

    /// How large it is.
    pub(super) fn size(&self) -> io::Result<SessionNote> {
        let size = tcgetwinsize(io::stdout())?;
        Ok(SessionNote::Resize { columns: size.ws_col, rows: size.ws_row })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It is gone if this fails.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
