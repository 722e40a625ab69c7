//! Instances: list, start, stop.

use super::{
    ApiState, Routes,
    extract::{Body, Name, Query},
    refusal::Answer,
    validate,
};
use crate::control::Request;
use axum::{Json, extract::State, http::StatusCode};
use micado_api::{AllQuery, ErrorBody, InstanceView, StartRequest, StopQuery, Tag};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list, start))
        .routes(routes!(stop))
}

/// Instances, oldest first.
#[utoipa::path(get, path = "/v1/instances", operation_id = "list_instances", tag = "instances", params(AllQuery), responses(
    (status = 200, description = "The instances.", body = Vec<InstanceView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(
    State(state): State<ApiState>,
    Query(query): Query<AllQuery>,
) -> Answer<Json<Vec<InstanceView>>> {
    let mut instances = state
        .handle
        .read(move |core| core.instances(query.all))
        .await?;
    state.metrics.measure_instances(&mut instances);
    Ok(Json(instances))
}

/// Rents a machine. Answered when that is recorded; `/v1/progress/{tag}` tells the rest.
#[utoipa::path(post, path = "/v1/instances", operation_id = "start_instance", tag = "instances", request_body = StartRequest, responses(
    (status = 202, description = "It is recorded.", body = InstanceView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn start(
    State(state): State<ApiState>,
    Body(request): Body<StartRequest>,
) -> Answer<(StatusCode, Json<InstanceView>)> {
    validate::start(&request)?;
    let view = state.handle.request(Request::Start(request)).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Empties a machine and gives it back. Answered when that is recorded; `/v1/progress/{tag}` tells
/// the rest.
#[utoipa::path(delete, path = "/v1/instances/{tag}", operation_id = "stop_instance", tag = "instances", params(("tag" = Tag, Path, description = "Which instance."), StopQuery), responses(
    (status = 202, description = "It is recorded.", body = InstanceView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn stop(
    State(state): State<ApiState>,
    Name(tag): Name<Tag>,
    Query(query): Query<StopQuery>,
) -> Answer<(StatusCode, Json<InstanceView>)> {
    let force = query.force;
    let view = state.handle.request(Request::Stop { tag, force }).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}
