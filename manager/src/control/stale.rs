//! Subjects that the catalogue of services has to read again: added by the loop after each pass,
//! taken by the keeper of the catalogue.

use super::Stale;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The subjects that wait; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StaleSubjects(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    stale: Mutex<Stale>,
    added: Notify,
}

impl StaleSubjects {
    /// Adds subjects, and wakes the taker.
    pub fn add(&self, stale: Stale) {
        if !stale.is_empty() {
            self.put_back(stale);
            self.0.added.notify_one();
        }
    }

    /// Adds subjects that could not be read. The next [`Self::add`] wakes the taker.
    pub fn put_back(&self, stale: Stale) {
        self.waiting().unite(stale);
    }

    /// Resolves once subjects were added since it last did.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }

    /// Takes all subjects.
    #[must_use]
    pub fn take(&self) -> Stale {
        std::mem::take(&mut self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, Stale> {
        self.0.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
