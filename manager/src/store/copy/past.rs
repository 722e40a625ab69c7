//! Copies what was: points and events, in pieces, so that a large past takes no more memory than a short one.

use crate::store::StoreError;
use micado_api::Timestamp;
use micado_core::metrics::{First, History, Recall, RecallEvents, Resolution, Whose};
use std::time::Duration;

/// So many points of an instance are read at once, when they were measured as often as by default.
const POINTS: u32 = 300;
/// So many events are.
const EVENTS: usize = 5000;
/// No machine's clock is believed that is so far ahead.
const AHEAD: Duration = Duration::from_secs(3600);

/// All points that are to be kept still; how many.
///
/// # Errors
/// When one of the stores fails.
pub(super) async fn points(from: &dyn History, to: &dyn History, now: Timestamp) -> Result<usize, StoreError> {
    let mut copied = 0;
    for resolution in Resolution::ALL {
        let oldest = Timestamp(now.0.saturating_sub(u64::try_from(resolution.kept().as_millis()).unwrap_or(u64::MAX)));
        let pieces = || std::iter::successors(Some(oldest), |at| Some(at.plus(resolution.span() * POINTS))).take_while(|at| *at < now.plus(AHEAD));
        for instance in from.instances(resolution).await? {
            for at in pieces() {
                let whose = Whose::Instance(instance.clone());
                let piece = from.recall(&Recall { whose, resolution, from: at, until: at.plus(resolution.span() * POINTS) }).await?;
                to.record(&piece).await?;
                copied += piece.len();
            }
        }
    }
    Ok(copied)
}

/// All events; how many.
///
/// # Errors
/// When one of the stores fails.
pub(super) async fn events(from: &dyn History, to: &dyn History) -> Result<usize, StoreError> {
    let (mut wanted, mut copied) = (RecallEvents::any(First::Oldest, EVENTS), 0);
    loop {
        let mut piece = from.recall_events(&wanted).await?;
        let next = piece.last().map(|it| it.at).filter(|_| piece.len() == wanted.most);
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
