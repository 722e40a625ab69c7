//! The outbox as the agent's tasks share it.

use crate::outbox::Outbox;
use micado_api::agent::{ContainerEvent, SampleBatch};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What waits for the manager.
#[derive(Debug, Default)]
pub struct Mailbox {
    outbox: Mutex<Outbox>,
    news: Notify,
}

impl Mailbox {
    /// A batch was measured.
    pub fn batch(&self, batch: SampleBatch) {
        self.outbox().push_batch(batch);
        self.news.notify_one();
    }

    /// Something happened.
    pub fn event(&self, event: ContainerEvent) {
        self.outbox().push_event(event);
        self.news.notify_one();
    }

    /// The next frame to send, as JSON. Where the wait is given up, none is lost.
    pub async fn next(&self) -> String {
        loop {
            let text = self.outbox().send_next().map(serde_json::to_string);
            match text {
                Some(Ok(text)) => return text,
                Some(Err(error)) => tracing::error!("a frame cannot be written as JSON: {error}"),
                None => self.news.notified().await,
            }
        }
    }

    /// The outbox itself; never held while waiting.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
