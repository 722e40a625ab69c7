//! Metrics in memory: current values, and points that wait to be recorded. The agents' connections
//! write into it; views and the refresh job read it.

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

/// Reason for which a batch or an event is refused.
const NO_ROOM: &str = "no room for more figures and events until the store answers";
/// Lower bound for the time between two queries of the core for placements.
const LOOK: Duration = Duration::from_secs(1);

/// Metrics and events of all agents that are still of use.
#[derive(Debug)]
pub struct Metrics {
    inner: Mutex<Inner>,
    /// Held during a query of the core for placements, so that concurrent callers share its result.
    looking: tokio::sync::Mutex<Option<Look>>,
    /// Held while waiting points and events are recorded.
    recording: tokio::sync::Mutex<()>,
    /// Changes after every recording.
    turn: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    meter: Meter,
    places: Places,
    waiting: Waiting,
    /// Last durable batch of each agent.
    recorded: HashMap<InstanceId, Watermark>,
    dirty: DirtyBuckets,
    /// True if the last query of the core had no answer.
    is_unanswered: bool,
    /// Runs of agents that were logged because of their machine's clock, and what is not kept
    /// because of it.
    doubted: HashMap<(InstanceId, &'static str), String>,
}

/// The last query of the core for placements.
#[derive(Debug, Clone, Copy)]
struct Look {
    began: Instant,
    answered: bool,
}

impl Inner {
    /// Logs that a clock is off, once for each run of its agent and each consequence.
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

    /// Takes in a batch, unless it was taken before and is resent after a cut. An agent reports
    /// only about its own instance: metrics of Swarm services that are not placed there are
    /// dropped.
    ///
    /// # Errors
    /// A message, if there is no room until the store answers: the agent must keep the batch.
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

    /// Takes in an event, which may be a repetition. Events of containers that are not placed on
    /// this instance are dropped.
    ///
    /// # Errors
    /// A message, if there is no room until the store answers: the agent must keep the event.
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

    /// Looks up the placement of an event's service while it still exists. Does not wait while
    /// there is no core.
    pub async fn learn_of(&self, handle: &Handle, service: Option<&str>) {
        if !self.inner().is_unanswered {
            self.learn(handle, service.as_slice()).await;
        }
    }

    /// Looks up placements of these services. Placements are committed before services are created,
    /// so a service unknown to the core is foreign, and is not looked up again before the next
    /// refresh.
    async fn learn(&self, handle: &Handle, services: &[&str]) {
        let news = || !self.inner().places.has_heard_of(services);
        if !news() {
            return;
        }
        let came = Instant::now();
        let mut looking = self.looking.lock().await;
        // A query that began after this call answers it too. So no caller waits for more than two
        // queries, however many agents report.
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

    /// Queries the core for all placements, and drops removed instances.
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

    /// Sequence up to which the agent's batches of this run are durable.
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
