//! The refresh: at each turn what agents measured is recorded and then acknowledged, the core is told what containers used, and people's collections are brought up to date.

use super::{History, Metrics};
use crate::{
    clock,
    control::{Event, Handle},
    store::{MongoStore, StoreError},
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Points for one call of the store.
const PIECE: usize = 2000;

/// The job.
#[derive(Debug)]
pub struct Refresh {
    /// What agents measured.
    pub metrics: Arc<Metrics>,
    /// The way to the core.
    pub handle: Handle,
    /// Where points are kept.
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
            // Nobody answers to what is told, but whoever can be asked after it has heard it and kept what it learned.
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

    /// Writes what waits; only when all of it is durable is it acknowledged.
    async fn record(&self) -> Result<(), StoreError> {
        let (mut points, marks) = self.metrics.inner().waiting.drain();
        let mut done = 0;
        for piece in points.chunks(PIECE) {
            if let Err(error) = self.history.record(piece).await {
                self.metrics.inner().waiting.put_back(points.split_off(done));
                return Err(error);
            }
            let mut inner = self.metrics.inner();
            inner.touched.touch(piece);
            inner.waiting.release(piece);
            done += piece.len();
        }
        self.metrics.inner().recorded.extend(marks);
        self.metrics.turn.send_replace(());
        Ok(())
    }

    async fn show(&self, store: &MongoStore) -> Result<(), StoreError> {
        let views = self.handle.read(|core| (core.instances(true), core.containers(true), core.images())).await;
        let Ok((mut instances, mut containers, images)) = views else { return Ok(()) };
        self.metrics.measure_instances(&mut instances);
        self.metrics.measure_containers(&mut containers);
        store.show(clock::now(), &instances, &containers, &images).await
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
            Ok(()) if self.failing => tracing::info!("what machines and containers use is recorded again"),
            _ => {}
        }
        self.failing = recorded.is_err();
    }
}
