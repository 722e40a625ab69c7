//! What `cloudsetup.xml` says: the clouds with their flavours, and the applications that machines
//! run.

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
    /// Where that API is: a URL, or for `local` the engine's address
    /// (`unix:///var/run/docker.sock`). `None` is the broker's default.
    pub endpoint: Option<String>,
    /// The file with user and password on two lines.
    pub credentials: Option<PathBuf>,
    /// A certificate authority (PEM) that the API's certificate may be signed by, besides those the
    /// system knows (`ca` in the file).
    pub authority: Option<PathBuf>,
    /// How CloudBroker is spoken to.
    pub wire: Wire,
    /// How long a machine may take from the order until its node is ready.
    pub join_timeout: Duration,
    /// Its machine sizes, in the file's order.
    pub flavours: Vec<Flavour>,
}

/// How CloudBroker is spoken to, where installations differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Send the catalogue's names instead of its ids (`send` is `names`, not `ids`).
    pub names: bool,
    /// How long one call may take (`call_timeout`, seconds).
    pub call_timeout: Duration,
    /// Calls per second at most, over all clouds of one account (`calls_per_second`).
    pub calls_per_second: u32,
    /// Appended to the body of every order (`extra`).
    pub extra: Vec<Extra>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            names: false,
            call_timeout: Duration::from_secs(30),
            calls_per_second: 10,
            extra: Vec::new(),
        }
    }
}

/// An element that is sent as it stands: its name, and either text or more elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// As the file spells it.
    pub name: String,
    /// Its text, if it has no children.
    pub text: String,
    /// In the file's order.
    pub children: Vec<Extra>,
}

/// What a machine is at CloudBroker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rent {
    /// A job that runs the application's executable: the original's way.
    #[default]
    Jobs,
    /// An instance of the software's deployment, set up by cloud-init.
    Instances,
}

/// A machine size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavour {
    /// Our name for it (`size` in the file).
    pub name: FlavourName,
    /// Its name on the wire.
    pub id: String,
    /// What such a machine has; without it (old files) the planner cannot choose the flavour,
    /// `start` can.
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
    /// What its machines are for: `proxy` when the name begins so (in any case), else `node`; the
    /// file may say.
    pub role: Role,
    /// What its machines are at CloudBroker (`rent`: `jobs` or `instances`).
    pub rent: Rent,
    /// Appended to the body of its orders, after the cloud's (`extra`).
    pub extra: Vec<Extra>,
}
