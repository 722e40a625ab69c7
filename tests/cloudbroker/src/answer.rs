//! Effect and reply of an authorised call.

use crate::{Fate, Instance, InstanceStatus, Job};
use crate::{
    Spelling,
    catalogue::Kind,
    fields::Fields,
    random::Dice,
    route::Call,
    show::{self, Disguise, Viewer},
    world::{Effect, Named, Refusal, Upload, World},
    xml::{self, Record, Writer},
};
use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

/// Input of a call.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) body: Vec<u8>,
    pub(crate) upload: Upload,
    /// Pairs of the query.
    pub(crate) query: Vec<(String, String)>,
}

impl Parcel {
    fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Executes one call on the world, in the chosen spelling.
pub(crate) struct Desk<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) spelling: &'a Spelling,
    pub(crate) dice: &'a mut Dice,
    pub(crate) disguise: Disguise,
    pub(crate) fate: Option<Fate>,
    pub(crate) now: Timestamp,
    /// Resulting actions on machines.
    pub(crate) effects: Vec<Effect>,
}

/// Result of a call.
enum Shown {
    One(Record),
    Many(&'static str, Vec<Record>),
}

impl Desk<'_> {
    /// Executes the call.
    pub(crate) fn answer(&mut self, call: &Call, parcel: Parcel) -> Answer {
        let is_action = matches!(
            call,
            Call::SubmitJob(_)
                | Call::StopJob(_)
                | Call::RestartJob(_)
                | Call::UpdateJob(_)
                | Call::DeleteJob(_)
                | Call::StopInstance(_)
                | Call::DeleteFile(_)
        );
        let creates = matches!(call, Call::CreateJob | Call::CreateInstance | Call::Upload);
        let code = match call {
            Call::RestartJob(_) => 201,
            _ if creates && !self.spelling.create_is_200 => 201,
            _ => 200,
        };
        match self.perform(call, parcel) {
            Err(refusal) => Answer {
                code: refusal.code,
                body: xml::errors(&refusal.messages, refusal.kind),
            },
            Ok(_) if is_action && self.spelling.blank_actions => Answer {
                code,
                body: " ".to_owned(),
            },
            Ok(shown) => {
                let mut writer = Writer {
                    spelling: self.spelling,
                    dice: self.dice,
                };
                let body = match shown {
                    Shown::One(record) => writer.document(&record),
                    Shown::Many(name, records) => writer.list(name, &records),
                };
                Answer { code, body }
            }
        }
    }

    fn perform(&mut self, call: &Call, parcel: Parcel) -> Result<Shown, Refusal> {
        let now = self.now;
        match call {
            Call::CreateJob => {
                let id = self
                    .world
                    .create_job(&fields(&parcel, "job")?, self.fate, now)?;
                self.show_job(&id)
            }
            Call::UpdateJob(id) => {
                self.world.update_job(id, &fields(&parcel, "job")?)?;
                self.show_job(id)
            }
            Call::SubmitJob(id) => {
                self.world.submit_job(id, self.fate, now)?;
                self.show_job(id)
            }
            Call::StopJob(id) => {
                self.world.stop_job(id, now)?;
                self.show_job(id)
            }
            Call::RestartJob(id) => {
                self.world.restart_job(id, now)?;
                self.show_job(id)
            }
            Call::DeleteJob(id) => {
                let shown = self.show_job(id)?;
                self.world.delete_job(id)?;
                Ok(shown)
            }
            Call::CreateInstance => {
                let (id, effects) =
                    self.world
                        .create_instance(&fields(&parcel, "instance")?, self.fate, now)?;
                self.effects.extend(effects);
                self.show_instance(&id)
            }
            Call::StopInstance(id) => {
                let effects = self.world.stop_instance(id, now)?;
                self.effects.extend(effects);
                self.show_instance(id)
            }
            Call::Upload => {
                let id = self.world.upload(parcel.upload, now)?;
                Ok(Shown::One(show::file(self.world.file(&id)?)))
            }
            Call::DeleteFile(id) => {
                let shown = Shown::One(show::file(self.world.file(id)?));
                self.world.delete_file(id)?;
                Ok(shown)
            }
            other => self.look(other, &parcel),
        }
    }

