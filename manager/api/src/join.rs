//! Joining: a rented machine trades its credential for everything that a node of the cluster needs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Request of a machine's boot script.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The credential from the order, valid for this machine only. Secret.
    pub credential: String,
    /// A request for a certificate (PKCS#10, PEM), made with the machine's own key.
    pub csr: String,
}

/// Reply to a machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinAnswer {
    /// Parameters for its engine to join the Swarm.
    pub swarm: SwarmJoin,
    /// Its own client certificate, for the key of its request, PEM.
    pub certificate: String,
    /// The cluster's authority, PEM.
    pub authority: String,
    /// Lines for `/etc/hosts`, `ADDRESS NAME`: names in this reply that no DNS knows. None so far.
    pub hosts: Vec<String>,
    /// Access to images.
    pub registry: RegistryAccess,
}

/// The body of the engine's `POST /swarm/join`, unchanged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SwarmJoin {
    /// Address where the engine listens for other nodes.
    pub listen_addr: String,
    /// The Swarm's managers, `HOST:2377`.
    pub remote_addrs: Vec<String>,
    /// The worker token valid at present. Secret.
    pub join_token: String,
}

/// Access to the cluster's registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryAccess {
    /// `HOST:PORT`, as in the names of images.
    pub host: String,
    /// The authority of the registry's certificate, PEM.
    pub authority: String,
    /// The client certificate to present, PEM.
    pub certificate: String,
    /// Its key, PEM; absent if the certificate is the machine's own, with the machine's own key.
    /// Secret.
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
