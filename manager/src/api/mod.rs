//! The manager's face to the CLI, scripts and programs: JSON over HTTP, on a unix socket for the
//! owner and on HTTPS for those with the token.

mod agents;
mod containers;
mod events;
mod extract;
mod history;
mod images;
mod instances;
mod join;
mod logs;
mod openapi;
mod peer;
mod progress;
mod refusal;
mod server;
mod services;
mod status;
mod token;
pub mod validate;

pub use join::{Gate, PATH as JOIN_PATH};
pub use openapi::document;
pub use server::{Api, BindError, Certificate, Listen};
pub use token::{Token, TokenError};

use crate::{
    control::Handle,
    engine::Engine,
    metrics::{History, Metrics},
};
use agents::Agents;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{delete, get, post},
};
use join::RefusedTrades;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The largest request; the files of a `start` are the largest thing in any: 2 MiB, of which JSON
/// makes up to four times as much.
const BODY_MAX: usize = 9 << 20;

/// Where node agents connect; what only they call is below it.
const AGENT_PATH: &str = "/v1/agent";

/// What the routes reach the manager through; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    handle: Handle,
    engine: Arc<dyn Engine>,
    gate: Arc<Gate>,
    refused_trades: Arc<RefusedTrades>,
    agents: Arc<Agents>,
    metrics: Arc<Metrics>,
    history: Arc<dyn History>,
    /// Ends the streams that would not end by themselves.
    stopping: CancellationToken,
}

impl ApiState {
    /// The core through its handle, the engine for what the core does not know (images and logs),
    /// the gate for machines, and what agents measure and measured.
    #[must_use]
    pub fn new(
        handle: Handle,
        engine: Arc<dyn Engine>,
        gate: Gate,
        metrics: Arc<Metrics>,
        history: Arc<dyn History>,
    ) -> Self {
        let (refused_trades, agents) = (Arc::default(), Arc::default());
        Self {
            handle,
            engine,
            gate: Arc::new(gate),
            refused_trades,
            agents,
            metrics,
            history,
            stopping: CancellationToken::new(),
        }
    }
}

/// All routes, for callers that are trusted already.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/v1/openapi.json", get(openapi::openapi))
        .route("/v1/status", get(status::status))
        .route("/v1/instances", get(instances::list).post(instances::start))
        .route("/v1/instances/{tag}", delete(instances::stop))
        .route(
            JOIN_PATH,
            post(join::join)
                .layer(DefaultBodyLimit::max(join::BODY_MAX))
                .layer(axum::middleware::from_fn(join::in_time)),
        )
        .route(
            "/v1/containers",
            get(containers::list).post(containers::launch),
        )
        .route("/v1/containers/{name}", delete(containers::remove))
        .route("/v1/containers/{name}/quit", post(containers::quit))
        .route("/v1/containers/{name}/logs", get(logs::logs))
        .route("/v1/containers/{name}/exec", get(agents::sessions::exec))
        .route(
            "/v1/containers/{name}/copy-to",
            get(agents::sessions::copy_to),
        )
        .route(
            "/v1/containers/{name}/copy-from",
            get(agents::sessions::copy_from),
        )
        .route(AGENT_PATH, get(agents::agent))
        .route("/v1/agent/sessions/{id}", get(agents::session))
        .route("/v1/agent/renew", post(agents::renew))
        .route("/v1/agent/program", get(agents::program))
        .route("/v1/services", get(services::list))
        .route("/v1/services/{name}", get(services::show))
        .route("/v1/images", get(images::list).put(images::set))
        .route("/v1/history/{name}", get(history::history))
        .route("/v1/events", get(events::events))
        .route("/v1/explain/{name}", get(services::explain))
        .route("/v1/progress/{subject}", get(progress::progress))
        .fallback(refusal::no_such_path)
        .method_not_allowed_fallback(refusal::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(state)
}

/// The same routes, all but `/healthz`, the gate and what is for agents only for those who send the
/// token.
pub fn guarded(state: ApiState, token: Token) -> Router {
    router(state).layer(axum::middleware::from_fn_with_state(token, token::require))
}

#[cfg(test)]
pub(crate) mod tests;
