//! The one place that reads the clock.

use micado_api::Timestamp;
use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

/// When this process first asked, by both clocks.
static START: LazyLock<(Instant, Timestamp)> = LazyLock::new(|| {
    (
        Instant::now(),
        Timestamp::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()),
    )
});

/// Now: the system's clock as it was at the start, and the time since then. It never jumps,
/// whatever the system's clock does. A clock before 1970 counts as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let (started, at) = &*START;
    at.plus(started.elapsed())
}
