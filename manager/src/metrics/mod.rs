//! What agents measure, on its way: figures of this moment, and points that wait to be recorded. Their links write into it, views and the refresh job read it.

mod places;
mod refresh;
mod rollup;
mod touched;
mod usage;
mod waiting;

pub use micado_core::metrics::*;
pub use refresh::Refresh;
pub use rollup::Rollup;

use crate::{
    clock,
    control::{Core, Handle},
};
use micado_api::{ErrorBody, InstanceId, agent::SampleBatch};
use places::Places;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use touched::Touched;
use waiting::{Mark, Waiting};

/// Everything that agents have measured and that is still of use.
#[derive(Debug)]
pub struct Metrics {
    inner: Mutex<Inner>,
    /// Held by whoever asks the core what is placed where: the others need not ask, too.
    looking: tokio::sync::Mutex<()>,
    /// Changes whenever something was recorded.
    turn: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    meter: Meter,
    places: Places,
    waiting: Waiting,
    /// How far each agent's batches are durable.
    recorded: HashMap<InstanceId, Mark>,
    touched: Touched,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { inner: Mutex::default(), looking: tokio::sync::Mutex::default(), turn: watch::Sender::new(()) }
    }
}

impl Metrics {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch in, unless it was there before: sent again after a cut. An agent speaks for its own instance only: what it says of Swarm services that are not placed there is left out.
    pub async fn take(&self, handle: &Handle, instance: &InstanceId, run: &str, mut batch: SampleBatch) {
        let services: Vec<&str> = batch.containers.iter().filter_map(|it| it.service.as_deref()).collect();
        self.learn(handle, &services).await;
        let mut inner = self.inner();
        batch.containers.retain(|it| it.service.as_ref().is_some_and(|service| inner.places.is_on(service, instance)));
        let sequence = batch.sequence;
        if let Some(point) = inner.meter.take(clock::now(), instance, run, batch) {
            let point = inner.places.renamed(point);
            inner.waiting.push(point, Mark { run: run.to_owned(), sequence });
        }
    }

    /// A placement is recorded before its container is made: a service that the core does not know now is nobody's, and it is not asked for that again before the next turn.
    async fn learn(&self, handle: &Handle, services: &[&str]) {
        let news = || !self.inner().places.has_heard_of(services);
        if news() {
            let _one = self.looking.lock().await;
            if news() && self.look(handle).await.is_ok() {
                self.inner().places.note_strangers(services);
            }
        }
    }

    /// Asks the core what is placed where, and forgets instances that are no more.
    async fn look(&self, handle: &Handle) -> Result<(), ErrorBody> {
        let known: Vec<InstanceId> = {
            let inner = self.inner();
            inner.waiting.instances().chain(inner.recorded.keys()).cloned().collect()
        };
        let read = |core: &Core| (core.swarm_services(), known.into_iter().filter(|it| !core.is_live(it)).collect::<Vec<_>>());
        let (services, gone) = handle.read(read).await?;
        let mut inner = self.inner();
        inner.places.settle(clock::now(), services);
        for instance in gone {
            inner.meter.forget(&instance);
            inner.waiting.forget(&instance);
            inner.recorded.remove(&instance);
        }
        Ok(())
    }

    /// Up to which sequence of this run the agent's batches are durable.
    #[must_use]
    pub fn recorded(&self, instance: &InstanceId, run: &str) -> Option<u64> {
        self.inner().recorded.get(instance).filter(|mark| mark.run == run).map(|mark| mark.sequence)
    }

    /// Changes whenever more may be durable.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turn.subscribe()
    }
}

#[cfg(test)]
pub(crate) mod tests;
