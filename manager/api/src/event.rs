//! Events of containers, as shown.

use crate::{ContainerName, Tag, Timestamp, agent::ContainerHappening};
use serde::{Deserialize, Serialize};

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventView {
    /// Time, by the machine's clock.
    pub at: Timestamp,
    /// The container.
    pub container: ContainerName,
    /// Tag of its instance.
    pub instance: Tag,
    /// Its image, as requested.
    pub image: String,
    /// The engine's id of the container that ran.
    pub id: String,
    /// Kind of event.
    #[serde(flatten)]
    pub what: ContainerHappening,
}
