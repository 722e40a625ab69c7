//! Builds: the engine's builders, and images built from a context.

use super::{
    ApiState, Routes,
    extract::{Query, read_rest},
    lines::lines,
    refusal::{Answer, Refusal},
    validate,
};
use crate::build::{Build, Queued};
use axum::{Json, body::Body, extract::State, response::Response};
use futures_util::StreamExt;
use micado_api::{BuildEvent, BuildRequest, BuilderView, ErrorBody};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(show, build))
}

/// The builders of the manager's engine.
#[utoipa::path(get, path = "/v1/builds", operation_id = "show_builders", tag = "images", responses(
    (status = 200, description = "The builders.", body = BuilderView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn show(State(state): State<ApiState>) -> Answer<Json<BuilderView>> {
    let view = state.builds.view().await;
    Ok(Json(
        view.map_err(|error| Refusal::engine("the builders", error))?,
    ))
}

/// Builds an image of a context: a tar, plain or gzip. The answer comes while the context is sent:
/// one JSON object per line, the last one `built` or `failed`. A closed connection cancels the
/// build. The image is tagged by its id and `latest`, and pushed to the cluster's registry.
#[utoipa::path(post, path = "/v1/builds", operation_id = "build_image", tag = "images",
    params(
        ("name" = String, Query, description = "Name of the image, without tag: `container-[a-z0-9][a-z0-9._-]{0,62}`."),
        ("any_name" = Option<bool>, Query, description = "Accept a name without `container-`."),
        ("dockerfile" = Option<String>, Query, description = "Path of the Dockerfile in the context; default `Dockerfile`."),
        ("argument" = Option<Vec<String>>, Query, description = "Build argument, `KEY=VALUE`, repeated."),
        ("target" = Option<String>, Query, description = "Stage to build; default the last one."),
        ("no_cache" = Option<bool>, Query, description = "Use no cached step."),
        ("platform" = Option<String>, Query, description = "Platform to build for, as `linux/arm64`."),
        ("cache_from" = Option<Vec<String>>, Query, description = "Image whose steps may be reused, repeated."),
        ("builder" = Option<micado_api::Builder>, Query, description = "Builder; default the engine's."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The context."),
    responses(
        (status = 200, description = "One event per line.", body = BuildEvent, content_type = "application/x-ndjson"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn build(
    State(state): State<ApiState>,
    Query(pairs): Query<Vec<(String, String)>>,
    context: Body,
) -> Answer<Response> {
    let build = match admit(&state, pairs).await {
        Ok(build) => build,
        Err(refusal) => {
            read_rest(context);
            return Err(refusal);
        }
    };
    let body = build
        .start(context.into_data_stream())
        .take_until(state.stopping.clone().cancelled_owned());
    Ok(lines(body))
}

async fn admit(state: &ApiState, pairs: Vec<(String, String)>) -> Answer<Queued<Build>> {
    let request = BuildRequest::from_pairs(pairs)?;
    validate::build(&request)?;
    Ok(state.builds.admit(request, state.handle.clone()).await?)
}
