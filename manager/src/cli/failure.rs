//! How a verb ends when it does not end well, and what is said then.

use super::{args::Output, printer::Printer};
use clap::error::ErrorKind;
use micado_api::{ClientError, ErrorBody, ErrorCode};
use std::{ffi::OsString, io, process::ExitCode};

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused, or came to nothing.
    Error(ErrorBody),
    /// A person had enough of waiting; the text says what goes on without them.
    Interrupted(String),
    /// What was run ended with this exit code, which is ours then.
    Ended(u8),
    /// Whoever read our output stopped reading: no fault of anybody.
    Closed,
}

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Error(ErrorBody {
                code: ErrorCode::BadRequest,
                ..
            }) => ExitCode::from(2),
            Self::Error(_) => ExitCode::FAILURE,
            Self::Interrupted(_) => ExitCode::from(130),
            Self::Ended(code) => ExitCode::from(*code),
            Self::Closed => ExitCode::SUCCESS,
        }
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self::Error(body)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Error(ErrorBody {
            code: error.code(),
            message: error.to_string(),
            hint: error.hint(),
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => ErrorBody::new(ErrorCode::Internal, format!("cannot write: {error}")).into(),
        }
    }
}

/// A command line that was not read: help that was asked for, or a mistake in it.
pub(super) fn unparsed(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let json = args
        .windows(2)
        .any(|pair| pair[0] == "--output" && pair[1] == "json")
        || args.iter().any(|arg| arg == "--output=json");
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) || !json
    {
        // Whoever does not read it does not want it.
        let _ = error.print();
    } else {
        Printer::new(Output::Json).failure(&Failure::Error(usage(error)));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The first paragraph of what clap says, in one line.
fn usage(error: &clap::Error) -> ErrorBody {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    ErrorBody::new(ErrorCode::BadRequest, words.join(" "))
        .hint("`micado --help`, or `--help` after the verb, lists the flags")
}