    /// Read-only calls.
    fn look(&self, call: &Call, parcel: &Parcel) -> Result<Shown, Refusal> {
        Ok(match call {
            Call::ShowJob(id) => self.show_job(id)?,
            Call::ListJobs => {
                let jobs = self
                    .world
                    .records()
                    .jobs
                    .values()
                    .filter(|job| self.wanted(job, parcel));
                Shown::Many(
                    "jobs",
                    self.page(jobs, parcel)
                        .map(|job| self.viewer().job(job))
                        .collect(),
                )
            }
            Call::ShowInstance(id) => self.show_instance(id)?,
            Call::ListInstances => {
                let job = parcel
                    .query("job_id")
                    .filter(|_| self.spelling.filters_by_job);
                let instances = self
                    .world
                    .records()
                    .instances
                    .values()
                    .filter(|instance| job.is_none() || instance.job.as_deref() == job);
                self.instances(instances, parcel)
            }
            Call::InstancesOfJob(_) if !self.spelling.nested_instances => {
                return Err(Refusal::not_found());
            }
            Call::InstancesOfJob(id) => {
                self.instances(self.world.instances_of(self.world.job(id)?), parcel)
            }
            Call::FilesOfJob(id) => {
                self.world.job(id)?;
                Shown::Many(
                    "data-files",
                    self.page(self.world.files_of(id), parcel)
                        .map(show::file)
                        .collect(),
                )
            }
            Call::ShowFile(id) => Shown::One(show::file(self.world.file(id)?)),
            Call::Timeline(id) => {
                Shown::Many("job-status-times", show::timeline(self.world.job(id)?))
            }
            Call::ActivityLogs(id) => {
                Shown::Many("activity-logs", show::activity(self.world.job(id)?))
            }
            Call::Costs(id) => {
                self.world.instance(id)?;
                Shown::Many("fees", show::costs())
            }
            Call::ListEntries(kind) => self.catalogue(*kind, parcel),
            Call::ShowEntry(kind, id) => {
                let entry = self
                    .world
                    .entries(*kind)
                    .find(|entry| entry.id == *id)
                    .ok_or_else(Refusal::not_found)?;
                Shown::One(show::entry(entry))
            }
            Call::ServerVersion => {
                Shown::One(Record::new("result").text("server_version", "2.3.13.0"))
            }
            _ => return Err(Refusal::not_found()),
        })
    }

