//! The `local` cloud: an instance is a container with a Docker Engine of its own, on an engine of
//! yours.

mod broker;
mod check;
mod container;
mod engine;
mod host;

use crate::{BrokerError, Cloud};
use bollard::{
    Docker,
    models::{HostConfig, IpamConfig},
};
use engine::{chain, refused_or_unknown};
pub use host::remove_cgroups;
use micado_api::ClusterId;
use std::net::IpAddr;

/// Default address of the hosting engine, if neither the cloud nor the caller names one.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Rights for a container of the node image that is not an instance, such as a manager's own engine
/// in a test, on the engine at `endpoint`. Add limits, mounts and a network; end with
/// [`remove_cgroups`].
///
/// # Errors
/// If the engine does not answer.
pub async fn engine_rights(endpoint: &str) -> Result<HostConfig, BrokerError> {
    let engine = engine::connect(endpoint)
        .await
        .map_err(|error| BrokerError::Unknown(chain(&error)))?;
    let info = engine.info().await.map_err(refused_or_unknown)?;
    Ok(container::rights(
        engine::unified_cgroups(&info),
        host::capabilities(endpoint).await,
    ))
}

/// Parts that instances are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Bridge network of the hosting engine for the instances; the manager is reachable through it.
    /// Made if absent.
    pub network: String,
    /// The node image on the hosting engine (`scripts/node-image/build` makes it).
    pub image: String,
    /// The addresses that the network must have, as in `192.168.32.0/20`; `None` leaves them to the
    /// engine when the network is first made.
    pub subnet: Option<String>,
}

/// A cloud of machines that are containers of the engine at `endpoint`. Holds no connection: every
/// call makes its own, so a restarted engine is used at once.
#[derive(Debug)]
pub struct LocalCloud {
    cloud: Cloud,
    endpoint: String,
    config: LocalConfig,
    /// The network's addresses, once they are known. A lost network is made again with the same,
    /// because machines reach the manager at its gateway. Locked while the network is made, because
    /// an engine would make two of one name.
    subnet: tokio::sync::Mutex<Option<String>>,
}

impl LocalCloud {
    /// The cloud on the engine at `endpoint` (`unix:///path` or `tcp://host:port`). Connects to
    /// nothing yet.
    #[must_use]
    pub fn new(cloud: Cloud, endpoint: impl Into<String>, config: LocalConfig) -> Self {
        Self {
            cloud,
            endpoint: endpoint.into(),
            subnet: tokio::sync::Mutex::new(config.subnet.clone()),
            config,
        }
    }

    /// The hosting machine's address on the instances' network, where machines reach a manager on
    /// that machine, and the network's subnet. Makes the network if absent.
    ///
    /// # Errors
    /// If the engine does not answer or refuses, or the network has no gateway.
    pub async fn gateway(&self, cluster: &ClusterId) -> Result<(IpAddr, String), BrokerError> {
        let engine = self.engine().await?;
        let found = self.ensure_network(&engine, cluster).await?;
        let gateway = found.as_ref().and_then(|config| config.gateway.as_deref());
        let gateway = gateway.and_then(|gateway| gateway.parse().ok());
        gateway
            .zip(found.and_then(|config| config.subnet))
            .ok_or_else(|| {
                BrokerError::Refused(format!(
                    "network `{}` has no gateway: it must be a bridge network of the engine",
                    self.config.network
                ))
            })
    }

    /// Removes the instances' network if it was made for this cluster. A missing or foreign network
    /// is left alone.
    ///
    /// # Errors
    /// If the engine does not answer, or the network is still in use.
    pub async fn remove_network(&self, cluster: &ClusterId) -> Result<(), BrokerError> {
        let engine = self.engine().await?;
        match engine.inspect_network(&self.config.network, None).await {
            Ok(network) if container::belongs(network.labels.as_ref(), cluster) => {}
            Ok(_) => return Ok(()),
            Err(error) if engine::status(&error) == Some(404) => return Ok(()),
            Err(error) => return Err(refused_or_unknown(error)),
        }
        match engine.remove_network(&self.config.network).await {
            Err(error) if engine::status(&error) != Some(404) => Err(refused_or_unknown(error)),
            _ => Ok(()),
        }
    }

    /// Makes the network if it is absent, with the addresses that it had before; returns its
    /// addresses.
    async fn ensure_network(
        &self,
        engine: &Docker,
        cluster: &ClusterId,
    ) -> Result<Option<IpamConfig>, BrokerError> {
        let name = &self.config.network;
        let mut subnet = self.subnet.lock().await;
        let found = match inspect(engine, name).await? {
            Some(found) => found,
            None => {
                tracing::info!(network = name, subnet = ?*subnet, "making the instances' network");
                let request = container::network(name, cluster, subnet.as_deref());
                match engine.create_network(request).await {
                    Ok(_) => {}
                    // Somebody else has just made it.
                    Err(error) if engine::status(&error) == Some(409) => {}
                    Err(error) => return Err(no_network(name, subnet.as_deref(), error)),
                }
                inspect(engine, name).await?.unwrap_or_default()
            }
        };
        let config = found
            .into_iter()
            .find(|config| config.gateway.is_some() && config.subnet.is_some());
        let present = config.as_ref().and_then(|config| config.subnet.as_deref());
        if let (Some(wanted), Some(present)) = (&*subnet, present)
            && wanted != present
        {
            return Err(BrokerError::Refused(format!(
                "network `{name}` has the addresses {present}, and machines are told to reach the manager at the gateway of {wanted}: \
                 remove the network, and it is made again with those"
            )));
        }
        *subnet = subnet.take().or(present.map(str::to_owned));
        Ok(config)
    }

    async fn engine(&self) -> Result<Docker, BrokerError> {
        engine::connect(&self.endpoint).await.map_err(|error| {
            BrokerError::Unknown(format!(
                "cloud `{}`: the engine at {} does not answer: {}",
                self.cloud.name,
                self.endpoint,
                chain(&error)
            ))
        })
    }
}

/// The addresses of the network of this name; `None` if it does not exist.
async fn inspect(engine: &Docker, name: &str) -> Result<Option<Vec<IpamConfig>>, BrokerError> {
    match engine.inspect_network(name, None).await {
        Ok(network) => Ok(Some(
            network
                .ipam
                .and_then(|ipam| ipam.config)
                .unwrap_or_default(),
        )),
        Err(error) if engine::status(&error) == Some(404) => Ok(None),
        Err(error) => Err(refused_or_unknown(error)),
    }
}

fn no_network(name: &str, subnet: Option<&str>, error: bollard::errors::Error) -> BrokerError {
    match (refused_or_unknown(error), subnet) {
        (BrokerError::Refused(text), Some(subnet)) => BrokerError::Refused(format!(
            "network `{name}` was lost and cannot be made again with the addresses {subnet}, at whose gateway machines reach the manager: {text}"
        )),
        (error, _) => error,
    }
}
