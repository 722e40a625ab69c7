//! Reads of lists: services, machines and checks, and of the manager itself.

use super::{ConsulState, DATACENTER, Node, Refused, answer, query::Query, services::From, wire};
use crate::catalogue::{MANAGER, Row, Selection, Status, Topic};
use axum::{
    extract::{ConnectInfo, Path, State},
    http::Uri,
    response::Response,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

pub(super) async fn services(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    uri: Uri,
) -> Result<Response, Refused> {
    let query = state.query(&uri)?;
    let make = |selection: &Selection| {
        let all = state.catalogue.services();
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for service in &all {
            let rows = service.rows();
            for row in rows.filter(|row| selection.has_node(&row.value.node)) {
                let tags = names.entry(&service.name).or_default();
                tags.extend(row.value.tags.iter().map(String::as_str));
            }
        }
        wire::json(&names)
    };
    list(&state, Topic::Services, "services", from, &query, make).await
}

pub(super) async fn nodes(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    uri: Uri,
) -> Result<Response, Refused> {
    let query = state.query(&uri)?;
    let make = |selection: &Selection| {
        let all = state.catalogue.nodes();
        let selected = all.iter().filter(|node| selection.has_node(&node.value));
        let nodes: Vec<_> = selected.map(wire::indexed_node).collect();
        wire::json(&nodes)
    };
    list(&state, Topic::Nodes, "nodes", from, &query, make).await
}

/// A machine and the entries on it; `null` if it is unknown.
pub(super) async fn node(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let query = state.query(&uri)?;
    let make = |_: &Selection| {
        let nodes = state.catalogue.nodes();
        let is_named = |wanted: &str, id: &str| wanted == name || id == name;
        let mut nodes = nodes.iter();
        let found = nodes.find(|node| is_named(&node.value.name, &node.value.id));
        let rows = rows_on(&state, &name);
        let own = rows.first().map(|row| &row.value.node);
        let node = match (found, own) {
            (Some(node), _) => wire::indexed_node(node),
            (None, Some(own)) => wire::node(own, 1, 1),
            (None, None) => return Bytes::from_static(b"null"),
        };
        let services: BTreeMap<&str, _> = rows
            .iter()
            .map(|row| (row.value.id.as_str(), wire::service(row)))
            .collect();
        wire::json(&json!({"Node": node, "Services": services}))
    };
    let asked = format!("node/{name}");
    list(&state, Topic::All, &asked, from, &query, make).await
}

pub(super) async fn node_checks(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let query = state.query(&uri)?;
    let make = |_: &Selection| {
        let nodes = state.catalogue.nodes();
        let own = nodes.iter().filter(|node| node.value.name == name);
        let rows = rows_on(&state, &name);
        let checks: Vec<_> = own
            .map(wire::indexed_check)
            .chain(rows.iter().map(wire::service_check))
            .collect();
        wire::json(&checks)
    };
    let asked = format!("checks/{name}");
    list(&state, Topic::All, &asked, from, &query, make).await
}

pub(super) async fn state_checks(
    State(state): State<ConsulState>,
    ConnectInfo(from): From,
    Path(wanted): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let query = state.query(&uri)?;
    if !["any", "passing", "warning", "critical"].contains(&wanted.as_str()) {
        return Err(Refused::bad(format!("there is no state `{wanted}`")));
    }
    let has = |status: Status| wanted == "any" || wanted == status.word();
    let make = |selection: &Selection| {
        let (nodes, services) = (state.catalogue.nodes(), state.catalogue.services());
        let of_node = |answers| match answers {
            true => Status::Passing,
            false => Status::Critical,
        };
        let nodes = nodes
            .iter()
            .filter(|node| has(of_node(node.value.answers)) && selection.has_node(&node.value));
        let rows = services.iter().flat_map(|service| service.rows());
        let rows = rows.filter(|row| has(row.value.status) && selection.has(&row.value));
        let checks: Vec<_> = nodes
            .map(wire::indexed_check)
            .chain(rows.map(wire::service_check))
            .collect();
        wire::json(&checks)
    };
    let asked = format!("state/{wanted}");
    list(&state, Topic::All, &asked, from, &query, make).await
}

/// An answer about a part of the catalogue, once its index is not the one that the caller knows.
async fn list(
    state: &ConsulState,
    topic: Topic,
    asked: &str,
    from: SocketAddr,
    query: &Query,
    make: impl FnOnce(&Selection) -> Bytes,
) -> Result<Response, Refused> {
    state.topic(topic, query, from.ip()).await?;
    let mut selection = query.selection.clone();
    // These are parameters of services.
    (selection.passing, selection.tags) = (false, Vec::new());
    let asked = format!("{asked} {:?}", selection.node_meta);
    let catalogue = &state.catalogue;
    let (index, body) = catalogue.answer(topic, &asked, || make(&selection));
    Ok(answer(index, body))
}

fn rows_on(state: &ConsulState, node: &str) -> Vec<Row> {
    let services = state.catalogue.services();
    let rows = services.iter().flat_map(|service| service.rows());
    let on = rows.filter(|row| row.value.node.name == node || row.value.node.id == node);
    on.cloned().collect()
}

pub(super) async fn datacenters(State(state): State<ConsulState>) -> Response {
    told(&state, &json!([DATACENTER]))
}

pub(super) async fn leader(State(state): State<ConsulState>) -> Response {
    told(&state, &json!(wire::server(&state.own.address)))
}

pub(super) async fn peers(State(state): State<ConsulState>) -> Response {
    told(&state, &json!([wire::server(&state.own.address)]))
}

pub(super) async fn members(State(state): State<ConsulState>) -> Response {
    let nodes = state.catalogue.nodes();
    let nodes = nodes.iter().map(|node| {
        let node = &node.value;
        member(&node.name, &node.address, node.answers, "node")
    });
    let own = member(MANAGER, &state.own.address, true, "consul");
    let members: Vec<Value> = std::iter::once(own).chain(nodes).collect();
    told(&state, &json!(members))
}

pub(super) async fn own(State(state): State<ConsulState>) -> Response {
    let Node { id, address, .. } = &*state.own;
    let version = concat!(env!("CARGO_PKG_VERSION"), "+micado");
    let own = json!({
        "Config": {
            "Datacenter": DATACENTER,
            "PrimaryDatacenter": DATACENTER,
            "NodeName": MANAGER,
            "NodeID": id,
            "Revision": "",
            "Server": true,
            "Version": version,
        },
        "DebugConfig": {},
        "Coord": {},
        "Member": member(MANAGER, address, true, "consul"),
        "Stats": {},
        "Meta": {},
    });
    told(&state, &own)
}

/// A member: status 1 is alive, 4 failed.
fn member(name: &str, address: &str, is_alive: bool, role: &str) -> Value {
    json!({
        "Name": name,
        "Addr": address,
        "Port": 8301,
        "Tags": {"dc": DATACENTER, "role": role},
        "Status": if is_alive { 1 } else { 4 },
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
        "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    })
}

fn told(state: &ConsulState, value: &Value) -> Response {
    answer(state.catalogue.index(), wire::json(value))
}
