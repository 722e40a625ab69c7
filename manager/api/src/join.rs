//! The trade: a rented machine's credential for all that it needs to be a node of the cluster. What
//! its boot script sends and gets.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a machine sends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// What it was ordered with, for it alone. Secret.
    pub credential: String,
    /// A request for a certificate (PKCS#10, PEM), made with the machine's own key.
    pub csr: String,
}

/// What it gets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinAnswer {
    /// How its engine joins.
    pub swarm: SwarmJoin,
    /// Its own client certificate, for the key of its request, PEM.
    pub certificate: String,
    /// The cluster's authority, PEM.
    pub authority: String,
    /// Lines for `/etc/hosts`, `ADDRESS NAME`: names that the answer has and no DNS knows. None so
    /// far.
    pub hosts: Vec<String>,
    /// Where it gets images.
    pub registry: RegistryAccess,
}

/// The body of the engine's `POST /swarm/join`, as it stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SwarmJoin {
    /// Where the engine listens for other nodes.
    pub listen_addr: String,
    /// The Swarm's managers, `HOST:2377`.
    pub remote_addrs: Vec<String>,
    /// The worker token that is good at present. Secret.
    pub join_token: String,
}

/// What a machine needs to pull from the cluster's registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryAccess {
    /// `HOST:PORT`, as it stands in the names of images.
    pub host: String,
    /// The authority of the registry's certificate, PEM.
    pub authority: String,
    /// The client certificate to show, PEM.
    pub certificate: String,
    /// Its key, PEM; without one it is the machine's own certificate, and the machine's own key
    /// goes with it. Secret.
    pub key: Option<String>,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("csr", &self.csr)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAnswer")
            .field("swarm", &self.swarm)
            .field("hosts", &self.hosts)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SwarmJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmJoin")
            .field("remote_addrs", &self.remote_addrs)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RegistryAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAccess")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
