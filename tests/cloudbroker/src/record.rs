//! What the broker keeps: jobs, their files, and every instance that there ever was.

use crate::{Content, InstanceStatus, JobStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The broker's id.
    pub id: String,
    /// The client's name for it.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// How far it is.
    pub status: JobStatus,
    /// Every status it has been in, and since when; the last is the present one.
    pub history: Vec<(JobStatus, Timestamp)>,
    /// The software's id.
    pub software: String,
    /// The executable's id.
    pub executable: String,
    /// The resource's id.
    pub resource: String,
    /// The region's id.
    pub region: String,
    /// The instance type's id.
    pub instance_type: String,
    /// The deployment's id, once it is assembled.
    pub deployment: Option<String>,
    /// What the executable is called with.
    pub arguments: Option<String>,
    /// How many instances it has.
    pub nodes: u32,
    /// Only kept.
    pub archive_output: bool,
    /// Its instances stay when it is completed.
    pub no_instance_shutdown: bool,
    /// It does not end by itself.
    pub permanently_running: bool,
    /// Its executable is not run.
    pub no_execution: bool,
    /// The ids of its instances, gone ones among them.
    pub instances: Vec<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it was stopped.
    pub stop_reason: Option<String>,
    /// The label by which people sort their bills.
    pub tag: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether its executable runs.
    pub run: Run,
    /// What its executable has said, the end of it.
    pub output: String,
    /// What its machines will suffer.
    pub fate: Option<Fate>,
    /// What people are told of it.
    pub activity: Vec<Activity>,
}

/// How a job ended.
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

/// Whether a job's executable runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// There is none, or it has not been started.
    Nothing,
    /// It has been started.
    Going,
    /// It has ended with this code.
    Ended(i64),
}

/// What will happen to a machine.
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
    /// When.
    pub at: Timestamp,
    /// Whether it is a trouble.
    pub is_error: bool,
    /// In words.
    pub message: String,
}

/// An instance. It is kept for ever, so that a test can tell what has been rented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The broker's id.
    pub id: String,
    /// Its own name; that of a job's instance is made up.
    pub name: String,
    /// The name under which it was ordered: the job's, else its own.
    pub ordered_as: String,
    /// The description of its job.
    pub description: Option<String>,
    /// The job's id.
    pub job: Option<String>,
    /// How far it is.
    pub status: InstanceStatus,
    /// Since when.
    pub since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// The software's id.
    pub software: String,
    /// The deployment's id.
    pub deployment: String,
    /// The region's id.
    pub region: String,
    /// The instance type's id.
    pub instance_type: String,
    /// Only kept.
    pub opened_port: Option<String>,
    /// Only kept.
    pub key_pair: Option<String>,
    /// Only kept.
    pub disable_autostop: bool,
    /// Only kept.
    pub isolated: bool,
    /// What cloud-init is given.
    pub user_data: Option<Content>,
    /// What it will suffer.
    pub fate: Option<Fate>,
    /// The machine itself.
    pub machine: Machine,
}

impl Instance {
    /// What its machine is called on the engine, where machines are containers.
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
    /// How far it is.
    pub power: Power,
    /// Its address, known to the broker before it is shown.
    pub address: Option<String>,
    /// When it was switched on.
    pub booted_at: Option<Timestamp>,
    /// When it was up.
    pub up_at: Option<Timestamp>,
    /// When it was gone.
    pub ended_at: Option<Timestamp>,
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Not asked for.
    #[default]
    Off,
    /// Asked for.
    Asked,
    /// Switched on: paid for from here on.
    On,
    /// Its engine answers.
    Up,
    /// Being switched off.
    Ending,
    /// It is no more.
    Gone,
}

impl Machine {
    /// Whether it is paid for.
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
    /// The job's id.
    pub job: String,
    /// Its name in the job's folder.
    pub name: String,
    /// The data type's id.
    pub data_type: String,
    /// Only kept.
    pub archive: bool,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub content: Content,
    /// When it was uploaded.
    pub created_at: Timestamp,
}
