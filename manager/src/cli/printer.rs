//! Everything that is printed goes through here: data to standard output, steps, notes and errors
//! to standard error.

use super::{args::Output, failure::Failure, page::Page};
use indicatif::{ProgressBar, ProgressStyle};
use micado_api::{ErrorBody, Progress, foreign::escaped};
use serde::Serialize;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

/// So long the last word may take: who does not read it shall not keep us.
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

    /// The answer to what was asked: as JSON, or as what `page` makes of it.
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

    /// A piece of a log, as it is.
    pub(super) fn piece(&self, piece: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(piece)?;
        out.flush()
    }

    /// How many bytes have been copied, where a person watches; of `total`, where that is known.
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

    /// Something worth knowing that is not the answer; programs do not need it.
    pub(super) fn note(&self, note: &str) {
        if self.output == Output::Table {
            say(&escaped(note));
        }
    }

    /// The last that is said.
    pub(super) fn failure(&self, failure: &Failure) {
        match (failure, self.output) {
            (Failure::Closed | Failure::Ended(_), _) | (Failure::Interrupted(_), Output::Json) => {}
            (Failure::Error(body), Output::Json) => say_last(json(body)),
            (Failure::Error(body), Output::Table) => say_last(error_text(body)),
            (Failure::Interrupted(text), Output::Table) => say_last(text.clone()),
        }
    }

    /// For the steps of what is being followed; with `several` subjects each line names its own.
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

/// The steps of what is being followed, with a sign of life below them on a terminal.
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

/// ``error: no manager answers`` and, on a line of its own, what to do about it.
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

/// To standard error; if nobody reads that, there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The same by a thread that is not waited for long: standard error may be the very pipe that
/// nobody reads.
fn say_last(line: String) {
    let (said, is_said) = mpsc::channel();
    thread::spawn(move || {
        say(&line);
        said.send(())
    });
    // Told or not, we end.
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
