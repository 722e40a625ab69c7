//! A command's input: what it has not taken yet waits here, and not on the caller's connection.

use super::super::{SessionError, caller::Output};
use bytes::Bytes;
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

/// Feeds a command. Dropping it gives up what the command has not taken.
pub struct Stdin {
    waiting: Option<mpsc::Sender<Bytes>>,
    feed: JoinHandle<()>,
}

impl Stdin {
    /// On this stream; the caller hears of each frame that was taken.
    pub fn new(to: impl AsyncWrite + Unpin + Send + 'static, caller: Output, terminal: bool) -> Self {
        let (waiting, frames) = mpsc::channel(INPUT_AHEAD);
        Self { waiting: Some(waiting), feed: tokio::spawn(feed(to, frames, caller, terminal)) }
    }

    /// Input that the command gets when it takes it; after the end, nobody does.
    ///
    /// # Errors
    /// When the caller has not waited until the command has taken what it sent before, or sends too much at once.
    pub fn add(&self, data: Bytes) -> Result<(), SessionError> {
        if data.len() > INPUT_FRAME {
            return Err(SessionError::TooFarAhead);
        }
        match self.waiting.as_ref().map(|waiting| waiting.try_send(data)) {
            Some(Err(TrySendError::Full(_))) => Err(SessionError::TooFarAhead),
            _ => Ok(()),
        }
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

/// Until there is no more; then the input is closed. A terminal stays: the engine would close its output, too.
async fn feed(mut to: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Bytes>, caller: Output, terminal: bool) {
    let mut reads = true;
    while let Some(data) = frames.recv().await {
        // A command that reads no more loses nothing that it wants.
        reads = reads && to.write_all(&data).await.is_ok();
        // Where the caller is gone, the session ends by that.
        caller.taken().await.ok();
    }
    if terminal {
        std::future::pending::<()>().await;
    }
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests;
