//! Looks at the engine: whole when something changed or somebody asks, and often at the tasks that
//! are in flight, for tasks have no events.

use crate::{
    control::Event,
    engine::{Engine, EngineEvent, Observation},
};
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

/// How often tasks in flight are looked at while something moves.
const POLL: Duration = Duration::from_millis(25);
/// How often once nothing has moved for [`LIVELY`]: a task that is stuck would keep the engine
/// busy.
const IDLE_POLL: Duration = Duration::from_millis(250);
const LIVELY: Duration = Duration::from_secs(10);
/// The first pause before a blind watcher looks again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How to steer the watcher, whose task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    look: Arc<Notify>,
    poll: watch::Sender<Vec<String>>,
}

impl Watcher {
    /// Starts to watch; what is seen comes out of the receiver.
    pub(super) fn start(engine: Arc<dyn Engine>) -> (Self, mpsc::Receiver<Event>) {
        let (look, (poll, polled), (sender, seen)) = (
            Arc::new(Notify::new()),
            watch::channel(Vec::new()),
            mpsc::channel(1),
        );
        let task = WatchTask {
            engine,
            last: None,
            sender,
            pause: FIRST_PAUSE,
            looked: Instant::now(),
            moved: Instant::now(),
        };
        tokio::spawn(task.watch(look.clone(), polled));
        (Self { look, poll }, seen)
    }
    pub(super) fn look(&self) {
        self.look.notify_one();
    }
    /// Poll the tasks of these Swarm services until told otherwise.
    pub(super) fn poll(&self, services: Vec<String>) {
        self.poll.send_if_modified(|polled| {
            let changed = *polled != services;
            *polled = services;
            changed
        });
    }
}

/// What the watcher's task keeps.
struct WatchTask {
    engine: Arc<dyn Engine>,
    /// What was seen last; `None` while blind.
    last: Option<Observation>,
    sender: mpsc::Sender<Event>,
    /// Before a blind watcher looks again.
    pause: Duration,
    /// When it last looked, whole or at tasks.
    looked: Instant,
    /// When something last changed.
    moved: Instant,
}

impl WatchTask {
    async fn watch(mut self, look: Arc<Notify>, mut polled: watch::Receiver<Vec<String>>) {
        let mut events = self.engine.events();
        loop {
            let services = polled.borrow_and_update().clone();
            let event = tokio::select! {
                event = events.next() => match event {
                    Some(event) => Some(self.heard(event, &mut events).await),
                    None => return,
                },
                () = look.notified() => Some(self.look().await),
                changed = polled.changed() => match changed {
                    Ok(()) => {
                        self.moved = Instant::now();
                        continue;
                    }
                    Err(_) => return,
                },
                () = sleep_until(self.looked + self.pause), if self.last.is_none() => {
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    Some(self.look().await)
                }
                () = sleep_until(self.looked + self.pace()), if self.last.is_some() && !services.is_empty() => self.look_at_tasks(&services).await,
            };
            if let Some(event) = event
                && self.sender.send(event).await.is_err()
            {
                return;
            }
        }
    }

    /// Between two looks at the tasks in flight.
    fn pace(&self) -> Duration {
        if self.moved.elapsed() < LIVELY {
            POLL
        } else {
            IDLE_POLL
        }
    }

    /// One look for all events that are there already: events come in crowds.
    async fn heard(
        &mut self,
        mut event: EngineEvent,
        events: &mut BoxStream<'static, EngineEvent>,
    ) -> Event {
        loop {
            if let EngineEvent::Lost(words) = event {
                return self.blind(words);
            }
            match events.next().now_or_never() {
                Some(Some(next)) => event = next,
                _ => return self.look().await,
            }
        }
    }

    fn blind(&mut self, words: String) -> Event {
        (self.last, self.looked) = (None, Instant::now());
        Event::Blind(words)
    }

    async fn look(&mut self) -> Event {
        match self.engine.observe().await {
            Ok(observation) => {
                (self.pause, self.looked) = (FIRST_PAUSE, Instant::now());
                if self.last.as_ref() != Some(&observation) {
                    self.moved = self.looked;
                    self.last = Some(observation.clone());
                }
                Event::Observed(observation)
            }
            Err(error) => self.blind(error.to_string()),
        }
    }

    /// The tasks of these services; `None` when nothing about them changed. When they cannot be
    /// had, everything: only a whole look may fail.
    async fn look_at_tasks(&mut self, services: &[String]) -> Option<Event> {
        let fresh = self.engine.tasks(services).await;
        let (Some(last), Ok(fresh)) = (self.last.as_mut(), fresh) else {
            return Some(self.look().await);
        };
        let names: BTreeSet<&str> = services.iter().map(String::as_str).collect();
        let ids: BTreeSet<&str> = last
            .services
            .iter()
            .filter(|it| names.contains(it.name.as_str()))
            .map(|it| it.id.as_str())
            .collect();
        let (mut polled, mut others): (Vec<_>, Vec<_>) = last
            .tasks
            .drain(..)
            .partition(|task| ids.contains(task.service.as_str()));
        let mut fresh: Vec<_> = fresh
            .into_iter()
            .filter(|task| ids.contains(task.service.as_str()))
            .collect();
        polled.sort_by(|a, b| a.id.cmp(&b.id));
        fresh.sort_by(|a, b| a.id.cmp(&b.id));
        let changed = polled != fresh;
        others.extend(fresh);
        last.tasks = others;
        self.looked = Instant::now();
        if changed {
            self.moved = self.looked;
        }
        changed.then(|| Event::Observed(last.clone()))
    }
}

#[cfg(test)]
mod tests;
