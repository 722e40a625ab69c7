//! Answers of one JSON object per line, sent as they come.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

/// The answer with these objects. It ends with the stream, or at an object that is no JSON.
pub(super) fn lines<T: Serialize>(objects: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = objects.map(|object| {
        let mut line = serde_json::to_vec(&object)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}
