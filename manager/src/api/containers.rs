//! Containers: list, launch, quit, remove.

use super::{
    ApiState, Routes,
    extract::{Body, Name, Query},
    refusal::{Answer, Refusal},
    validate,
};
use crate::{
    control::{Core, Request},
    engine::{EngineError, ImageFacts, login::is_denial},
    model::{registry_host, service_name},
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
    let facts = facts(&state, &request.spec).await?;
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

/// Facts of the image to launch. A service keeps the image that it has, whatever its registry shows
/// now: that may fail, and a login to it may have expired.
async fn facts(state: &ApiState, spec: &ServiceSpec) -> Answer<ImageFacts> {
    if let Some(facts) = kept(state, spec).await {
        return Ok(facts);
    }
    let (image, name) = (&spec.image, spec.image.clone());
    let login = move |core: &Core| core.login_for(&name).cloned();
    let login = state.handle.read(login).await?;
    let error = match state.engine.image(image, login.as_ref()).await {
        Ok(facts) => return Ok(facts),
        Err(error) => error,
    };
    if matches!(error, EngineError::NotFound(_))
        && let Some(facts) = known(state, spec).await
    {
        return Ok(facts);
    }
    let hint = match &error {
        EngineError::Unavailable(_) => None,
        EngineError::Refused(words) | EngineError::NotFound(words) if is_denial(words) => {
            let host = registry_host(image);
            Some(format!(
                "`micado registry login {host}` keeps a login for private images"
            ))
        }
        EngineError::NotFound(_) => {
            Some("build it on the manager's engine, or name one that a registry has".to_owned())
        }
        EngineError::Refused(_) => None,
    };
    let refusal = Refusal::engine(&format!("image `{image}`"), error);
    Err(match hint {
        Some(hint) => refusal.hint(&hint),
        None => refusal,
    })
}

/// Returns the image facts recorded for a service that has containers, once its image was pushed.
async fn kept(state: &ApiState, spec: &ServiceSpec) -> Option<ImageFacts> {
    let name = service_name(&spec.client, &spec.image).ok()?;
    let service = state.handle.read(move |core| core.kept(&name).cloned());
    let service = service.await.ok()??;
    recorded(spec, service.spec, service.pull)
}

/// Returns the image facts recorded for an existing service: nodes pull the image from the
/// registry, even if the manager's engine has lost it since.
async fn known(state: &ApiState, spec: &ServiceSpec) -> Option<ImageFacts> {
    let name = service_name(&spec.client, &spec.image).ok()?;
    let service = state.handle.read(move |core| core.service(name.as_str()));
    let service = service.await.ok()?.ok()?;
    recorded(spec, service.spec, service.pull)
}

/// The image facts of a service's record, if it has the image of this launch.
fn recorded(spec: &ServiceSpec, own: ServiceSpec, pull: Option<String>) -> Option<ImageFacts> {
    let is_same = own.image == spec.image && pull.is_some();
    is_same.then(|| ImageFacts {
        pull,
        exposed: own.ports,
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
