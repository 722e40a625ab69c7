//! The way from the machine to a port of a container.
//!
//! A Swarm task has two networks: the cluster's, in a network namespace of its own that the machine
//! does not reach, and the engine's bridge `docker_gwbridge`. Its address there is used, whether
//! the port is published or not. The published port would be a worse witness: the engine's own
//! proxy accepts connections to it although nothing listens in the container.

use crate::engine::{Engine, EngineError};
use serde::Deserialize;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Bridge of the containers of Swarm services.
const GATEWAY: &str = "/networks/docker_gwbridge";

/// Addresses of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// On the bridge.
    bridge: Option<IpAddr>,
    /// On networks of unknown kinds.
    others: Vec<IpAddr>,
    /// Published TCP ports, by the container's.
    published: HashMap<u16, SocketAddr>,
}

/// The engine's record of a container's networks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Networks {
    ports: Option<HashMap<String, Option<Vec<Bound>>>>,
    networks: Option<HashMap<String, Endpoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bound {
    #[serde(default)]
    host_ip: String,
    host_port: String,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(rename = "IPAddress", default)]
    address: String,
}

#[derive(Debug, Deserialize)]
struct Bridge {
    #[serde(rename = "Containers", default)]
    containers: HashMap<String, Attached>,
}

#[derive(Debug, Deserialize)]
struct Attached {
    /// With the length of the network's prefix.
    #[serde(rename = "IPv4Address", default)]
    address: String,
}

impl Addresses {
    /// Asks the engine for the addresses of a container.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn of(engine: &Engine, id: &str) -> Result<Self, EngineError> {
        let mut addresses = Self::shown(&engine.inspect(id).await?.network_settings);
        match engine.get::<Bridge>(GATEWAY).await {
            Ok(bridge) => addresses.bridge = bridge.containers.get(id).and_then(Attached::ip),
            // An engine without a Swarm has none.
            Err(EngineError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(addresses)
    }

    /// Addresses in a container's record.
    fn shown(networks: &Networks) -> Self {
        let ports = networks.ports.iter().flatten();
        let published = ports.filter_map(|(port, bound)| {
            let port = port.strip_suffix("/tcp")?.parse().ok()?;
            let bound = bound.iter().flatten();
            Some((port, bound.filter_map(Bound::socket).next()?))
        });
        let networks = networks.networks.iter().flatten();
        let others = networks.filter_map(|(_, endpoint)| endpoint.address.parse().ok());
        Self {
            bridge: None,
            others: others.collect(),
            published: published.collect(),
        }
    }

    /// The way to a port of the container.
    #[must_use]
    pub fn of_port(&self, port: u16) -> Option<SocketAddr> {
        let at = |ip: &IpAddr| SocketAddr::new(*ip, port);
        let bridge = self.bridge.as_ref().map(at);
        bridge
            .or_else(|| self.published.get(&port).copied())
            .or_else(|| self.others.first().map(at))
    }
}

impl Bound {
    fn socket(&self) -> Option<SocketAddr> {
        let port = self.host_port.parse().ok().filter(|port| *port > 0)?;
        let address = self.host_ip.parse().ok();
        let address = address.filter(|address: &IpAddr| !address.is_unspecified());
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Some(SocketAddr::new(address, port))
    }
}

impl Attached {
    fn ip(&self) -> Option<IpAddr> {
        let address = self.address.split('/').next()?;
        address.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: serde_json::Value) -> Addresses {
        Addresses::shown(&serde_json::from_value(json).expect("networks"))
    }

    fn way(addresses: &Addresses, port: u16) -> Option<String> {
        addresses.of_port(port).map(|target| target.to_string())
    }

    #[test]
    fn the_bridge_comes_before_the_published_port() {
        let networks = serde_json::json!({
            "Ports": {
                "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "32768" }, { "HostIp": "::", "HostPort": "32768" }],
                "81/tcp": [{ "HostIp": "10.0.0.2", "HostPort": "81" }],
                "82/tcp": null,
                "53/udp": [{ "HostIp": "", "HostPort": "53" }],
            },
            "Networks": { "cluster": { "IPAddress": "10.0.1.5" } },
        });
        let mut addresses = shown(networks);
        assert_eq!(way(&addresses, 80).as_deref(), Some("127.0.0.1:32768"));
        assert_eq!(way(&addresses, 81).as_deref(), Some("10.0.0.2:81"));
        assert_eq!(way(&addresses, 82).as_deref(), Some("10.0.1.5:82"));
        assert_eq!(way(&addresses, 53).as_deref(), Some("10.0.1.5:53"));
        let attached = Attached {
            address: "172.18.0.3/16".to_owned(),
        };
        addresses.bridge = attached.ip();
        for port in [80, 82] {
            let expected = format!("172.18.0.3:{port}");
            assert_eq!(way(&addresses, port), Some(expected));
        }
    }

    #[test]
    fn a_container_without_a_network_has_no_way() {
        assert_eq!(way(&shown(serde_json::json!({})), 80), None);
        let none =
            serde_json::json!({ "Ports": null, "Networks": { "host": { "IPAddress": "" } } });
        assert_eq!(way(&shown(none), 80), None);
    }
}
