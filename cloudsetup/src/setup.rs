//! Content of `cloudsetup.xml`: the clouds with their flavours, and the applications that machines
//! run.

use crate::Headroom;
use micado_api::{CloudName, FlavourName, Location, PricePerHour, Resources};
use std::{path::PathBuf, time::Duration};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudSetup {
    /// Places to rent, in the file's order.
    pub clouds: Vec<Cloud>,
    /// Applications for machines, in the file's order.
    pub applications: Vec<Application>,
    /// Bounds of locations, in the file's order. A location that is not here has none.
    pub locations: Vec<Bounds>,
}

impl CloudSetup {
    /// The bounds of a location, if it has any.
    #[must_use]
    pub fn bounds(&self, location: &Location) -> Option<&Bounds> {
        let mut all = self.locations.iter();
        all.find(|bounds| bounds.location == *location)
    }
}

/// Bounds on the machines of one location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub location: Location,
    /// Machines that are kept, and rented, although nothing needs them (`min_machines`).
    pub min_machines: u32,
    /// Upper bound for live machines (`max_machines`).
    pub max_machines: Option<u32>,
    /// Upper bound for the price per hour of all of them (`max_price`).
    pub max_price: Option<PricePerHour>,
    /// Room that is kept free for containers to come (`headroom`).
    pub headroom: Option<Headroom>,
}

/// API that a cloud is rented through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerKind {
    /// CloudBroker's XML job API, the default for files without a broker type.
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
    /// API that it is rented through.
    pub broker: BrokerKind,
    /// Address of that API: a URL, or for `local` the engine's address
    /// (`unix:///var/run/docker.sock`). `None` is the broker's default.
    pub endpoint: Option<String>,
    /// The file with user and password on two lines.
    pub credentials: Option<PathBuf>,
    /// One more certificate authority (PEM) for the API's certificate, besides those the system
    /// knows (`ca` in the file).
    pub authority: Option<PathBuf>,
    /// Settings of the CloudBroker protocol.
    pub wire: Wire,
    /// Time limit from the order until the node is ready.
    pub join_timeout: Duration,
    /// Its machine sizes, in the file's order.
    pub flavours: Vec<Flavour>,
}

/// Settings of the CloudBroker protocol, where installations differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Send the catalogue's names instead of its ids (`send` is `names`, not `ids`).
    pub names: bool,
    /// Time-out of one call (`call_timeout`, seconds).
    pub call_timeout: Duration,
    /// Upper bound of calls per second, over all clouds of one account (`calls_per_second`).
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

/// An element sent unchanged: its name, and either text or more elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// As the file spells it.
    pub name: String,
    /// Its text, if it has no children.
    pub text: String,
    /// In the file's order.
    pub children: Vec<Extra>,
}

/// Form of a machine at CloudBroker.
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
    /// Size of such a machine. Without it (old files) only `start` can choose the flavour, not the
    /// planner.
    pub size: Option<Resources>,
    /// Price; nothing if the file does not say.
    pub price: PricePerHour,
    /// Unit that is paid whole.
    pub billing: Billing,
}

/// Unit of time in which machines are paid, from their order on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Billing {
    #[default]
    Second,
    FiveMinutes,
    Hour,
}

impl Billing {
    /// Period that is paid whole; `None` if a machine may be returned at any time.
    #[must_use]
    pub const fn period(self) -> Option<Duration> {
        match self {
            Self::Second => None,
            Self::FiveMinutes => Some(Duration::from_secs(5 * 60)),
            Self::Hour => Some(Duration::from_secs(3600)),
        }
    }
}

/// Purpose of an application's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs containers; rented by the planner.
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
    /// Purpose of its machines. Default: `proxy` if the name begins so (in any case), else `node`.
    pub role: Role,
    /// Form of its machines at CloudBroker (`rent`: `jobs` or `instances`).
    pub rent: Rent,
    /// Appended to the body of its orders, after the cloud's (`extra`).
    pub extra: Vec<Extra>,
}
