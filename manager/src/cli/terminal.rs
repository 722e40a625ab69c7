//! Our terminal in raw mode: every key goes to the command, and the previous mode is restored at
//! the end.

use bytes::Bytes;
use micado_api::agent::{INPUT_FRAME, SessionNote};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Read};
use tokio::sync::mpsc;

/// Our terminal in raw mode. Dropping it restores it.
pub(super) struct Raw(Termios);

impl Raw {
    /// Takes the terminal; `None` unless standard input and output are both a terminal.
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

    /// Columns and rows; 0 if unknown.
    pub(super) fn window(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(io::stdout())?;
        Ok((size.ws_col, size.ws_row))
    }

    /// Size, as a note for a session.
    pub(super) fn size(&self) -> io::Result<SessionNote> {
        self.window()
            .map(|(columns, rows)| SessionNote::Resize { columns, rows })
    }

    /// Restores the terminal on a panic too, which may end the process without any drop. Then calls
    /// `and`.
    pub(super) fn restore_on_panic(&self, and: impl Fn() + Send + Sync + 'static) {
        let (before, hook) = (self.0.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            and();
            restore(&before);
            hook(info);
        }));
    }
}

fn restore(before: &Termios) {
    // A failure means that the terminal is gone.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// Upper bound for buffered pieces of input.
const WAITING: usize = 4;

/// Reads our standard input on a thread that is never joined, because a blocked read cannot be
/// cancelled.
pub(super) fn read_input() -> mpsc::Receiver<Bytes> {
    let (to, from) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut piece = vec![0; INPUT_FRAME];
        while let Ok(length @ 1..) = io::stdin().read(&mut piece) {
            if to
                .blocking_send(Bytes::copy_from_slice(&piece[..length]))
                .is_err()
            {
                return;
            }
        }
    });
    from
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore(&self.0);
    }
}
