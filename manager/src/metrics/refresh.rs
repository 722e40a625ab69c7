//! The refresh: at each tick, records the agents' points and events and then acknowledges them,
//! reports containers' use to the core, and updates the collections for people.

use super::{EventRecord, History, Metrics, Order, Point, RecallEvents};
use crate::{
    clock,
    control::{Event, Handle},
    store::{MongoStore, StoreError},
};
use micado_api::agent::ContainerHappening;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Upper bound for points or events in one call of the store.
const PIECE: usize = 2000;
/// Number of the latest events that are read for placements before the start of the manager.
const REMEMBERED: usize = 10_000;
/// Time-out of the last recording, at the end of the manager.
const LAST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Refresh {
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
    pub history: Arc<dyn History>,
    /// Collections for people to read, if the store is a MongoDB.
    pub shown: Option<Arc<MongoStore>>,
}

impl Refresh {
    /// Refreshes at each tick, until there are no more.
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
        // While the store does not answer there is no core either, and the runtime logs that.
        if self.metrics.look(&self.handle).await.is_err() {
            return;
        }
        let used = self.metrics.inner().meter.used();
        if !used.is_empty() {
            self.handle.tell(Event::Used(used.clone())).await;
            // Events have no reply. A read returns only after the core has handled the event and
            // committed the result.
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

    /// Records what waits when the manager stops: agents may not be there to resend it.
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

    /// Records all waiting events and points, and acknowledges them once all are durable.
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

    /// Looks up the placements of waiting events. Placements are committed before containers are
    /// created, so a container unknown to both the core and the recorded events is foreign.
    async fn look_up(&self) -> Result<(), StoreError> {
        let looked = self.metrics.look(&self.handle).await;
        let is_unknown = {
            let inner = self.metrics.inner();
            let services: Vec<&str> = inner
                .waiting
                .events()
                .filter_map(|(_, event)| event.service.as_deref())
                .collect();
            // A core that has stopped returns nothing, but earlier answers may suffice.
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

    /// Reports OOM kills to the core again, because there may have been no core when the agent
    /// reported them. A core that is made later reads them from the store.
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

/// State of recording, so that an outage is logged once.
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
