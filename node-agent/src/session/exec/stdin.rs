//! Standard input of a command. Input that the command has not read is buffered here, not on the
//! caller's connection.
//!
//! The size of the buffer is the flow-control window: it bounds the throughput of a caller to one
//! window per round trip. Every command has half a megabyte; a few fast readers at a time have four
//! times as much. So 50 sessions make the agent buffer at most 37 MiB, and a single one is not slow
//! over a connection with a long round trip.

use super::super::{SessionError, caller::Output};
use bytes::Bytes;
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME};
use std::sync::Arc;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Additional frames of flow-control window for a command among the fast readers.
const MORE: u8 = 24;
/// Number of bytes that a command must have read before each attempt to become a fast reader.
const MUCH: usize = INPUT_AHEAD * INPUT_FRAME;

/// Feeds a command. Dropping it discards buffered input.
pub struct Stdin {
    waiting: Option<mpsc::UnboundedSender<Bytes>>,
    /// One permit for each frame that the caller may still send.
    allowed: Arc<Semaphore>,
    feed: JoinHandle<()>,
}

impl Stdin {
    /// Feeds this stream. Credit is granted to the caller as frames are written.
    pub fn new(
        to: impl AsyncWrite + Unpin + Send + 'static,
        caller: Output,
        terminal: bool,
        fast: Arc<Semaphore>,
    ) -> Self {
        let (waiting, frames) = mpsc::unbounded_channel();
        let allowed = Arc::new(Semaphore::new(INPUT_AHEAD));
        // Typed input needs no larger window.
        let fast = (!terminal).then_some(fast);
        let room = Room {
            caller,
            allowed: Arc::clone(&allowed),
            fast,
        };
        Self {
            waiting: Some(waiting),
            allowed,
            feed: tokio::spawn(feed(to, frames, room, terminal)),
        }
    }

    /// Queues input for the command; ignored after [`Self::end`].
    ///
    /// # Errors
    /// If the caller exceeds the window or the size of a frame.
    pub fn add(&self, data: Bytes) -> Result<(), SessionError> {
        let Some(waiting) = &self.waiting else {
            return Ok(());
        };
        match self.allowed.try_acquire() {
            Ok(one) if data.len() <= INPUT_FRAME => one.forget(),
            _ => return Err(SessionError::TooFarAhead),
        }
        // The receiving task ends only after this sender is dropped.
        waiting.send(data).ok();
        Ok(())
    }

    /// Marks the end of input.
    pub fn end(&mut self) {
        self.waiting = None;
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// Flow-control window of the caller.
struct Room {
    caller: Output,
    allowed: Arc<Semaphore>,
    /// Permits of fast readers; `None` on a terminal.
    fast: Option<Arc<Semaphore>>,
}

impl Room {
    async fn more(&self, frames: u8) {
        self.allowed.add_permits(frames.into());
        // If the caller is gone, the session ends by that.
        self.caller.more(frames).await.ok();
    }
}

/// Writes queued input, then closes the stream. With a terminal it stays open, because the engine
/// would close its output too.
async fn feed(
    mut to: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    room: Room,
    terminal: bool,
) {
    let (mut reads, mut taken, mut place) = (true, 0, None);
    while let Some(data) = frames.recv().await {
        // Once a write fails, the command has closed its input: discard the rest.
        reads = reads && to.write_all(&data).await.is_ok();
        taken += data.len();
        drop(data);
        let mut more = 1;
        if place.is_none() && taken >= MUCH {
            taken = 0;
            place = room.fast.as_ref().and_then(|fast| fast.try_acquire().ok());
            more += place.as_ref().map_or(0, |_| MORE);
        }
        room.more(more).await;
    }
    if terminal {
        std::future::pending::<()>().await;
    }
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests;
