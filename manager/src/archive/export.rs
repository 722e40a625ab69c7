//! Export of an image of the manager's engine.

use crate::{
    build::{Builds, JOB_MAX},
    engine::{
        EngineError,
        docker::{ask, chain, explain},
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::io;

impl Builds {
    /// Returns the archive of an image, by `NAME:TAG`. It ends with an error if it is incomplete.
    ///
    /// # Errors
    /// `NotFound` if the engine has no such image, `Unavailable` if it does not answer or enough
    /// exports run, `Refused` if its disk has no room for the files that it makes.
    pub async fn export(
        &self,
        image: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, EngineError> {
        let what = || format!("export image `{image}`");
        let permit = self.exports.clone().try_acquire_owned().map_err(|_| {
            EngineError::Unavailable(format!("cannot {}: enough exports run already", what()))
        })?;
        ask(what, self.docker.inspect_image(image)).await?;
        self.registry.check_room().await?;
        // The engine packs the image before it answers.
        let docker = self.docker.clone().with_timeout(JOB_MAX);
        let mut pieces = docker.export_image(image).boxed();
        let begin = match pieces.next().await {
            Some(Err(error)) => return Err(explain(&what(), &error)),
            begin => begin,
        };
        let pieces = stream::iter(begin).chain(pieces).map(move |piece| {
            let _held = &permit;
            piece.map_err(|error| io::Error::other(chain(&error)))
        });
        Ok(pieces)
    }
}
