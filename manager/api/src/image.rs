//! Images in the registry: their revisions, what a deletion did, and their import from archives.

use crate::{ErrorBody, MemoryBytes, ServiceName};
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

/// Options of `POST /v1/archives`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Name of the image, as `NAME[:TAG]`, in place of its names in the archive, which may have no
    /// other image then.
    pub name: Option<String>,
    /// Take a name that another image has. What runs keeps its image. Default: false.
    #[serde(default)]
    pub force: bool,
}

/// One event of an import. The stream ends after `imported` or `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ImportEvent {
    /// Other work of the engine comes first. Repeated while it waits.
    Queued {
        /// Builds and imports ahead.
        ahead: usize,
    },
    /// The archive was received and checked; the engine loads it.
    Loading,
    /// An image goes to the registry.
    Pushing {
        /// The image, with its tag by content.
        image: String,
    },
    /// All images of the archive are named and in the registry.
    Imported {
        /// One for each name.
        images: Vec<ImportedView>,
    },
    /// The import failed. A refused archive changes nothing.
    Failed {
        /// Cause and next step.
        error: ErrorBody,
    },
}

/// An imported image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImportedView {
    /// Name for `launch`, as `NAME:TAG`.
    pub image: String,
    /// Name and tag of this image, which never become another one.
    pub tag: String,
    /// Id of the image: the digest of its configuration.
    pub id: String,
    /// The reference that nodes pull, by digest.
    pub pull: String,
    /// True if the engine had the image under this name before.
    pub unchanged: bool,
}
