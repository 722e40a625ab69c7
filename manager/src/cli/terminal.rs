//! Our terminal in raw mode: every key goes to the command, and the previous mode is restored at
//! the end. And a line that is typed unseen.

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

/// Reads a line from the terminal without showing it.
///
/// # Errors
/// `Interrupted` if Ctrl-C or Ctrl-D is typed instead.
pub(super) fn hidden_line(prompt: &str) -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    let mut hidden = before.clone();
    hidden.make_raw();
    // Keys are read one by one: a line discipline that ends the process on Ctrl-C would leave the
    // terminal as it is then.
    tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
    let hidden = Raw(before);
    eprint!("{prompt}");
    let line = line_of_keys(io::stdin().lock().bytes());
    drop(hidden);
    eprintln!();
    String::from_utf8(line?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The line that keys make.
fn line_of_keys(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' => return Ok(line),
            // Ctrl-C, Ctrl-D.
            3 | 4 => return Err(io::ErrorKind::Interrupted.into()),
            // Backspace, of a whole character.
            8 | 127 => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            21 => line.clear(),
            byte => line.push(byte),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> io::Result<String> {
        let line = line_of_keys(keys.bytes().map(Ok))?;
        Ok(String::from_utf8(line).expect("text"))
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(typed("secret\rrest").expect("a line"), "secret");
        assert_eq!(
            typed("wröng\x7f\x7f\x7f\x15sé\x7fecret\n").expect("a line"),
            "secret"
        );
        for (keys, kind) in [
            ("abc\x03", io::ErrorKind::Interrupted),
            ("abc", io::ErrorKind::UnexpectedEof),
        ] {
            assert_eq!(typed(keys).expect_err("no line").kind(), kind);
        }
    }
}
