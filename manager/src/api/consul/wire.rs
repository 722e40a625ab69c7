//! Consul's JSON. Lists and maps are empty and never `null`.

use super::DATACENTER;
use crate::catalogue::{Entry, Indexed, Node, Row, Status};
use bytes::Bytes;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeWire<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'static str,
    tagged_addresses: BTreeMap<&'static str, &'a str>,
    meta: &'a BTreeMap<String, String>,
    create_index: u64,
    modify_index: u64,
}

/// Address and port by the kind of network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressWire<'a> {
    address: &'a str,
    port: u16,
}

/// Shares of requests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WeightsWire {
    passing: u32,
    warning: u32,
}

const WEIGHTS: WeightsWire = WeightsWire {
    passing: 1,
    warning: 1,
};

/// An entry in the form of the health endpoints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceWire<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    address: &'a str,
    tagged_addresses: BTreeMap<&'static str, AddressWire<'a>>,
    meta: &'a BTreeMap<String, String>,
    port: u16,
    weights: WeightsWire,
    enable_tag_override: bool,
    create_index: u64,
    modify_index: u64,
}

/// The check of an entry or of a machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CheckWire<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: String,
    name: String,
    status: &'static str,
    notes: &'static str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    #[serde(rename = "Type")]
    kind: &'static str,
    create_index: u64,
    modify_index: u64,
}

/// A machine, an entry on it and their checks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthWire<'a> {
    node: NodeWire<'a>,
    service: ServiceWire<'a>,
    checks: [CheckWire<'a>; 2],
}

/// An entry in the form of the catalogue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CatalogueWire<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'static str,
    tagged_addresses: BTreeMap<&'static str, &'a str>,
    node_meta: &'a BTreeMap<String, String>,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    service_tagged_addresses: BTreeMap<&'static str, AddressWire<'a>>,
    service_weights: WeightsWire,
    service_meta: &'a BTreeMap<String, String>,
    service_port: u16,
    service_enable_tag_override: bool,
    create_index: u64,
    modify_index: u64,
}

pub(super) fn node(node: &Node, created: u64, modified: u64) -> NodeWire<'_> {
    NodeWire {
        id: &node.id,
        node: &node.name,
        address: &node.address,
        datacenter: DATACENTER,
        tagged_addresses: node_addresses(node),
        meta: &node.meta,
        create_index: created,
        modify_index: modified,
    }
}

fn node_addresses(node: &Node) -> BTreeMap<&'static str, &str> {
    let names = ["lan", "wan"].into_iter().chain(families(&node.address));
    names.map(|name| (name, node.address.as_str())).collect()
}

fn families(address: &str) -> impl Iterator<Item = &'static str> {
    let names: &[_] = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => &["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => &["lan_ipv6", "wan_ipv6"],
        Err(_) => &[],
    };
    names.iter().copied()
}

pub(super) fn service(row: &Row) -> ServiceWire<'_> {
    let entry = &row.value;
    ServiceWire {
        id: &entry.id,
        service: &entry.service,
        tags: &entry.tags,
        address: &entry.address,
        tagged_addresses: addresses(entry),
        meta: &entry.meta,
        port: entry.port,
        weights: WEIGHTS,
        enable_tag_override: false,
        create_index: row.created,
        modify_index: row.modified,
    }
}

fn addresses(entry: &Entry) -> BTreeMap<&'static str, AddressWire<'_>> {
    let (address, port) = (entry.address.as_str(), entry.port);
    let names = families(address);
    names
        .map(|name| (name, AddressWire { address, port }))
        .collect()
}

pub(super) fn health(row: &Row) -> HealthWire<'_> {
    let entry = &row.value;
    HealthWire {
        node: node(&entry.node, row.created, row.modified),
        service: service(row),
        checks: [
            node_check(&entry.node, row.created, row.modified),
            service_check(row),
        ],
    }
}

pub(super) fn catalogue(row: &Row) -> CatalogueWire<'_> {
    let entry = &row.value;
    CatalogueWire {
        id: &entry.node.id,
        node: &entry.node.name,
        address: &entry.node.address,
        datacenter: DATACENTER,
        tagged_addresses: node_addresses(&entry.node),
        node_meta: &entry.node.meta,
        service_id: &entry.id,
        service_name: &entry.service,
        service_tags: &entry.tags,
        service_address: &entry.address,
        service_tagged_addresses: addresses(entry),
        service_weights: WEIGHTS,
        service_meta: &entry.meta,
        service_port: entry.port,
        service_enable_tag_override: false,
        create_index: row.created,
        modify_index: row.modified,
    }
}

/// The check of an entry: that of its copy.
pub(super) fn service_check(row: &Row) -> CheckWire<'_> {
    let entry = &row.value;
    CheckWire {
        node: &entry.node.name,
        check_id: format!("service:{}", entry.id),
        name: format!("Service '{}' check", entry.service),
        status: entry.status.word(),
        notes: "",
        output: &entry.output,
        service_id: &entry.id,
        service_name: &entry.service,
        service_tags: &entry.tags,
        kind: "",
        create_index: row.created,
        modify_index: row.modified,
    }
}

/// The check of a machine: its node in the Swarm answers.
pub(super) fn node_check(node: &Node, created: u64, modified: u64) -> CheckWire<'_> {
    let (status, output) = match node.answers {
        true => (Status::Passing, "Agent alive and reachable"),
        false => (Status::Critical, "its node does not answer"),
    };
    CheckWire {
        node: &node.name,
        check_id: "serfHealth".to_owned(),
        name: "Serf Health Status".to_owned(),
        status: status.word(),
        notes: "",
        output,
        service_id: "",
        service_name: "",
        service_tags: &[],
        kind: "",
        create_index: created,
        modify_index: modified,
    }
}

pub(super) fn indexed_node(indexed: &Indexed<std::sync::Arc<Node>>) -> NodeWire<'_> {
    node(&indexed.value, indexed.created, indexed.modified)
}

pub(super) fn indexed_check(indexed: &Indexed<std::sync::Arc<Node>>) -> CheckWire<'_> {
    node_check(&indexed.value, indexed.created, indexed.modified)
}

/// The JSON of a value of these types, which always have one.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    let json = serde_json::to_vec(value);
    json.expect("all keys of maps are texts").into()
}

/// An address with Consul's port for servers.
pub(super) fn server(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:8300"),
        _ => format!("{address}:8300"),
    }
}

/// True for an address that no client can reach: of an entry it would be a wrong one.
pub(super) fn is_unspecified(address: &str) -> bool {
    matches!(
        address.parse::<IpAddr>(),
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    )
}
