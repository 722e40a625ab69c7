//! Rows of the catalogue, made from the core's views. Pure.

use crate::control::{CopyHealth, ListedContainer, ListedCopy, ListedNode};
use crate::model::Registration;
use micado_api::{ClusterId, InstanceId, PortMapping, Protocol};
use std::{collections::BTreeMap, sync::Arc};

/// Name of the node that entries made by hand belong to.
pub const MANAGER: &str = "micado-manager";

/// Upper bound for the text beside a status, in bytes.
const OUTPUT_MAX: usize = 4096;

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// In the form of a UUID.
    pub id: String,
    /// The instance's tag.
    pub name: String,
    pub address: String,
    pub meta: BTreeMap<String, String>,
    /// Its node in the Swarm answers.
    pub answers: bool,
}

/// Fitness of an entry for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Passing,
    Critical,
}

impl Status {
    /// The word for it in Consul's interface.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Critical => "critical",
        }
    }
}

/// One published port of one copy, or an entry that was made by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the catalogue.
    pub id: String,
    /// Name that it is found by.
    pub service: String,
    pub node: Arc<Node>,
    pub address: String,
    pub port: u16,
    pub tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
    pub status: Status,
    /// Reason of the status, at most 4 KiB.
    pub output: String,
    /// Instance and generation of the copy; `None` for an entry made by hand.
    pub copy: Option<(InstanceId, u32)>,
}

/// The row of a machine.
#[must_use]
pub fn node(cluster: &ClusterId, node: &ListedNode) -> Node {
    let meta = [
        ("location", node.location.to_string()),
        ("offer", node.offer.clone()),
    ];
    Node {
        id: uuid(node.id.as_str(), cluster),
        name: node.tag.to_string(),
        address: node.address.clone(),
        meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
        answers: node.answers,
    }
}

/// The row of the manager itself.
#[must_use]
pub fn manager(cluster: &ClusterId, address: &str) -> Node {
    Node {
        id: uuid("", cluster),
        name: MANAGER.to_owned(),
        address: address.to_owned(),
        meta: BTreeMap::new(),
        answers: true,
    }
}

/// Two ids of eight hexadecimal digits in the form of a UUID: some clients parse it as one.
fn uuid(id: &str, cluster: &ClusterId) -> String {
    format!("{id:0>8}-0000-4000-8000-{:0>12}", cluster.as_str())
}

/// Entries of a container: one for each published port of each copy on a known machine. `before`
/// are its present entries: the engine shows no ports of a copy that is retiring, or whose process
/// is started again.
#[must_use]
pub fn entries(
    container: &ListedContainer,
    node_of: impl Fn(&InstanceId) -> Option<Arc<Node>>,
    before: &[Arc<Entry>],
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    // The newer one of two copies on one machine has the plain id.
    for copy in container.copies.iter().rev() {
        let Some(node) = node_of(&copy.instance) else {
            continue;
        };
        let of_copy = match copy.ports.is_empty() && copy.health != CopyHealth::Running {
            true => as_before(copy, &node, before),
            false => of_ports(container, copy, &node),
        };
        for mut entry in of_copy {
            if entries.iter().any(|other| other.id == entry.id) {
                entry.id = format!("{}:{}", entry.id, copy.generation);
            }
            entries.push(entry);
        }
    }
    entries
}

fn of_ports<'a>(
    container: &'a ListedContainer,
    copy: &'a ListedCopy,
    node: &'a Arc<Node>,
) -> Vec<Entry> {
    let (status, output) = status(&copy.health);
    let ports = copy
        .ports
        .iter()
        .filter_map(|port| Some((port, port.host?)));
    let entry = |(at, (port, host)): (usize, (&PortMapping, u16))| Entry {
        id: entry_id(container, node, *port),
        service: match at {
            0 => container.service.to_string(),
            _ => format!("{}-{}", container.service, port.container),
        },
        node: node.clone(),
        address: node.address.clone(),
        port: host,
        tags: tags(container, copy),
        meta: meta(container, *port),
        status,
        output: output.clone(),
        copy: Some((copy.instance.clone(), copy.generation)),
    };
    ports.enumerate().map(entry).collect()
}

/// The entries of a copy as they were, with its present health.
fn as_before(copy: &ListedCopy, node: &Arc<Node>, before: &[Arc<Entry>]) -> Vec<Entry> {
    let is_its = |entry: &&Arc<Entry>| {
        let of = entry.copy.as_ref();
        of.is_some_and(|(instance, generation)| {
            *instance == copy.instance && *generation == copy.generation
        })
    };
    let (status, output) = status(&copy.health);
    let its = before.iter().filter(is_its);
    its.map(|entry| Entry {
        node: node.clone(),
        status,
        output: output.clone(),
        ..Entry::clone(entry)
    })
    .collect()
}

fn status(health: &CopyHealth) -> (Status, String) {
    match health {
        CopyHealth::Running => (Status::Passing, String::new()),
        CopyHealth::Starting => (Status::Critical, "starting".to_owned()),
        CopyHealth::Draining => (Status::Critical, "draining".to_owned()),
        CopyHealth::Kept(reason) => {
            let kept =
                format!("{reason}; kept, because more than half of the service would be out");
            (Status::Passing, bounded(&kept))
        }
        CopyHealth::Down(reason) => (Status::Critical, bounded(reason)),
    }
}

fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(OUTPUT_MAX);
    text[..end].to_owned()
}

/// `INSTANCE:CONTAINER:PORT`, and `:udp` if it is of UDP.
fn entry_id(container: &ListedContainer, node: &Node, port: PortMapping) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => ":udp",
    };
    let (name, container, port) = (&node.name, &container.name, port.container);
    format!("{name}:{container}:{port}{protocol}")
}

fn tags(container: &ListedContainer, copy: &ListedCopy) -> Vec<String> {
    let domain = container.domain.as_ref();
    let ours = [
        domain.map(|domain| format!("domain={domain}")),
        Some(format!("client={}", container.client)),
        Some(format!("image={}", copy.image)),
        Some(format!("location={}", container.location)),
    ];
    let ours = ours.into_iter().flatten();
    ours.chain(container.tags.iter().cloned()).collect()
}

fn meta(container: &ListedContainer, port: PortMapping) -> BTreeMap<String, String> {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let meta = [
        ("container", container.name.to_string()),
        ("container-port", port.container.to_string()),
        ("dns-name", dns_name(container.service.as_str())),
        ("protocol", protocol.to_owned()),
    ];
    meta.map(|(key, value)| (key.to_owned(), value)).into()
}

/// A service's name as one label of a host name: lower case, and `-` for `_` and `.`.
#[must_use]
pub fn dns_name(service: &str) -> String {
    service.to_lowercase().replace(['_', '.'], "-")
}

/// The entry of a registration by hand. It has no check: it is passing until it is removed.
#[must_use]
pub fn registered(registration: &Registration, node: &Arc<Node>) -> Entry {
    let dns = ("dns-name".to_owned(), dns_name(&registration.service));
    let meta = registration.meta.iter();
    let meta = meta.map(|(key, value)| (key.clone(), value.clone()));
    Entry {
        id: registration.id.clone(),
        service: registration.service.clone(),
        node: node.clone(),
        address: registration.address.clone(),
        port: registration.port,
        tags: registration.tags.clone(),
        meta: std::iter::once(dns).chain(meta).collect(),
        status: Status::Passing,
        output: String::new(),
        copy: None,
    }
}

#[cfg(test)]
mod tests;
