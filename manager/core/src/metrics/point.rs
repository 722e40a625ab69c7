//! Points: measurements over a short time, as they are stored.

use micado_api::{InstanceId, MemoryBytes, NanoCpus, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Resolution of points; each has its retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// As measured (every 2 s, or by `--interval-ms` of the agent), for an hour.
    Sample,
    /// One a minute, for a day.
    Minute,
    /// One in ten minutes, for 30 days.
    TenMinutes,
}

impl Resolution {
    /// All resolutions, finest first.
    pub const ALL: [Self; 3] = [Self::Sample, Self::Minute, Self::TenMinutes];

    /// Duration of a point, in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        match self {
            Self::Sample => 2_000,
            Self::Minute => 60_000,
            Self::TenMinutes => 600_000,
        }
    }

    /// Duration of a point.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_millis(self.millis())
    }

    /// Retention of points.
    #[must_use]
    pub fn kept(self) -> Duration {
        Duration::from_secs(match self {
            Self::Sample => 3600,
            Self::Minute => 24 * 3600,
            Self::TenMinutes => 30 * 24 * 3600,
        })
    }

    /// Begin of the point that contains this moment. A sample begins at the time of measurement.
    #[must_use]
    pub fn begin(self, at: Timestamp) -> Timestamp {
        if self == Self::Sample {
            at
        } else {
            Timestamp(at.0 / self.millis() * self.millis())
        }
    }
}

/// Converts a count over this many milliseconds into a rate per second; `None` if no time was
/// measured. Nanoseconds of CPU become billionths of a core.
#[must_use]
pub fn per_second(count: u64, ms: u64) -> Option<u64> {
    let rate = (u128::from(count) * 1000).checked_div(u128::from(ms))?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// Metrics of one instance over a short time. Its identity is instance, resolution and time:
/// writing it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub instance: InstanceId,
    pub resolution: Resolution,
    /// Begin, or the time of measurement of a sample. By the machine's clock.
    pub at: Timestamp,
    /// The machine as a whole.
    pub machine: MachinePoint,
    /// Containers by name; by the name of their Swarm service in points that [`super::Meter::take`]
    /// returns.
    pub containers: BTreeMap<String, ContainerPoint>,
}

/// A machine over a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePoint {
    /// Time that the differences below cover, in milliseconds; 0 without a previous sample.
    pub measured_ms: u64,
    /// CPU time used, nanoseconds.
    pub cpu_ns: u64,
    /// Peak of CPU between two measurements.
    pub cpu_peak: NanoCpus,
    pub memory_total: MemoryBytes,
    /// Available memory, mean.
    pub memory_left: MemoryBytes,
    /// Available memory, minimum.
    pub memory_least_left: MemoryBytes,
    /// Free space on the file system of the engine's data root at the end, bytes.
    pub disk_left: u64,
    /// Size of that file system, bytes.
    pub disk_total: u64,
}

/// A container over a short time. Differences cover `measured_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPoint {
    /// Time that the differences below cover, in milliseconds; 0 without a previous sample.
    pub measured_ms: u64,
    /// CPU time used, nanoseconds.
    pub cpu_ns: u64,
    /// Peak of CPU between two measurements.
    pub cpu_peak: NanoCpus,
    /// Time for which it was throttled, nanoseconds.
    pub throttled_ns: u64,
    /// Working set, mean.
    pub memory: MemoryBytes,
    /// Working set, peak.
    pub memory_peak: MemoryBytes,
    /// Number of OOM-killed processes.
    pub oom_kills: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
}
