//! Query parameters of the routes.

use serde::{Deserialize, Serialize};

/// Parameters of lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AllQuery {
    /// Include ended ones: instances that are gone, containers that are stopped.
    pub all: bool,
}

/// Parameters for stopping an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StopQuery {
    /// Return the machine even if its containers have nowhere to go or hold volumes there.
    pub force: bool,
}

/// Parameters for stopping containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuitQuery {
    /// Remove their records too, logs included.
    pub remove: bool,
}

/// Path in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CopyQuery {
    /// An absolute path.
    pub path: String,
}

/// Target of a copy in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CopyToQuery {
    /// An absolute path of an existing folder.
    pub path: String,
    /// Files belong to the user that the container runs as, instead of the tar's owners.
    #[serde(default)]
    #[param(default = false)]
    pub archive: bool,
}

/// Selection of past usage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Start, in milliseconds since the Unix epoch. Default: an hour before `until`.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub from: Option<u64>,
    /// End (exclusive). Default: now.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub until: Option<u64>,
    /// Time that each point covers, in seconds: 2, 60 or 600. Default: the finest retained since
    /// `from`.
    #[param(minimum = 2, maximum = 600)]
    pub resolution: Option<u32>,
}

/// Selection of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only events of this container, or of the containers of this service.
    pub name: Option<String>,
    /// Only events on the instance of this tag.
    pub instance: Option<String>,
    /// Only events from this moment on, in milliseconds since the Unix epoch.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub since: Option<u64>,
    /// Number of the latest events, at most 10,000. Default: 50.
    #[param(minimum = 1, maximum = 10_000)]
    pub limit: Option<u32>,
}

/// The moment of an explanation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Explain how the service was scaled at this moment, in milliseconds since the Unix epoch;
    /// without it, how it is now.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub at: Option<u64>,
}

/// Selection of verdicts of the scaling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VerdictQuery {
    /// Only verdicts on this service.
    pub service: Option<String>,
    /// Only verdicts that began at this moment or later, in milliseconds since the Unix epoch.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub since: Option<u64>,
    /// Number of the latest verdicts, at most 10,000. Default: 50.
    #[param(minimum = 1, maximum = 10_000)]
    pub limit: Option<u32>,
}

/// Selection of log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Continue as more is written.
    pub follow: bool,
    /// Number of the last lines, of all runs and containers together.
    pub tail: Option<u32>,
    /// Only later lines, in seconds since the Unix epoch.
    pub since: Option<i64>,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// One JSON object a line ([`LogEntry`](crate::LogEntry)), which always has the time.
    pub lines: bool,
    /// The run before the present one, or the last one if none runs, of one container; not with
    /// `follow`. After a move or the end: the retained tail of all earlier runs; then not with
    /// `since` or `timestamps` either.
    pub previous: bool,
}
