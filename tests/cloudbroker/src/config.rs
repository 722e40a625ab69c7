//! Settings of a simulator.

use crate::{Catalogue, Pace, Spelling};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of HTTP. Port 0 is any free one.
    pub listen: SocketAddr,
    /// HTTPS beside it.
    pub https: Option<Https>,
    /// The account's e-mail.
    pub user: String,
    /// The account's password.
    pub password: String,
    /// The catalogue.
    pub catalogue: Catalogue,
    /// Duration of each status.
    pub pace: Pace,
    /// Kind of instances.
    pub machines: MachineKind,
    /// File in which jobs and machines survive the program. It holds the uploaded files, which may
    /// be secret.
    pub state: Option<PathBuf>,
    /// Notation and behaviour where the real service is unknown.
    pub spelling: Spelling,
    /// Seed of everything random.
    pub seed: u64,
    /// Probability of a random fault per call.
    pub fault_rate: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            https: None,
            user: "somebody@example.net".to_owned(),
            password: "secret".to_owned(),
            catalogue: Catalogue::default(),
            pace: Pace::default(),
            machines: MachineKind::None,
            state: None,
            spelling: Spelling::default(),
            seed: 0,
            fault_rate: 0.0,
        }
    }
}

/// Settings of HTTPS.
#[derive(Debug, Clone)]
pub struct Https {
    /// Address. Port 0 is any free one.
    pub listen: SocketAddr,
    /// Certificate to present.
    pub certificate: Certificate,
}

/// A certificate for HTTPS.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Files (PEM).
    Files {
        /// The certificate, with intermediate ones.
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Made for these names or addresses, and signed by an authority that is made and kept in this
    /// folder as `ca.crt`.
    Made {
        /// Folder where clients find the authority.
        folder: PathBuf,
        /// Besides `localhost` and the listening address.
        names: Vec<String>,
    },
}

/// Kind of instances.
#[derive(Debug, Clone, Default)]
pub enum MachineKind {
    /// Records only, which pass through all statuses.
    #[default]
    None,
    /// Containers with an engine of their own.
    Docker(DockerMachines),
}

/// Containers as machines.
#[derive(Debug, Clone)]
pub struct DockerMachines {
    /// The hosting engine (`unix:///path`, or `tcp://host:port`).
    pub endpoint: String,
    /// Bridge network of the machines; made if absent.
    pub network: String,
    /// Image that they boot (made by `scripts/cloudbroker-image/build`).
    pub image: String,
    /// Labels on everything that is made.
    pub labels: BTreeMap<String, String>,
}
