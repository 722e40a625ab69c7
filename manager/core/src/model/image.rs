//! An image that services run or ran: what a person has said of it, and what was learned of each of
//! its digests.

use micado_api::{Critical, MemoryBytes, NanoCpus, Timestamp};
use serde::{Deserialize, Serialize};

/// One image, by the name that it is launched by. It stays when its services go: what was learned
/// is of use when they come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was asked for.
    pub name: String,
    /// The digest that nodes pull now, once known.
    pub digest: Option<String>,
    /// The critical usage that a person has set.
    pub critical: Critical,
    /// What was learned of its digests, the latest last.
    pub learned: Vec<Learned>,
    /// When it was last launched or measured.
    pub seen_at: Timestamp,
}

/// What was learned of one digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Of what.
    pub digest: String,
    /// For how long its containers were measured, all together, in milliseconds.
    pub measured_ms: u64,
    /// The peaks, oldest first; times without a measurement have none.
    pub windows: Vec<Window>,
}

/// The peaks of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the hour began.
    pub at: Timestamp,
    /// The most memory that any container had; more than its limit when one was killed for want of
    /// it.
    pub memory: MemoryBytes,
    /// The most CPU that any container used over a minute.
    pub cpu: NanoCpus,
}
