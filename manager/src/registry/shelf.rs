//! The images in the registry: their list, and deletion of manifests.

use super::{Registry, end::End, manifest};
use crate::{
    engine::{EngineError, docker::ask},
    images::{Deletion, Stored, manifests},
};
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Repositories in a part of the list. The registry allows up to 1,000.
const PART: usize = 500;
/// Requests at a time.
const AT_A_TIME: usize = 8;

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All images in the registry, by repository.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer.
    pub async fn stored(&self) -> Result<Vec<Stored>, EngineError> {
        let end = &self.reading;
        let repos = end.repositories().await?;
        let tags = stream::iter(repos).map(|repo| async move {
            let tags = end.tags(&repo).await?;
            let places = tags.into_iter().map(move |tag| (repo.clone(), tag));
            Ok::<_, EngineError>(places)
        });
        let tags: Vec<_> = tags.buffered(AT_A_TIME).try_collect().await?;
        let images = stream::iter(tags.into_iter().flatten());
        let images = images.map(|(repo, tag)| async move { end.image(&repo, &tag).await });
        let images: Vec<_> = images.buffered(AT_A_TIME).try_collect().await?;
        let mut images: Vec<Stored> = images.into_iter().flatten().collect();
        images.sort_by(|one, other| (&one.repo, &one.digest).cmp(&(&other.repo, &other.digest)));
        images.dedup_by(|one, other| (&one.repo, &one.digest) == (&other.repo, &other.digest));
        Ok(images)
    }

    /// Names of the images of the manager's engine, by image id.
    ///
    /// # Errors
    /// `Unavailable` when the engine does not answer.
    pub async fn engine_names(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        let listing = self.docker.list_images(None::<ListImagesOptions>);
        let listed = ask(|| "list the engine's images".to_owned(), listing).await?;
        let named = listed.into_iter().map(|image| {
            let names = image.repo_tags.into_iter();
            let names = names.filter(|name| name != "<none>:<none>").collect();
            (image.id, names)
        });
        Ok(named.collect())
    }

    /// Names an image of the manager's engine. Returns its id.
    ///
    /// # Errors
    /// `NotFound` when the engine has no such image, `Refused` when the name is invalid.
    pub async fn tag(&self, image: &str, name: &str) -> Result<String, EngineError> {
        let inspecting = self.docker.inspect_image(image);
        let found = ask(|| format!("look at image `{image}`"), inspecting).await?;
        let repo = crate::engine::swarm::repository(name);
        let tag = name.get(repo.len() + 1..).unwrap_or("latest");
        let options = TagImageOptions {
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let tagging = self.docker.tag_image(image, Some(options));
        ask(|| format!("name image `{image}` `{name}`"), tagging).await?;
        Ok(found.id.unwrap_or_default())
    }

    /// Deletes images from the registry, and names from the engine. Safe to repeat after a crash at
    /// any point. No push runs meanwhile.
    ///
    /// # Errors
    /// `Refused` when the engine needs an image itself, `Unavailable` when one of them does not
    /// answer.
    pub async fn delete(&self, stored: &[Stored], deletion: &Deletion) -> Result<(), EngineError> {
        let _turn = self.pushing.lock().await;
        let stored: Vec<&Stored> = stored.iter().collect();
        for image in &deletion.images {
            for digest in manifests(image, &stored, &deletion.images) {
                self.writing.delete(&image.repo, digest).await?;
            }
        }
        for name in &deletion.names {
            let removal = self
                .docker
                .remove_image(name, None::<RemoveImageOptions>, None);
            match ask(|| format!("remove the name `{name}`"), removal).await {
                Ok(_) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl End {
    /// Names of all repositories, also of those without images.
    pub(super) async fn repositories(&self) -> Result<Vec<String>, EngineError> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let last = all.last().map(|last| format!("&last={last}"));
            let path = format!("_catalog?n={PART}{}", last.unwrap_or_default());
            let answer = self.ask(Method::GET, &path).await?;
            if answer.status() != StatusCode::OK {
                return Err(self.odd(&answer));
            }
            let part: Catalog = answer.json().await.map_err(|error| self.silent(&error))?;
            let part = part.repositories.unwrap_or_default();
            let is_last = part.len() < PART;
            all.extend(part);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn tags(&self, repo: &str) -> Result<Vec<String>, EngineError> {
        let answer = self.ask(Method::GET, &format!("{repo}/tags/list")).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            StatusCode::OK => {
                let tags: Tags = answer.json().await.map_err(|error| self.silent(&error))?;
                Ok(tags.tags.unwrap_or_default())
            }
            _ => Err(self.odd(&answer)),
        }
    }

    /// The image under a tag; `None` if it was deleted meanwhile.
    async fn image(&self, repo: &str, tag: &str) -> Result<Option<Stored>, EngineError> {
        let Some(bytes) = self.manifest(repo, tag).await? else {
            return Ok(None);
        };
        let mut image = manifest::stored(repo, tag, &bytes);
        for child in image.children.clone() {
            if let Some(bytes) = self.manifest(repo, &child).await? {
                image.blobs.extend(manifest::stored(repo, "", &bytes).blobs);
            }
        }
        Ok(Some(image))
    }

    /// Deletes a manifest by its digest, with its tags.
    async fn delete(&self, repo: &str, digest: &str) -> Result<(), EngineError> {
        let path = format!("{repo}/manifests/{digest}");
        let answer = self.ask(Method::DELETE, &path).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.odd(&answer)),
        }
    }
}
