//! The outbox, shared among the agent's tasks.

use crate::outbox::Outbox;
use micado_api::agent::{ContainerEvent, SampleBatch};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Frames for the manager.
#[derive(Debug, Default)]
pub struct Mailbox {
    outbox: Mutex<Outbox>,
    news: Notify,
}

impl Mailbox {
    /// Queues a batch.
    pub fn batch(&self, batch: SampleBatch) {
        self.outbox().push_batch(batch);
        self.news.notify_one();
    }

    /// Queues an event.
    pub fn event(&self, event: ContainerEvent) {
        self.outbox().push_event(event);
        self.news.notify_one();
    }

    /// The next frame to send, as JSON. Cancel-safe.
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

    /// The outbox itself; never held across an await.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
