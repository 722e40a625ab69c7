//! The nouns of the manager: instances, services, containers, decisions. Plain data; what may
//! happen to them is decided in `control`.

mod container;
mod image;
mod instance;
mod service;

pub use container::{Container, Copy, Desired, Outcome, Phase};
pub use image::{Image, Learned, Window};
pub use instance::{Instance, Trade};
pub use service::{Service, SpecVersion, service_name};

use micado_api::{ContainerName, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

/// A decision and its reason, kept for `micado explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Order of decisions, rising for ever within one store.
    pub sequence: u64,
    /// When it was taken.
    pub at: Timestamp,
    /// The container it is about, if any.
    pub container: Option<ContainerName>,
    /// The instance it is about, if any.
    pub instance: Option<InstanceId>,
    /// What was decided and why, one line for people.
    pub text: String,
}
