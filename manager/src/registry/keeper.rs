//! Upkeep of the registry: it is asked now and then, and the manager's own one is mended when the
//! engine reports a change of its containers or it does not answer.

use super::{
    Registry,
    certs::{self, Credentials},
    end::End,
    server::{self, OwnRegistry},
};
use crate::{engine::EngineError, pki::Pki};
use bollard::{Docker, models::EventMessage, query_parameters::EventsOptions};
use futures_util::{Stream, StreamExt, stream};
use micado_api::labels;
use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Interval of requests to the registry.
const PROBE: Duration = Duration::from_secs(5);
/// Probes from one look at the containers to the next, without an event or a failure.
const LOOK_EVERY: u32 = 12;
/// Failed probes after which a side is made again, although its container runs as it is to.
const MAKE_AGAIN: u32 = 6;
/// Pause before a broken stream of events is opened again.
const RECONNECT: Duration = Duration::from_secs(5);

/// Events of a container that ask for a look at it.
const CHANGES: [&str; 7] = [
    "destroy",
    "die",
    "disconnect",
    "pause",
    "rename",
    "stop",
    "update",
];

/// The message of what is wrong with the registry, if anything is.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// Notes an outcome. Logs it if it is news.
    fn note(&self, outcome: &Result<(), EngineError>) {
        let now = outcome.as_ref().err().map(ToString::to_string);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.is_some(), &now) {
            (false, Some(message)) => tracing::warn!(%message, "the registry fails"),
            (true, None) => tracing::info!("the registry answers again"),
            _ => {}
        }
        *known = now;
    }

    fn message(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }
}

/// Material of which the manager's own registry is made.
#[derive(Debug)]
pub(super) struct Keeper {
    docker: Docker,
    own: OwnRegistry,
    pki: Arc<Pki>,
    /// Authority of the writing side's clients.
    writers: Pki,
    /// Certificate that the manager's engine shows to it.
    writer: Credentials,
    /// One look at a time.
    turn: tokio::sync::Mutex<()>,
    /// True while garbage is collected, until the writing side answers again: it is stopped on
    /// purpose.
    collecting: AtomicBool,
}

impl Keeper {
    pub(super) fn new(
        docker: Docker,
        own: OwnRegistry,
        pki: Arc<Pki>,
        writers: Pki,
        writer: Credentials,
    ) -> Self {
        Self {
            docker,
            own,
            pki,
            writers,
            writer,
            turn: tokio::sync::Mutex::new(()),
            collecting: AtomicBool::new(false),
        }
    }

    pub(super) fn own(&self) -> &OwnRegistry {
        &self.own
    }

    /// Brings both containers, and the engine's certificates for them, to the wanted state.
    async fn mend(&self) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        self.ensure(self.is_collecting()).await
    }

    /// Like [`Keeper::mend`], in its turn. The writing side stays as it is `while_collecting`.
    async fn ensure(&self, while_collecting: bool) -> Result<(), EngineError> {
        let host = format!("{}:{}", self.own.address, self.own.push_port);
        certs::install(&self.own.certs_dir, &host, &self.writer)?;
        let (docker, own) = (&self.docker, &self.own);
        server::ensure(docker, &self.pki, &self.writers, own, while_collecting).await
    }

    fn is_collecting(&self) -> bool {
        self.collecting.load(Ordering::SeqCst)
    }

    /// From now on the writing side may be stopped.
    pub(super) async fn pause_writer(&self) {
        let _turn = self.turn.lock().await;
        self.collecting.store(true, Ordering::SeqCst);
    }

    /// Starts the writing side again, and waits until it answers: a probe before would take it for
    /// one that fails. Also removes the collector, which may run still.
    pub(super) async fn resume_writer(&self, writing: &End) -> Result<(), EngineError> {
        let resumed = {
            let _turn = self.turn.lock().await;
            self.ensure(false).await
        };
        let resumed = match resumed {
            Ok(()) => writing.ready().await,
            failed => failed,
        };
        self.collecting.store(false, Ordering::SeqCst);
        resumed
    }

    /// Removes both containers; the images stay on their volume.
    async fn remove(&self) -> Result<(), EngineError> {
        let _turn = self.turn.lock().await;
        server::remove(&self.docker, &self.own).await
    }

    /// Changes of the containers, endlessly.
    fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let owned = format!("{}={}", labels::CLUSTER, self.own.cluster);
        let filters: HashMap<String, Vec<String>> = [
            ("type", vec!["container".to_owned(), "network".to_owned()]),
            ("event", CHANGES.map(str::to_owned).to_vec()),
        ]
        .map(|(key, values)| (key.to_owned(), values))
        .into();
        let names = server::names(&self.own);
        let docker = self.docker.clone();
        let opened = stream::unfold(true, move |first| {
            let (docker, filters) = (docker.clone(), filters.clone());
            async move {
                if !first {
                    sleep(RECONNECT).await;
                }
                let options = EventsOptions {
                    filters: Some(filters),
                    ..Default::default()
                };
                Some((docker.events(Some(options)), false))
            }
        });
        let events = opened.flatten().filter_map(async |event| event.ok());
        events.filter_map(move |event| {
            let concerns = concerns(&event, &names, &owned);
            async move { concerns.then_some(()) }
        })
    }
}

