//! Clouds to rent machines from: `cloudsetup.xml`, the broker trait, one module per broker. Knows
//! nothing of containers.

#[warn(missing_docs)]
pub mod broker;
pub mod cloudbroker;
mod dom;
mod files;
mod headroom;
pub mod local;
mod lookup;
pub mod reader;
pub mod setup;

pub use broker::{Broker, BrokerError, Machine, MachineState, Order};
pub use cloudbroker::{CloudBroker, Finding};
pub use headroom::Headroom;
pub use local::{LocalCloud, LocalConfig};
pub use lookup::LookupError;
pub use reader::SetupError;
pub use setup::{
    Application, Billing, Bounds, BrokerKind, Cloud, CloudSetup, Extra, Flavour, Rent, Role, Wire,
};
