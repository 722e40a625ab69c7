//! Looks at the engine: whole when something changed or somebody asks, and every 25 ms at the tasks that are in flight, for tasks have no events.

use crate::{
    control::Event,
    engine::{Engine, EngineError, EngineEvent, Observation},
};
use futures_util::StreamExt;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::{Notify, mpsc, watch};

/// How often tasks in flight are looked at.
const POLL: Duration = Duration::from_millis(25);

/// How to steer the watcher, whose task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    look: Arc<Notify>,
    poll: watch::Sender<Vec<String>>,
}

impl Watcher {
    /// Starts to watch; what is seen comes out of the receiver.
    pub(super) fn start(engine: Arc<dyn Engine>) -> (Self, mpsc::Receiver<Event>) {
        let (look, (poll, polled), (sender, seen)) = (Arc::new(Notify::new()), watch::channel(Vec::new()), mpsc::channel(1));
        let eyes = Eyes { engine, last: None, sender };
        tokio::spawn(eyes.watch(look.clone(), polled));
        (Self { look, poll }, seen)
    }
    /// Look at everything.
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
struct Eyes {
    engine: Arc<dyn Engine>,
    last: Option<Observation>,
    sender: mpsc::Sender<Event>,
}

impl Eyes {
    async fn watch(mut self, look: Arc<Notify>, mut polled: watch::Receiver<Vec<String>>) {
        let mut events = self.engine.events();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let services = polled.borrow_and_update().clone();
            let event = tokio::select! {
                event = events.next() => match event {
                    Some(EngineEvent::Lost(words)) => Some(Event::Blind(words)),
                    Some(EngineEvent::Connected | EngineEvent::Changed) => Some(self.look().await),
                    None => return,
                },
                () = look.notified() => Some(self.look().await),
                changed = polled.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                _ = poll.tick(), if !services.is_empty() && self.last.is_some() => self.look_at_tasks(&services).await,
            };
            if let Some(event) = event {
                if matches!(event, Event::Blind(_)) {
                    self.last = None;
                }
                if self.sender.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Everything.
    async fn look(&mut self) -> Event {
        match self.engine.observe().await {
            Ok(observation) => {
                self.last = Some(observation.clone());
                Event::Observed(observation)
            }
            Err(error) => Event::Blind(error.to_string()),
        }
    }

    /// The tasks of these services; `None` when nothing about them changed.
    async fn look_at_tasks(&mut self, services: &[String]) -> Option<Event> {
        let last = self.last.as_mut()?;
        let fresh = match self.engine.tasks(services).await {
            Ok(fresh) => fresh,
            Err(EngineError::Unavailable(words)) => return Some(Event::Blind(words)),
            Err(_) => return None,
        };
        let names: BTreeSet<&str> = services.iter().map(String::as_str).collect();
        let ids: BTreeSet<&str> = last.services.iter().filter(|it| names.contains(it.name.as_str())).map(|it| it.id.as_str()).collect();
        let (mut polled, mut others): (Vec<_>, Vec<_>) = last.tasks.drain(..).partition(|task| ids.contains(task.service.as_str()));
        let mut fresh: Vec<_> = fresh.into_iter().filter(|task| ids.contains(task.service.as_str())).collect();
        polled.sort_by(|a, b| a.id.cmp(&b.id));
        fresh.sort_by(|a, b| a.id.cmp(&b.id));
        let changed = polled != fresh;
        others.extend(fresh);
        last.tasks = others;
        changed.then(|| Event::Observed(last.clone()))
    }
}
