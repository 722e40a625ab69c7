//! A service: an image and its settings, which all its containers share.

use micado_api::{ServiceName, ServiceSpec, Timestamp};
use serde::{Deserialize, Serialize};

/// A service and the image its nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `CLIENT_IMAGE`.
    pub name: ServiceName,
    /// What was asked for.
    pub spec: ServiceSpec,
    /// The reference that nodes pull; `None` while the image is still on its way to the registry.
    pub pull: Option<String>,
    /// The number that the next container gets; never used twice.
    pub next_number: u32,
    /// When it was first launched.
    pub created_at: Timestamp,
}
