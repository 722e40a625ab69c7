//! Images: lists, settings, names and removal.

use super::{Client, ClientError};
use crate::{ImageView, PruneQuery, RemovalView, SetImageRequest, TagRequest, TagView};
use reqwest::Method;

impl Client {
    /// Images, and the footprints learned from them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn images(&self) -> Result<Vec<ImageView>, ClientError> {
        self.get(&["v1", "images"], &[]).await
    }

    /// Sets the critical usage of an image.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_image(&self, request: &SetImageRequest) -> Result<ImageView, ClientError> {
        self.ask(Method::PUT, &["v1", "images"], &[], Some(request))
            .await
    }

    /// Gives an image of the manager's engine another name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tag_image(&self, image: &str, name: &str) -> Result<TagView, ClientError> {
        let name = name.to_owned();
        let path = ["v1", "images", image, "tags"];
        self.ask(Method::POST, &path, &[], Some(&TagRequest { name }))
            .await
    }

    /// Removes an image, by `NAME`, `NAME:TAG` or `NAME@DIGEST`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_image(&self, image: &str) -> Result<RemovalView, ClientError> {
        let path = ["v1", "images", image];
        self.ask(Method::DELETE, &path, &[], None::<&()>).await
    }

    /// Removes the images that nothing needs, and collects the registry's garbage.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn prune_images(&self, query: PruneQuery) -> Result<RemovalView, ClientError> {
        let pairs = [
            ("all", query.all.to_string()),
            ("dry_run", query.dry_run.to_string()),
        ];
        let path = ["v1", "images"];
        self.ask(Method::DELETE, &path, &pairs, None::<&()>).await
    }
}
