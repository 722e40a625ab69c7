//! Pushes of the manager's engine to the registry.

use super::{PUSH_SILENCE, Registry, manifest};
use crate::engine::{
    EngineError,
    docker::{ask, explain},
};
use bollard::query_parameters::{PushImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::StreamExt;

/// An image of the manager's engine, and its place in the registry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload<'a> {
    /// Name or id in the engine.
    pub(super) image: &'a str,
    pub(super) repo: &'a str,
    pub(super) id: &'a str,
    /// True if the engine has a name for it.
    pub(super) named: bool,
}

impl Upload<'_> {
    /// Tag in the registry: the image's id.
    pub(super) fn tag(&self) -> &str {
        self.id.trim_start_matches("sha256:")
    }
}

impl Registry {
    /// Pushes an image, unless the writing side has it. Returns its digest.
    pub(super) async fn upload(&self, upload: Upload<'_>) -> Result<String, EngineError> {
        let (repo, tag, id) = (upload.repo, upload.tag(), upload.id);
        if let Some(digest) = self.writing.stored(repo, tag, id).await? {
            return Ok(digest);
        }
        if let Some(digest) = self.push_named(upload).await? {
            return Ok(digest);
        }
        let stored = self.writing.stored(repo, tag, id).await?;
        stored.ok_or_else(|| {
            EngineError::Unavailable(format!(
                "the registry at `{}` does not have image `{}` after it was pushed",
                self.writing.host, upload.image
            ))
        })
    }

    /// Pushes under a name for this purpose only, and removes that name; unless it is the image's
    /// only name, because the image would go with it. Returns the digest that the engine reports.
    async fn push_named(&self, upload: Upload<'_>) -> Result<Option<String>, EngineError> {
        let (image, tag) = (upload.image, upload.tag());
        let name = format!("{}/{}", self.writing.host, upload.repo);
        let options = TagImageOptions {
            repo: Some(name.clone()),
            tag: Some(tag.to_owned()),
        };
        let tagging = self.docker.tag_image(image, Some(options));
        ask(|| format!("name image `{image}` for the registry"), tagging).await?;
        let pushed = self.follow_push(image, &name, tag).await;
        if upload.named {
            let pushed_name = format!("{name}:{tag}");
            let options = RemoveImageOptions {
                noprune: true,
                ..Default::default()
            };
            let untagged = self.docker.remove_image(&pushed_name, Some(options), None);
            let untagged = ask(|| format!("take the name `{pushed_name}` away"), untagged);
            if let Err(error) = untagged.await {
                tracing::warn!(%error, "a name that was made for a push stays behind");
            }
        }
        pushed
    }

    async fn follow_push(
        &self,
        image: &str,
        name: &str,
        tag: &str,
    ) -> Result<Option<String>, EngineError> {
        let host = &self.writing.host;
        let what = format!("push image `{image}` to the registry at `{host}`");
        let mut digest = None;
        let options = PushImageOptions {
            tag: Some(tag.to_owned()),
            platform: None,
        };
        let mut steps = self.docker.push_image(name, Some(options), None).boxed();
        loop {
            match tokio::time::timeout(PUSH_SILENCE, steps.next()).await {
                Ok(None) => return Ok(digest),
                Ok(Some(Ok(step))) => {
                    let named = step.status.as_deref().and_then(manifest::pushed_digest);
                    digest = named.map(str::to_owned).or(digest);
                }
                Ok(Some(Err(error))) => return Err(explain(&what, &error)),
                Err(_) => {
                    return Err(EngineError::Unavailable(format!(
                        "cannot {what}: no progress for {} s",
                        PUSH_SILENCE.as_secs()
                    )));
                }
            }
        }
    }
}
