//! Failed calls to the manager, with the next step.

use crate::{ErrorBody, ErrorCode};
use std::{error::Error, io, path::PathBuf};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The manager's address is malformed.
    #[error("manager address `{address}` {problem}")]
    Address {
        /// Address as given.
        address: String,
        /// Reason.
        problem: String,
    },
    /// The CA or token file cannot be used.
    #[error("cannot use `{path}`: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Reason.
        problem: String,
    },
    /// No listener, or none for this user. Nothing was done.
    #[error("no manager answers at {address}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NoAnswer {
        /// Address tried.
        address: String,
        /// Cause, unless simply nobody listens.
        cause: Option<String>,
    },
    /// The server cannot prove to be the manager. Nothing was sent.
    #[error("{address} cannot be trusted: {cause}")]
    Untrusted {
        /// Address of the server.
        address: String,
        /// Fault of its certificate.
        cause: String,
    },
    /// The manager refused.
    #[error("{0}")]
    Refused(ErrorBody),
    /// A session or a log broke off: the manager has ended, or the connection is lost.
    #[error("{0}")]
    Cut(String),
    /// The reply broke off or cannot be parsed; the outcome is unknown.
    #[error("{0}")]
    Broken(String),
}

impl ClientError {
    /// The class of the failure, in the manager's terms.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Address { .. } | Self::File { .. } => ErrorCode::BadRequest,
            Self::NoAnswer { .. } | Self::Cut(_) | Self::Broken(_) => ErrorCode::Unavailable,
            Self::Untrusted { .. } => ErrorCode::Unauthorized,
            Self::Refused(body) => body.code,
        }
    }

    /// The next step, if there is one to suggest.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Address { .. } | Self::File { .. } => None,
            Self::NoAnswer { cause: None, .. } => Some("is it running? start it with `micado manager` or `scripts/up`".to_owned()),
            Self::NoAnswer { address, .. } if address.starts_with("unix://") => {
                Some("the unix socket is for the user that runs the manager; others come by `https://`".to_owned())
            }
            Self::NoAnswer { .. } => Some("check the address and the network between".to_owned()),
            Self::Untrusted { .. } => {
                Some("name the manager's `ca.crt` with `--ca` or `MICADO_CA`, and the manager by a name that its certificate has".to_owned())
            }
            Self::Refused(body) => body.hint.clone(),
            Self::Cut(_) => Some("the session is lost; run it again once `micado status` answers".to_owned()),
            Self::Broken(_) => Some("`micado list` shows whether it was done".to_owned()),
        }
    }

    /// Classifies an error of the HTTP library by its root cause.
    pub(super) fn from_http(address: &str, error: &reqwest::Error) -> Self {
        let address = address.to_owned();
        let causes = || causes(error);
        if let Some(tls) = causes().find_map(tls_cause) {
            return Self::Untrusted {
                address,
                cause: tls,
            };
        }
        let bottom = causes()
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        if !error.is_connect() {
            return Self::Broken(format!("the answer of {address} broke off: {bottom}"));
        }
        let kind = causes()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .last()
            .map(io::Error::kind);
        let cause = match kind {
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => None,
            _ => Some(bottom),
        };
        Self::NoAnswer { address, cause }
    }

    /// Turns an incomplete reply into a cut session.
    pub(super) fn cut(self) -> Self {
        match self {
            Self::Broken(words) => Self::Cut(words),
            other => other,
        }
    }

    pub(super) fn unreadable(error: serde_json::Error) -> Self {
        Self::Broken(format!("the reply cannot be parsed: {error}"))
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The certificate's fault, if this is about one. Nested `io::Error`s hide it from `source`.
fn tls_cause(error: &(dyn Error + 'static)) -> Option<String> {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(inner) = innermost
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        innermost = inner;
    }
    match innermost.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(cause) => Some(cause.to_string()),
        _ => None,
    }
}
