//! Records in their wire form.

use crate::{
    DataFile, Instance, Job,
    catalogue::{Entry, Kind, What},
    spelling::{Nulls, Spelling},
    world::{Named, World},
    xml::Record,
};
use jiff::Timestamp;

/// A status word that no client knows.
const UNKNOWN_STATUS: &str = "hibernating";
const NOT_ALLOCATED: &str = "not allocated";
/// Creation time of the whole catalogue.
const LONG_AGO: &str = "2016-03-01T09:00:00Z";

/// A fault's change to a reply; applies to things with this text, or to all without one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disguise {
    pub(crate) unknown_status: bool,
    pub(crate) not_allocated: bool,
    pub(crate) twice: bool,
    pub(crate) subject: Option<String>,
}

impl Disguise {
    fn covers(&self, record: &impl Named) -> bool {
        self.subject
            .as_ref()
            .is_none_or(|subject| record.words().contains(subject))
    }
}

/// Settings for showing records.
pub(crate) struct Viewer<'a> {
    pub(crate) world: &'a World,
    pub(crate) spelling: &'a Spelling,
    pub(crate) disguise: &'a Disguise,
    pub(crate) now: Timestamp,
}

impl Viewer<'_> {
    pub(crate) fn job(&self, job: &Job) -> Record {
        let outcome = job
            .outcome
            .filter(|_| job.status == crate::JobStatus::Completed);
        let runtime = job
            .history
            .iter()
            .find(|(status, _)| *status == crate::JobStatus::Running)
            .map_or(0, |(_, at)| at.duration_until(self.now).as_secs());
        let updated = job.history.last().map_or(job.created_at, |(_, at)| *at);
        let tag = job.tag.as_ref().map(|content| tag(job, content));
        let record = Record::new("job")
            .text("id", &job.id)
            .text("name", &job.name)
            .maybe("description", job.description.clone())
            .text("status", self.status(job, job.status.word()))
            .text("software-id", &job.software)
            .text("executable-id", &job.executable)
            .text("resource-id", &job.resource)
            .text("region-id", &job.region)
            .text("ec2-region-id", &job.region)
            .text("instance-type-id", &job.instance_type)
            .maybe("deployment-id", job.deployment.clone())
            .maybe("argument-string", job.arguments.clone())
            .integer("nodes", job.nodes)
            .flag("archive-output", job.archive_output)
            .flag("start-immediately", true)
            .flag("no-instance-shutdown", job.no_instance_shutdown)
            .flag("permanently-running", job.permanently_running)
            .flag("no-execution", job.no_execution)
            .maybe("previous-job-id", None::<String>)
            .maybe("requested-instance-id", None::<String>)
            .maybe(
                "job-outcome-string",
                outcome.map(|outcome| self.spelling.outcome(outcome)),
            )
            .maybe("stop-reason", job.stop_reason.clone())
            .integer("used-storage", 0)
            .integer("used-core-runtime", 0)
            .integer("used-runtime", runtime)
            .integer("hours-paid", 0)
            .integer("hours-paid-for-instance", 0)
            .typed("last-load-files", "datetime", None)
            .typed("created-at", "datetime", Some(date(job.created_at)))
            .typed("updated-at", "datetime", Some(date(updated)));
        // Last, with an id of its own, to expose clients that take any `id`.
        tag.into_iter().fold(record, Record::nest)
    }

    pub(crate) fn instance(&self, instance: &Instance) -> Record {
        let hidden = self.disguise.not_allocated && self.disguise.covers(instance);
        let address = self
            .world
            .address(&instance.machine, self.now)
            .filter(|_| !hidden);
        // Text or null: clients need the element in any case.
        let unknown = if self.spelling.nulls == Nulls::Empty {
            ""
        } else {
            NOT_ALLOCATED
        };
        let hostname = address
            .map(|address| format!("ip-{}", address.replace('.', "-")))
            .unwrap_or_default();
        let record = Record::new("instance")
            .text("id", &instance.id)
            .text("name", &instance.name)
            .text("status", self.status(instance, instance.status.word()))
            .text("deployment-id", &instance.deployment)
            .text("instance-type-id", &instance.instance_type)
            .text("software-id", &instance.software)
            .text("region-id", &instance.region)
            .maybe("key-pair-id", instance.key_pair.clone())
            .maybe("opened-port", instance.opened_port.clone())
            .flag("disable-autostop", instance.disable_autostop)
            .flag("isolated", instance.isolated)
            .text("internal-hostname", &hostname)
            .text("external-hostname", &hostname)
            .text("internal-ip-address", address.unwrap_or(unknown))
            .text("external-ip-address", address.unwrap_or(unknown))
            .typed("created-at", "datetime", Some(date(instance.created_at)))
            .typed("updated-at", "datetime", Some(date(instance.since)));
        if self.spelling.shows_job_id {
            record.maybe("job-id", instance.job.clone())
        } else {
            record
        }
    }

    fn status(&self, record: &impl Named, word: &'static str) -> &'static str {
        if self.disguise.unknown_status && self.disguise.covers(record) {
            UNKNOWN_STATUS
        } else {
            word
        }
    }
}

