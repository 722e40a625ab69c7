//! Entries of the service catalogue that are made by hand.

use super::{
    ApiState, Routes,
    extract::{Body, Name},
    refusal::Answer,
    validate,
};
use crate::control::{Core, Reply, Request};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, RegisterRequest, RegistrationView};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(register, deregister))
}

/// All entries of the service catalogue that were made by hand.
#[utoipa::path(get, path = "/v1/registrations", operation_id = "list_registrations", tag = "services", responses(
    (status = 200, description = "The entries, by id.", body = Vec<RegistrationView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(State(state): State<ApiState>) -> Answer<Json<Vec<RegistrationView>>> {
    Ok(Json(state.handle.read(Core::registrations).await?))
}

/// Makes an entry of the service catalogue, or replaces the one with this id.
#[utoipa::path(put, path = "/v1/registrations/{id}", operation_id = "register", tag = "services",
    params(("id" = String, Path, description = "The entry's id.")),
    request_body = RegisterRequest,
    responses(
        (status = 200, description = "All entries made by hand.", body = Vec<RegistrationView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn register(
    State(state): State<ApiState>,
    Name(id): Name,
    Body(request): Body<RegisterRequest>,
) -> Answer<Json<Vec<RegistrationView>>> {
    validate::registration(&id, &request)?;
    let request = Request::Register {
        id,
        request: Box::new(request),
    };
    state.handle.request::<Reply>(request).await?;
    list(State(state)).await
}

/// Removes an entry of the service catalogue that was made by hand.
#[utoipa::path(delete, path = "/v1/registrations/{id}", operation_id = "deregister", tag = "services",
    params(("id" = String, Path, description = "The entry's id.")),
    responses(
        (status = 200, description = "The other entries made by hand.", body = Vec<RegistrationView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn deregister(
    State(state): State<ApiState>,
    Name(id): Name,
) -> Answer<Json<Vec<RegistrationView>>> {
    state
        .handle
        .request::<Reply>(Request::Deregister { id })
        .await?;
    list(State(state)).await
}