/// Returns true if an event is about one of these containers, or about any of ours that may have
/// been renamed.
fn concerns(event: &EventMessage, names: &[String], owned: &str) -> bool {
    let attributes = event
        .actor
        .as_ref()
        .and_then(|actor| actor.attributes.as_ref());
    let Some(attributes) = attributes else {
        return true;
    };
    let (key, value) = owned.split_once('=').unwrap_or((owned, ""));
    let named = |key: &str| attributes.get(key).is_some_and(|name| names.contains(name));
    let is_owned = attributes.get(key).is_some_and(|it| it == value);
    named("name")
        || is_owned && attributes.contains_key(server::CONFIG_LABEL)
        || attributes.contains_key("container")
}

impl Registry {
    /// Message of what is wrong with the registry, if anything is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.message()
    }

    /// Keeps the registry, endlessly.
    pub async fn keep(self: Arc<Self>) {
        let mut changes = pin!(match &self.keeper {
            Some(keeper) => keeper.changes().boxed(),
            None => stream::pending().boxed(),
        });
        let mut probes = interval(PROBE);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failures, mut probed) = (0, 0);
        loop {
            let mut look = tokio::select! {
                Some(()) = changes.next() => true,
                _ = probes.tick() => false,
            };
            let mut outcome = Ok(());
            if !look {
                probed = (probed + 1) % LOOK_EVERY;
                outcome = self.probe().await;
                look = outcome.is_err() || probed == 0;
                failures = if outcome.is_err() { failures + 1 } else { 0 };
            }
            if look {
                outcome = self.look_after(failures >= MAKE_AGAIN).await.and(outcome);
            }
            if failures >= MAKE_AGAIN {
                failures = 0;
            }
            self.trouble.note(&outcome);
        }
    }

    /// Mends the manager's own registry; `again` makes it again, because it does not answer.
    async fn look_after(&self, again: bool) -> Result<(), EngineError> {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| again) {
            tracing::warn!("the registry runs and does not answer; its containers are made again");
            keeper.remove().await?;
        }
        self.mend().await
    }

    /// Brings the manager's own registry to the wanted state. Does not wait until it answers.
    pub(super) async fn mend(&self) -> Result<(), EngineError> {
        match &self.keeper {
            Some(keeper) => keeper.mend().await,
            None => Ok(()),
        }
    }

    /// Asks both sides, or while garbage is collected the reading one.
    pub(super) async fn probe(&self) -> Result<(), EngineError> {
        let (reading, writing) = tokio::join!(self.reading.answers(), self.writing.answers());
        // After the question too: a collection may have begun meanwhile.
        match &self.keeper {
            Some(keeper) if keeper.is_collecting() => reading,
            _ => reading.and(writing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn event(attributes: &[(&str, &str)]) -> EventMessage {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        EventMessage {
            actor: Some(EventActor {
                attributes: Some(attributes.collect()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn events_of_other_containers_cause_no_look() {
        let names = ["micado-abc-registry", "micado-abc-registry-push"].map(str::to_owned);
        let concerns = |attributes: &[(&str, &str)]| {
            super::concerns(&event(attributes), &names, "micado.cluster=abc")
        };
        assert!(concerns(&[("name", "micado-abc-registry-push")]));
        assert!(concerns(&[
            ("name", "renamed"),
            ("micado.cluster", "abc"),
            (server::CONFIG_LABEL, "1"),
        ]));
        assert!(concerns(&[("name", "bridge"), ("container", "0123")]));
        assert!(!concerns(&[("name", "web")]));
        assert!(!concerns(&[("name", "m"), ("micado.cluster", "abc")]));
        assert!(!concerns(&[
            ("name", "m"),
            ("micado.cluster", "xyz"),
            (server::CONFIG_LABEL, "1"),
        ]));
    }

    #[test]
    fn trouble_lasts_until_the_registry_answers() {
        let trouble = Trouble::default();
        trouble.note(&Err(EngineError::Unavailable("it is gone".to_owned())));
        assert_eq!(trouble.message().as_deref(), Some("it is gone"));
        trouble.note(&Ok(()));
        assert_eq!(trouble.message(), None);
    }
}
