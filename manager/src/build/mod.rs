//! Builds of images on the manager's engine, from a context that a client sends.

mod engine;
pub mod format;
pub mod inspect;
mod job;
mod queue;
pub mod repack;
mod steps;

pub use job::{Events, Job, Queued, Upload};
pub(crate) use job::{JOB_MAX, feed};
pub use queue::{Place, Queue};

use crate::{
    control::{Core, Handle, Request},
    engine::{
        EngineError,
        login::{credentials, server_address},
    },
    images::CONTENT_TAG,
    pieces::{Inlet, Outlet, PIECE, Piece, WAITING},
    registry::Registry,
};
use bollard::{Docker, query_parameters::TagImageOptions};
use engine::{Fault, Logins};
use inspect::Limits;
use micado_api::{
    BuildEvent, BuildRequest, Builder, BuilderView, BuiltView, ErrorBody, ErrorCode, ImageView,
};
use repack::RepackError;
use std::{
    io,
    path::PathBuf,
    pin::pin,
    sync::{Arc, OnceLock},
};
use tokio::sync::{Semaphore, mpsc};

/// Upper bound for exports at a time. Each makes the engine pack an image on its disk.
const EXPORTS: usize = 4;

/// The builds of one engine, and the imports, which wait in the same queue.
#[derive(Debug, Clone)]
pub struct Builds {
    pub(crate) docker: Docker,
    pub(crate) registry: Arc<Registry>,
    /// Folder of the files that an import needs while it runs.
    pub(crate) folder: PathBuf,
    queue: Arc<Queue>,
    /// Bound for exports at a time.
    pub(crate) exports: Arc<Semaphore>,
}

impl Builds {
    /// Builds on this engine; images go to this registry. `folder`: the state folder.
    #[must_use]
    pub fn new(docker: Docker, registry: Arc<Registry>, folder: PathBuf) -> Self {
        Self {
            docker,
            registry,
            folder,
            queue: Arc::default(),
            exports: Arc::new(Semaphore::new(EXPORTS)),
        }
    }

    /// The engine's builders.
    ///
    /// # Errors
    /// `Unavailable` if the engine does not answer.
    pub async fn view(&self) -> Result<BuilderView, EngineError> {
        let found = engine::builders(&self.docker).await?;
        Ok(BuilderView {
            engine: found.version,
            default: found.default,
            builders: found.builders,
            builds: self.queue.len(),
        })
    }

    /// Gives a build a place in the queue.
    ///
    /// # Errors
    /// `Unavailable` if too many builds wait, or the engine does not answer; `Unsatisfiable` if it
    /// lacks the builder.
    pub async fn admit(
        &self,
        request: BuildRequest,
        handle: Handle,
    ) -> Result<Queued<Build>, ErrorBody> {
        let found = engine::builders(&self.docker)
            .await
            .map_err(|error| ErrorBody::new(ErrorCode::Unavailable, error.to_string()))?;
        let builder = found.choose(request.builder)?;
        self.registry.check_room().await.map_err(|error| {
            ErrorBody::new(
                ErrorCode::Unsatisfiable,
                format!("image `{}`: {error}", request.name),
            )
        })?;
        self.enqueue(Build {
            builds: self.clone(),
            request,
            builder,
            engine: found.version,
            handle,
        })
    }

    /// Gives a job the last place in the queue.
    pub(crate) fn enqueue<J: Job>(&self, job: J) -> Result<Queued<J>, ErrorBody> {
        let place = self.queue.enter().ok_or_else(|| {
            ErrorBody::new(ErrorCode::Unavailable, "too many builds wait already")
                .hint("start it again once some have ended")
        })?;
        Ok(Queued { job, place })
    }

    /// Tags an image of the engine by its content, pushes it, gives it its label, and records it.
    pub(crate) async fn publish<J: Job>(
        &self,
        id: &str,
        Label { image, tag }: Label<'_>,
        handle: &Handle,
        events: &Events<J::Event>,
    ) -> Result<Published, ErrorBody> {
        let failed = |error| J::unpushed(image, &error);
        let (docker, content) = (&self.docker, content(id));
        let by_content = format!("{image}:{content}");
        name(docker, id, image, content).await.map_err(failed)?;
        // A client that has gone needs no event: its job is aborted.
        drop(events.send(J::pushing(by_content.clone())).await);
        let pushed = self.registry.push(&by_content, None).await;
        let pull = pushed.map_err(failed)?.reference;
        name(docker, id, image, tag).await.map_err(failed)?;
        let launched = match tag {
            "latest" => image.to_owned(),
            _ => format!("{image}:{tag}"),
        };
        let record = Request::ImageBuilt {
            image: launched,
            pull: pull.clone(),
        };
        let _recorded: ImageView = handle.request(record).await?;
        Ok(Published {
            tag: by_content,
            pull,
        })
    }
}

/// Name and tag of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label<'a> {
    pub(crate) image: &'a str,
    pub(crate) tag: &'a str,
}

/// An image in the registry.
pub(crate) struct Published {
    /// Name and tag by content.
    pub(crate) tag: String,
    /// The reference that nodes pull, by digest.
    pub(crate) pull: String,
}

/// The tag of an image by its content.
pub(crate) fn content(id: &str) -> &str {
    let digits = id.trim_start_matches("sha256:");
    digits.get(..CONTENT_TAG).unwrap_or(digits)
}

/// A build.
#[derive(Debug)]
pub struct Build {
    builds: Builds,
    request: BuildRequest,
    builder: Builder,
    /// The engine's version.
    engine: String,
    handle: Handle,
}

