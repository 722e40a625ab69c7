//! The daemon's log on standard error: one line an event, whatever engines, brokers and machines
//! put into a message.

use micado_api::foreign::escaped;
use std::io::{self, Write};

/// Passes on events, each of which is written at once and ends in a line end. Control characters
/// inside of it are shown.
#[derive(Debug)]
pub(super) struct OneLine<W>(pub(super) W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        let mut safe = String::with_capacity(text.len());
        let mut parts = line.split('\u{1b}');
        safe += &escaped(parts.next().unwrap_or_default());
        for part in parts {
            match colour(part) {
                Some((colour, rest)) => safe.extend(["\u{1b}", colour, &escaped(rest)]),
                None => safe.extend(["\\u{1b}", &escaped(part)]),
            }
        }
        self.0.write_all((safe + end).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The rest of an escape sequence that sets a colour, which a log on a terminal has, and what
/// follows it.
fn colour(text: &str) -> Option<(&str, &str)> {
    let end = text.find('m')?;
    let codes = text[..end].strip_prefix('[')?;
    codes
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b';')
        .then(|| text.split_at(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line() {
        for ansi in [false, true] {
            let kept = Kept::default();
            let writer = kept.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(ansi)
                .with_writer(move || OneLine(writer.clone()))
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                let error = "a\nb\u{1b}[2J\u{9b}1m\u{7}\rc\u{202e}";
                tracing::warn!(%error, field = ?error, "the engine: {error}");
                tracing::warn!("the next");
            });
            let log = String::from_utf8(kept.0.lock().expect("nobody panicked").clone());
            let log = log.expect("text");
            assert_eq!(log.lines().count(), 2, "{log}");
            let plain = log.replace("\u{1b}[0m", "").replace("\u{1b}[2m", "");
            let plain = plain.replace("\u{1b}[3m", "").replace("\u{1b}[33m", "");
            assert!(
                !plain.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')),
                "{plain:?}"
            );
            assert_eq!(ansi, plain != log, "colours stay");
        }
    }
}
