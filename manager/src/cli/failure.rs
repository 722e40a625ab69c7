//! Failures of verbs: exit codes and messages.

use super::{args::Output, printer::Printer};
use clap::error::ErrorKind;
use micado_api::{ClientError, ErrorBody, ErrorCode};
use std::{ffi::OsString, io, process::ExitCode};

/// Failure of a verb.
#[derive(Debug)]
pub(super) enum Failure {
    /// Refused, or without result.
    Error(ErrorBody),
    /// A person stopped waiting; the text names what continues without them.
    Interrupted(String),
    /// The command that was run ended with this exit code, which becomes ours.
    Ended(u8),
    /// The reader of our output closed it. No error message.
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

/// An unparsed command line: a request for help, or a mistake.
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
        // If it cannot be written, its reader has closed it.
        let _ = error.print();
    } else {
        Printer::new(Output::Json).failure(&Failure::Error(usage(error)));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// First paragraph of clap's message, in one line.
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