/// The job's statuses, each with its begin and end.
pub(crate) fn timeline(job: &Job) -> Vec<Record> {
    let left = job
        .history
        .iter()
        .skip(1)
        .map(|(_, at)| Some(date(*at)))
        .chain([None]);
    let passed = job.history.iter().zip(left).enumerate();
    passed
        .map(|(at, ((status, entered), left))| {
            Record::new("job-status-time")
                .text("id", format!("{}-{at}", job.id))
                .text("job-id", &job.id)
                .text("status", status.word())
                .typed("entertime", "datetime", Some(date(*entered)))
                .typed("exittime", "datetime", left)
        })
        .collect()
}

pub(crate) fn activity(job: &Job) -> Vec<Record> {
    let shown = job.activity.iter().map(|activity| {
        Record::new("activity-log")
            .text("action", "update")
            .flag("active", true)
            .integer("activity-code", 0)
            .text("message", &activity.message)
            .text("model-identifier", &job.id)
            .text("model-name", "Job")
            .text("severity", if activity.is_error { "Error" } else { "Info" })
            .typed("created-at", "datetime", Some(date(activity.at)))
    });
    shown.collect()
}

pub(crate) fn file(file: &DataFile) -> Record {
    Record::new("data-file")
        .text("id", &file.id)
        .text("name", &file.name)
        .text("data-file-name", &file.name)
        .text("data-file-size", file.content.0.len().to_string())
        .maybe("description", None::<String>)
        .maybe("path", None::<String>)
        .flag("archive", file.archive)
        .flag("uploaded", true)
        .text("job-id", &file.job)
        .text("data-type-id", &file.data_type)
        .typed("created-at", "datetime", Some(date(file.created_at)))
}

pub(crate) fn entry(entry: &Entry) -> Record {
    let record = Record::new(item(entry.what.kind()))
        .text("id", &entry.id)
        .text("name", &entry.name);
    let status = if entry.active { "active" } else { "inactive" };
    let record = match &entry.what {
        What::DataType { selectable } => record.flag("selectable", *selectable),
        What::Software { .. } => record
            .text("version", "1.0")
            .text("status", status)
            .maybe("description", None::<String>),
        What::Executable { software, binary } => record
            .text("binary", binary)
            .flag("active", entry.active)
            .text("software-id", software),
        What::Deployment {
            software,
            resource,
            region,
        } => record
            .text("status", status)
            .text("software-id", software)
            .text("resource-id", resource)
            .text("region-id", region),
        What::Resource => {
            record
                .flag("active", entry.active)
                .typed("maximum-nodes", "integer", None)
        }
        What::Region { resource } => record
            .flag("active", entry.active)
            .maybe("api-name", None::<String>)
            .text("resource-id", resource),
        What::InstanceType {
            resource,
            cpus,
            memory,
        } => record
            .flag("active", entry.active)
            .integer("cpus", *cpus)
            .typed("memory", "float", Some(format!("{memory:?}")))
            .maybe("cloud-api-name", None::<String>)
            .text("resource-id", resource),
    };
    record
        .typed("created-at", "datetime", Some(LONG_AGO.to_owned()))
        .typed("updated-at", "datetime", Some(LONG_AGO.to_owned()))
}

/// Element name of an item of this kind.
pub(crate) fn item(kind: Kind) -> &'static str {
    match kind {
        Kind::DataTypes => "data-type",
        Kind::Softwares => "software",
        Kind::Executables => "executable",
        Kind::Deployments => "deployment",
        Kind::Resources => "resource",
        Kind::Regions => "region",
        Kind::InstanceTypes => "instance-type",
    }
}

/// Nothing costs anything here.
pub(crate) fn costs() -> Vec<Record> {
    let fee = Record::new("fee")
        .text("name", "Total")
        .text("month_quantity", "")
        .text("month_cost", "0.0")
        .text("total_quantity", "")
        .text("total_cost", "0.0");
    vec![fee]
}

fn tag(job: &Job, content: &str) -> Record {
    Record::new("tag")
        .text("id", job.id.replacen("2000", "8000", 1))
        .text("name", content)
        .text("content", content)
}

/// The platform's notation of dates.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
