//! All printed output: data to standard output; steps, notes and errors to standard error.

use super::{args::Output, failure::Failure, page::Page};
use indicatif::{ProgressBar, ProgressStyle};
use micado_api::{ErrorBody, LogStream, Progress, foreign::escaped};
use serde::Serialize;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Time-out of the final message, so that a blocked reader does not keep us from ending.
const LAST_WORD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints the result: as JSON, or formatted by `page`.
    pub(super) fn data<T: Serialize + ?Sized>(
        &self,
        data: &T,
        page: impl FnOnce() -> Page,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(data)? + "\n",
            Output::Table => page().text(out.is_terminal()),
        };
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints a piece of a log unchanged, to the same output that the container wrote it to.
    pub(super) fn piece(&self, stream: LogStream, piece: &[u8]) -> io::Result<()> {
        match stream {
            LogStream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(piece)?;
                out.flush()
            }
            LogStream::Stderr => io::stderr().lock().write_all(piece),
        }
    }

    /// Progress bar of copied bytes on a terminal; with `total`, if that is known.
    pub(super) fn bytes(&self, total: Option<u64>) -> ProgressBar {
        if self.output == Output::Json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {bytes} {bytes_per_sec}",
            ),
        };
        bar.with_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
    }

    /// Prints a step to standard error: as a line of JSON, or as this text, if any.
    pub(super) fn line(&self, step: &impl Serialize, text: Option<&str>) {
        match self.output {
            Output::Json => say(&json(step)),
            Output::Table => text.into_iter().for_each(|text| say(&escaped(text))),
        }
    }

    /// Prints a note for people; programs do not need it.
    pub(super) fn note(&self, note: &str) {
        if self.output == Output::Table {
            say(&escaped(note));
        }
    }

    /// Prints the final error.
    pub(super) fn failure(&self, failure: &Failure) {
        match (failure, self.output) {
            (Failure::Closed | Failure::Ended(_), _) | (Failure::Interrupted(_), Output::Json) => {}
            (Failure::Error(body), Output::Json) => say_last(json(body)),
            (Failure::Error(body), Output::Table) => say_last(error_text(body)),
            (Failure::Interrupted(text), Output::Table) => say_last(text.clone()),
        }
    }

    /// Printer of progress steps; with `several` subjects each line names its own.
    pub(super) fn steps(&self, several: bool) -> Steps {
        let spinner = (self.output == Output::Table && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Steps {
            output: self.output,
            spinner,
            several,
        }
    }
}

/// Printer of progress steps, with a spinner below them on a terminal.
#[derive(Debug)]
pub(super) struct Steps {
    output: Output,
    spinner: Option<ProgressBar>,
    several: bool,
}

impl Steps {
    pub(super) fn step(&self, step: &Progress) {
        let line = match self.output {
            Output::Json => json(step),
            Output::Table if self.several => {
                escaped(&format!("{}: {}", step.subject, step.text)).into_owned()
            }
            Output::Table => escaped(&step.text).into_owned(),
        };
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| say(&line)),
            None => say(&line),
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// ``error: no manager answers`` and, on a line of its own, the next step.
fn error_text(body: &ErrorBody) -> String {
    let mut text = format!("error: {}", escaped(&body.message));
    if let Some(hint) = &body.hint {
        _ = write!(text, "\nhint: {}", escaped(hint));
    }
    text
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"code\":\"internal\",\"message\":\"{error}\"}}"))
}

/// Writes to standard error. A failure has no other place to be reported.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// As [`say`], on a thread with a time-out: standard error may be a blocked pipe.
fn say_last(line: String) {
    let (said, is_said) = mpsc::channel();
    thread::spawn(move || {
        say(&line);
        said.send(())
    });
    // Written or not, the process ends.
    let _ = is_said.recv_timeout(LAST_WORD);
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::ErrorCode;

    #[test]
    fn an_error_names_the_thing_first_and_the_next_step_last() {
        let body = ErrorBody::new(ErrorCode::NotFound, "no container or service `x`")
            .hint("`micado list --all` shows all names");
        insta::assert_snapshot!(error_text(&body), @r"
        error: no container or service `x`
        hint: `micado list --all` shows all names
        ");
        let foreign = ErrorBody::new(ErrorCode::Conflict, "user \u{1b}[2Ja\nerror: none");
        insta::assert_snapshot!(error_text(&foreign), @r"error: user \u{1b}[2Ja\nerror: none");
        insta::assert_snapshot!(json(&body), @r#"{"code":"not-found","message":"no container or service `x`","hint":"`micado list --all` shows all names"}"#);
    }
}
