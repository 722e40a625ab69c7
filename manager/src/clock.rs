//! The one place that reads the clock.

use micado_api::Timestamp;
use std::time::SystemTime;

/// Now. A clock before 1970 counts as 1970.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}
