//! What machines and containers really use, as people and programs are shown it. What each figure
//! means and where the kernel keeps it: docs/metrics.md.

use crate::{Hundredths, MemoryBytes, NanoCpus, Resources, Timestamp};
use serde::{Deserialize, Serialize};

/// What a machine uses. Nothing of it is shown once its agent has been silent for some seconds: the
/// machine is blind then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineUsage {
    /// When it was measured, by the machine's clock.
    pub at: Timestamp,
    /// Its memory.
    pub memory_total: MemoryBytes,
    /// What could still be had without swapping.
    pub memory_left: MemoryBytes,
    /// The least that was ever left, since the manager's start.
    pub memory_least_left: MemoryBytes,
    /// CPU in use; nothing before it was measured twice.
    pub cpu: Option<NanoCpus>,
    /// The most CPU that was in use between two measurements, since the manager's start.
    pub cpu_peak: NanoCpus,
    /// Its cores.
    pub cores: NanoCpus,
    /// Load average over one minute; nothing where the machine cannot tell its own.
    pub load: Option<Hundredths>,
    /// Left on the file system of the engine's data root, bytes.
    pub disk_left: u64,
    /// That file system's size, bytes.
    pub disk_total: u64,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerUsage {
    /// When it was measured, by its machine's clock.
    pub at: Timestamp,
    /// Memory in use less the file cache that can be dropped at once.
    pub memory: MemoryBytes,
    /// The most of it, since the container's or the manager's start.
    pub memory_peak: MemoryBytes,
    /// CPU in use; nothing before it was measured twice.
    pub cpu: Option<NanoCpus>,
    /// The most CPU that was in use between two measurements, since the container's or the
    /// manager's start.
    pub cpu_peak: NanoCpus,
    /// Processes in it that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Percent of the last ten seconds that some task waited for memory; where the kernel tells.
    pub memory_pressure: Option<Hundredths>,
    /// The same for CPU.
    pub cpu_pressure: Option<Hundredths>,
    /// Bytes received per second.
    pub received: u64,
    /// Bytes sent per second.
    pub sent: u64,
    /// Bytes read from block devices per second.
    pub read: u64,
    /// Bytes written to block devices per second.
    pub written: u64,
}

/// How much of each a container of an image may use before one more is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Critical {
    /// Memory.
    pub memory: Option<MemoryBytes>,
    /// CPU.
    pub cpu: Option<NanoCpus>,
}

/// An image that services run or ran, and what was learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageView {
    /// The image as it was asked for.
    pub image: String,
    /// The digest that nodes pull now.
    pub digest: Option<String>,
    /// Its critical usage, as far as a person has set it.
    pub critical: Critical,
    /// What would be its critical usage by what was learned.
    pub suggested: Option<Critical>,
    /// What a container of it needs, by what was learned: the reservation of a launch that names
    /// none. Nothing before enough was seen.
    pub footprint: Option<Resources>,
    /// For how long containers of the digest were measured, all together, in milliseconds.
    pub measured_ms: u64,
}

/// `PUT /v1/images`: set the critical usage of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SetImageRequest {
    /// The image, as it was asked for.
    pub image: String,
    /// Its critical usage. What is left out is suggested from then on by what was learned.
    pub critical: Critical,
}

/// Past figures of a container or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct History {
    /// The container's name or the instance's tag.
    pub name: String,
    /// How long each point stands for, in seconds.
    pub resolution: u32,
    /// Oldest first. Times of which nothing is known have none.
    pub points: Vec<HistoryPoint>,
}

/// Figures over a short time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryPoint {
    /// When that time began (at the finest resolution: when it was measured).
    pub at: Timestamp,
    /// Of it, so much was measured, in milliseconds.
    pub measured_ms: u64,
    /// Memory in use, mean.
    pub memory: MemoryBytes,
    /// The most of it.
    pub memory_peak: MemoryBytes,
    /// CPU in use, mean.
    pub cpu: NanoCpus,
    /// The most of it between two measurements.
    pub cpu_peak: NanoCpus,
    /// Processes killed for want of memory (0 for an instance, as all that follow).
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
