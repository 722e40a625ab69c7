//! Builds of images on the manager's engine, from a context that a client sends.

mod engine;
pub mod format;
pub mod inspect;
mod queue;
pub mod repack;
mod steps;

pub use queue::{Place, Queue};

use crate::{
    control::{Core, Handle, Request},
    engine::{
        EngineError,
        login::{credentials, server_address},
    },
    pieces::{Inlet, Outlet, PIECE, Piece, WAITING},
    registry::Registry,
};
use bollard::{Docker, query_parameters::TagImageOptions};
use bytes::Bytes;
use engine::{Fault, Logins};
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use inspect::Limits;
use micado_api::{
    BuildEvent, BuildRequest, Builder, BuilderView, BuiltView, ErrorBody, ErrorCode, ImageView,
};
use repack::RepackError;
use std::{
    error::Error,
    future::ready,
    io,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// Upper bound for events that wait for the client.
const EVENTS: usize = 64;
/// Interval of events while a build waits: the connection of a client that has gone fails then.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Upper bound for silence of the client while it sends the context.
const IDLE: Duration = Duration::from_secs(60);
/// Upper bound for reading what is left of a context after the last event.
const LINGER: Duration = Duration::from_secs(5);
/// Upper bound for a build, so that it cannot hold the queue for ever.
const BUILD_MAX: Duration = Duration::from_secs(4 * 3600);
/// Hexadecimal digits of an image id in its tag.
const TAG: usize = 12;

/// The builds of one engine.
#[derive(Debug, Clone)]
pub struct Builds {
    docker: Docker,
    registry: Arc<Registry>,
    queue: Arc<Queue>,
}

/// A context as it comes. Its errors have the kind `ConnectionAborted`.
type Context = BoxStream<'static, Piece>;

/// Sender of a build's events. Its receiver is the client's connection.
type Events = mpsc::Sender<BuildEvent>;

impl Builds {
    /// Builds on this engine; images go to this registry.
    #[must_use]
    pub fn new(docker: Docker, registry: Arc<Registry>) -> Self {
        Self {
            docker,
            registry,
            queue: Arc::default(),
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
    pub async fn admit(&self, request: BuildRequest, handle: Handle) -> Result<Build, ErrorBody> {
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
        let place = self.queue.enter().ok_or_else(|| {
            ErrorBody::new(ErrorCode::Unavailable, "too many builds wait already")
                .hint("start it again once some have ended")
        })?;
        Ok(Build {
            builds: self.clone(),
            request,
            builder,
            engine: found.version,
            handle,
            place,
        })
    }
}

/// A build and its events. Dropping it cancels the build.
struct Running {
    received: mpsc::Receiver<BuildEvent>,
    _task: Abort,
}

struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    fn events(self) -> impl Stream<Item = BuildEvent> + Send {
        futures_util::stream::unfold(self, |mut running| async {
            let event = running.received.recv().await?;
            Some((event, running))
        })
    }
}

/// A build in the queue.
#[derive(Debug)]
pub struct Build {
    builds: Builds,
    request: BuildRequest,
    builder: Builder,
    /// The engine's version.
    engine: String,
    handle: Handle,
    place: Place,
}

impl Build {
    /// Builds once its turn has come. The stream's last event is `built` or `failed`; dropping it
    /// cancels the build.
    pub fn start<E: Into<Box<dyn Error + Send + Sync>> + 'static>(
        self,
        context: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> impl Stream<Item = BuildEvent> + Send {
        let (events, received) = mpsc::channel(EVENTS);
        let aborted = |error: E| io::Error::new(io::ErrorKind::ConnectionAborted, error);
        let mut context = context.map_err(aborted).fuse().boxed();
        let work = async move {
            let job = Job {
                builds: &self.builds,
                request: &self.request,
                builder: self.builder,
                engine: &self.engine,
                handle: &self.handle,
                events: &events,
            };
            let last = job.run(&self.place, &mut context).await;
            drop(self.place);
            drop(events.send(last).await);
            // A connection that is closed with a part of the context unread loses the last event.
            let rest = context.take_while(|piece| ready(piece.is_ok()));
            drop(timeout(LINGER, rest.for_each(|_| ready(()))).await);
        };
        let task = Abort(tokio::spawn(work).abort_handle());
        Running {
            received,
            _task: task,
        }
        .events()
    }
}

/// A build that runs.
struct Job<'a> {
    builds: &'a Builds,
    request: &'a BuildRequest,
    builder: Builder,
    engine: &'a str,
    handle: &'a Handle,
    events: &'a Events,
}

impl Job<'_> {
    /// Returns the last event.
    async fn run(&self, place: &Place, context: &mut Context) -> BuildEvent {
        let work = async {
            self.wait(place).await;
            self.build(context).await
        };
        let ended = timeout(BUILD_MAX, work).await.unwrap_or_else(|_| {
            let message = format!("the build took more than {} h", BUILD_MAX.as_secs() / 3600);
            Err(Fault::of(ErrorBody::new(ErrorCode::Unsatisfiable, message)))
        });
        match ended {
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

    /// Sends an event. A client that has gone needs none: its build is aborted.
    async fn send(&self, event: BuildEvent) {
        drop(self.events.send(event).await);
    }

    /// Waits for the builds ahead.
    async fn wait(&self, place: &Place) {
        loop {
            let ahead = place.ahead();
            if ahead == 0 {
                return;
            }
            self.send(BuildEvent::Queued { ahead }).await;
            tokio::select! {
                () = place.moves(ahead) => {}
                () = sleep(HEARTBEAT) => {}
            }
        }
    }

    async fn build(&self, context: &mut Context) -> Result<BuiltView, Fault> {
        let started = BuildEvent::Started {
            builder: self.builder,
            engine: self.engine.to_owned(),
        };
        self.send(started).await;
        let id = self.image(context).await?;
        self.publish(&id).await.map_err(Fault::of)
    }

    /// Sends the inspected context to the engine, and returns the id of the image.
    async fn image(&self, context: &mut Context) -> Result<String, Fault> {
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
            self.request,
            self.builder,
            logins,
            from,
            self.events
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

    /// Tags the image by its content, pushes it, makes it the latest one, and records it.
    async fn publish(&self, id: &str) -> Result<BuiltView, ErrorBody> {
        let (image, docker) = (&self.request.name, &self.builds.docker);
        let content = id.trim_start_matches("sha256:");
        let content = content.get(..TAG).unwrap_or(content);
        let tag = format!("{image}:{content}");
        let unpushed = |error: EngineError| {
            ErrorBody::new(
                ErrorCode::Unavailable,
                format!("image `{image}` is built, but not in the registry: {error}"),
            )
            .hint("repeat the build; its steps are cached")
        };
        name(docker, id, image, content).await.map_err(unpushed)?;
        self.send(BuildEvent::Pushing { image: tag.clone() }).await;
        let pushed = self
            .builds
            .registry
            .push(&tag, None)
            .await
            .map_err(unpushed)?;
        let pull = pushed.reference;
        name(docker, id, image, "latest").await.map_err(unpushed)?;
        let record = Request::ImageBuilt {
            image: image.clone(),
            pull: pull.clone(),
        };
        let _recorded: ImageView = self.handle.request(record).await?;
        Ok(BuiltView {
            image: image.clone(),
            tag,
            id: id.to_owned(),
            pull,
            builder: self.builder,
        })
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

/// Passes the context on, piece by piece, until it ends or nobody reads it.
async fn feed(context: &mut Context, to: mpsc::Sender<Piece>) {
    loop {
        let piece = match timeout(IDLE, context.next()).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return,
            Err(_) => {
                let silence = format!("nothing came for {} s", IDLE.as_secs());
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, silence))
            }
        };
        let last = piece.is_err();
        if to.send(piece).await.is_err() || last {
            return;
        }
    }
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
