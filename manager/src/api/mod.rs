//! The manager's API for the CLI, scripts and programs: JSON over HTTP, on a unix socket for the
//! owner and on HTTPS for callers with the token.

mod access;
mod admission;
mod agents;
mod archives;
mod builds;
mod caller;
mod certificate;
mod consul;
mod containers;
mod discovery;
mod events;
mod extract;
mod history;
mod images;
mod instances;
mod join;
mod lines;
mod logins;
mod logs;
mod monitoring;
mod openapi;
mod peer;
mod progress;
mod protect;
mod refusal;
mod registrations;
mod scaling;
mod server;
mod services;
mod status;
mod token;
pub mod validate;
mod verdicts;

pub use consul::{Consul, ConsulListen, Tokens};
pub use join::{Gate, PATH as JOIN_PATH};
pub use openapi::document;
pub use server::{Api, BindError, Certificate, Listen};
pub use token::{Token, TokenError};

use crate::{
    build::Builds,
    control::Handle,
    engine::{Engine, swarm::Leadership},
    metrics::{History, Metrics},
};
use agents::Agents;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
};
use caller::Guard;
use join::RefusedTrades;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

/// Upper bound for a request. The largest part of any is the files of a `start`: 2 MiB, up to four
/// times as much in JSON.
const BODY_MAX: usize = 9 << 20;

/// Routes that the OpenAPI document lists.
type Routes = OpenApiRouter<ApiState>;

/// State of the routes: access to all parts of the manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    handle: Handle,
    engine: Arc<dyn Engine>,
    gate: Arc<Gate>,
    refused_trades: Arc<RefusedTrades>,
    agents: Arc<Agents>,
    metrics: Arc<Metrics>,
    history: Arc<dyn History>,
    lease: Option<Arc<Leadership>>,
    /// Bound for scrapes at a time.
    scrapes: Arc<Semaphore>,
    builds: Builds,
    /// Ends the streams that would not end by themselves.
    stopping: CancellationToken,
}

impl ApiState {
    /// The core through its handle, the engine for images and logs, the gate for machines, and the
    /// metrics of agents.
    #[must_use]
    pub fn new(
        handle: Handle,
        engine: Arc<dyn Engine>,
        gate: Gate,
        metrics: Arc<Metrics>,
        history: Arc<dyn History>,
        builds: Builds,
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
            lease: None,
            scrapes: Arc::new(Semaphore::new(monitoring::SCRAPES)),
            builds,
            stopping: CancellationToken::new(),
        }
    }

    /// Shows this lease in the metrics.
    #[must_use]
    pub fn led(self, lease: Arc<Leadership>) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }
}

/// Routes without authentication.
fn open_routes() -> Routes {
    Routes::default()
        .merge(status::open_routes())
        .merge(join::routes())
}

/// Routes for people and programs.
fn guarded_routes() -> Routes {
    Routes::default()
        .merge(openapi::routes())
        .merge(status::routes())
        .merge(instances::routes())
        .merge(protect::routes())
        .merge(containers::routes())
        .merge(logs::routes())
        .merge(agents::session_routes())
        .merge(services::routes())
        .merge(registrations::routes())
        .merge(scaling::routes())
        .merge(images::routes())
        .merge(logins::routes())
        .merge(access::routes())
        .merge(builds::routes())
        .merge(archives::routes())
        .merge(history::routes())
        .merge(events::routes())
        .merge(verdicts::routes())
        .merge(monitoring::routes())
        .merge(discovery::routes())
        .merge(progress::routes())
}

/// All routes of one listener, each group behind its guard.
fn router(state: ApiState, guard: Guard) -> Router {
    let open = Router::from(open_routes());
    let agents = agents::agent_routes()
        .route_layer(from_fn_with_state(state.clone(), caller::require_agent));
    let renewal = agents::renewal_routes().route_layer(from_fn_with_state(
        state.clone(),
        caller::require_agent_to_renew,
    ));
    let guarded = Router::from(guarded_routes())
        .fallback(refusal::no_such_path)
        .method_not_allowed_fallback(refusal::no_such_method)
        .layer(from_fn_with_state(guard, caller::require));
    open.merge(agents)
        .merge(renewal)
        .method_not_allowed_fallback(refusal::no_such_method)
        .merge(guarded)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(extract::read_small_bodies))
        .layer(from_fn_with_state(state.clone(), monitoring::count))
        .with_state(state)
}

#[cfg(test)]
pub(crate) mod tests;
