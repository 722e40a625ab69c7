//! Waiting for the broker: looks that get rarer, and what was last seen, for who waits too long.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between looks.
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

/// What was last seen, in words.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<String>);

impl Progress {
    pub(super) fn note(&self, words: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    pub(super) fn words(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
