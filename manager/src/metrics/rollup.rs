//! The roll-up job: once a minute, merges recorded points into minutes and ten minutes, and deletes
//! expired ones.

use super::{
    History, Metrics, Point, Recall, Resolution, Series,
    dirty::{Span, finer},
    roll_up,
};
use crate::{clock, control::Handle, store::StoreError};
use micado_api::{InstanceId, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Upper bound for points that are written at once.
const PIECE: usize = 500;
/// Interval between two deletions of expired points.
const CLEANING: Duration = Duration::from_secs(3600);

/// The roll-up job. It reads one instance's points at a time, so that its memory does not grow with
/// the cluster.
#[derive(Debug)]
pub struct Rollup {
    /// Source of the buckets with new points.
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
    pub history: Arc<dyn History>,
}

impl Rollup {
    /// Runs at each tick, until there are no more.
    pub async fn run(self, mut ticks: mpsc::Receiver<()>) {
        // 0: a manager that is restarted every hour deletes expired points, too.
        let (mut begun, mut failing, mut cleaned) = (false, false, Timestamp(0));
        while ticks.recv().await.is_some() {
            let now = clock::now();
            begun = begun || self.begin(now).await;
            let done = self
                .turn(now)
                .await
                .and(self.clean(now, &mut cleaned).await);
            match &done {
                Err(error) if !failing => {
                    tracing::warn!(%error, "figures cannot be rolled up; it is tried again every minute")
                }
                _ => {}
            }
            failing = done.is_err();
        }
    }

    /// Deletes expired points when the interval has passed.
    pub(super) async fn clean(
        &self,
        now: Timestamp,
        cleaned: &mut Timestamp,
    ) -> Result<(), StoreError> {
        if now.since(*cleaned) >= CLEANING {
            self.history.forget(now).await?;
            *cleaned = now;
        }
        Ok(())
    }

    /// Marks buckets that a previous manager may have left; false if there is no core to ask.
    async fn begin(&self, now: Timestamp) -> bool {
        let ids = self
            .handle
            .read(|core| {
                core.instances(true)
                    .into_iter()
                    .map(|it| it.id)
                    .collect::<Vec<InstanceId>>()
            })
            .await;
        let mut inner = self.metrics.inner();
        ids.iter()
            .flatten()
            .for_each(|id| inner.dirty.touch_kept(now, id));
        ids.is_ok()
    }

    /// Rolls up finished buckets.
    pub(super) async fn turn(&self, now: Timestamp) -> Result<(), StoreError> {
        for to in [Resolution::Minute, Resolution::TenMinutes] {
            let mut spans = self.metrics.inner().dirty.finished(to, now);
            while !spans.is_empty() {
                match self.piece(&spans).await {
                    Ok(done) => drop(spans.drain(..done)),
                    Err(error) => {
                        self.metrics.inner().dirty.put_back(&spans);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Rolls up the first of these spans, and returns their number.
    async fn piece(&self, spans: &[Span]) -> Result<usize, StoreError> {
        let (mut rolled, mut done) = (Vec::<Point>::new(), 0);
        for it in spans {
            rolled.extend(self.rolled(it).await?);
            done += 1;
            if rolled.len() >= PIECE {
                break;
            }
        }
        self.history.record(&rolled).await?;
        self.metrics.inner().dirty.touch(&rolled);
        Ok(done)
    }

    /// Returns the roll-up of a span. Unreadable points are left out, unless the store itself
    /// fails.
    async fn rolled(&self, it: &Span) -> Result<Vec<Point>, StoreError> {
        if let Ok(points) = self.read(it, it.from, it.until).await {
            return Ok(roll_up(&points, it.to));
        }
        let mut rolled = Vec::new();
        for time in it.times() {
            match self.read(&time, time.from, time.until).await {
                Ok(points) => rolled.extend(roll_up(&points, it.to)),
                Err(error) => {
                    // Probe: a working store answers that nothing was measured in 1970.
                    self.read(it, Timestamp(0), Timestamp(1)).await?;
                    tracing::warn!(instance = %it.instance, at = time.from.0, %error, "what was measured then cannot be read: it is left out of what it is rolled up to");
                }
            }
        }
        Ok(rolled)
    }

    async fn read(
        &self,
        of: &Span,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Point>, StoreError> {
        let wanted = Recall {
            series: Series::Instance(of.instance.clone()),
            resolution: finer(of.to),
            from,
            until,
        };
        self.history.recall(&wanted).await
    }
}
