//! A command's input: what it has not taken yet waits here, and not on the caller's connection.
//!
//! How much may wait is also how much a caller can send in the time that it takes to get there and
//! back. All may send half a megabyte; a few at a time, whose commands take what comes, four times
//! as much. So 50 of them make the agent hold no more than 37 MiB, and one alone is not slow on a
//! long way.

use super::super::{SessionError, caller::Output};
use bytes::Bytes;
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME};
use std::sync::Arc;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// So many more frames may be sent ahead to a command that has a place among the fast ones.
const MORE: u8 = 24;
/// Each time that it has taken so many bytes, a command may get such a place.
const MUCH: usize = INPUT_AHEAD * INPUT_FRAME;

/// Feeds a command. Dropping it gives up what the command has not taken.
pub struct Stdin {
    waiting: Option<mpsc::UnboundedSender<Bytes>>,
    /// A permit for each frame that may still come.
    allowed: Arc<Semaphore>,
    feed: JoinHandle<()>,
}

impl Stdin {
    /// On this stream; the caller hears how many more frames it may send as they are taken.
    pub fn new(
        to: impl AsyncWrite + Unpin + Send + 'static,
        caller: Output,
        terminal: bool,
        fast: Arc<Semaphore>,
    ) -> Self {
        let (waiting, frames) = mpsc::unbounded_channel();
        let allowed = Arc::new(Semaphore::new(INPUT_AHEAD));
        // Who types needs no place.
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

    /// Input that the command gets when it takes it; after the end, nobody does.
    ///
    /// # Errors
    /// When the caller has not waited until it may send more, or sends too much at once.
    pub fn add(&self, data: Bytes) -> Result<(), SessionError> {
        let Some(waiting) = &self.waiting else {
            return Ok(());
        };
        match self.allowed.try_acquire() {
            Ok(one) if data.len() <= INPUT_FRAME => one.forget(),
            _ => return Err(SessionError::TooFarAhead),
        }
        // The feed ends only after this.
        waiting.send(data).ok();
        Ok(())
    }

    /// No more comes.
    pub fn end(&mut self) {
        self.waiting = None;
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// How much more the caller may send.
struct Room {
    caller: Output,
    allowed: Arc<Semaphore>,
    /// Places for fast ones, where it may have one.
    fast: Option<Arc<Semaphore>>,
}

impl Room {
    async fn more(&self, frames: u8) {
        self.allowed.add_permits(frames.into());
        // Where the caller is gone, the session ends by that.
        self.caller.more(frames).await.ok();
    }
}

/// Until there is no more; then the input is closed. A terminal stays: the engine would close its
/// output, too.
async fn feed(
    mut to: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    room: Room,
    terminal: bool,
) {
    let (mut reads, mut taken, mut place) = (true, 0, None);
    while let Some(data) = frames.recv().await {
        // A command that reads no more loses nothing that it wants.
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
