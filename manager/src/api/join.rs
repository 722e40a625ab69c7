//! Joining: a rented machine trades its credential for what it needs to be a node. The credential
//! itself authorises it, so no token is required.

use super::{
    ApiState, Routes,
    extract::Body,
    refusal::{Answer, Refusal},
};
use crate::{
    control::{Reply, Request},
    pki::{CredentialKey, Csr, MACHINE_LIFE, Pki},
    registry::Registry,
};
use axum::{
    Extension, Json,
    extract::{self, ConnectInfo, DefaultBodyLimit, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use micado_api::{ErrorBody, ErrorCode, JoinAnswer, JoinRequest, SwarmJoin};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use utoipa_axum::{router::UtoipaMethodRouterExt, routes};

pub const PATH: &str = "/v1/join";

/// Upper bound for a request: a credential and a certificate request are far smaller.
const BODY_MAX: usize = 16 << 10;

/// Time-out of a trade, from the request's head on: a caller without a valid credential must not
/// hold a connection for long.
const LIMIT: Duration = Duration::from_secs(30);

/// Lower bound for the time between two log lines about refused trades.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Check of credentials, and the data that machines receive.
#[derive(Debug)]
pub struct Gate {
    /// Key of the credentials.
    pub key: Arc<CredentialKey>,
    pub pki: Arc<Pki>,
    pub registry: Arc<Registry>,
    /// The node agent's program, for machines with an image that lacks it.
    pub agent: Option<PathBuf>,
}

impl Gate {
    /// Returns the answer for the machine of this instance, with this way into the Swarm.
    fn papers(&self, instance: &str, csr: &Csr, swarm: SwarmJoin) -> Result<JoinAnswer, ErrorBody> {
        let certificate = self
            .pki
            .sign_request(csr, instance, MACHINE_LIFE)
            .map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
        let registry = self.registry.access(&certificate);
        Ok(JoinAnswer {
            swarm,
            certificate,
            authority: self.pki.authority().to_owned(),
            hosts: Vec::new(),
            registry,
        })
    }
}

pub(super) fn routes() -> Routes {
    let join = routes!(join)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time));
    Routes::default().routes(join)
}

/// Trades a machine's credential for what it needs to join. The first good trade binds the
/// credential to the key of its request; the same key may trade again until the machine has joined
/// and its time is over. Needs no token.
#[utoipa::path(post, path = "/v1/join", operation_id = "join", tag = "instances", security(()), request_body = JoinRequest, responses(
    (status = 200, description = "What the machine needs.", body = JoinAnswer),
    (status = 401, description = "The credential is not one of ours.", body = ErrorBody),
    (status = 409, description = "It was used with another key.", body = ErrorBody),
    (status = 410, description = "It has expired, or its machine is not being started any more.", body = ErrorBody),
    (status = 503, description = "Not now; try again.", body = ErrorBody),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn join(
    State(state): State<ApiState>,
    from: Option<Extension<ConnectInfo<SocketAddr>>>,
    Body(request): Body<JoinRequest>,
) -> Answer<Json<JoinAnswer>> {
    let from = from.map(|Extension(ConnectInfo(address))| address);
    let traded = trade(&state, &request).await;
    if let Err(error) = &traded
        && error.code != ErrorCode::Unavailable
    {
        state.refused_trades.note(from, error);
    }
    traded.map(Json).map_err(Refusal::from)
}

async fn trade(state: &ApiState, request: &JoinRequest) -> Result<JoinAnswer, ErrorBody> {
    let not_ours = || ErrorBody::new(ErrorCode::Unauthorized, "the credential is not good");
    let instance = state
        .gate
        .key
        .instance(&request.credential)
        .ok_or_else(not_ours)?;
    let unusable = |words| {
        ErrorBody::new(
            ErrorCode::BadRequest,
            format!("the request for a certificate of `{instance}` is unusable: {words}"),
        )
    };
    let csr = Csr::parse(&request.csr).map_err(unusable)?;
    state
        .handle
        .request::<Reply>(Request::Join {
            instance: instance.clone(),
            key: csr.key_hash(),
        })
        .await?;
    // Read the token only now: one that was read earlier could be rotated before this machine is
    // recorded as needing it.
    let join = state
        .engine
        .join_facts()
        .await
        .map_err(|error| ErrorBody::new(ErrorCode::Unavailable, error.to_string()))?;
    let swarm = SwarmJoin {
        listen_addr: "0.0.0.0:2377".to_owned(),
        remote_addrs: join.managers,
        join_token: join.token,
    };
    state.gate.papers(instance.as_str(), &csr, swarm)
}

/// Ends a trade that exceeds its time-out.
async fn in_time(request: extract::Request, next: Next) -> Response {
    let late = |_| {
        Refusal::from(ErrorBody::new(
            ErrorCode::Unavailable,
            format!("not done within {} s", LIMIT.as_secs()),
        ))
        .into_response()
    };
    tokio::time::timeout(LIMIT, next.run(request))
        .await
        .unwrap_or_else(late)
}

/// Counter of refused trades. Logs a summary instead of each one, so that many attempts do not fill
/// the log.
#[derive(Debug, Default)]
pub(super) struct RefusedTrades(Mutex<(Option<Instant>, u32)>);

impl RefusedTrades {
    /// Counts one. The credential itself is in no error.
    fn note(&self, from: Option<SocketAddr>, error: &ErrorBody) {
        if let Some(times) = self.count(Instant::now()) {
            let from = from.map_or_else(
                || "the unix socket".to_owned(),
                |address| address.to_string(),
            );
            tracing::warn!(%from, times, "a machine may not join: {error}");
        }
    }

    /// Returns the count since the last log line, if the next one is due.
    fn count(&self, now: Instant) -> Option<u32> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 = said.1.saturating_add(1);
        if said.0.is_some_and(|at| now.duration_since(at) < LOG_EVERY) {
            return None;
        }
        Some(std::mem::replace(&mut *said, (Some(now), 0)).1)
    }
}

#[cfg(test)]
pub(super) mod tests;
