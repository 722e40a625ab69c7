//! Usage of machines and containers, as shown to people and programs. docs/metrics.md defines each
//! metric and its source in the kernel.

use crate::{Hundredths, MemoryBytes, NanoCpus, Resources, RevisionView, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// Usage of a machine. Absent once its agent has been silent for some seconds: the machine is blind
/// then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineUsage {
    /// Time of measurement, by the machine's clock.
    pub at: Timestamp,
    /// Its memory.
    pub memory_total: MemoryBytes,
    /// Memory that could be allocated without swapping.
    pub memory_left: MemoryBytes,
    /// The least memory left since the manager's start.
    pub memory_least_left: MemoryBytes,
    /// CPU in use; absent before the second measurement.
    pub cpu: Option<NanoCpus>,
    /// The most CPU in use between two measurements, since the manager's start.
    pub cpu_peak: NanoCpus,
    /// Its cores.
    pub cores: NanoCpus,
    /// Load average over one minute; absent where the machine has none of its own.
    pub load: Option<Hundredths>,
    /// Bytes left on the file system of the engine's data root.
    pub disk_left: u64,
    /// Size of that file system, bytes.
    pub disk_total: u64,
}

/// Usage of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerUsage {
    /// Time of measurement, by its machine's clock.
    pub at: Timestamp,
    /// Memory usage less the file cache that can be dropped at once.
    pub memory: MemoryBytes,
    /// Peak of it, since the start of the container or the manager.
    pub memory_peak: MemoryBytes,
    /// CPU in use; absent before the second measurement.
    pub cpu: Option<NanoCpus>,
    /// The most CPU in use between two measurements, since the start of the container or the
    /// manager.
    pub cpu_peak: NanoCpus,
    /// OOM-killed processes in it.
    pub oom_kills: u64,
    /// Percent of the last ten seconds in which some task waited for memory; absent if the kernel
    /// does not report it.
    pub memory_pressure: Option<Hundredths>,
    /// The same for CPU.
    pub cpu_pressure: Option<Hundredths>,
    /// Percent of the time between the last two sweeps in which it was throttled, added over its
    /// cores; absent until there were two.
    #[serde(default)]
    pub throttled: Option<Hundredths>,
    /// Bytes received per second.
    pub received: u64,
    /// Bytes sent per second.
    pub sent: u64,
    /// Bytes read from block devices per second.
    pub read: u64,
    /// Bytes written to block devices per second.
    pub written: u64,
}

/// Critical usage of an image: one more container is wanted when a container uses more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Critical {
    /// Memory.
    pub memory: Option<MemoryBytes>,
    /// CPU.
    pub cpu: Option<NanoCpus>,
}

/// An image that services run or ran, with its learned footprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageView {
    /// The image as requested.
    pub image: String,
    /// The digest that nodes pull now.
    pub digest: Option<String>,
    /// Critical usage as set by a person.
    pub critical: Critical,
    /// Critical usage suggested by the footprint.
    pub suggested: Option<Critical>,
    /// Learned footprint: the reservation of a launch that names none. Absent until enough was
    /// measured.
    pub footprint: Option<Resources>,
    /// Total measured time of containers of the digest, in milliseconds.
    pub measured_ms: u64,
    /// Services that run it, or keep one of its revisions. Only lists have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceName>,
    /// Its revisions in the registry, if that answers. Only lists have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionView>,
}

/// `PUT /v1/images`: set the critical usage of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SetImageRequest {
    /// The image, as requested.
    pub image: String,
    /// Critical usage. An absent part is suggested by the footprint from then on.
    pub critical: Critical,
}

/// Past usage of a container or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct History {
    /// The container's or service's name, or the instance's tag.
    pub name: String,
    /// Time that each point covers, in seconds.
    pub resolution: u32,
    /// Oldest first. Times without measurements have no points.
    pub points: Vec<HistoryPoint>,
}

/// Usage over a short time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryPoint {
    /// Start of that time (at the finest resolution: time of measurement).
    pub at: Timestamp,
    /// Measured part of it, in milliseconds.
    pub measured_ms: u64,
    /// Memory in use, mean.
    pub memory: MemoryBytes,
    /// Peak of memory.
    pub memory_peak: MemoryBytes,
    /// CPU in use, mean.
    pub cpu: NanoCpus,
    /// Peak of CPU between two measurements.
    pub cpu_peak: NanoCpus,
    /// OOM-killed processes (0 for an instance, as for all below).
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
