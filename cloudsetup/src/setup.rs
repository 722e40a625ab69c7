//! What `cloudsetup.xml` says: the clouds with their flavours, and the applications that machines run.

use micado_api::{CloudName, FlavourName, PricePerHour, Resources};
use std::{path::PathBuf, time::Duration};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudSetup {
    /// Places to rent, in the file's order.
    pub clouds: Vec<Cloud>,
    /// What machines can run, in the file's order.
    pub applications: Vec<Application>,
}

/// Which API a cloud is rented through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerKind {
    /// CloudBroker's XML job API: what every file without a broker type means.
    #[default]
    CloudBroker,
    /// Containers with an engine of their own on an engine of yours.
    Local,
}

/// A place to rent machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Our name for it.
    pub name: CloudName,
    /// The provider's name on the wire.
    pub provider: String,
    /// The region's name on the wire.
    pub region: String,
    /// Which API it is rented through.
    pub broker: BrokerKind,
    /// Where that API is: a URL, or for `local` the engine's address (`unix:///var/run/docker.sock`). `None` is the broker's default.
    pub endpoint: Option<String>,
    /// The file with user and password on two lines.
    pub credentials: Option<PathBuf>,
    /// How long a machine may take from the order until its node is ready.
    pub join_timeout: Duration,
    /// Its machine sizes, in the file's order.
    pub flavours: Vec<Flavour>,
}

/// A machine size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavour {
    /// Our name for it (`size` in the file).
    pub name: FlavourName,
    /// Its name on the wire.
    pub id: String,
    /// What such a machine has; without it (old files) the planner cannot choose the flavour, `start` can.
    pub size: Option<Resources>,
    /// What it costs; nothing when the file does not say.
    pub price: PricePerHour,
}

/// What an application's machines are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs containers: what the planner rents.
    Node,
    /// Runs the proxy.
    Proxy,
}

/// A machine image prepared for the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Our name for it.
    pub name: String,
    /// The software's name on the wire (`sname`).
    pub software: String,
    /// The executable's name on the wire.
    pub executable: String,
    /// The argument string; its one `%s` is filled with the location.
    pub param_template: Option<String>,
    /// What its machines are for: `proxy` when the name begins so (in any case), else `node`; the file may say.
    pub role: Role,
}
