//! Output of a copy while it ends: its log is followed from before the removal of its Swarm service
//! until its process has ended.

use crate::engine::{Engine, TaskState};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

/// Upper bound for logs that are followed at once; of others, only what was saved before is kept.
pub(super) const FOLLOWED: usize = 32;
/// Lines to begin with: those that were written since the log was saved, with a margin.
const LINES: u32 = 50;
/// Time for the request to reach the engine, which answers only once there is output.
const BEGINS_WITHIN: Duration = Duration::from_millis(150);
/// Silence after which the tasks are looked at.
const SILENCE: Duration = Duration::from_millis(300);
/// Time after the grace period for a slow machine to end the process.
const MARGIN: Duration = Duration::from_secs(5);
/// Upper bound for the text, in bytes: its end is kept.
const MOST: usize = 128 * 1024;

/// Starts to follow the log of a Swarm service, and returns once that has begun. `tell` gets the
/// text when the service's last process has ended.
pub(super) async fn follow(
    engine: Arc<dyn Engine>,
    places: Arc<Semaphore>,
    name: String,
    grace: Duration,
    tell: impl FnOnce(String) + Send + 'static,
) {
    let Ok(place) = places.try_acquire_owned() else {
        return;
    };
    let mut log = engine.follow(&name, None, Some(LINES));
    let mut text = Vec::new();
    // The request is sent by then, also if there is no output.
    if let Ok(Some(Ok(line))) = timeout(BEGINS_WITHIN, log.next()).await {
        text.extend_from_slice(&line.text);
    }
    tokio::spawn(async move {
        let _place = place;
        let deadline = Instant::now() + grace + MARGIN;
        let mut ended = false;
        while Instant::now() < deadline {
            match timeout(SILENCE, log.next()).await {
                Ok(Some(Ok(line))) => {
                    text.extend_from_slice(&line.text);
                    let excess = text.len().saturating_sub(MOST);
                    text.drain(..excess);
                }
                Ok(_) => break,
                Err(_) if ended => break,
                Err(_) => ended = has_ended(&*engine, &name).await,
            }
        }
        tell(String::from_utf8_lossy(&text).into_owned());
    });
}

/// True if no process of a Swarm service runs or may run.
async fn has_ended(engine: &dyn Engine, name: &str) -> bool {
    let tasks = engine.tasks(&[name.to_owned()]).await;
    tasks.is_ok_and(|tasks| tasks.iter().all(|task| task.state > TaskState::Running))
}
