//! The records of the manager: instances, services, containers, decisions. Plain data; transitions
//! are decided in `control`.

mod container;
mod drain;
mod health;
mod image;
mod instance;
mod login;
mod policy;
mod registration;
mod service;

pub use container::{Container, Copy, Desired, End, Outcome, Phase};
pub use drain::{BegunBy, Drain};
pub use health::Health;
pub use image::{CopyTimes, Image, Learned, Window};
pub use instance::{HeldVolume, Instance, Trade};
pub use login::{DEFAULT_REGISTRY, Login, Secret, login_host, registry_host};
pub use policy::ServicePolicy;
pub use registration::Registration;
pub use service::{Service, SpecVersion, service_name};

use micado_api::{ContainerName, InstanceId, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// A decision and its reason, kept for `micado explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Order of decisions; rises for ever within one store.
    pub sequence: u64,
    pub at: Timestamp,
    /// Container that it concerns, if any.
    pub container: Option<ContainerName>,
    /// Instance that it concerns, if any.
    pub instance: Option<InstanceId>,
    /// Further containers that it concerns: of one growth, or placed together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ContainerName>,
    /// Service that it concerns as a whole, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Decision and reason, one line for people.
    pub text: String,
}

impl Decision {
    /// A decision about an instance, or about none.
    #[must_use]
    pub fn of_instance(at: Timestamp, instance: Option<InstanceId>, text: String) -> Self {
        Self {
            sequence: 0,
            at,
            container: None,
            instance,
            others: Vec::new(),
            service: None,
            text,
        }
    }

    /// Returns true if it concerns this container.
    #[must_use]
    pub fn concerns(&self, name: &ContainerName) -> bool {
        self.container.as_ref() == Some(name) || self.others.contains(name)
    }
}

/// A value that the manager keeps for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

impl Setting {
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}
