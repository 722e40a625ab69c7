//! Protection of machines and containers from what the manager does by itself.

use super::{ApiState, Routes, extract::Name, refusal::Answer};
use crate::control::{Reply, Request};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, Explanation};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(protect, end))
}

/// Protects: the manager returns no such machine by itself, and moves and stops no such container.
#[utoipa::path(put, path = "/v1/protected/{name}", operation_id = "protect", tag = "instances",
    params(("name" = String, Path, description = "An instance's tag, or a container's or a service's name.")),
    responses(
        (status = 200, description = "How each is now.", body = Vec<Explanation>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn protect(
    State(state): State<ApiState>,
    Name(name): Name,
) -> Answer<Json<Vec<Explanation>>> {
    set(&state, name, true).await
}

/// Ends the protection.
#[utoipa::path(delete, path = "/v1/protected/{name}", operation_id = "end_protection", tag = "instances",
    params(("name" = String, Path, description = "An instance's tag, or a container's or a service's name.")),
    responses(
        (status = 200, description = "How each is now.", body = Vec<Explanation>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn end(State(state): State<ApiState>, Name(name): Name) -> Answer<Json<Vec<Explanation>>> {
    set(&state, name, false).await
}

async fn set(state: &ApiState, name: String, protected: bool) -> Answer<Json<Vec<Explanation>>> {
    let request = Request::Protect {
        name: name.clone(),
        protected,
    };
    state.handle.request::<Reply>(request).await?;
    let read = state.handle.read(move |core| core.explain(&name));
    Ok(Json(read.await??))
}
