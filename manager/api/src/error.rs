//! Refusals of the manager: error, cause and next step.

use serde::{Deserialize, Serialize};

/// The class of a refusal; decides the HTTP status and the CLI's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request itself is malformed (400; exit code 2).
    BadRequest,
    /// No valid token or credential was sent (401).
    Unauthorized,
    /// No such name (404).
    NotFound,
    /// The thing is not in a state that allows this (409).
    Conflict,
    /// It existed, or was possible, and never will be again (410).
    Gone,
    /// The request cannot be satisfied unchanged (422).
    Unsatisfiable,
    /// A dependency does not answer; try again later (503).
    Unavailable,
    /// A fault in the manager (500).
    Internal,
}

impl ErrorCode {
    /// The HTTP status of this class.
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

/// The body of every reply that is not a success.
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
