//! Images in the registry: who needs one, and which may be deleted. Pure: the registry and the
//! engine are read before.

mod target;
mod views;

pub use target::Target;
pub use views::{removal, views};

use crate::control::ImageNeed;
use micado_api::{MemoryBytes, RevisionView, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// Hexadecimal digits of an image id in the tag that a build or an import makes.
pub(crate) const CONTENT_TAG: usize = 12;

/// An image as the registry has it: one manifest of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Repository in the registry.
    pub repo: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Id in the engine that pushed it.
    pub id: String,
    /// Sizes of its layers and its configuration, by digest.
    pub blobs: BTreeMap<String, u64>,
    /// Manifests of its platforms, if it is an index.
    pub children: BTreeSet<String>,
}

impl Stored {
    fn size(&self) -> MemoryBytes {
        MemoryBytes(self.blobs.values().sum())
    }
}

/// An image in the registry, with those who need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    pub stored: Stored,
    /// Names in the manager's engine, as `NAME:TAG`.
    pub names: BTreeSet<String>,
    /// Services that run it or keep it in a revision of theirs.
    pub services: BTreeSet<ServiceName>,
}

impl Revision {
    /// Names that a person gave, or a build as the latest: not those by content.
    fn given(&self) -> impl Iterator<Item = &String> {
        let content = self.content_tag();
        self.names
            .iter()
            .filter(move |name| !name.ends_with(&content))
    }

    fn content_tag(&self) -> String {
        let id = self.stored.id.trim_start_matches("sha256:");
        format!(":{}", id.get(..CONTENT_TAG).unwrap_or(id))
    }

    /// Returns the revision as the API shows it.
    #[must_use]
    pub fn view(&self) -> RevisionView {
        RevisionView {
            digest: self.stored.digest.clone(),
            id: self.stored.id.clone(),
            size: self.stored.size(),
            names: self.names.iter().cloned().collect(),
            services: self.services.iter().cloned().collect(),
        }
    }
}

/// Joins the images of the registry with the names in the engine, by image id, and with the needs
/// of services.
#[must_use]
pub fn revisions(
    stored: Vec<Stored>,
    names: &BTreeMap<String, Vec<String>>,
    needs: &[ImageNeed],
) -> Vec<Revision> {
    let revision = |stored: Stored| {
        let named = names.get(&stored.id).into_iter().flatten();
        let names = named.filter(|name| repo_name(name) == stored.repo);
        let names: BTreeSet<String> = names.cloned().collect();
        let services = needs
            .iter()
            .filter(|need| is_needed(&stored, &names, need))
            .map(|need| need.service.clone())
            .collect();
        Revision {
            stored,
            names,
            services,
        }
    };
    stored.into_iter().map(revision).collect()
}

/// Returns true if a service needs a stored image: by the reference that its machines pull, by its
/// id, or before its push by its name.
fn is_needed(stored: &Stored, names: &BTreeSet<String>, need: &ImageNeed) -> bool {
    let same_repo = repo_name(&need.image) == stored.repo;
    if same_repo && need.image_id.as_ref() == Some(&stored.id) {
        return true;
    }
    match &need.pull {
        Some(pull) => pull.ends_with(&format!("/{}@{}", stored.repo, stored.digest)),
        None => same_repo && names.contains(&tagged(&need.image)),
    }
}

/// The images that nothing needs: no service, and no name by people unless `all` is set.
#[must_use]
pub fn unneeded(revisions: &[Revision], all: bool) -> Vec<&Revision> {
    let is_unneeded = |revision: &&Revision| {
        revision.services.is_empty() && (all || revision.given().next().is_none())
    };
    revisions.iter().filter(is_unneeded).collect()
}

/// A deletion, as it is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Images to delete from the registry.
    pub images: Vec<Stored>,
    /// Names to remove from the manager's engine.
    pub names: BTreeSet<String>,
}

