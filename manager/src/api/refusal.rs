//! Refusals as answers: each one is an [`ErrorBody`], also those of the HTTP library.

use crate::engine::EngineError;
use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use micado_api::{ErrorBody, ErrorCode};

/// A refusal, with the status to send it under.
#[derive(Debug, thiserror::Error)]
#[error("{body}")]
pub(super) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
}

pub(super) type Answer<T> = Result<T, Refusal>;

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        let status = StatusCode::from_u16(body.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, body }
    }
}

impl Refusal {
    /// A bad request that HTTP has a status of its own for, such as 413.
    pub(super) fn bad_request(status: StatusCode, message: String) -> Self {
        let status = if status == StatusCode::UNPROCESSABLE_ENTITY {
            StatusCode::BAD_REQUEST
        } else {
            status
        };
        Self {
            status,
            body: ErrorBody::new(ErrorCode::BadRequest, message),
        }
    }

    /// Refusal by the engine of a request for `what`.
    pub(super) fn engine(what: &str, error: EngineError) -> Self {
        let code = match &error {
            EngineError::NotFound(_) => ErrorCode::NotFound,
            EngineError::Refused(_) => ErrorCode::Unsatisfiable,
            EngineError::Unavailable(_) => ErrorCode::Unavailable,
        };
        ErrorBody::new(code, format!("{what}: {error}")).into()
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.body.hint = Some(hint.to_owned());
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.body.code == ErrorCode::Internal {
            tracing::error!(error = %self.body, "a request failed by a fault of ours");
        }
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::bad_request(rejection.status(), lower(rejection.body_text()))
    }
}
impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.status(), lower(rejection.body_text()))
    }
}
impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.status(), lower(rejection.body_text()))
    }
}

fn lower(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::from(ErrorBody::new(
        ErrorCode::NotFound,
        format!("there is nothing at `{}`", uri.path()),
    ))
    .hint("`/v1/openapi.json` lists what there is")
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("`{}` does not take {method}", uri.path());
    Refusal::bad_request(StatusCode::METHOD_NOT_ALLOWED, message)
        .hint("`/v1/openapi.json` lists what there is")
}
