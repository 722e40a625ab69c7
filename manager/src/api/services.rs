//! Services, and explanations of states.

use super::{
    ApiState, Routes,
    extract::{Name, Query},
    refusal::Answer,
    verdicts::explain_at,
};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ExplainQuery, Explanation, ServiceView, Timestamp};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(explain))
}

/// All services.
#[utoipa::path(get, path = "/v1/services", operation_id = "list_services", tag = "services", responses(
    (status = 200, description = "The services.", body = Vec<ServiceView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(State(state): State<ApiState>) -> Answer<Json<Vec<ServiceView>>> {
    let mut services = state.handle.services().await?;
    state.metrics.measure_services(&mut services);
    Ok(Json(services))
}

/// One service, by its name or that of one of its containers.
#[utoipa::path(get, path = "/v1/services/{name}", operation_id = "show_service", tag = "services",
    params(("name" = String, Path, description = "A service's or a container's name.")),
    responses(
        (status = 200, description = "The service.", body = ServiceView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn show(State(state): State<ApiState>, Name(name): Name) -> Answer<Json<ServiceView>> {
    let service = state.handle.read(move |core| core.service(&name));
    let mut found = [service.await??];
    state.metrics.measure_services(&mut found);
    let [service] = found;
    Ok(Json(service))
}

/// Why a container, the containers of a service, or an instance are where and how they are.
#[utoipa::path(get, path = "/v1/explain/{name}", operation_id = "explain", tag = "services",
    params(("name" = String, Path, description = "A service's or a container's name, or an instance's tag."), ExplainQuery),
    responses(
        (status = 200, description = "One explanation for each.", body = Vec<Explanation>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn explain(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<ExplainQuery>,
) -> Answer<Json<Vec<Explanation>>> {
    Ok(Json(match query.at {
        Some(at) => explain_at(&state, name, Timestamp(at)).await?,
        None => state.handle.read(move |core| core.explain(&name)).await??,
    }))
}