/// The deletion of images that nothing needs. Of the engine's names it removes only those that
/// builds made by content: the engine may be used for other things.
#[must_use]
pub fn prune(revisions: &[Revision], all: bool) -> Deletion {
    let unneeded = unneeded(revisions, all);
    let names = unneeded.iter().flat_map(|revision| {
        let content = revision.content_tag();
        let names = revision.names.iter();
        names.filter(move |name| name.ends_with(&content)).cloned()
    });
    Deletion {
        names: names.collect(),
        images: unneeded.iter().map(|it| it.stored.clone()).collect(),
    }
}

/// The deletion that a person asks for. `engine` has the names of all images there.
///
/// # Errors
/// The services that need one of its images; or `None` if there is no such image.
pub fn remove(
    target: &Target,
    revisions: &[Revision],
    engine: &BTreeMap<String, Vec<String>>,
    needs: &[ImageNeed],
) -> Result<Deletion, Option<InUse>> {
    let chosen: Vec<_> = revisions.iter().filter(|it| target.chooses(it)).collect();
    let names = engine.iter().flat_map(|(id, names)| {
        let of_chosen = chosen.iter().any(|it| it.stored.id == *id);
        names
            .iter()
            .filter(move |name| target.names(name, of_chosen))
            .cloned()
    });
    let mut names: BTreeSet<String> = names.collect();
    if chosen.is_empty() && names.is_empty() {
        return Err(None);
    }
    // An image with another name loses only this one.
    let goes = |revision: &&&Revision| target.is_all_of(revision);
    let images: Vec<_> = chosen.iter().filter(goes).collect();
    let waits = |need: &&ImageNeed| need.pull.is_none() && names.contains(&tagged(&need.image));
    let waiting = needs.iter().filter(waits).map(|need| &need.service);
    let used = images.iter().flat_map(|it| &it.services).chain(waiting);
    let used: BTreeSet<ServiceName> = used.cloned().collect();
    if !used.is_empty() {
        return Err(Some(InUse(used)));
    }
    // Names by content go with their image.
    for revision in &images {
        let content = revision.content_tag();
        let contents = revision.names.iter();
        names.extend(contents.filter(|name| name.ends_with(&content)).cloned());
    }
    Ok(Deletion {
        images: images.iter().map(|it| it.stored.clone()).collect(),
        names,
    })
}

/// Services that need an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse(pub BTreeSet<ServiceName>);

/// Space that a deletion frees: of blobs that no image which stays has.
#[must_use]
pub fn freed(stored: &[&Stored], deleted: &[Stored]) -> MemoryBytes {
    let stays = |image: &&&Stored| !deleted.contains(image);
    let kept: BTreeSet<&String> = stored
        .iter()
        .filter(stays)
        .flat_map(|image| image.blobs.keys())
        .collect();
    let gone: BTreeMap<&String, u64> = deleted
        .iter()
        .flat_map(|image| &image.blobs)
        .filter(|(digest, _)| !kept.contains(digest))
        .map(|(digest, size)| (digest, *size))
        .collect();
    MemoryBytes(gone.values().sum())
}

/// Manifests to delete with an image, its own last: those of its platforms that no image which
/// stays has.
#[must_use]
pub fn manifests<'a>(image: &'a Stored, stored: &[&Stored], deleted: &[Stored]) -> Vec<&'a String> {
    let stays = |other: &&&Stored| other.repo == image.repo && !deleted.contains(other);
    let kept: BTreeSet<&String> = stored
        .iter()
        .filter(stays)
        .flat_map(|other| other.children.iter().chain([&other.digest]))
        .collect();
    let own = image.children.iter().filter(|child| !kept.contains(child));
    own.chain([&image.digest]).collect()
}

/// Returns the repository that the registry has an image in: its name, whole, lower case, without
/// tag and digest, and without the colon that separates a host from a port.
#[must_use]
pub fn repo_name(image: &str) -> String {
    crate::engine::swarm::repository(image)
        .to_lowercase()
        .replace(':', "-")
}

/// Returns an image's name with its tag.
#[must_use]
pub fn tagged(image: &str) -> String {
    let name = crate::engine::swarm::repository(image);
    match image.len() == name.len() {
        true => format!("{image}:latest"),
        false => image.to_owned(),
    }
}

#[cfg(test)]
mod tests;
