//! What the manager answers when it refuses: what went wrong, why, and what to do next.

use serde::{Deserialize, Serialize};

/// The class of a refusal; decides the HTTP status and the CLI's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request itself makes no sense (400; exit code 2).
    BadRequest,
    /// No valid token or credential was sent (401).
    Unauthorized,
    /// A name that is not there (404).
    NotFound,
    /// The thing is not in a state that allows this (409).
    Conflict,
    /// It was there, or could be done, and never again will (410).
    Gone,
    /// The request can never be satisfied as it stands (422).
    Unsatisfiable,
    /// Something we depend on does not answer; try again later (503).
    Unavailable,
    /// A fault of ours (500).
    Internal,
}

impl ErrorCode {
    /// The HTTP status that carries it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::Unsatisfiable => 422,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// The body of every answer that is not a success.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, thiserror::Error,
)]
#[error("{message}")]
pub struct ErrorBody {
    /// The class of the refusal.
    pub code: ErrorCode,
    /// The thing and the cause: ``no container or service `x` ``.
    pub message: String,
    /// The next step, if there is one to suggest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ErrorBody {
    /// A refusal without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }
    /// The same refusal with the next step to take.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
