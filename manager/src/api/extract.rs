//! Extractors for bodies, queries and paths, with refusals in our own words.

use super::refusal::Refusal;
use axum::{
    Json,
    body::{Body as HttpBytes, HttpBody, to_bytes},
    extract::{self, FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt;
use micado_api::{ErrorBody, ErrorCode};
use serde::de::DeserializeOwned;
use std::{future::ready, str::FromStr, time::Duration};
use tokio::time::timeout;

/// Upper bound for a body that is read before its request is looked at.
const SMALL: usize = 64 << 10;
/// How long such a body may take.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Upper bound for reading the upload of a refused request.
const LINGER: Duration = Duration::from_secs(5);

pub(super) struct Body<T>(pub(super) T);

/// Query string.
pub(super) struct Query<T>(pub(super) T);

/// The one name in the path, checked if its type is one of names.
pub(super) struct Name<T = String>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let extract::Query(query) = extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

impl<S: Send + Sync, T: FromStr<Err: ToString>> FromRequestParts<S> for Name<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let extract::Path(name) = extract::Path::<String>::from_request_parts(parts, state).await?;
        let refuse = |error: T::Err| ErrorBody::new(ErrorCode::BadRequest, error.to_string());
        Ok(Self(name.parse().map_err(refuse)?))
    }
}

/// Reads a small body before anything else. A refusal that leaves it unread closes the connection,
/// and a client that still writes finds it closed instead of the refusal.
pub(super) async fn read_small_bodies(request: Request, next: Next) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let small = |most| most <= SMALL as u64;
    let body = if !body.is_end_stream() && body.size_hint().upper().is_some_and(small) {
        let fault = |status, words: String| {
            Refusal::bad_request(
                status,
                format!("the request's body cannot be read: {words}"),
            )
        };
        let late = |_| {
            let words = format!("it did not come within {} s", ARRIVAL.as_secs());
            fault(StatusCode::REQUEST_TIMEOUT, words)
        };
        let bytes = timeout(ARRIVAL, to_bytes(body, SMALL))
            .await
            .map_err(late)?;
        HttpBytes::from(bytes.map_err(|error| fault(StatusCode::BAD_REQUEST, error.to_string()))?)
    } else {
        body
    };
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Reads the upload of a refused request for a while. A connection that is closed with it unread
/// loses the refusal.
pub(super) fn read_rest(upload: HttpBytes) {
    let rest = upload.into_data_stream();
    let rest = rest.take_while(|piece| ready(piece.is_ok()));
    tokio::spawn(timeout(LINGER, rest.for_each(|_| ready(()))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, middleware::from_fn, routing::post};
    use std::future::IntoFuture as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    #[tokio::test]
    async fn a_refusal_waits_for_the_rest_of_a_small_request() {
        let refuse = async || StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let router = Router::new()
            .route("/", post(refuse))
            .layer(from_fn(read_small_bodies));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let served = tokio::spawn(axum::serve(listener, router).into_future());
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let mut answer = [0; 512];
        // The second request shows that the connection outlives the first refusal.
        for _ in 0..2 {
            let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";
            stream.write_all(head).await.expect("written");
            let early = timeout(Duration::from_millis(200), stream.read(&mut answer)).await;
            assert!(early.is_err(), "answered before the body was there");
            stream.write_all(b"body").await.expect("written");
            let count = stream.read(&mut answer).await.expect("an answer");
            assert!(answer[..count].starts_with(b"HTTP/1.1 415"));
        }
        served.abort();
    }
}
