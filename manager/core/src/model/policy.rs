//! The scaling policy of a service, and the limits that people set beside it. It outlives the
//! service's containers.

use crate::scaling::{Manual, Policies};
use micado_api::{ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// Scaling of one service, as people set it. Rings, timers and verdicts are not stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePolicy {
    pub service: ServiceName,
    pub policies: Policies,
    /// Floor of `micado scale`, until its end.
    #[serde(default)]
    pub manual: Option<Manual>,
    /// The count is frozen until a person unpins it.
    #[serde(default)]
    pub is_pinned: bool,
    /// Time of the last change of the policies.
    pub since: Timestamp,
}

// Equality is total: validation refuses NaN before a policy becomes a record.
impl Eq for ServicePolicy {}

impl ServicePolicy {
    #[must_use]
    pub fn new(service: ServiceName, policies: Policies, now: Timestamp) -> Self {
        Self {
            service,
            policies,
            manual: None,
            is_pinned: false,
            since: now,
        }
    }

    /// Floor of a person, while it holds.
    #[must_use]
    pub fn floor(&self, now: Timestamp) -> Option<Manual> {
        self.manual.filter(|manual| now < manual.until)
    }
}
