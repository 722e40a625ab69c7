//! Reads of one service.

use super::{ConsulState, Refused, answer, wire};
use crate::catalogue::{Form, Row};
use axum::{
    extract::{ConnectInfo, Path, State},
    http::Uri,
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use std::net::SocketAddr;

/// Upper bound for the name of a service, in bytes.
const NAME_MAX: usize = 256;

/// Caller of a route.
pub(super) type From = ConnectInfo<SocketAddr>;

pub(super) async fn catalogue(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    read(&state, from, &name, &uri, Form::Catalogue).await
}

pub(super) async fn health(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    read(&state, from, &name, &uri, Form::Health).await
}

pub(super) async fn checks(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    read(&state, from, &name, &uri, Form::Checks).await
}

async fn read(
    state: &ConsulState,
    from: SocketAddr,
    name: &str,
    uri: &Uri,
    form: Form,
) -> Result<Response, Refused> {
    if name.len() > NAME_MAX {
        return Err(Refused::bad("the name of the service is too long"));
    }
    let mut query = state.query(uri)?;
    // Only the health of services has this parameter.
    query.selection.passing &= form == Form::Health;
    let service = state.service(name, &query, from.ip()).await?;
    let rows = || service.rows().filter(|row| query.selection.has(&row.value));
    let body = service.answer(form, &query.selection, || match form {
        Form::Catalogue => list(rows(), wire::catalogue),
        Form::Health => list(rows(), wire::health),
        Form::Checks => list(rows(), wire::service_check),
    });
    Ok(answer(service.index, body))
}

fn list<'a, T: Serialize>(rows: impl Iterator<Item = &'a Row>, wire: fn(&'a Row) -> T) -> Bytes {
    let rows: Vec<T> = rows.map(wire).collect();
    wire::json(&rows)
}
