//! Images as the API shows them.

use super::{Deletion, Revision, Stored, freed, repo_name};
use crate::control::ImageNeed;
use micado_api::{Critical, ImageView, RemovalView, RemovedImage, ServiceName, Space};
use std::collections::BTreeSet;

/// Adds to the images that were launched or built what the registry has of them, and who needs
/// them. Repositories without such an image follow under their own names.
#[must_use]
pub fn views(
    images: Vec<ImageView>,
    revisions: &[Revision],
    needs: &[ImageNeed],
) -> Vec<ImageView> {
    let repos: BTreeSet<String> = images.iter().map(|view| repo_name(&view.image)).collect();
    let others = revisions.iter().map(|revision| &revision.stored.repo);
    let others: BTreeSet<&String> = others.filter(|repo| !repos.contains(*repo)).collect();
    let unrecorded = others.into_iter().map(|repo| unrecorded(repo));
    let mut views: Vec<ImageView> = images.into_iter().chain(unrecorded).collect();
    for view in &mut views {
        let repo = repo_name(&view.image);
        let own = revisions.iter().filter(|it| it.stored.repo == repo);
        view.revisions = own.map(Revision::view).collect();
        let users = needs.iter().filter(|need| need.image == view.image);
        let users: BTreeSet<ServiceName> = users.map(|need| need.service.clone()).collect();
        view.services = users.into_iter().collect();
    }
    views.sort_by(|one, other| one.image.cmp(&other.image));
    views
}

/// An image of the registry that no record tells of.
fn unrecorded(repo: &str) -> ImageView {
    ImageView {
        image: repo.to_owned(),
        digest: None,
        critical: Critical::default(),
        suggested: None,
        footprint: None,
        measured_ms: 0,
        services: Vec::new(),
        revisions: Vec::new(),
    }
}

/// Shows a deletion among these images.
#[must_use]
pub fn removal(stored: &[Stored], deletion: &Deletion, space: Space) -> RemovalView {
    let images = deletion.images.iter().map(|image| RemovedImage {
        image: image.repo.clone(),
        digest: image.digest.clone(),
        size: image.size(),
    });
    let stored: Vec<&Stored> = stored.iter().collect();
    RemovalView {
        images: images.collect(),
        names: deletion.names.iter().cloned().collect(),
        freed: freed(&stored, &deletion.images),
        space,
    }
}
