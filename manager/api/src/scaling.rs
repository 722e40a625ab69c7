//! Scaling of a service: its present count, its policy and the last verdict.

use crate::{ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// Sets the count of a service, or freezes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Number of copies. With a policy it is also a floor for `for_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Duration of the floor in milliseconds; 30 minutes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// True freezes the count in both directions, false ends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<bool>,
}

/// Scaling of a service at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScalingView {
    /// The service.
    pub service: ServiceName,
    /// Number of wanted copies: those that wait or start included.
    pub count: u32,
    /// Number of these that run.
    pub running: u32,
    /// Its policy, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub policy: Option<serde_json::Value>,
    /// Time of the last change of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Floor that a person set, while it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualFloor>,
    /// The count is frozen.
    pub pinned: bool,
    /// Result of the last check; none before the first one since the manager started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictView>,
    /// The last change of the count by the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<VerdictView>,
}

/// Lower bound for the count that a person set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ManualFloor {
    /// The bound.
    pub floor: u32,
    /// Its end.
    pub until: Timestamp,
}

/// A verdict: a sentence for people, and the same as values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerdictView {
    /// Time of the check.
    pub at: Timestamp,
    /// Time since when the checks say the same.
    pub since: Timestamp,
    /// The sentence.
    pub text: String,
    /// Counts, cause and the stage that held a change.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// A verdict that repeated, with its first and last check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerdictSpan {
    /// The service.
    pub service: ServiceName,
    /// The first check.
    pub first: VerdictView,
    /// The last check.
    pub last: VerdictView,
    /// Number of checks.
    pub times: u32,
}
