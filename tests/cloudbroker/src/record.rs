//! The broker's records: jobs, their files, and every instance that ever existed.

use crate::{Content, InstanceStatus, JobStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The broker's id.
    pub id: String,
    /// The client's name.
    pub name: String,
    pub description: Option<String>,
    pub status: JobStatus,
    /// Every status so far with its begin; the last is the present one.
    pub history: Vec<(JobStatus, Timestamp)>,
    /// Id of the software.
    pub software: String,
    /// Id of the executable.
    pub executable: String,
    /// Id of the resource.
    pub resource: String,
    /// Id of the region.
    pub region: String,
    /// Id of the instance type.
    pub instance_type: String,
    /// Id of the deployment, once assembled.
    pub deployment: Option<String>,
    /// Arguments of the executable.
    pub arguments: Option<String>,
    /// Number of instances.
    pub nodes: u32,
    /// Stored, without effect.
    pub archive_output: bool,
    /// Its instances stay when it is completed.
    pub no_instance_shutdown: bool,
    /// It does not end by itself.
    pub permanently_running: bool,
    /// Its executable does not run.
    pub no_execution: bool,
    /// Ids of its instances, gone ones included.
    pub instances: Vec<String>,
    pub outcome: Option<Outcome>,
    /// Reason of the stop.
    pub stop_reason: Option<String>,
    /// Label by which people sort their bills.
    pub tag: Option<String>,
    pub created_at: Timestamp,
    /// State of its executable.
    pub run: Run,
    /// Tail of its executable's output.
    pub output: String,
    /// Planned fault of its machines.
    pub fate: Option<Fate>,
    /// Log for people.
    pub activity: Vec<Activity>,
}

/// End of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By itself.
    Ended,
    /// Somebody stopped it, or its instance.
    Interrupted,
    /// Its machine was lost, or its executable failed.
    Failed,
}

/// State of a job's executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// Absent, or not started yet.
    Nothing,
    /// Running.
    Going,
    /// Ended with this code.
    Ended(i64),
}

/// Planned fault of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It never leaves `starting`.
    NeverBoots,
    /// It dies while it is `initializing`.
    DiesBooting,
}

/// One line of a job's activity log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub at: Timestamp,
    pub is_error: bool,
    pub message: String,
}

/// An instance. Kept for ever, so that tests see everything that was rented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The broker's id.
    pub id: String,
    /// Its own name; made up for a job's instance.
    pub name: String,
    /// Name in the order: the job's, else its own.
    pub ordered_as: String,
    /// Description of its job.
    pub description: Option<String>,
    /// Id of the job.
    pub job: Option<String>,
    pub status: InstanceStatus,
    /// Begin of the present status.
    pub since: Timestamp,
    pub created_at: Timestamp,
    /// Id of the software.
    pub software: String,
    /// Id of the deployment.
    pub deployment: String,
    /// Id of the region.
    pub region: String,
    /// Id of the instance type.
    pub instance_type: String,
    /// Stored, without effect.
    pub opened_port: Option<String>,
    /// Stored, without effect.
    pub key_pair: Option<String>,
    /// Stored, without effect.
    pub disable_autostop: bool,
    /// Stored, without effect.
    pub isolated: bool,
    /// Input of cloud-init.
    pub user_data: Option<Content>,
    /// Planned fault.
    pub fate: Option<Fate>,
    pub machine: Machine,
}

impl Instance {
    /// Name of its container on the engine, if machines are containers.
    #[must_use]
    pub fn container(&self) -> String {
        container_of(&self.id)
    }
}

/// Ids are unique on an engine.
pub(crate) fn container_of(id: &str) -> String {
    format!("cloudbroker-{id}")
}

/// The machine of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub power: Power,
    /// Its address, known to the broker before it is shown.
    pub address: Option<String>,
    pub booted_at: Option<Timestamp>,
    pub up_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// State of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Not requested.
    #[default]
    Off,
    /// Requested.
    Asked,
    /// Switched on: paid for from here on.
    On,
    /// Its engine answers.
    Up,
    /// Shutting down.
    Ending,
    /// Gone.
    Gone,
}

impl Machine {
    /// True if it is paid for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self.power, Power::On | Power::Up | Power::Ending) && self.booted_at.is_some()
    }
}

/// An input file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// The broker's id.
    pub id: String,
    /// Id of the job.
    pub job: String,
    /// Name in the job's folder.
    pub name: String,
    /// Id of the data type.
    pub data_type: String,
    /// Stored, without effect.
    pub archive: bool,
    /// Hash of its bytes, in hexadecimal.
    pub sha256: String,
    pub content: Content,
    pub created_at: Timestamp,
}
