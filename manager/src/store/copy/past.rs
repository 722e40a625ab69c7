//! Copies points and events in pieces, so that memory does not grow with the history.

use crate::store::StoreError;
use micado_api::Timestamp;
use micado_core::metrics::{
    History, Order, Recall, RecallEvents, RecallVerdicts, Resolution, Series,
};
use std::time::Duration;

/// Number of an instance's points in a piece, at the default measuring interval.
const POINTS: u32 = 300;
/// Number of events in a piece.
const EVENTS: usize = 5000;
/// Upper bound for a machine's clock to be ahead.
const AHEAD: Duration = Duration::from_secs(3600);

/// Number of copied points, and of spans with unreadable ones.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Points {
    pub(super) copied: usize,
    pub(super) unreadable: usize,
}

/// Copies all points within their retention. Unreadable ones are left out.
///
/// # Errors
/// If one of the stores fails.
pub(super) async fn points(
    from: &dyn History,
    to: &dyn History,
    now: Timestamp,
) -> Result<Points, StoreError> {
    let mut points = Points::default();
    for resolution in Resolution::ALL {
        let oldest = Timestamp(
            now.0
                .saturating_sub(u64::try_from(resolution.kept().as_millis()).unwrap_or(u64::MAX)),
        );
        let pieces = || {
            std::iter::successors(Some(oldest), |at| Some(at.plus(resolution.span() * POINTS)))
                .take_while(|at| *at < now.plus(AHEAD))
        };
        for instance in from.instances(resolution).await? {
            for at in pieces() {
                let series = Series::Instance(instance.clone());
                points
                    .copy(
                        from,
                        to,
                        Recall {
                            series,
                            resolution,
                            from: at,
                            until: at.plus(resolution.span() * POINTS),
                        },
                    )
                    .await?;
            }
        }
    }
    Ok(points)
}

impl Points {
    /// Copies a piece. If a part of it is unreadable, halves it until no more than a point is left
    /// out.
    async fn copy(
        &mut self,
        from: &dyn History,
        to: &dyn History,
        piece: Recall,
    ) -> Result<(), StoreError> {
        let mut left = vec![piece];
        while let Some(part) = left.pop() {
            match from.recall(&part).await {
                Ok(points) => {
                    to.record(&points).await?;
                    self.copied += points.len();
                }
                Err(error) => {
                    // Probe: a working store answers that nothing was measured in 1970.
                    from.recall(&Recall {
                        from: Timestamp(0),
                        until: Timestamp(1),
                        ..part.clone()
                    })
                    .await?;
                    if part.until.since(part.from) > part.resolution.span() {
                        let middle = Timestamp(part.from.0.midpoint(part.until.0));
                        left.extend([
                            Recall {
                                from: middle,
                                ..part.clone()
                            },
                            Recall {
                                until: middle,
                                ..part
                            },
                        ]);
                    } else {
                        tracing::warn!(at = part.from.0, %error, "what was measured then cannot be read: it is left out");
                        self.unreadable += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Copies all events and returns their number.
///
/// # Errors
/// If one of the stores fails.
pub(super) async fn events(from: &dyn History, to: &dyn History) -> Result<usize, StoreError> {
    let (mut wanted, mut copied) = (RecallEvents::any(Order::OldestFirst, EVENTS), 0);
    loop {
        let mut piece = from.recall_events(&wanted).await?;
        let next = piece
            .last()
            .map(|it| it.at)
            .filter(|_| piece.len() == wanted.most);
        // There may be more events of the last time.
        piece.truncate(next.map_or(piece.len(), |next| piece.partition_point(|it| it.at < next)));
        to.record_events(&piece).await?;
        copied += piece.len();
        match next {
            None => return Ok(copied),
            Some(_) if piece.is_empty() => wanted.most *= 2,
            Some(next) => wanted.from = next,
        }
    }
}

/// Copies all verdicts and returns their number.
///
/// # Errors
/// If one of the stores fails.
pub(super) async fn verdicts(from: &dyn History, to: &dyn History) -> Result<usize, StoreError> {
    let (mut wanted, mut copied) = (RecallVerdicts::any(Order::OldestFirst, EVENTS), 0);
    loop {
        let mut piece = from.recall_verdicts(&wanted).await?;
        let next = piece
            .last()
            .map(|span| span.first.at)
            .filter(|_| piece.len() == wanted.most);
        // There may be more of the last time.
        let whole = |next| piece.partition_point(|span| span.first.at < next);
        piece.truncate(next.map_or(piece.len(), whole));
        to.record_verdicts(&piece).await?;
        copied += piece.len();
        match next {
            None => return Ok(copied),
            Some(_) if piece.is_empty() => wanted.most *= 2,
            Some(next) => wanted.from = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Kept, sample};
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn a_point_that_cannot_be_read_is_left_out_alone_and_a_store_that_does_not_answer_is_no_store()
     {
        let (from, to, now) = (Kept::default(), Kept::default(), Timestamp(10_000_000));
        let all: Vec<_> = (0..1000).map(|n| sample("i1", now.0 - n * 2000)).collect();
        from.record(&all).await.expect("kept");
        *from.bad.lock().expect("nobody panicked") = Some((Resolution::Sample, all[500].at));
        assert_eq!(
            points(&from, &to, now).await,
            Ok(Points {
                copied: 999,
                unreadable: 1
            })
        );
        let copied = to.times(Resolution::Sample);
        assert!(copied.len() == 999 && !copied.contains(&all[500].at.0));
        from.silent.store(true, Ordering::SeqCst);
        points(&from, &to, now)
            .await
            .expect_err("it does not answer");
    }
}
