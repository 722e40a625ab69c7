//! Containers: list, launch, quit, remove.

use super::{
    ApiState, Routes,
    extract::{Body, Name, Query},
    refusal::{Answer, Refusal},
    validate,
};
use crate::{
    control::Request,
    engine::{EngineError, ImageFacts},
    model::service_name,
};
use axum::{Json, extract::State, http::StatusCode};
use micado_api::{AllQuery, ContainerView, ErrorBody, LaunchRequest, QuitQuery, ServiceSpec};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list, launch))
        .routes(routes!(remove))
        .routes(routes!(quit))
}

/// Containers, by name.
#[utoipa::path(get, path = "/v1/containers", operation_id = "list_containers", tag = "containers", params(AllQuery), responses(
    (status = 200, description = "The containers.", body = Vec<ContainerView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(
    State(state): State<ApiState>,
    Query(query): Query<AllQuery>,
) -> Answer<Json<Vec<ContainerView>>> {
    let mut containers = state.handle.containers(query.all).await?;
    state.metrics.measure_containers(&mut containers);
    Ok(Json(containers))
}

/// Runs more containers of a service. Answered when that is recorded; `/v1/progress/{name}` tells
/// the rest. Repeated with the same `request`, it makes no second ones.
#[utoipa::path(post, path = "/v1/containers", operation_id = "launch_container", tag = "containers", request_body = LaunchRequest, responses(
    (status = 202, description = "They are recorded.", body = Vec<ContainerView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn launch(
    State(state): State<ApiState>,
    Body(mut request): Body<LaunchRequest>,
) -> Answer<(StatusCode, Json<Vec<ContainerView>>)> {
    validate::launch(&request)?;
    let image = &request.spec.image;
    let facts = match state.engine.image(image).await {
        Ok(facts) => facts,
        Err(EngineError::NotFound(words)) => match known(&state, &request.spec).await {
            Some(facts) => facts,
            None => {
                let refusal =
                    Refusal::engine(&format!("image `{image}`"), EngineError::NotFound(words));
                return Err(refusal
                    .hint("build it on the manager's engine, or name one that a registry has"));
            }
        },
        Err(error) => return Err(Refusal::engine(&format!("image `{image}`"), error)),
    };
    if facts.pull.is_none() {
        let room = state.gate.registry.check_room_for(image).await;
        room.map_err(|error| Refusal::engine(&format!("image `{image}`"), error))?;
    }
    if request.publish_all {
        request.spec.ports = validate::publish_exposed(image, &facts.exposed)?;
    }
    validate::resolve_probe(&mut request.spec, &facts.exposed)?;
    let launch = Request::Launch(Box::new(request), facts);
    let views = state.handle.request(launch).await?;
    Ok((StatusCode::ACCEPTED, Json(views)))
}

/// Returns the image facts recorded for an existing service: nodes pull the image from the
/// registry, even if the manager's engine has lost it since.
async fn known(state: &ApiState, spec: &ServiceSpec) -> Option<ImageFacts> {
    let name = service_name(&spec.client, &spec.image).ok()?;
    let service = state.handle.read(move |core| core.service(name.as_str()));
    let service = service.await.ok()?.ok()?;
    if service.spec.image != spec.image || service.pull.is_none() {
        return None;
    }
    Some(ImageFacts {
        pull: service.pull,
        exposed: service.spec.ports,
        platforms: std::collections::BTreeSet::new(),
    })
}

/// Stops the containers of this name. Answered when that is recorded; `/v1/progress/{name}` of each
/// tells the rest.
#[utoipa::path(post, path = "/v1/containers/{name}/quit", operation_id = "quit_containers", tag = "containers",
    params(("name" = String, Path, description = "A service's or a container's name."), QuitQuery),
    responses(
        (status = 202, description = "It is recorded.", body = Vec<ContainerView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn quit(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<QuitQuery>,
) -> Answer<(StatusCode, Json<Vec<ContainerView>>)> {
    let remove = query.remove;
    let views = state.handle.request(Request::Quit { name, remove }).await?;
    Ok((StatusCode::ACCEPTED, Json(views)))
}

/// Forgets stopped containers of this name, logs included.
#[utoipa::path(delete, path = "/v1/containers/{name}", operation_id = "remove_containers", tag = "containers",
    params(("name" = String, Path, description = "A service's or a container's name.")),
    responses(
        (status = 200, description = "As they were.", body = Vec<ContainerView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn remove(
    State(state): State<ApiState>,
    Name(name): Name,
) -> Answer<Json<Vec<ContainerView>>> {
    let removed = state.handle.request(Request::Remove { name }).await?;
    Ok(Json(removed))
}
