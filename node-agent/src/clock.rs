//! The machine's clock, which may be set at any time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const NS_PER_MS: u64 = 1_000_000;

/// Since the Unix epoch.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn now_ns() -> u64 {
    u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
}
