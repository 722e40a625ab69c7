//! Metrics of the manager and the cluster for Prometheus, and the count of requests in them.

use super::{
    ApiState, Routes,
    extract::Query,
    refusal::{Answer, Refusal},
};
use crate::monitor::{Format, LeaseReading, Scrape};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use micado_api::{ErrorBody, ErrorCode, MetricsQuery};
use utoipa_axum::routes;

/// Upper bound for scrapes at a time: the text of one with 10,000 containers has some 20 MB.
pub(super) const SCRAPES: usize = 2;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(metrics))
}

/// Metrics of the manager, the cluster, its machines and its containers, for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "scrape_metrics", tag = "monitoring", params(MetricsQuery), responses(
    (status = 200, description = "The metrics, as OpenMetrics for callers that accept it.", content((String = "text/plain"), (String = "application/openmetrics-text"))),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn metrics(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Query(query): Query<MetricsQuery>,
) -> Answer<Response> {
    let accept = headers.get(header::ACCEPT);
    let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
    let turn = state
        .scrapes
        .clone()
        .acquire_owned()
        .await
        .map_err(failed)?;
    let read = Scrape::read(&state.handle, &state.metrics).await;
    let scrape = Scrape {
        agents: state.agents.connected(),
        lease: state.lease.as_ref().map(|lease| LeaseReading {
            term: lease.term(),
            left: lease.left(),
        }),
        each_container: query.containers.unwrap_or(true),
        ..read
    };
    let counters = state.handle.counters().clone();
    // The turn ends with the writing, even if the caller has gone before.
    let write = move || (scrape.text(&counters, format), turn).0;
    let text = tokio::task::spawn_blocking(write).await.map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    ErrorBody::new(ErrorCode::Internal, format!("no metrics: {error}")).into()
}

/// Counts every request by the template of its route, so that paths make no series.
pub(super) async fn count(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = word(request.method());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    let status = response.status().as_u16();
    state.handle.counters().request(route, method, status);
    response
}

/// Word for a method. Callers may make up others.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
