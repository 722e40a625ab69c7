//! Queries of the past: points and events in the store, and those that wait to be recorded.

use super::{EventRecord, History, Metrics, Point, Recall, RecallEvents, waiting::Told};
use crate::store::StoreError;
use std::collections::BTreeMap;

impl Metrics {
    /// Returns points of that time, by time and then by instance.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn recall(
        &self,
        history: &dyn History,
        wanted: &Recall,
    ) -> Result<Vec<Point>, StoreError> {
        // Waiting points first: one that is recorded meanwhile is then seen twice, not missed.
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

    /// Returns events, from the end that the query names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn recall_events(
        &self,
        history: &dyn History,
        wanted: &RecallEvents,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let waiting: Vec<EventRecord> = {
            let inner = self.inner();
            let told = inner.waiting.events().filter_map(Told::record);
            told.filter(|it| wanted.wants(it)).collect()
        };
        let kept = history.recall_events(wanted).await?;
        Ok(wanted.of(waiting.into_iter().chain(kept).collect()))
    }
}
