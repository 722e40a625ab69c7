//! The broker's two status machines, in the order of their statuses.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Made; takes input files until it is submitted.
    Created,
    /// Waits for the platform.
    Submitted,
    /// The platform chooses a deployment.
    Assembling,
    /// Its instances are being started.
    Starting,
    /// Its instances have addresses and are being prepared.
    Preparing,
    /// Its executable has been started.
    Running,
    /// Somebody has stopped it.
    Stopping,
    /// Its outputs are being collected.
    Finishing,
    /// Over; stays until it is deleted.
    Completed,
}

/// Status of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// Requested from the cloud.
    Starting,
    /// The machine boots.
    Initializing,
    /// Its addresses are being allocated.
    Preparing,
    Running,
    /// Being shut down.
    Stopping,
    /// Gone, and no longer paid for.
    Halted,
}

/// A status of either machine; written `job.running` or `instance.halted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Job(JobStatus),
    Instance(InstanceStatus),
}

impl JobStatus {
    /// All statuses, in order.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Submitted,
        Self::Assembling,
        Self::Starting,
        Self::Preparing,
        Self::Running,
        Self::Stopping,
        Self::Finishing,
        Self::Completed,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Submitted => "submitted",
            Self::Assembling => "assembling",
            Self::Starting => "starting",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Finishing => "finishing",
            Self::Completed => "completed",
        }
    }
}

impl InstanceStatus {
    /// All statuses, in order.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Initializing,
        Self::Preparing,
        Self::Running,
        Self::Stopping,
        Self::Halted,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Initializing => "initializing",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Halted => "halted",
        }
    }

    /// True if the machine was stopped or has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        self >= Self::Stopping
    }
}

impl From<JobStatus> for Status {
    fn from(status: JobStatus) -> Self {
        Self::Job(status)
    }
}

impl From<InstanceStatus> for Status {
    fn from(status: InstanceStatus) -> Self {
        Self::Instance(status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(status) => write!(f, "job.{}", status.word()),
            Self::Instance(status) => write!(f, "instance.{}", status.word()),
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let jobs = JobStatus::ALL.map(Self::Job);
        let instances = InstanceStatus::ALL.map(Self::Instance);
        let found = jobs
            .into_iter()
            .chain(instances)
            .find(|status| status.to_string() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no status; examples are `job.running` and `instance.halted`")
        })
    }
}
