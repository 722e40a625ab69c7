//! Why a call to the manager brought nothing, and what to do next.

use crate::{ErrorBody, ErrorCode};
use std::{error::Error, io, path::PathBuf};

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The manager's address makes no sense.
    #[error("manager address `{address}` {problem}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The CA or token file cannot be used.
    #[error("cannot use `{path}`: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing listens there, or not for us. Nothing was done.
    #[error("no manager answers at {address}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NoAnswer {
        /// Where it was sought.
        address: String,
        /// What stood in the way, where it is not just that nobody listens.
        cause: Option<String>,
    },
    /// Whoever answers there cannot prove to be the manager. Nothing was sent.
    #[error("{address} cannot be trusted: {cause}")]
    Untrusted {
        /// Who answered.
        address: String,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// The manager said no.
    #[error("{0}")]
    Refused(ErrorBody),
    /// A session or a log broke off in the middle: the manager has ended, or the way to it is gone.
    #[error("{0}")]
    Cut(String),
    /// The answer broke off or is not to be understood: whether it was done is not known.
    #[error("{0}")]
    Broken(String),
}

impl ClientError {
    /// The class of the failure, as the manager would name it.
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
            Self::NoAnswer { .. } => Some("is the address right, and does the network let you there?".to_owned()),
            Self::Untrusted { .. } => {
                Some("name the manager's `ca.crt` with `--ca` or `MICADO_CA`, and the manager by a name that its certificate has".to_owned())
            }
            Self::Refused(body) => body.hint.clone(),
            Self::Cut(_) => Some("what was under way is given up; run it again once `micado status` shows that the manager is back".to_owned()),
            Self::Broken(_) => Some("`micado list` shows whether it was done".to_owned()),
        }
    }

    /// Sorts out what the HTTP library says by what lies at the bottom of it.
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

    /// The same, of something that is ended by it.
    pub(super) fn cut(self) -> Self {
        match self {
            Self::Broken(words) => Self::Cut(words),
            other => other,
        }
    }

    pub(super) fn unreadable(error: serde_json::Error) -> Self {
        Self::Broken(format!("the answer is not to be understood: {error}"))
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// What is wrong with the other side's certificate, if this is about that. `io::Error`s, one in
/// another, hide it from `source`.
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
