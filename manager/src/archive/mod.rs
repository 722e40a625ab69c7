//! Archives of images, as `docker save` makes them: export of an image of the manager's engine, and
//! import into it and into the cluster's registry.
//!
//! An archive is not trusted. The engine never reads a name in it: the archive is checked and
//! written to a file without its names, loaded from there, and its images are named afterwards.

mod export;
mod names;
mod read;
mod spool;

use crate::{
    build::{Builds, Events, JOB_MAX, Job, Label, Queued, Upload, content, feed},
    control::Handle,
    engine::{
        EngineError,
        docker::{ask, explain},
        swarm::repository,
    },
    pieces::{Inlet, PIECE, WAITING},
};
use bollard::{errors::Error, query_parameters::ImportImageOptions};
use futures_util::StreamExt;
use micado_api::{ErrorBody, ErrorCode, ImportEvent, ImportQuery, ImportedView, Platform};
use spool::{Found, Spool};
use std::{collections::BTreeMap, fs::File};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

/// Names of the engine's images, by id.
type EngineNames = BTreeMap<String, Vec<String>>;

/// An import.
#[derive(Debug)]
pub struct Import {
    builds: Builds,
    query: ImportQuery,
    handle: Handle,
}

impl Builds {
    /// Gives an import a place in the queue.
    ///
    /// # Errors
    /// `BadRequest` for an invalid name; `Unavailable` if too many builds wait; `Unsatisfiable` if a
    /// disk is too full.
    pub async fn admit_import(
        &self,
        query: ImportQuery,
        handle: Handle,
    ) -> Result<Queued<Import>, ErrorBody> {
        query.name.as_deref().map(names::checked).transpose()?;
        let full = |error: EngineError| ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string());
        self.registry.check_room().await.map_err(full)?;
        spool::check_room(&self.folder).map_err(full)?;
        self.enqueue(Import {
            builds: self.clone(),
            query,
            handle,
        })
    }
}

impl Job for Import {
    type Event = ImportEvent;
    const NAME: &'static str = "the import";

    fn queued(ahead: usize) -> ImportEvent {
        ImportEvent::Queued { ahead }
    }

    fn pushing(image: String) -> ImportEvent {
        ImportEvent::Pushing { image }
    }

    fn unpushed(image: &str, error: &EngineError) -> ErrorBody {
        ErrorBody::new(
            ErrorCode::Unavailable,
            format!("image `{image}` is on the manager's engine, but not in the registry: {error}"),
        )
        .hint("import it again")
    }

    fn failed(error: ErrorBody) -> ImportEvent {
        ImportEvent::Failed { error }
    }

    async fn run(&self, archive: &mut Upload, events: &Events<ImportEvent>) -> ImportEvent {
        match self.import(archive, events).await {
            Ok(images) => {
                for image in &images {
                    tracing::info!(image.image, image.tag, "an image is imported");
                }
                ImportEvent::Imported { images }
            }
            Err(error) => {
                tracing::info!(%error, "an import failed");
                ImportEvent::Failed { error }
            }
        }
    }
}

impl Import {
    async fn import(
        &self,
        archive: &mut Upload,
        events: &Events<ImportEvent>,
    ) -> Result<Vec<ImportedView>, ErrorBody> {
        let Spool { file, images } = self.receive(archive).await?;
        self.check_platform(&images).await?;
        let before = self.builds.registry.engine_names().await.map_err(failed)?;
        names::check_free(&images, &before, self.query.force)?;
        if images.iter().any(|image| !before.contains_key(&image.id)) {
            // A client that has gone needs no event: its import is aborted.
            drop(events.send(ImportEvent::Loading).await);
            self.load(file).await?;
            self.check_loaded(&images).await?;
        }
        let mut imported = Vec::new();
        for image in &images {
            for name in &image.names {
                imported.push(self.publish(image, name, &before, events).await?);
            }
        }
        Ok(imported)
    }

    /// Receives the archive, checks it, and keeps what the engine may read of it.
    async fn receive(&self, archive: &mut Upload) -> Result<Spool, ErrorBody> {
        let (to, received) = mpsc::channel(WAITING);
        let (folder, name) = (self.builds.folder.clone(), self.query.name.clone());
        let receiving = tokio::task::spawn_blocking(move || {
            spool::receive(Inlet::fallible(received), &folder, name.as_deref())
        });
        feed(archive, to).await;
        receiving.await.unwrap_or_else(|panic| {
            let message = format!("the archive cannot be received: {panic}");
            Err(ErrorBody::new(ErrorCode::Internal, message))
        })
    }

    async fn check_platform(&self, images: &[Found]) -> Result<(), ErrorBody> {
        let what = || "ask the engine for its platform".to_owned();
        let engine = ask(what, self.builds.docker.version()).await;
        let engine = engine.map_err(failed)?;
        let Some((os, architecture)) = engine.os.zip(engine.arch) else {
            return Ok(());
        };
        names::check_platform(images, &Platform::new(&os, &architecture))
    }

    /// Lets the engine load the file. It makes all images of the archive, or none.
    async fn load(&self, file: File) -> Result<(), ErrorBody> {
        // Until the answer begins, which an engine may delay until it has read everything.
        let docker = self.builds.docker.clone().with_timeout(JOB_MAX);
        let file = tokio::fs::File::from_std(file);
        let body = bollard::body_try_stream(ReaderStream::with_capacity(file, PIECE));
        let options = ImportImageOptions {
            quiet: true,
            ..ImportImageOptions::default()
        };
        let mut answers = docker.import_image(options, body, None).boxed();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(_) => {}
                Err(Error::DockerStreamError { error }) => {
                    let said = micado_api::foreign::excerpt(error.trim(), 1000);
                    return Err(ErrorBody::new(
                        ErrorCode::Unsatisfiable,
                        format!("the engine does not take the archive: {said}"),
                    ));
                }
                Err(error) => return Err(failed(explain("load the archive", &error))),
            }
        }
        Ok(())
    }

    /// Checks that the engine has the images by their ids.
    async fn check_loaded(&self, images: &[Found]) -> Result<(), ErrorBody> {
        for image in images {
            let what = || format!("find image `{}` after its archive was loaded", image.id);
            let found = self.builds.docker.inspect_image(&image.id);
            ask(what, found).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Puts an image into the registry, and names it. `before`: the engine's names until now.
    async fn publish(
        &self,
        image: &Found,
        name: &str,
        before: &EngineNames,
        events: &Events<ImportEvent>,
    ) -> Result<ImportedView, ErrorBody> {
        let id = &image.id;
        let repo = repository(name);
        let label = Label {
            image: repo,
            tag: name.get(repo.len() + 1..).unwrap_or_default(),
        };
        let published = self.builds.publish::<Self>(id, label, &self.handle, events);
        let published = published.await?;
        let had = before.get(id).map(Vec::as_slice).unwrap_or_default();
        let by_content = format!("{repo}:{}", content(id));
        Ok(ImportedView {
            image: name.to_owned(),
            tag: published.tag,
            id: id.clone(),
            pull: published.pull,
            unchanged: [name, &by_content]
                .iter()
                .all(|name| had.iter().any(|own| own == name)),
        })
    }
}

/// A failure of the engine.
fn failed(error: EngineError) -> ErrorBody {
    let code = match error {
        EngineError::Unavailable(_) => ErrorCode::Unavailable,
        EngineError::Refused(_) | EngineError::NotFound(_) => ErrorCode::Unsatisfiable,
    };
    ErrorBody::new(code, error.to_string())
}
