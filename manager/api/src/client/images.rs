//! Images: lists, settings, names, removal and archives.

use super::{Client, ClientError};
use crate::{
    ImageView, ImportEvent, ImportQuery, PruneQuery, RemovalView, SetImageRequest, TagRequest,
    TagView,
};
use bytes::Bytes;
use futures_util::Stream;
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

    /// The archive of an image of the manager's engine, as `docker save` makes it.
    ///
    /// # Errors
    /// See [`ClientError`]; the stream ends with an error if the archive is incomplete.
    pub async fn export_image(
        &self,
        image: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let path = ["v1", "images", image, "archive"];
        let response = self.send(Method::GET, &path, &[], None::<&()>).await?;
        Ok(self.body(response))
    }

    /// Imports the images of an archive, as `docker save` makes it. Events come as it runs; the
    /// archive is sent meanwhile. Dropping the stream cancels the import.
    ///
    /// # Errors
    /// See [`ClientError`]; the stream ends with an error if the manager does.
    pub async fn import_images<S, E>(
        &self,
        query: &ImportQuery,
        archive: S,
    ) -> Result<impl Stream<Item = Result<ImportEvent, ClientError>> + Send + use<S, E>, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut pairs = vec![("force", query.force.to_string())];
        pairs.extend(query.name.clone().map(|name| ("name", name)));
        let archive = reqwest::Body::wrap_stream(archive);
        self.upload(&["v1", "archives"], &pairs, archive).await
    }
}