impl Job for Build {
    type Event = BuildEvent;
    const NAME: &'static str = "the build";

    fn queued(ahead: usize) -> BuildEvent {
        BuildEvent::Queued { ahead }
    }

    fn pushing(image: String) -> BuildEvent {
        BuildEvent::Pushing { image }
    }

    fn unpushed(image: &str, error: &EngineError) -> ErrorBody {
        ErrorBody::new(
            ErrorCode::Unavailable,
            format!("image `{image}` is built, but not in the registry: {error}"),
        )
        .hint("repeat the build; its steps are cached")
    }

    fn failed(error: ErrorBody) -> BuildEvent {
        Fault::of(error).event()
    }

    async fn run(&self, context: &mut Upload, events: &Events<BuildEvent>) -> BuildEvent {
        match self.build(context, events).await {
            Ok(built) => {
                tracing::info!(image = built.tag, "an image is built");
                BuildEvent::Built(built)
            }
            Err(fault) => {
                tracing::info!(image = self.request.name, %fault, "a build failed");
                fault.event()
            }
        }
    }
}

impl Build {
    async fn build(
        &self,
        context: &mut Upload,
        events: &Events<BuildEvent>,
    ) -> Result<BuiltView, Fault> {
        let started = BuildEvent::Started {
            builder: self.builder,
            engine: self.engine.clone(),
        };
        // A client that has gone needs no event: its build is aborted.
        drop(events.send(started).await);
        let id = self.image(context, events).await?;
        let label = Label {
            image: &self.request.name,
            tag: "latest",
        };
        let publishing = self
            .builds
            .publish::<Self>(&id, label, &self.handle, events);
        let published = publishing.await.map_err(Fault::of)?;
        Ok(BuiltView {
            image: self.request.name.clone(),
            tag: published.tag,
            id,
            pull: published.pull,
            builder: self.builder,
        })
    }

    /// Sends the inspected context to the engine, and returns the id of the image.
    async fn image(
        &self,
        context: &mut Upload,
        events: &Events<BuildEvent>,
    ) -> Result<String, Fault> {
        let logins = self.logins().await.map_err(Fault::of)?;
        let (to, received) = mpsc::channel(WAITING);
        let (sent, from) = mpsc::channel(WAITING);
        // While the context is sent: one that ended here would count as malformed, in place of the
        // engine's own failure.
        let mut open = Some(to.clone());
        let refusal = Arc::new(OnceLock::new());
        let repacking = repacking(
            received,
            sent,
            self.request.dockerfile().to_owned(),
            refusal.clone(),
        );
        let mut engine = pin!(engine::build(
            &self.builds.docker,
            &self.request,
            self.builder,
            logins,
            from,
            events
        ));
        let built = tokio::select! {
            built = &mut engine => built,
            () = feed(context, to) => {
                open = None;
                engine.await
            }
        };
        // The engine's own message would be about a context that broke off.
        if let Some(refusal) = refusal.get() {
            return Err(Fault::of(refused(refusal)));
        }
        drop(open);
        let id = built?;
        let whole = repacking.await.is_ok_and(|whole| whole);
        whole.then_some(id).ok_or_else(|| {
            Fault::of(ErrorBody::new(
                ErrorCode::Internal,
                "the engine did not read the whole context",
            ))
        })
    }

    /// Logins to the registries of base images.
    async fn logins(&self) -> Result<Logins, ErrorBody> {
        let logins = self.handle.read(Core::secret_logins).await?;
        let by_address = logins.iter().map(|login| {
            let address = server_address(&login.host).to_owned();
            (address, credentials(login))
        });
        Ok(by_address.collect())
    }
}

async fn name(docker: &Docker, id: &str, image: &str, tag: &str) -> Result<(), EngineError> {
    let options = TagImageOptions {
        repo: Some(image.to_owned()),
        tag: Some(tag.to_owned()),
    };
    let what = || format!("name image `{id}` `{image}:{tag}`");
    crate::engine::docker::ask(what, docker.tag_image(id, Some(options))).await
}

/// Starts to repack on a thread of its own, which ends once either side ends. Its result is true for
/// a complete context; else the cause is in `refusal` before the engine's stream breaks off.
fn repacking(
    received: mpsc::Receiver<Piece>,
    sent: mpsc::Sender<Piece>,
    dockerfile: String,
    refusal: Arc<OnceLock<RepackError>>,
) -> tokio::task::JoinHandle<bool> {
    tokio::task::spawn_blocking(move || {
        let outlet = Outlet::fallible(sent.clone());
        let to = io::BufWriter::with_capacity(PIECE, outlet);
        match repack::repack(
            Inlet::fallible(received),
            to,
            &dockerfile,
            Limits::default(),
        ) {
            Ok(_) => true,
            Err(RepackError::Closed) => false,
            Err(error) => {
                drop(refusal.set(error));
                drop(sent.blocking_send(Err(io::ErrorKind::ConnectionAborted.into())));
                false
            }
        }
    })
}

/// The refusal of a context.
fn refused(error: &RepackError) -> ErrorBody {
    match error {
        RepackError::Refused(refusal) => ErrorBody::new(
            ErrorCode::Unsatisfiable,
            format!("the context is refused: {refusal}"),
        ),
        RepackError::Format(format) => ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string())
            .hint(format!(
                "unpack it before: `{} FILE | micado build -f - ...`",
                format.unpacker()
            )),
        RepackError::Cut(_) => ErrorBody::new(ErrorCode::Unavailable, error.to_string()),
        RepackError::Malformed(_) | RepackError::Closed => {
            ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
