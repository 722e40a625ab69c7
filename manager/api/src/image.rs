//! Images in the registry: their revisions, and what a deletion did.

use crate::{MemoryBytes, ServiceName};
use serde::{Deserialize, Serialize};

/// An image in the registry: one digest of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RevisionView {
    /// Digest that machines pull.
    pub digest: String,
    /// Id in the manager's engine.
    pub id: String,
    /// Size in the registry. Images may share layers.
    pub size: MemoryBytes,
    /// Names in the manager's engine, as `NAME:TAG`.
    pub names: Vec<String>,
    /// Services that run it, or keep it in a revision of theirs. It cannot be removed.
    pub services: Vec<ServiceName>,
}

/// `POST /v1/images/{name}/tags`: give an image of the manager's engine another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TagRequest {
    /// Name, as `NAME[:TAG]`.
    pub name: String,
}

/// An image with its new name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TagView {
    /// Name, as `NAME:TAG`.
    pub name: String,
    /// Id in the manager's engine.
    pub id: String,
}

/// Options of `DELETE /v1/images`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams,
)]
#[into_params(parameter_in = Query)]
pub struct PruneQuery {
    /// Also delete images with a name by people, if no service needs them. Default: false.
    #[serde(default)]
    pub all: bool,
    /// Delete nothing; tell what would be. Default: false.
    #[serde(default)]
    pub dry_run: bool,
}

/// Images that were deleted, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemovalView {
    /// Images of the registry.
    pub images: Vec<RemovedImage>,
    /// Names of the manager's engine.
    pub names: Vec<String>,
    /// Space of layers that no other image has.
    pub freed: MemoryBytes,
    /// State of that space.
    pub space: Space,
}

/// A deleted image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemovedImage {
    /// Name in the registry.
    pub image: String,
    /// Digest.
    pub digest: String,
    /// Size in the registry.
    pub size: MemoryBytes,
}

/// State of the space of deleted images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Nothing was deleted: it was a dry run.
    Planned,
    /// Free at the next garbage collection: at night, or by `image prune`.
    Waiting,
    /// The garbage collection runs.
    Collecting,
    /// Free.
    Free,
}
