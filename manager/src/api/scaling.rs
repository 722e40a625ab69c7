//! Scaling of services: policies, counts set by people, and the last verdict.

use super::{
    ApiState, Routes,
    extract::{Body, Name},
    refusal::Answer,
};
use crate::control::Request;
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ScaleRequest, ScalingView, ServiceName, VerdictView};
use micado_core::scaling::Policies;
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(policy, set_policy, remove_policy))
        .routes(routes!(check_policy))
        .routes(routes!(scale))
        .routes(routes!(scaling))
}

/// The policy of a service.
#[utoipa::path(get, path = "/v1/services/{name}/policy", operation_id = "show_policy", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    responses(
        (status = 200, description = "The policy.", body = Object),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn policy(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
) -> Answer<Json<Policies>> {
    let read = state.handle.read(move |core| core.policy(name.as_str()));
    Ok(Json(read.await??))
}

/// Sets the policy of a service. Its count stays, unless it is below the minimum.
#[utoipa::path(put, path = "/v1/services/{name}/policy", operation_id = "set_policy", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    request_body(content = Object, description = "The limits and the list of policies."),
    responses(
        (status = 200, description = "The scaling of the service.", body = ScalingView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn set_policy(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
    Body(policies): Body<Policies>,
) -> Answer<Json<ScalingView>> {
    request(
        &state,
        Request::SetPolicy {
            service: name.to_string(),
            policies: Box::new(policies),
        },
    )
    .await
}

/// Removes the policy of a service. Its count stays.
#[utoipa::path(delete, path = "/v1/services/{name}/policy", operation_id = "remove_policy", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    responses(
        (status = 200, description = "The scaling of the service.", body = ScalingView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn remove_policy(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
) -> Answer<Json<ScalingView>> {
    let service = name.to_string();
    request(&state, Request::RemovePolicy { service }).await
}

/// Checks a policy on the present load of a service that has one. Nothing is recorded.
#[utoipa::path(post, path = "/v1/services/{name}/policy/check", operation_id = "check_policy", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    request_body(content = Object, description = "The limits and the list of policies."),
    responses(
        (status = 200, description = "The verdict; none without a load to check it on.", body = Option<VerdictView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn check_policy(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
    Body(policies): Body<Policies>,
) -> Answer<Json<Option<VerdictView>>> {
    let check = state
        .handle
        .read(move |core| core.check_policy(name.as_str(), &policies));
    Ok(Json(check.await??))
}

/// Sets the count of a service, or pins it.
#[utoipa::path(post, path = "/v1/services/{name}/scale", operation_id = "scale_service", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    request_body = ScaleRequest,
    responses(
        (status = 200, description = "The scaling of the service.", body = ScalingView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn scale(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
    Body(scale): Body<ScaleRequest>,
) -> Answer<Json<ScalingView>> {
    let service = name.to_string();
    request(&state, Request::Scale { service, scale }).await
}

/// The scaling of a service at present.
#[utoipa::path(get, path = "/v1/services/{name}/scaling", operation_id = "show_scaling", tag = "scaling",
    params(("name" = String, Path, description = "A service's name.")),
    responses(
        (status = 200, description = "Counts, policy, floor, pin and the last verdict.", body = ScalingView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn scaling(
    State(state): State<ApiState>,
    Name(name): Name<ServiceName>,
) -> Answer<Json<ScalingView>> {
    let read = state.handle.read(move |core| core.scaling(name.as_str()));
    Ok(Json(read.await??))
}

async fn request(state: &ApiState, request: Request) -> Answer<Json<ScalingView>> {
    Ok(Json(state.handle.request(request).await?))
}
