//! Work of the engine for a client: it waits for its turn, takes what the client sends, and reports
//! events until its result.

use super::queue::Place;
use crate::{engine::EngineError, pieces::Piece};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use micado_api::{ErrorBody, ErrorCode};
use std::{error::Error, future::ready, io, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// Upper bound for events that wait for the client.
const EVENTS: usize = 64;
/// Interval of events while a job waits: the connection of a client that has gone fails then.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Upper bound for silence of the client while it sends.
const IDLE: Duration = Duration::from_secs(60);
/// Upper bound for reading what is left of an upload after the last event.
const LINGER: Duration = Duration::from_secs(5);
/// Upper bound for a job, so that it cannot hold the queue for ever.
pub(crate) const JOB_MAX: Duration = Duration::from_secs(4 * 3600);

/// Upload of the client, as it comes. Its errors have the kind `ConnectionAborted`.
pub type Upload = BoxStream<'static, Piece>;

/// Sender of a job's events. Its receiver is the client's connection.
pub type Events<T> = mpsc::Sender<T>;

/// Work of the engine for a client.
pub trait Job: Send + Sync + 'static {
    type Event: Send + 'static;
    /// The job in messages, such as `the build`.
    const NAME: &'static str;
    /// The event of a job that waits for so many others.
    fn queued(ahead: usize) -> Self::Event;
    /// The event of a push of this image to the registry.
    fn pushing(image: String) -> Self::Event;
    /// The failure of an image that the engine has and the registry has not.
    fn unpushed(image: &str, error: &EngineError) -> ErrorBody;
    /// The last event of a job that failed.
    fn failed(error: ErrorBody) -> Self::Event;
    /// Returns the last event.
    fn run(
        &self,
        upload: &mut Upload,
        events: &Events<Self::Event>,
    ) -> impl Future<Output = Self::Event> + Send;
}

/// A job in the queue.
#[derive(Debug)]
pub struct Queued<J> {
    pub(super) job: J,
    pub(super) place: Place,
}

impl<J: Job> Queued<J> {
    /// Starts the job once its turn has come. The stream's last event is the result; dropping it
    /// cancels the job.
    pub fn start<E: Into<Box<dyn Error + Send + Sync>> + 'static>(
        self,
        upload: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> impl Stream<Item = J::Event> + Send {
        let (events, received) = mpsc::channel(EVENTS);
        let aborted = |error: E| io::Error::new(io::ErrorKind::ConnectionAborted, error);
        let mut upload = upload.map_err(aborted).fuse().boxed();
        let work = async move {
            let turn = async {
                wait::<J>(&self.place, &events).await;
                self.job.run(&mut upload, &events).await
            };
            let last = timeout(JOB_MAX, turn).await.unwrap_or_else(|_| {
                let hours = JOB_MAX.as_secs() / 3600;
                let message = format!("{} took more than {hours} h", J::NAME);
                tracing::info!(message, "a job was ended");
                J::failed(ErrorBody::new(ErrorCode::Unsatisfiable, message))
            });
            drop(self.place);
            drop(events.send(last).await);
            // A connection that is closed with a part of the upload unread loses the last event.
            let rest = upload.take_while(|piece| ready(piece.is_ok()));
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

/// A job and its events. Dropping it cancels the job.
struct Running<T> {
    received: mpsc::Receiver<T>,
    _task: Abort,
}

struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send> Running<T> {
    fn events(self) -> impl Stream<Item = T> + Send {
        futures_util::stream::unfold(self, |mut running| async {
            let event = running.received.recv().await?;
            Some((event, running))
        })
    }
}

/// Waits for the jobs ahead.
async fn wait<J: Job>(place: &Place, events: &Events<J::Event>) {
    loop {
        let ahead = place.ahead();
        if ahead == 0 {
            return;
        }
        // A client that has gone needs none: its job is aborted.
        drop(events.send(J::queued(ahead)).await);
        tokio::select! {
            () = place.moves(ahead) => {}
            () = sleep(HEARTBEAT) => {}
        }
    }
}

/// Passes an upload on, piece by piece, until it ends or nobody reads it.
pub(crate) async fn feed(upload: &mut Upload, to: mpsc::Sender<Piece>) {
    loop {
        let piece = match timeout(IDLE, upload.next()).await {
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
