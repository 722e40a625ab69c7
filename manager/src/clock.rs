//! The one place that reads the clock.

use micado_api::Timestamp;
use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

/// Time of the first call in this process, by both clocks.
static START: LazyLock<(Instant, Timestamp)> = LazyLock::new(|| {
    (
        Instant::now(),
        Timestamp::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()),
    )
});

/// Returns the present time: the system's clock at the start, plus the time since then. It never
/// jumps, whatever the system's clock does. A clock before 1970 counts as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let (started, at) = &*START;
    at.plus(started.elapsed())
}
