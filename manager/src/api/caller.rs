//! Who asks: found out by the guard of a group of routes, and handed on with the request.

use super::{ApiState, peer::Peer, refusal::Refusal, token::Token};
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::Response,
};
use micado_api::{ErrorBody, ErrorCode, InstanceId};
use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The caller of a guarded route, or of one for agents, as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// The user that runs the manager, by its unix socket.
    Owner,
    /// Somebody with the token.
    TokenHolder,
    /// The node agent of an instance that is not returned yet.
    Agent(InstanceId),
}

/// What the guarded routes of a listener ask of their callers.
#[derive(Debug, Clone)]
pub(super) enum Guard {
    /// Nothing more: only the owner can open the unix socket.
    Socket,
    Token(Token),
}

/// The agent that asks.
#[derive(Debug)]
pub(super) struct Agent(pub(super) InstanceId);

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("the owner"),
            Self::TokenHolder => f.write_str("a holder of the token"),
            Self::Agent(instance) => write!(f, "the agent of {instance}"),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Agent {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        match parts.extensions.get() {
            Some(Caller::Agent(instance)) => Ok(Self(instance.clone())),
            _ => Err(no_agent()),
        }
    }
}

/// Guards the routes for people and programs.
pub(super) async fn require(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let caller = match &guard {
        Guard::Socket => Caller::Owner,
        Guard::Token(token) => {
            check_token(token, &request)?;
            Caller::TokenHolder
        }
    };
    tracing::debug!(%caller, method = %request.method(), path = request.uri().path(), "a request");
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Guards the routes for agents, who show their instance's client certificate: the token is neither
/// needed nor enough here.
pub(super) async fn require_agent(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    admit(&state, &mut request, |peer| peer.name.as_deref()).await?;
    Ok(next.run(request).await)
}

/// As [`require_agent`], also for one whose certificate has expired: to renew it.
pub(super) async fn require_agent_to_renew(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    admit(&state, &mut request, |peer| {
        peer.name.as_deref().or(peer.expired.as_deref())
    })
    .await?;
    Ok(next.run(request).await)
}

/// Notes the instance of this name of the caller, if it is rented.
async fn admit(
    state: &ApiState,
    request: &mut Request,
    name: impl FnOnce(&Peer) -> Option<&str>,
) -> Result<(), Refusal> {
    let peer = request.extensions().get::<Peer>();
    let name = peer.and_then(name).ok_or_else(no_agent)?;
    let instance = InstanceId::trusted(name);
    let facts = state.handle.facts();
    facts.begun().await;
    if !facts.read().is_live(&instance) {
        return Err(unauthorized(
            "the certificate's instance is not one that is rented",
        ));
    }
    request.extensions_mut().insert(Caller::Agent(instance));
    Ok(())
}

fn check_token(token: &Token, request: &Request) -> Result<(), Refusal> {
    let sent = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, sent)| sent.trim());
    let refuse = |message| {
        unauthorized(message).hint("the token is in the file `token` of the manager's state folder; name a copy of it with `--token-file` or `MICADO_TOKEN_FILE`")
    };
    match sent {
        Some(sent) if token.is(sent) => Ok(()),
        Some(_) => {
            let peer = request.extensions().get::<Peer>();
            note_wrong_token(peer.map(|peer| peer.address));
            Err(refuse("the token is not the manager's"))
        }
        None => Err(refuse("no token was sent")),
    }
}

/// Least time between two warnings about wrong tokens.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Warns of wrong tokens, with the number since the last warning: somebody may be guessing.
pub(super) fn note_wrong_token(from: Option<IpAddr>) {
    static SINCE: Mutex<(Option<Instant>, u64)> = Mutex::new((None, 0));
    let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let (warned, count) = (since.0, since.1 + 1);
    if warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
        since.1 = count;
        return;
    }
    *since = (Some(Instant::now()), 0);
    let from = from.map_or_else(|| "unix socket".to_owned(), |from| from.to_string());
    tracing::warn!("{count} requests with a wrong token, the last from {from}");
}

fn no_agent() -> Refusal {
    unauthorized("this is for node agents: they show their instance's client certificate")
}

fn unauthorized(message: &str) -> Refusal {
    ErrorBody::new(ErrorCode::Unauthorized, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Extension, Router, middleware::from_fn_with_state, routing::get};

    /// The text that a handler behind the guard makes of its caller, or the status.
    async fn caller_behind(guard: Guard, authorization: Option<&str>) -> String {
        let caller = async |Extension(caller): Extension<Caller>| caller.to_string();
        let router = Router::new()
            .route("/", get(caller))
            .layer(from_fn_with_state(guard, require));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let address = listener.local_addr().expect("an address");
        let served = tokio::spawn(axum::serve(listener, router).into_future());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut request = reqwest::Client::new().get(format!("http://{address}/"));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.send().await.expect("an answer");
        served.abort();
        match response.status().as_u16() {
            200 => response.text().await.expect("a text"),
            status => status.to_string(),
        }
    }

    #[tokio::test]
    async fn a_request_that_passes_carries_its_caller() {
        let state = tempfile::tempdir().expect("a folder");
        let token = Token::load_or_make(state.path()).expect("a token");
        let text = std::fs::read_to_string(state.path().join("token")).expect("read");
        let bearer = |text: &str| format!("bearer {}", text.trim());
        let by_token = Guard::Token(token);

        assert_eq!(caller_behind(Guard::Socket, None).await, "the owner");
        let good = caller_behind(by_token.clone(), Some(&bearer(&text))).await;
        assert_eq!(good, "a holder of the token");
        for refused in [None, Some("bearer x"), Some(text.trim())] {
            assert_eq!(caller_behind(by_token.clone(), refused).await, "401");
        }
    }
}
