//! What happened to containers, as it is shown.

use crate::{ContainerName, Tag, Timestamp, agent::ContainerHappening};
use serde::{Deserialize, Serialize};

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventView {
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// The container.
    pub container: ContainerName,
    /// The tag of the instance that it was on.
    pub instance: Tag,
    /// Its image, as it was asked for.
    pub image: String,
    /// The engine's id of what ran.
    pub id: String,
    /// What happened.
    #[serde(flatten)]
    pub what: ContainerHappening,
}
