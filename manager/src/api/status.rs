//! State of the manager and its cluster.

use super::{ApiState, Routes, refusal::Answer};
use crate::control::Core;
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ErrorCode, StatusView};
use utoipa_axum::routes;

/// Routes without authentication.
pub(super) fn open_routes() -> Routes {
    Routes::default().routes(routes!(healthz))
}

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(readyz))
        .routes(routes!(status))
}

/// Whether the manager runs. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "status", security(()), responses(
    (status = 200, description = "It runs.", body = String),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the manager has seen its engine and sees it still.
#[utoipa::path(get, path = "/readyz", tag = "status", responses(
    (status = 200, description = "It does.", body = String),
    (status = 503, description = "It does not, with the engine's words.", body = ErrorBody),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn readyz(State(state): State<ApiState>) -> Answer<&'static str> {
    match state.handle.read(Core::blindness).await? {
        None => Ok("ok\n"),
        Some(words) => Err(ErrorBody::new(
            ErrorCode::Unavailable,
            format!("the engine is not seen: {words}"),
        )
        .into()),
    }
}

/// The cluster on one screen.
#[utoipa::path(get, path = "/v1/status", tag = "status", responses(
    (status = 200, description = "The cluster.", body = StatusView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn status(State(state): State<ApiState>) -> Answer<Json<StatusView>> {
    let (status, instances) = state
        .handle
        .read(|core| (core.status(), core.instances(false)))
        .await?;
    Ok(Json(StatusView {
        registry: state.gate.registry.trouble(),
        blind_instances: state.metrics.blind(&instances),
        ..status
    }))
}