    fn viewer(&self) -> Viewer<'_> {
        Viewer {
            world: self.world,
            spelling: self.spelling,
            disguise: &self.disguise,
            now: self.now,
        }
    }

    fn show_job(&self, id: &str) -> Result<Shown, Refusal> {
        Ok(Shown::One(self.viewer().job(self.world.job(id)?)))
    }

    fn show_instance(&self, id: &str) -> Result<Shown, Refusal> {
        let instance = self.world.instance(id)?;
        if self.is_listed(instance) {
            Ok(Shown::One(self.viewer().instance(instance)))
        } else {
            Err(Refusal::not_found())
        }
    }

    fn instances<'a>(
        &self,
        instances: impl Iterator<Item = &'a Instance>,
        parcel: &Parcel,
    ) -> Shown {
        let listed = instances.filter(|instance| self.is_listed(instance));
        Shown::Many(
            "instances",
            self.page(listed, parcel)
                .map(|instance| self.viewer().instance(instance))
                .collect(),
        )
    }

    fn is_listed(&self, instance: &Instance) -> bool {
        let (Some(kept), InstanceStatus::Halted) = (self.spelling.halted_listed, instance.status)
        else {
            return true;
        };
        instance.since.duration_until(self.now)
            < SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX)
    }

    fn catalogue(&self, kind: Kind, parcel: &Parcel) -> Shown {
        let mut entries: Vec<_> = self.world.entries(kind).cloned().collect();
        if self.disguise.twice {
            let mut others = entries.clone();
            others
                .iter_mut()
                .for_each(|entry| entry.id.replace_range(..8, "ffffffff"));
            entries.extend(others);
        }
        let name = match kind {
            Kind::DataTypes => "data-types",
            Kind::Softwares => "softwares",
            Kind::Executables => "executables",
            Kind::Deployments => "deployments",
            Kind::Resources => "resources",
            Kind::Regions => "regions",
            Kind::InstanceTypes => "instance-types",
        };
        Shown::Many(
            name,
            self.page(entries.iter(), parcel).map(show::entry).collect(),
        )
    }

    /// True if a job passes the query's filters, named as on the wire: `job[status_filter]`.
    fn wanted(&self, job: &Job, parcel: &Parcel) -> bool {
        let is = |id: &str, wanted: &str| {
            id == wanted
                || self
                    .world
                    .entry(id)
                    .is_some_and(|entry| entry.name == wanted)
        };
        parcel
            .query("job[status_filter]")
            .is_none_or(|wanted| job.status.word() == wanted)
            && parcel
                .query("job[executable_filter]")
                .is_none_or(|wanted| is(&job.executable, wanted))
            && parcel
                .query("job[instance_type_filter]")
                .is_none_or(|wanted| is(&job.instance_type, wanted))
    }

    /// The requested page, from 1; without a size, everything.
    fn page<'a, T: 'a>(
        &self,
        items: impl Iterator<Item = &'a T>,
        parcel: &Parcel,
    ) -> impl Iterator<Item = &'a T> {
        let number = |name| {
            parcel
                .query(name)
                .and_then(|text| text.parse::<usize>().ok())
                .filter(|number| *number > 0 && self.spelling.paging)
        };
        let size = number("per_page").unwrap_or(usize::MAX);
        let skipped = (number("page").unwrap_or(1) - 1).saturating_mul(size);
        items.skip(skipped).take(size)
    }
}

fn fields(parcel: &Parcel, root: &str) -> Result<Fields, Refusal> {
    Fields::read(&parcel.body, root).map_err(|cause| Refusal {
        code: 400,
        messages: vec![cause],
        kind: None,
    })
}

/// Names and descriptions of everything that a call concerns.
pub(crate) fn subjects(world: &World, call: &Call, parcel: &Parcel) -> Vec<String> {
    let records = world.records();
    let job = |id: &str| {
        records
            .jobs
            .get(id)
            .map(Named::words)
            .into_iter()
            .collect::<Vec<_>>()
    };
    match call {
        Call::CreateJob => ordered(parcel, "job"),
        Call::CreateInstance => ordered(parcel, "instance"),
        Call::Upload => parcel.upload.job.as_deref().map(job).unwrap_or_default(),
        Call::ListJobs => records.jobs.values().map(Named::words).collect(),
        Call::ListInstances => records.instances.values().map(Named::words).collect(),
        Call::ShowInstance(id) | Call::StopInstance(id) | Call::Costs(id) => records
            .instances
            .get(id)
            .map(Named::words)
            .into_iter()
            .collect(),
        Call::ShowJob(id)
        | Call::UpdateJob(id)
        | Call::DeleteJob(id)
        | Call::SubmitJob(id)
        | Call::StopJob(id)
        | Call::RestartJob(id)
        | Call::InstancesOfJob(id)
        | Call::FilesOfJob(id)
        | Call::Timeline(id)
        | Call::ActivityLogs(id) => job(id),
        Call::ListEntries(kind) | Call::ShowEntry(kind, _) => vec![show::item(*kind).to_owned()],
        Call::ShowFile(_) | Call::DeleteFile(_) | Call::DirectUpload | Call::ServerVersion => {
            Vec::new()
        }
    }
}

/// Name and description in an order.
fn ordered(parcel: &Parcel, root: &str) -> Vec<String> {
    let Ok(fields) = Fields::read(&parcel.body, root) else {
        return Vec::new();
    };
    vec![
        [
            fields.get("name").unwrap_or_default(),
            fields.get("description").unwrap_or_default(),
        ]
        .join(" "),
    ]
}
