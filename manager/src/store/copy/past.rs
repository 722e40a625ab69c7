//! Copies what was: points and events, in pieces, so that a large past takes no more memory than a
//! short one.

use crate::store::StoreError;
use micado_api::Timestamp;
use micado_core::metrics::{History, Order, Recall, RecallEvents, Resolution, Series};
use std::time::Duration;

/// So many points of an instance are read at once, when they were measured as often as by default.
const POINTS: u32 = 300;
/// So many events are.
const EVENTS: usize = 5000;
/// No machine's clock is believed that is so far ahead.
const AHEAD: Duration = Duration::from_secs(3600);

/// How many points were copied, and of how many stretches of time they cannot be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Points {
    pub(super) copied: usize,
    pub(super) unreadable: usize,
}

/// All points that are to be kept still. What cannot be read is left out.
///
/// # Errors
/// When one of the stores fails.
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
    /// Copies a piece; in halves where some of it cannot be read, so that no more than a point is
    /// left out.
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
                    // A store that works can say that nothing was measured in 1970.
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

/// All events; how many.
///
/// # Errors
/// When one of the stores fails.
pub(super) async fn events(from: &dyn History, to: &dyn History) -> Result<usize, StoreError> {
    let (mut wanted, mut copied) = (RecallEvents::any(Order::OldestFirst, EVENTS), 0);
    loop {
        let mut piece = from.recall_events(&wanted).await?;
        let next = piece
            .last()
            .map(|it| it.at)
            .filter(|_| piece.len() == wanted.most);
        // Of its last moment there may be more.
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
