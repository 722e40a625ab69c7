//! An image that services run or ran: settings by people, and the learned footprint of each of its
//! digests.

use crate::scaling;
use micado_api::{Critical, MemoryBytes, NanoCpus, Timestamp};
use serde::{Deserialize, Serialize};

/// One image, by the name that it is launched by. It outlives its services: the learned footprint
/// is of use when they come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Name, as requested.
    pub name: String,
    /// Digest that nodes pull now, once known.
    pub digest: Option<String>,
    /// Critical usage set by a person.
    pub critical: Critical,
    /// Footprints of its digests, the latest last.
    pub learned: Vec<Learned>,
    /// Time of the last launch or measurement.
    pub seen_at: Timestamp,
}

/// Measurements of one digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    pub digest: String,
    /// Measured time of its containers, all together, in milliseconds.
    pub measured_ms: u64,
    /// Peaks, oldest first. Hours without a measurement have none.
    pub windows: Vec<Window>,
    #[serde(default)]
    pub times: CopyTimes,
}

/// Measured times of copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyTimes {
    /// From the order of a copy until it ran.
    pub starts: scaling::Learned,
    /// Ages at which the use of copies had settled.
    pub warm_ups: scaling::Learned,
}

/// Peaks of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Begin of the hour.
    pub at: Timestamp,
    /// Peak of memory among all containers; above the limit if one was OOM-killed.
    pub memory: MemoryBytes,
    /// Peak of CPU among all containers, averaged over a minute.
    pub cpu: NanoCpus,
}
