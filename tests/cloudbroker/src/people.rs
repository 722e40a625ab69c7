//! The simulator's own routes for people and scripts: faults, and an audit of machines.

use crate::{Rule, simulator::Shared};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// `GET`, `PUT` (a list of rules, replacing those in force) and `DELETE` of `faults`; `GET` of
/// `audit`.
pub(crate) fn answer(shared: &Shared, method: &str, path: &str, body: &[u8]) -> Response {
    match (method, path) {
        ("GET", "faults") => {
            Json(json!({ "rules": shared.faults.rules(), "happened": shared.faults.happened() }))
                .into_response()
        }
        ("PUT", "faults") => match serde_json::from_slice::<Vec<Rule>>(body) {
            Err(error) => (
                StatusCode::BAD_REQUEST,
                format!("the body is no list of rules: {error}; the README has examples\n"),
            )
                .into_response(),
            Ok(rules) => {
                shared.faults.clear();
                rules.into_iter().for_each(|rule| shared.faults.add(rule));
                Json(shared.faults.rules()).into_response()
            }
        },
        ("DELETE", "faults") => {
            shared.faults.clear();
            StatusCode::OK.into_response()
        }
        ("GET", "audit") => {
            let machines = shared.look(|world| {
                world
                    .records()
                    .instances
                    .values()
                    .map(summary)
                    .collect::<Vec<_>>()
            });
            Json(json!({ "machines": machines, "calls": shared.audit.calls() })).into_response()
        }
        _ => (
            StatusCode::NOT_FOUND,
            "there are GET, PUT and DELETE of /simulator/faults, and GET of /simulator/audit\n",
        )
            .into_response(),
    }
}

/// Without the user data, which is secret.
fn summary(instance: &crate::Instance) -> serde_json::Value {
    json!({
        "id": instance.id,
        "ordered_as": instance.ordered_as,
        "job": instance.job,
        "status": instance.status,
        "machine": instance.machine,
    })
}
