//! The terminal that we run in, handed to somebody else: every key goes there, and it is as it was
//! when we end.

use bytes::Bytes;
use micado_api::agent::{INPUT_FRAME, SessionNote};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Read};
use tokio::sync::mpsc;

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

    /// How many columns and rows it has; 0 where it does not know.
    pub(super) fn window(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(io::stdout())?;
        Ok((size.ws_col, size.ws_row))
    }

    /// How large it is, for a session.
    pub(super) fn size(&self) -> io::Result<SessionNote> {
        self.window()
            .map(|(columns, rows)| SessionNote::Resize { columns, rows })
    }

    /// Has it restored by a panic too, which drops nothing where it ends the process. `and` is done
    /// then as well.
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
    // It is gone if this fails.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// Pieces of input that wait to be taken.
const WAITING: usize = 4;

/// Our standard input. On a thread that nobody waits for: a read cannot be given up.
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
