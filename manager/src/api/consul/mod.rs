//! A subset of Consul's HTTP API over the catalogue of services, on listeners of its own: its paths
//! clash with those of the API. Every request needs a token.

mod blocking;
mod listen;
mod lists;
mod query;
mod register;
mod services;
mod wire;

pub use listen::{Consul, ConsulListen};

use super::{caller::note_wrong_token, token::Token};
use crate::{
    catalogue::{Catalogue, Node},
    control::Handle,
};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use blocking::Waiters;
use bytes::Bytes;
use query::Query;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The one datacenter of a cluster.
const DATACENTER: &str = "micado";

/// Upper bound for the body of a registration.
const BODY_MAX: usize = 64 << 10;

/// State of the routes; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ConsulState {
    handle: Handle,
    catalogue: Catalogue,
    waiters: Arc<Waiters>,
    tokens: Arc<Tokens>,
    stopping: CancellationToken,
    /// The manager as a node.
    own: Arc<Node>,
}

/// Tokens that are accepted.
#[derive(Debug)]
pub struct Tokens {
    /// The token of the API: may register too.
    pub all: Token,
    /// May read the catalogue and nothing else.
    pub reader: Token,
}

/// Routes of a listener.
fn router(state: ConsulState) -> Router {
    Router::new()
        .route("/v1/agent/self", get(lists::own))
        .route("/v1/agent/members", get(lists::members))
        .route("/v1/status/leader", get(lists::leader))
        .route("/v1/status/peers", get(lists::peers))
        .route("/v1/catalog/datacenters", get(lists::datacenters))
        .route("/v1/catalog/nodes", get(lists::nodes))
        .route("/v1/catalog/node/{name}", get(lists::node))
        .route("/v1/catalog/services", get(lists::services))
        .route("/v1/catalog/service/{name}", get(services::catalogue))
        .route("/v1/health/service/{name}", get(services::health))
        .route("/v1/health/checks/{name}", get(services::checks))
        .route("/v1/health/node/{name}", get(lists::node_checks))
        .route("/v1/health/state/{state}", get(lists::state_checks))
        .route("/v1/agent/service/register", put(register::register))
        .route(
            "/v1/agent/service/deregister/{id}",
            put(register::deregister),
        )
        .route("/v1/kv/{*key}", get(no_key))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_path)
        .layer(from_fn_with_state(state.clone(), require))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(state)
}

/// Refuses requests without a token that is enough. A reader is never told less instead.
async fn require(State(state): State<ConsulState>, request: Request, next: Next) -> Response {
    let sent = sent_token(request.headers(), request.uri());
    let is_sent = sent.is_some();
    let is_known = sent.is_some_and(|sent| {
        let reads = request.method() == Method::GET && state.tokens.reader.is(&sent);
        state.tokens.all.is(&sent) || reads
    });
    if is_known {
        return next.run(request).await;
    }
    if is_sent {
        let from = request.extensions().get::<services::From>();
        note_wrong_token(from.map(|from| from.0.ip()));
    }
    let hint = "Permission denied: send the token of the file `consul-token` (to read) or `token` (to register too) in `X-Consul-Token`\n";
    (StatusCode::FORBIDDEN, hint).into_response()
}

fn sent_token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let (scheme, sent) = text(header::AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(sent.trim())
    };
    let sent = text("x-consul-token").or_else(bearer).map(str::to_owned);
    sent.or_else(|| query::parameter(uri.query().unwrap_or_default(), "token"))
}

/// A refusal in Consul's form: a line of text.
#[derive(Debug, PartialEq, Eq)]
struct Refused(StatusCode, String);

impl Refused {
    fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

impl ConsulState {
    /// Reads the parameters; refused before the whole cluster was read.
    fn query(&self, uri: &Uri) -> Result<Query, Refused> {
        if !self.catalogue.is_complete() {
            let text = "No cluster leader: the manager has not read the cluster yet";
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned()));
        }
        Query::parse(uri.query().unwrap_or_default())
    }
}

/// An answer with the headers that clients look for.
fn answer(index: u64, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert("x-consul-index", HeaderValue::from(index.max(1)));
    headers.insert("x-consul-lastcontact", HeaderValue::from_static("0"));
    headers.insert("x-consul-knownleader", HeaderValue::from_static("true"));
    let consistent = HeaderValue::from_static("consistent");
    headers.insert("x-consul-effective-consistency", consistent);
    response
}

/// There are no keys: clients that look for some find none.
async fn no_key(State(state): State<ConsulState>) -> Response {
    let mut response = answer(state.catalogue.index(), Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn no_such_path(uri: Uri) -> Refused {
    let path = uri.path();
    let text = format!("`{path}` is not served: this is the subset of Consul's API for services");
    Refused(StatusCode::NOT_FOUND, text)
}

#[cfg(test)]
mod tests;
