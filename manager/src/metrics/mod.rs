//! What agents measure, on its way: figures of this moment, and points that wait to be recorded.
//! Their links write into it, views and the refresh job read it.

mod dirty;
mod past;
mod places;
mod refresh;
mod rollup;
mod skew;
mod usage;
mod waiting;

pub use micado_core::metrics::*;
pub use refresh::Refresh;
pub use rollup::Rollup;

use crate::{
    clock,
    control::{Core, Handle},
};
use dirty::DirtyBuckets;
use micado_api::{
    ErrorBody, InstanceId,
    agent::{ContainerEvent, SampleBatch, is_id},
};
use places::Places;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use waiting::{Waiting, Watermark};

/// Why a batch or an event is not taken.
const NO_ROOM: &str = "no room for more figures and events until the store answers";
/// Between two times that the core is asked for what agents name.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that agents have measured and that is still of use.
#[derive(Debug)]
pub struct Metrics {
    inner: Mutex<Inner>,
    /// Held by whoever asks the core what is placed where: the others need not ask, too.
    looking: tokio::sync::Mutex<Option<Look>>,
    /// Held by whoever records what waits.
    recording: tokio::sync::Mutex<()>,
    /// Changes whenever something was recorded.
    turn: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    meter: Meter,
    places: Places,
    waiting: Waiting,
    /// How far each agent's batches are durable.
    recorded: HashMap<InstanceId, Watermark>,
    dirty: DirtyBuckets,
    /// The core gave no answer when it was asked last.
    is_unanswered: bool,
    /// The runs of agents that were told of because their machine's clock is off, and what is not
    /// kept therefore.
    doubted: HashMap<(InstanceId, &'static str), String>,
}

/// The last time that the core was asked for what agents name.
#[derive(Debug, Clone, Copy)]
struct Look {
    began: Instant,
    answered: bool,
}

impl Inner {
    /// That its clock is off is said once for each run of its agent and each consequence.
    fn doubt(&mut self, instance: &InstanceId, run: &str, off: &str, consequence: &'static str) {
        if self
            .doubted
            .insert((instance.clone(), consequence), run.to_owned())
            .is_none_or(|before| before != run)
        {
            tracing::warn!(%instance, "its clock is {off} the manager's: {consequence}; have both clocks set by NTP");
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            recording: tokio::sync::Mutex::default(),
            turn: watch::Sender::new(()),
        }
    }
}

impl Metrics {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch in, unless it was there before: sent again after a cut. An agent speaks for
    /// its own instance only: what it says of Swarm services that are not placed there is left out.
    ///
    /// # Errors
    /// In words, when there is no room for it before the store answers: its agent is to keep it.
    pub async fn take(
        &self,
        handle: &Handle,
        instance: &InstanceId,
        run: &str,
        mut batch: SampleBatch,
    ) -> Result<(), &'static str> {
        let services: Vec<&str> = batch
            .containers
            .iter()
            .filter_map(|it| it.service.as_deref())
            .collect();
        self.learn(handle, &services).await;
        let (now, mut inner) = (clock::now(), self.inner());
        inner.places.admit(instance, &mut batch.containers);
        if !inner.waiting.has_room(instance, &batch) {
            return Err(NO_ROOM);
        }
        let (watermark, doubt) = (
            Watermark {
                run: run.to_owned(),
                sequence: batch.sequence,
            },
            skew::doubt(now, &batch),
        );
        let Some(point) = inner.meter.take(now, instance, run, batch) else {
            return Ok(());
        };
        match doubt {
            None => {
                let point = inner.places.renamed(point);
                inner.waiting.push(point, watermark);
            }
            Some(off) => {
                inner.waiting.note(instance, watermark);
                inner.doubt(
                    instance,
                    run,
                    &off,
                    "what it uses is shown, but not kept for `micado history`",
                );
            }
        }
        Ok(())
    }

    /// Takes an event in, which may have been there before. Of others' containers, and of those
    /// that are not placed on this instance, none are kept.
    ///
    /// # Errors
    /// In words, when there is no room for it before the store answers: its agent is to keep it.
    pub fn take_event(
        &self,
        instance: &InstanceId,
        run: &str,
        event: ContainerEvent,
    ) -> Result<(), &'static str> {
        let mut inner = self.inner();
        if let Some(off) = skew::doubt_event(clock::now(), &event) {
            inner.doubt(
                instance,
                run,
                &off,
                "what it tells of containers is heard, but not kept for `micado events`",
            );
            return Ok(());
        }
        let is_swarms = is_id(&event.id)
            && event
                .service
                .as_ref()
                .is_some_and(|service| service.len() <= places::LONGEST_NAME);
        if is_swarms && !inner.waiting.push_event((instance.clone(), event)) {
            return Err(NO_ROOM);
        }
        Ok(())
    }

    /// Learns whose the service of an event is while that is placed still. While there is no core
    /// to say so, nobody waits for it.
    pub async fn learn_of(&self, handle: &Handle, service: Option<&str>) {
        if !self.inner().is_unanswered {
            self.learn(handle, service.as_slice()).await;
        }
    }

    /// A placement is recorded before its container is made: a service that the core does not know
    /// now is nobody's, and it is not asked for that again before the next turn.
    async fn learn(&self, handle: &Handle, services: &[&str]) {
        let news = || !self.inner().places.has_heard_of(services);
        if !news() {
            return;
        }
        let came = Instant::now();
        let mut looking = self.looking.lock().await;
        // What began since then has told of these, too: however many agents ask, none waits for
        // more than two looks.
        let mut look = looking.filter(|last| last.began >= came);
        if look.is_none() && news() {
            if let Some(last) = *looking {
                sleep_until(last.began + LOOK).await;
            }
            let began = Instant::now();
            *looking = Some(Look {
                began,
                answered: self.look(handle).await.is_ok(),
            });
            look = *looking;
        }
        if look.is_some_and(|look| look.answered) {
            self.inner().places.note_strangers(services);
        }
    }

    /// Asks the core what is placed where, and forgets instances that are no more.
    async fn look(&self, handle: &Handle) -> Result<(), ErrorBody> {
        let known: Vec<InstanceId> = {
            let inner = self.inner();
            inner
                .waiting
                .instances()
                .chain(inner.recorded.keys())
                .cloned()
                .collect()
        };
        let read = |core: &Core| {
            (
                core.placed_copies(),
                known
                    .into_iter()
                    .filter(|it| !core.is_live(it))
                    .collect::<Vec<_>>(),
            )
        };
        let answer = handle.read(read).await;
        let mut inner = self.inner();
        inner.is_unanswered = answer.is_err();
        let (copies, gone) = answer?;
        let events_wait = inner.waiting.events().next().is_some();
        inner.places.settle(clock::now(), copies, events_wait);
        for instance in gone {
            inner.meter.forget(&instance);
            inner.waiting.forget(&instance);
            inner.recorded.remove(&instance);
            inner.doubted.retain(|(of, _), _| *of != instance);
        }
        Ok(())
    }

    /// Up to which sequence of this run the agent's batches are durable.
    #[must_use]
    pub fn recorded(&self, instance: &InstanceId, run: &str) -> Option<u64> {
        self.inner()
            .recorded
            .get(instance)
            .filter(|watermark| watermark.run == run)
            .map(|watermark| watermark.sequence)
    }

    /// Changes whenever more may be durable.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turn.subscribe()
    }
}

#[cfg(test)]
pub(crate) mod tests;
