//! Points: what was measured over a short time, as it is kept.

use micado_api::{InstanceId, MemoryBytes, NanoCpus, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How finely figures are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// As they were measured (every 2 s, or as `--interval-ms` of the agent says), for an hour.
    Sample,
    /// By the minute, for a day.
    Minute,
    /// By ten minutes, for 30 days.
    TenMinutes,
}

impl Resolution {
    /// All, finest first.
    pub const ALL: [Self; 3] = [Self::Sample, Self::Minute, Self::TenMinutes];

    /// How long a point stands for, in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        match self {
            Self::Sample => 2_000,
            Self::Minute => 60_000,
            Self::TenMinutes => 600_000,
        }
    }

    /// How long a point stands for.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_millis(self.millis())
    }

    /// How long points are kept.
    #[must_use]
    pub fn kept(self) -> Duration {
        Duration::from_secs(match self {
            Self::Sample => 3600,
            Self::Minute => 24 * 3600,
            Self::TenMinutes => 30 * 24 * 3600,
        })
    }

    /// When the point that this moment belongs to began; a sample begins when it was measured.
    #[must_use]
    pub fn begin(self, at: Timestamp) -> Timestamp {
        if self == Self::Sample {
            at
        } else {
            Timestamp(at.0 / self.millis() * self.millis())
        }
    }
}

/// What was counted in so many milliseconds, by the second; nothing if no time was measured.
/// Nanoseconds of CPU become billionths of a core.
#[must_use]
pub fn per_second(count: u64, ms: u64) -> Option<u64> {
    let rate = (u128::from(count) * 1000).checked_div(u128::from(ms))?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// The figures of one instance over a short time. There is one for an instance, a resolution and a
/// time: writing it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Whose.
    pub instance: InstanceId,
    /// How finely.
    pub resolution: Resolution,
    /// When it began; of a sample, when it was measured. By the machine's clock.
    pub at: Timestamp,
    /// The machine as a whole.
    pub machine: MachinePoint,
    /// Its containers, by name. (As [`super::Meter::take`] gives it: by the name of their Swarm
    /// service.)
    pub containers: BTreeMap<String, ContainerPoint>,
}

/// A machine over a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePoint {
    /// How much of the time the differences below are about, in milliseconds; 0 when there was
    /// nothing to compare with.
    pub measured_ms: u64,
    /// CPU time used meanwhile, nanoseconds.
    pub cpu_ns: u64,
    /// The most CPU that was in use between two measurements.
    pub cpu_peak: NanoCpus,
    /// Its memory.
    pub memory_total: MemoryBytes,
    /// What was left of it, mean.
    pub memory_left: MemoryBytes,
    /// The least that was left.
    pub memory_least_left: MemoryBytes,
    /// Left on the file system of the engine's data root at the end, bytes.
    pub disk_left: u64,
    /// That file system's size, bytes.
    pub disk_total: u64,
}

/// A container over a short time: all differences are about `measured_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPoint {
    /// How much of the time the differences below are about, in milliseconds; 0 when there was
    /// nothing to compare with.
    pub measured_ms: u64,
    /// CPU time used, nanoseconds.
    pub cpu_ns: u64,
    /// The most CPU that was in use between two measurements.
    pub cpu_peak: NanoCpus,
    /// Time that it wanted to run and was not let, nanoseconds.
    pub throttled_ns: u64,
    /// Working set, mean.
    pub memory: MemoryBytes,
    /// The most of it.
    pub memory_peak: MemoryBytes,
    /// Processes that the kernel killed for want of memory.
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
