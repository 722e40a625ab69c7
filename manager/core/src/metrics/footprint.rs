//! The learned footprint: what a container of an image needs, from what its containers really used.

use micado_api::{MemoryBytes, NanoCpus};

/// What the container of a Swarm service used over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The Swarm service.
    pub service: String,
    /// How long it was measured, in milliseconds.
    pub measured_ms: u64,
    /// The most memory it had.
    pub memory_peak: MemoryBytes,
    /// The most CPU that it used over a minute; 0 before a whole minute was measured.
    pub cpu_peak: NanoCpus,
    /// The kernel killed something in it for want of memory: its limit then.
    pub killed_at: Option<MemoryBytes>,
}
