//! Health of a copy by the checks of its machine's agent.

use micado_api::{HealthState, ServiceSpec, Timestamp};
use serde::{Deserialize, Serialize};

/// The last verdict on a checked copy. It stays while no agent checks the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub state: HealthState,
    /// Time of the verdict.
    pub since: Timestamp,
    /// Reason of the last failed check, if it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Health {
    /// Health of a new copy; `None` if the agent does not check it.
    #[must_use]
    pub fn of_new(spec: &ServiceSpec, now: Timestamp) -> Option<Box<Self>> {
        let check = spec.run.health.as_ref()?;
        let starting = || Box::new(Self::new(HealthState::Starting, now));
        check.probe.as_ref().map(|_| starting())
    }

    /// A verdict without a failure.
    #[must_use]
    pub const fn new(state: HealthState, since: Timestamp) -> Self {
        Self {
            state,
            since,
            failure: None,
        }
    }
}
