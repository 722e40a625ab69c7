//! Polling the broker at growing intervals, with the last observation for a caller that times out.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between polls.
#[derive(Debug)]
pub(super) struct Poll(Duration);

impl Default for Poll {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Poll {
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 3 / 2).min(LONGEST);
    }
}

/// The last observation, as text.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<String>);

impl Progress {
    pub(super) fn note(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(super) fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
