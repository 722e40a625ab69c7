//! Steps of a build, from the engine's answers. State machines without I/O.

mod buildkit;
mod classic;

pub(super) use buildkit::Buildkit;
pub(super) use classic::Classic;

use bollard::models::BuildInfo;
use micado_api::BuildEvent;
use std::collections::VecDeque;

/// Lines of a failed step that are repeated.
const LAST: usize = 20;
/// Upper bound for a line, in bytes; a longer one is split.
const LINE: usize = 8 << 10;

pub(super) trait Steps {
    /// Events of an answer.
    fn take(&mut self, answer: BuildInfo) -> Vec<BuildEvent>;
    /// The instruction that fails if the build does, and the last lines that it printed.
    fn failing(&mut self) -> Option<(String, Vec<String>)>;
    /// Id of the built image.
    fn id(&self) -> Option<String>;
}

/// Output of a step: whole lines, of which the last ones are kept.
#[derive(Debug, Clone, Default)]
struct Output {
    partial: Vec<u8>,
    last: VecDeque<String>,
}

impl Output {
    /// Returns the lines that this text completes, without control sequences for terminals. Of a
    /// line that is overwritten (`\r`) the last state counts.
    fn complete(&mut self, text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in text {
            match byte {
                b'\n' => lines.push(self.line()),
                _ => {
                    self.partial.push(*byte);
                    if self.partial.len() >= LINE {
                        lines.push(self.line());
                    }
                }
            }
        }
        lines
    }

    /// The last lines, with an incomplete one at the end.
    fn last(&mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            let rest = self.line();
            self.keep(&rest);
        }
        self.last.iter().cloned().collect()
    }

    fn line(&mut self) -> String {
        let line = String::from_utf8_lossy(&self.partial);
        let line = plain(line.trim_end_matches('\r'));
        let shown = line.rsplit('\r').next().unwrap_or_default().to_owned();
        self.partial.clear();
        shown
    }

    fn keep(&mut self, line: &str) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}

/// Text without ANSI control sequences.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        // `ESC [`, parameters, and one final byte; or `ESC` and one byte.
        if rest.next() == Some('[') {
            rest.find(|c| ('@'..='~').contains(c));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cleaned() {
        let mut output = Output::default();
        assert_eq!(output.complete(b"on"), [""; 0]);
        assert_eq!(output.complete(b"e\ntwo\r\n\nthr"), ["one", "two", ""]);
        assert_eq!(output.last(), ["thr"]);
        assert_eq!(output.last(), ["thr"]);
        assert_eq!(output.complete(b"10%\r50%\r100%\n"), ["100%"]);
        assert_eq!(output.complete(b"\x1b[91mred\x1b[0m\x1bM!\n"), ["red!"]);
        assert_eq!(output.complete(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_split() {
        let mut output = Output::default();
        let lines = output.complete(&[b'x'; 2 * LINE + 1]);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [LINE, LINE]
        );
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut output = Output::default();
        for number in 0..50 {
            output.keep(&number.to_string());
        }
        let last = output.last();
        assert_eq!((last.len(), last[0].as_str()), (LAST, "30"));
    }
}
