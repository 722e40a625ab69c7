//! What a simulator is started with.

use crate::{Catalogue, Pace, Spelling};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// Everything that can be chosen.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP listens. Port 0 is any free one.
    pub listen: SocketAddr,
    /// HTTPS beside it.
    pub https: Option<Https>,
    /// The account's e-mail.
    pub user: String,
    /// The account's password.
    pub password: String,
    /// What can be rented.
    pub catalogue: Catalogue,
    /// How long each status lasts.
    pub pace: Pace,
    /// What instances are.
    pub machines: MachineKind,
    /// The file in which jobs and machines outlive the program. It holds the uploaded files, which
    /// may be secret.
    pub state: Option<PathBuf>,
    /// How things are written and done where the real service is not known.
    pub spelling: Spelling,
    /// Decides all that is random.
    pub seed: u64,
    /// How many of 1 calls have a fault at random.
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

/// How HTTPS is served.
#[derive(Debug, Clone)]
pub struct Https {
    /// Where. Port 0 is any free one.
    pub listen: SocketAddr,
    /// What to show.
    pub certificate: Certificate,
}

/// A certificate for HTTPS.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Files (PEM).
    Files {
        /// The certificate, with those between it and its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Made for these names or addresses, and signed by an authority that is made and kept in this
    /// folder as `ca.crt`.
    Made {
        /// For clients to find the authority in.
        folder: PathBuf,
        /// `localhost` and the listening address are always among them.
        names: Vec<String>,
    },
}

/// What instances are.
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
    /// The bridge network that the machines are on; made when absent.
    pub network: String,
    /// What they boot (`scripts/cloudbroker-image/build` makes it).
    pub image: String,
    /// On everything that is made.
    pub labels: BTreeMap<String, String>,
}
