//! Registration by Consul's form: as `micado service register` does it.

use super::{ConsulState, Refused, wire};
use crate::{
    api::validate,
    control::{Reply, Request},
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use bytes::Bytes;
use micado_api::{ErrorBody, ErrorCode, RegisterRequest};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A registration; fields that change nothing here are ignored. Clients write the names of fields
/// in upper or lower case: they are read in lower case.
#[derive(Debug, Deserialize)]
pub(super) struct RegisterWire {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    check: Option<Value>,
    #[serde(default)]
    checks: Option<Vec<Value>>,
}

pub(super) async fn register(State(state): State<ConsulState>, body: Bytes) -> Result<(), Refused> {
    let (id, request) = entry(read(&body)?)?;
    let request = Request::Register {
        id,
        request: Box::new(request),
    };
    ask(&state, request).await
}

pub(super) async fn deregister(
    State(state): State<ConsulState>,
    Path(id): Path<String>,
) -> Result<(), Refused> {
    ask(&state, Request::Deregister { id }).await
}

async fn ask(state: &ConsulState, request: Request) -> Result<(), Refused> {
    let answered = state.handle.request::<Reply>(request).await;
    answered.map(drop).map_err(|error| refused(&error))
}

fn refused(error: &ErrorBody) -> Refused {
    let status = match error.code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refused(status, error.to_string())
}

/// Reads a body. Clients name no type of content.
fn read(body: &[u8]) -> Result<RegisterWire, Refused> {
    let failed = |error| Refused::bad(format!("Request decode failed: {error}"));
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(failed)?;
    let fields = fields.into_iter();
    let lower: Map<String, Value> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    RegisterWire::deserialize(Value::Object(lower)).map_err(failed)
}

/// Id and entry of a registration; the id is the name if there is none.
fn entry(wire: RegisterWire) -> Result<(String, RegisterRequest), Refused> {
    if wire.check.is_some() || wire.checks.is_some_and(|checks| !checks.is_empty()) {
        return Err(Refused::bad(
            "checks of entries made by hand are not run here: register without one, and deregister what is down",
        ));
    }
    if wire.address.is_empty() || wire::is_unspecified(&wire.address) {
        return Err(Refused::bad(
            "`Address` is missing: there is no agent here whose address could stand for it",
        ));
    }
    let id = wire.id.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| wire.name.clone());
    let request = RegisterRequest {
        service: wire.name,
        address: wire.address,
        port: wire.port,
        tags: wire.tags.unwrap_or_default(),
        meta: wire.meta.unwrap_or_default(),
    };
    validate::registration(&id, &request).map_err(|error| refused(&error))?;
    Ok((id, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(json: &str) -> Result<(String, RegisterRequest), Refused> {
        entry(read(json.as_bytes())?)
    }

    #[test]
    fn a_registration_in_consul_s_form_is_an_entry() {
        let json = r#"{"Name": "db", "Address": "10.0.0.9", "Port": 5432, "Tags": ["primary"],
            "Meta": {"rack": "7"}, "EnableTagOverride": false, "Weights": {"Passing": 10}}"#;
        let (id, request) = entered(json).expect("an entry");
        assert_eq!((id.as_str(), request.service.as_str()), ("db", "db"));
        assert_eq!((request.address.as_str(), request.port), ("10.0.0.9", 5432));
        assert_eq!(request.tags, ["primary"]);
        let json = r#"{"ID": "db-1", "Name": "db", "Address": "db.example", "Port": 1, "Tags": null, "Meta": null, "Checks": []}"#;
        let (id, request) = entered(json).expect("an entry");
        assert_eq!(id, "db-1");
        assert!(request.tags.is_empty() && request.meta.is_empty());
        // As py-consul writes it.
        let json = r#"{"name": "db", "id": "db-2", "tags": ["a"], "address": "10.0.0.9", "port": 1, "enabletagoverride": false}"#;
        let (id, request) = entered(json).expect("an entry");
        assert_eq!((id.as_str(), request.tags), ("db-2", vec!["a".to_owned()]));
    }

    #[test]
    fn nothing_is_promised_that_is_not_done() {
        for json in [
            r#"{"Name": "db", "Address": "10.0.0.9", "Port": 1, "Check": {"TTL": "10s"}}"#,
            r#"{"Name": "db", "Port": 1}"#,
            r#"{"Name": "db", "Address": "0.0.0.0", "Port": 1}"#,
            r#"{"Address": "10.0.0.9", "Port": 1}"#,
            r#"{"Name": "db", "Address": "10.0.0.9"}"#,
            r#"{"Name": "a b", "Address": "10.0.0.9", "Port": 1}"#,
            r#"{"Name": "db", "Address": "10.0.0.9", "Port": 70000}"#,
            "[]",
            "",
        ] {
            let Refused(status, _) = entered(json).expect_err(json);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{json}");
        }
    }
}
