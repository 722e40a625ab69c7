//! How the API reaches the core: requests in, replies and views out, progress as a stream.

use super::{Core, Event, Reply, Request, Ticket};
use futures_util::{Stream, StreamExt};
use micado_api::{ErrorBody, ErrorCode, Progress};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_stream::wrappers::BroadcastStream;

/// A read of the core, run on its own loop between two events; or of why there is none at present.
pub type Read = Box<dyn FnOnce(Result<&Core, ErrorBody>) + Send>;

/// What the loop takes from its handles.
pub enum Input {
    /// A request and whom to answer.
    Request(
        Ticket,
        Box<Request>,
        oneshot::Sender<Result<Reply, ErrorBody>>,
    ),
    Read(Read),
    Tell(Box<Event>),
}

/// A way to the core; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Input>,
    progress: broadcast::Sender<Progress>,
}

/// Steps were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed;

static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

impl Handle {
    /// A handle and the two ends that the loop keeps: where inputs arrive, and where it tells
    /// progress.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Input>, broadcast::Sender<Progress>) {
        let (inbox, outbox) = mpsc::channel(256);
        let (progress, _) = broadcast::channel(4096);
        (
            Self {
                inbox,
                progress: progress.clone(),
            },
            outbox,
            progress,
        )
    }

    /// Asks for something; returns once it is durable.
    ///
    /// # Errors
    /// The core's refusal, or `Unavailable` when the manager is stopping or had to start over:
    /// whether it was done is not known then.
    pub async fn request(&self, request: Request) -> Result<Reply, ErrorBody> {
        let ticket = NEXT_TICKET.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.inbox
            .send(Input::Request(ticket, Box::new(request), answer))
            .await
            .map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Reads something off the core.
    ///
    /// # Errors
    /// `Unavailable` when the manager is stopping, or its store does not answer.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |core| drop(answer.send(core.map(read))));
        self.inbox
            .send(Input::Read(read))
            .await
            .map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Tells of something that happened; nobody answers. While there is no core, for its store does
    /// not answer, it is let go, but for whose agents have gone.
    pub async fn tell(&self, event: Event) {
        // Nobody needs to know what happens to a manager that is stopping.
        drop(self.inbox.send(Input::Tell(Box::new(event))).await);
    }

    /// Progress of everything from now on. Take the stream first and [`Core::progress`] after it,
    /// so that nothing is missed between the two. [`Missed`] stands where steps were dropped
    /// because nobody took them in time: then too, [`Core::progress`] has what counts.
    pub fn watch(&self) -> impl Stream<Item = Result<Progress, Missed>> + Send + use<> {
        BroadcastStream::new(self.progress.subscribe()).map(|step| step.map_err(|_| Missed))
    }
}

fn stopping() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unavailable,
        "the manager is stopping or starting over",
    )
    .hint("ask again in a moment; `micado list` shows whether it was done")
}
