//! Clouds to rent machines from: `cloudsetup.xml`, the broker trait, one module per broker. Knows nothing of containers.

pub mod broker;
pub mod lookup;
pub mod setup;

pub use broker::{Broker, BrokerError, Machine, MachineState, Order};
pub use lookup::LookupError;
pub use setup::{Application, BrokerKind, Cloud, CloudSetup, Flavour, Role};
