//! The refresh: at each tick, records the agents' points and events and then acknowledges them,
//! reports containers' use to the core, and updates the collections for people.

use super::{
    EventRecord, History, Metrics, Order, Placed, Point, RecallEvents,
    waiting::{Due, Told},
};
use crate::{
    clock,
    control::{Handle, Reply, Request},
    store::{MongoStore, StoreError},
};
use micado_api::{
    InstanceId,
    agent::{ContainerEvent, ContainerHappening},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Upper bound for points or events in one call of the store.
const PIECE: usize = 2000;
/// Number of the latest events that are read for placements that the facts do not know: some
/// megabytes, at most once a turn, however many agents report foreign services.
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
        let verdicts = self.metrics.record_verdicts(&self.handle, &*self.history);
        if let Err(error) = verdicts.await {
            tracing::debug!(%error, "verdicts could not be recorded; it is tried again at the next turn");
        }
        self.metrics.forget_ended();
        let used = self.metrics.inner().meter.used();
        if !used.is_empty() {
            let learn = Request::Learn(used.clone());
            // While the store does not answer there is no core either, and the runtime logs that.
            if self.handle.request::<Reply>(learn).await.is_err() {
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
        let keep = async {
            let _one_at_a_time = self.metrics.recording.lock().await;
            self.keep(&self.due()).await
        };
        match timeout(LAST, keep).await {
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

    /// Records all waiting events and points, and acknowledges them once all are durable: in the
    /// history, and the ends of containers in their records too.
    pub(crate) async fn record(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.metrics.recording.lock().await;
        let due = self.due();
        self.keep(&due).await?;
        self.report_ends(due.events).await?;
        let mut inner = self.metrics.inner();
        inner.waiting.release_events(due.events);
        inner.recorded.extend(due.watermarks);
        drop(inner);
        self.metrics.turn.send_replace(());
        Ok(())
    }

    fn due(&self) -> Due {
        self.metrics.inner().waiting.due()
    }

    /// Writes waiting events and points to the history. The events go on waiting.
    async fn keep(&self, due: &Due) -> Result<(), StoreError> {
        self.find_placements(due.events).await?;
        let mut done = 0;
        while done < due.events {
            let count = PIECE.min(due.events - done);
            let piece: Vec<EventRecord> = {
                let inner = self.metrics.inner();
                let events = inner.waiting.events().skip(done).take(count);
                events.filter_map(Told::record).collect()
            };
            self.history.record_events(&piece).await?;
            done += count;
        }
        self.record_points(due.points).await
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

    /// Looks up, in recorded events, the placements that the facts did not know: those of
    /// containers that ended long ago or before the start of this manager. A container in neither
    /// is foreign, and its events are dropped.
    async fn find_placements(&self, due: usize) -> Result<(), StoreError> {
        let is_unknown = |told: &Told| told.placed.is_none();
        if !self
            .metrics
            .inner()
            .waiting
            .events()
            .take(due)
            .any(is_unknown)
        {
            return Ok(());
        }
        let latest = RecallEvents::any(Order::NewestFirst, REMEMBERED);
        let mut known: HashMap<String, Arc<Placed>> = HashMap::new();
        for record in self.history.recall_events(&latest).await? {
            let service = record.placed.swarm_service.clone();
            known
                .entry(service)
                .or_insert_with(|| Arc::new(record.placed));
        }
        let mut inner = self.metrics.inner();
        let events = inner.waiting.events_mut().take(due);
        for told in events.filter(|told| told.placed.is_none()) {
            let service = told.event.service.as_ref();
            let placed = service.and_then(|service| known.get(service));
            told.placed = placed
                .filter(|placed| placed.instance == told.instance)
                .cloned();
        }
        Ok(())
    }

    /// Reports the last end of each container to the core, and returns once its record is durable.
    /// The core was told when the agent reported it, but there may have been none.
    async fn report_ends(&self, due: usize) -> Result<(), StoreError> {
        let mut ends: HashMap<String, (InstanceId, ContainerEvent)> = HashMap::new();
        for told in self.metrics.inner().waiting.events().take(due) {
            let is_end = matches!(told.event.what, ContainerHappening::Died { .. });
            let Some(placed) = told.placed.as_ref().filter(|_| is_end) else {
                continue;
            };
            let last = ends.get(&placed.swarm_service);
            if last.is_none_or(|(_, last)| last.at <= told.event.at) {
                let end = (told.instance.clone(), told.event.clone());
                ends.insert(placed.swarm_service.clone(), end);
            }
        }
        if ends.is_empty() {
            return Ok(());
        }
        let report = Request::Happened(ends.into_values().collect());
        let reported = self.handle.request::<Reply>(report).await;
        reported
            .map(drop)
            .map_err(|error| StoreError::Failed(error.message))
    }

    async fn show(&self, store: &MongoStore) -> Result<(), StoreError> {
        let read = self
            .handle
            .read(|core| (core.instances(true), core.images()));
        let (Ok((mut instances, images)), Ok(mut containers)) =
            (read.await, self.handle.containers(true).await)
        else {
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
