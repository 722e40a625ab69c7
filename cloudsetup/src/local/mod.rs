//! The `local` cloud: an instance is a container with a Docker Engine of its own, on an engine of
//! yours.

mod broker;
mod check;
mod container;
mod engine;
mod host;

use crate::{BrokerError, Cloud};
use bollard::models::HostConfig;
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
}

/// A cloud of machines that are containers of the engine at `endpoint`. Holds no connection: every
/// call makes its own, so a restarted engine is used at once.
#[derive(Debug)]
pub struct LocalCloud {
    cloud: Cloud,
    endpoint: String,
    config: LocalConfig,
    /// Networks of one name can be made concurrently; this lock allows one at a time.
    making_network: tokio::sync::Mutex<()>,
}

impl LocalCloud {
    /// The cloud on the engine at `endpoint` (`unix:///path` or `tcp://host:port`). Connects to
    /// nothing yet.
    #[must_use]
    pub fn new(cloud: Cloud, endpoint: impl Into<String>, config: LocalConfig) -> Self {
        Self {
            cloud,
            endpoint: endpoint.into(),
            config,
            making_network: tokio::sync::Mutex::default(),
        }
    }

    /// The hosting machine's address on the instances' network, where machines reach a manager on
    /// that machine. Makes the network if absent.
    ///
    /// # Errors
    /// If the engine does not answer or refuses, or the network has no gateway.
    pub async fn gateway(&self, cluster: &ClusterId) -> Result<IpAddr, BrokerError> {
        let engine = self.engine().await?;
        self.ensure_network(&engine, cluster).await?;
        let network = engine
            .inspect_network(&self.config.network, None)
            .await
            .map_err(refused_or_unknown)?;
        let configs = network
            .ipam
            .and_then(|ipam| ipam.config)
            .unwrap_or_default();
        let address = configs
            .iter()
            .filter_map(|config| config.gateway.as_deref())
            .find_map(|gateway| gateway.parse().ok());
        address.ok_or_else(|| {
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

    async fn ensure_network(
        &self,
        engine: &bollard::Docker,
        cluster: &ClusterId,
    ) -> Result<(), BrokerError> {
        let _one_at_a_time = self.making_network.lock().await;
        match engine.inspect_network(&self.config.network, None).await {
            Ok(_) => return Ok(()),
            Err(error) if engine::status(&error) == Some(404) => {}
            Err(error) => return Err(refused_or_unknown(error)),
        }
        tracing::info!(
            network = self.config.network,
            "making the instances' network"
        );
        match engine
            .create_network(container::network(&self.config.network, cluster))
            .await
        {
            Err(error) if engine::status(&error) != Some(409) => Err(refused_or_unknown(error)),
            _ => Ok(()),
        }
    }

    async fn engine(&self) -> Result<bollard::Docker, BrokerError> {
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
