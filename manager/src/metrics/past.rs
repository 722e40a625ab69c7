//! What was: as it is kept, and what waits to be.

use super::{EventRecord, History, Metrics, Point, Recall, RecallEvents};
use crate::store::StoreError;
use std::collections::BTreeMap;

impl Metrics {
    /// Points of that time, by time and then by instance.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall(
        &self,
        history: &dyn History,
        wanted: &Recall,
    ) -> Result<Vec<Point>, StoreError> {
        // What waits first: it may be recorded meanwhile, and is in both then.
        let waiting: Vec<Point> = self
            .inner()
            .waiting
            .points()
            .filter_map(|it| wanted.of(it))
            .collect();
        let kept = history.recall(wanted).await?;
        let once: BTreeMap<_, Point> = waiting
            .into_iter()
            .chain(kept)
            .map(|it| ((it.at, it.instance.clone()), it))
            .collect();
        Ok(once.into_values().collect())
    }

    /// Events, from whichever end is wanted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall_events(
        &self,
        history: &dyn History,
        wanted: &RecallEvents,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let waiting: Vec<EventRecord> = {
            let inner = self.inner();
            let told = inner
                .waiting
                .events()
                .filter_map(|(instance, event)| inner.places.happening(instance, event));
            told.filter(|it| wanted.wants(it)).collect()
        };
        let kept = history.recall_events(wanted).await?;
        Ok(wanted.of(waiting.into_iter().chain(kept).collect()))
    }
}
