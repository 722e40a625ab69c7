//! Text forms of states, as on the wire.

use crate::{ContainerState, InstanceState};
use std::fmt;

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Submitted => "submitted",
            Self::Booting => "booting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Gone => "gone",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Failing => "failing",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_wire() {
        let states = [
            ContainerState::Waiting,
            ContainerState::Unhealthy,
            ContainerState::Failing,
            ContainerState::Completed,
            ContainerState::Unknown,
        ];
        for state in states {
            assert_eq!(
                serde_json::to_string(&state).expect("a word"),
                format!("\"{state}\"")
            );
        }
        for state in [
            InstanceState::Requested,
            InstanceState::Submitted,
            InstanceState::Gone,
            InstanceState::Failed,
        ] {
            assert_eq!(
                serde_json::to_string(&state).expect("a word"),
                format!("\"{state}\"")
            );
        }
    }
}
