//! Verdicts of the scaling: from the core to the history, and back for questions.

use super::{History, Metrics, Order, RecallVerdicts};
use crate::{
    clock,
    control::{Handle, Version},
    store::StoreError,
};
use micado_api::{Timestamp, VerdictSpan};
use std::time::Duration;

/// Time between two recordings of the spans that go on: a crash loses no more.
const OPEN: Duration = Duration::from_secs(60);

/// What is recorded already.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    ended: Option<Version>,
    open_at: Timestamp,
}

impl Metrics {
    /// Records the verdicts since the last call.
    pub(super) async fn record_verdicts(
        &self,
        handle: &Handle,
        history: &dyn History,
    ) -> Result<(), StoreError> {
        let mut recorded = self.verdicts.lock().await;
        let (seen, now) = (recorded.ended, clock::now());
        let is_due = now.since(recorded.open_at) >= OPEN;
        let spans = handle.read(move |core| {
            let (version, mut spans) = core.ended_spans(seen);
            if is_due {
                spans.extend(core.open_spans());
            }
            (version, spans)
        });
        // While the store does not answer there is no core either, and the runtime logs that.
        let Ok((version, spans)) = spans.await else {
            return Ok(());
        };
        history.record_verdicts(&spans).await?;
        recorded.ended = Some(version);
        if is_due {
            recorded.open_at = now;
        }
        Ok(())
    }

    /// Returns verdicts, recorded or not, from the end that the query names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn recall_verdicts(
        &self,
        handle: &Handle,
        history: &dyn History,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        let RecallVerdicts {
            service,
            from,
            until,
            ..
        } = wanted.clone();
        // Those in memory first: one that is recorded meanwhile is then seen twice, not missed.
        let recent = handle.read(move |core| core.spans(service.as_deref(), from, until));
        let mut all = recent.await.unwrap_or_default();
        all.extend(history.recall_verdicts(wanted).await?);
        Ok(wanted.of(all))
    }

    /// Returns the verdict on a service at a moment, with the one before and the one after it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn verdicts_around(
        &self,
        handle: &Handle,
        history: &dyn History,
        service: &str,
        at: Timestamp,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        let service = Some(service.to_owned());
        let before = RecallVerdicts {
            service: service.clone(),
            until: Timestamp(at.0.saturating_add(1)),
            ..RecallVerdicts::any(Order::NewestFirst, 2)
        };
        let after = RecallVerdicts {
            service,
            from: before.until,
            ..RecallVerdicts::any(Order::OldestFirst, 1)
        };
        let mut spans = self.recall_verdicts(handle, history, &before).await?;
        spans.reverse();
        spans.extend(self.recall_verdicts(handle, history, &after).await?);
        Ok(spans)
    }
}
