//! Signals to this process.

use std::future::pending;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when a person or the system asks this process to end.
pub(super) async fn interrupted() {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Then the signal ends the process by itself.
        _ => pending().await,
    }
}
