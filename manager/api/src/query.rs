//! The queries that routes take after the `?`.

use serde::{Deserialize, Serialize};

/// For lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AllQuery {
    /// Show also what is over: instances that are gone, containers that are stopped.
    pub all: bool,
}

/// For stopping an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StopQuery {
    /// Give the machine back even when its containers have nowhere to go or hold volumes there.
    pub force: bool,
}

/// For stopping containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuitQuery {
    /// Forget them too, logs included.
    pub remove: bool,
}

/// Where in a container something is copied to or from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CopyQuery {
    /// An absolute path; of a folder that is there, where something is copied to.
    pub path: String,
}

/// Which past figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// From this moment on, in milliseconds since the Unix epoch; an hour before `until` unless it
    /// is said.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub from: Option<u64>,
    /// Up to and without this one; now unless it is said.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub until: Option<u64>,
    /// How long each point stands for, in seconds: 2, 60 or 600. The finest that is kept since
    /// `from` unless it is said.
    #[param(minimum = 2, maximum = 600)]
    pub resolution: Option<u32>,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only those of this container, or of the containers of this service.
    pub name: Option<String>,
    /// Only those on the instance of this tag.
    pub instance: Option<String>,
    /// Only what happened from this moment on, in milliseconds since the Unix epoch.
    #[param(maximum = 253_402_300_799_999_u64)]
    pub since: Option<u64>,
    /// Only the last so many, 10,000 at most; 50 unless it is said.
    #[param(minimum = 1, maximum = 10_000)]
    pub limit: Option<u32>,
}

/// Which part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Go on as more is written.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only what is later, in seconds since the Unix epoch.
    pub since: Option<i64>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Of the run before the present one, or of the last where none runs: of one container, and not
    /// with `follow`. After a move or the end it is what was kept of all runs before: then not with
    /// `since` or `timestamps` either.
    pub previous: bool,
}
