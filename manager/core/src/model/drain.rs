//! The drain of a machine: cause, begin and deadline. A record, so that a restarted manager goes on
//! with it.

use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Source of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BegunBy {
    /// `micado stop`: ends with the machine's return.
    Person,
    /// The manager, to save money: is cancelled rather than stops a container.
    Manager,
}

/// Drain of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Cause, for people.
    pub why: String,
    pub since: Timestamp,
    /// Time at which it is cancelled; `None` for a person's.
    pub deadline: Option<Timestamp>,
    pub begun_by: BegunBy,
}
