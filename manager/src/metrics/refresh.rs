//! The refresh: at each turn what agents measured and told is recorded and then acknowledged, the
//! core is told what containers used, and people's collections are brought up to date.

use super::{EventRecord, History, Metrics, Order, Point, RecallEvents};
use crate::{
    clock,
    control::{Event, Handle},
    store::{MongoStore, StoreError},
};
use micado_api::agent::ContainerHappening;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Points, or events, for one call of the store.
const PIECE: usize = 2000;
/// Events that are looked through for what was placed before the manager was there, the latest.
const REMEMBERED: usize = 10_000;
/// The most that the last recording may hold up the end.
const LAST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Refresh {
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
    pub history: Arc<dyn History>,
    /// Where people read, if that is a MongoDB.
    pub shown: Option<Arc<MongoStore>>,
}

impl Refresh {
    /// A turn at each tick, until there are no more.
    pub async fn run(self, mut ticks: mpsc::Receiver<()>) {
        let mut outage = Outage::default();
        while ticks.recv().await.is_some() {
            self.turn(&mut outage).await;
        }
    }

    pub(super) async fn turn(&self, outage: &mut Outage) {
        let recorded = self.record().await;
        outage.tell(&recorded);
        self.metrics.inner().places.forget_strangers();
        // While the store does not answer there is no core either, and the runtime says so.
        if self.metrics.look(&self.handle).await.is_err() {
            return;
        }
        let used = self.metrics.inner().meter.used();
        if !used.is_empty() {
            self.handle.tell(Event::Used(used.clone())).await;
            // Nobody answers to what is told, but whoever can be asked after it has heard it and
            // kept what it learned.
            if self.handle.read(|_| ()).await.is_err() {
                return self.metrics.inner().meter.give_back(used);
            }
        }
        if let Some(store) = &self.shown
            && let Err(error) = self.show(store).await
        {
            tracing::warn!(%error, "how containers and machines are could not be written down; it is tried again at the next turn");
        }
    }

    /// Writes what came last, when the manager stops: there may be nobody to tell it again.
    pub async fn end(&self) {
        match timeout(LAST, self.record()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what machines told last could not be recorded; agents that are still there tell it to the next manager")
            }
            Err(_) => {
                tracing::warn!(
                    "what machines told last was not recorded within {} s; agents that are still there tell it to the next manager",
                    LAST.as_secs()
                )
            }
        }
    }

    /// Writes what waits; only when all of it is durable is it acknowledged.
    pub(crate) async fn record(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.metrics.recording.lock().await;
        let due = self.metrics.inner().waiting.due();
        self.record_events(due.events).await?;
        self.record_points(due.points).await?;
        self.metrics.inner().recorded.extend(due.watermarks);
        self.metrics.turn.send_replace(());
        Ok(())
    }

    async fn record_points(&self, mut due: usize) -> Result<(), StoreError> {
        while due > 0 {
            let piece: Vec<Point> = self
                .metrics
                .inner()
                .waiting
                .points()
                .take(due.min(PIECE))
                .cloned()
                .collect();
            self.history.record(&piece).await?;
            let mut inner = self.metrics.inner();
            inner.dirty.touch(&piece);
            inner.waiting.release_points(piece.len());
            due -= piece.len();
        }
        Ok(())
    }

    /// Finds out whose the events are that wait. A placement is recorded before its container is
    /// made: what the core does not know now, and nothing that is kept tells of, is nobody's.
    async fn look_up(&self) -> Result<(), StoreError> {
        let looked = self.metrics.look(&self.handle).await;
        let is_unknown = {
            let inner = self.metrics.inner();
            let services: Vec<&str> = inner
                .waiting
                .events()
                .filter_map(|(_, event)| event.service.as_deref())
                .collect();
            // A core that has stopped says no more, and may have said enough.
            if !inner.places.has_heard_of(&services) {
                looked.map_err(|error| StoreError::Failed(error.message))?;
            }
            inner
                .waiting
                .events()
                .any(|(instance, event)| inner.places.happening(instance, event).is_none())
        };
        if is_unknown && !self.metrics.inner().places.has_memory() {
            let latest = self
                .history
                .recall_events(&RecallEvents::any(Order::NewestFirst, REMEMBERED))
                .await?;
            self.metrics.inner().places.remember(latest);
        }
        Ok(())
    }

    async fn record_events(&self, mut due: usize) -> Result<(), StoreError> {
        if due > 0 {
            self.look_up().await?;
        }
        while due > 0 {
            let count = due.min(PIECE);
            let piece: Vec<EventRecord> = {
                let inner = self.metrics.inner();
                inner
                    .waiting
                    .events()
                    .take(count)
                    .filter_map(|(instance, event)| inner.places.happening(instance, event))
                    .collect()
            };
            self.history.record_events(&piece).await?;
            self.metrics.inner().waiting.release_events(count);
            due -= count;
            self.tell_kills(piece).await;
        }
        Ok(())
    }

    /// Tells the core again who was killed for want of memory: when the agent said so there may
    /// have been none. One that is made later finds it in what is kept.
    async fn tell_kills(&self, events: Vec<EventRecord>) {
        for it in events
            .iter()
            .filter(|it| matches!(it.what, ContainerHappening::Died { oom: true, .. }))
        {
            self.handle
                .tell(Event::Happened(it.placed.instance.clone(), it.event()))
                .await;
        }
    }

    async fn show(&self, store: &MongoStore) -> Result<(), StoreError> {
        let views = self
            .handle
            .read(|core| (core.instances(true), core.containers(true), core.images()))
            .await;
        let Ok((mut instances, mut containers, images)) = views else {
            return Ok(());
        };
        self.metrics.measure_instances(&mut instances);
        self.metrics.measure_containers(&mut containers);
        store
            .show(clock::now(), &instances, &containers, &images)
            .await
    }
}

/// Whether figures can be recorded at present: that they cannot is said once.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failing: bool,
}

impl Outage {
    fn tell(&mut self, recorded: &Result<(), StoreError>) {
        match recorded {
            Err(error) if !self.failing => {
                tracing::warn!(%error, "what machines and containers use cannot be recorded; it is kept, and tried again at each turn");
            }
            Ok(()) if self.failing => {
                tracing::info!("what machines and containers use is recorded again")
            }
            _ => {}
        }
        self.failing = recorded.is_err();
    }
}
