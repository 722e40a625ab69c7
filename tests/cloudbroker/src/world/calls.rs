//! Effects of calls on existing jobs, instances and files.

use super::{Effect, Refusal, World, orders::DATA_FILE};
use crate::{
    Content, DataFile, Fate, InstanceStatus, JobStatus, Outcome, Run,
    catalogue::{Kind, What},
    fields::Fields,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// An uploaded input file.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) job: Option<String>,
    pub(crate) data_type: Option<String>,
    /// `data_file_name`, else the file's own name.
    pub(crate) name: Option<String>,
    pub(crate) archive: bool,
    pub(crate) content: Option<Vec<u8>>,
}

impl World {
    pub(crate) fn submit_job(
        &mut self,
        id: &str,
        fate: Option<Fate>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.job(id)?.status != JobStatus::Created {
            return Err(Refusal::wrong_status(
                "Job can not be submitted in its current status",
            ));
        }
        if let Some(job) = self.changing().jobs.get_mut(id) {
            job.fate = fate.or(job.fate);
        }
        self.enter_job(id, JobStatus::Submitted, now, &mut Vec::new());
        Ok(())
    }

    /// Allowed from submitted to running.
    pub(crate) fn stop_job(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let status = self.job(id)?.status;
        if status == JobStatus::Created || status >= JobStatus::Stopping {
            return Err(Refusal::wrong_status(
                "Job can not be stopped in its current status",
            ));
        }
        if let Some(job) = self.changing().jobs.get_mut(id) {
            job.outcome = Some(Outcome::Interrupted);
            job.stop_reason = Some("Stopped by user".to_owned());
        }
        self.enter_job(id, JobStatus::Stopping, now, &mut Vec::new());
        Ok(())
    }

    /// Only for a completed job that was stopped.
    pub(crate) fn restart_job(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let job = self.job(id)?;
        if job.status != JobStatus::Completed || job.outcome != Some(Outcome::Interrupted) {
            return Err(Refusal::wrong_status(
                "Job can not be restarted in its current status",
            ));
        }
        if let Some(job) = self.changing().jobs.get_mut(id) {
            (job.outcome, job.stop_reason, job.run) = (None, None, Run::Nothing);
        }
        self.enter_job(id, JobStatus::Submitted, now, &mut Vec::new());
        Ok(())
    }

    /// Before it is submitted, or when it is over. Its instances stay known.
    pub(crate) fn delete_job(&mut self, id: &str) -> Result<(), Refusal> {
        if !matches!(
            self.job(id)?.status,
            JobStatus::Created | JobStatus::Completed
        ) {
            return Err(Refusal::wrong_status(
                "Job can not be deleted in its current status",
            ));
        }
        let records = self.changing();
        records.jobs.remove(id);
        records.files.retain(|_, file| file.job != id);
        Ok(())
    }

    /// Changes the values of a job that may still change.
    pub(crate) fn update_job(&mut self, id: &str, fields: &Fields) -> Result<(), Refusal> {
        self.job(id)?;
        if let Some(job) = self.changing().jobs.get_mut(id) {
            job.name = fields.text("name").unwrap_or_else(|| job.name.clone());
            job.description = fields.text("description").or(job.description.take());
            job.arguments = fields.text("argument-string").or(job.arguments.take());
            job.tag = fields.text("tag/content").or(job.tag.take());
        }
        Ok(())
    }

    /// A job that runs on it ends.
    pub(crate) fn stop_instance(
        &mut self,
        id: &str,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Refusal> {
        let instance = self.instance(id)?;
        if instance.status.is_over() {
            return Err(Refusal::wrong_status(
                "Instance can not be stopped in its current status",
            ));
        }
        let job = instance.job.clone().unwrap_or_default();
        if let Some(job) = self
            .changing()
            .jobs
            .get_mut(&job)
            .filter(|job| job.status < JobStatus::Stopping)
        {
            job.outcome = Some(Outcome::Interrupted);
        }
        let mut effects = Vec::new();
        self.enter_instance(id, InstanceStatus::Stopping, now, &mut effects);
        Ok(effects)
    }

    /// Only for a job that has not been submitted: later files would not reach the machine.
    pub(crate) fn upload(&mut self, upload: Upload, now: Timestamp) -> Result<String, Refusal> {
        let blank = |what: &str| Refusal::invalid([format!("{what} can't be blank")]);
        let job = upload
            .job
            .filter(|job| !job.is_empty())
            .ok_or_else(|| blank("Job"))?;
        let Ok(status) = self.job(&job).map(|job| job.status) else {
            return Err(Refusal::invalid(["Job can't be found".to_owned()]));
        };
        let data_type = upload
            .data_type
            .filter(|kind| !kind.is_empty())
            .ok_or_else(|| blank("Data type"))?;
        let selectable = What::DataType { selectable: true };
        if !self
            .entries(Kind::DataTypes)
            .any(|entry| entry.id == data_type && entry.what == selectable)
        {
            return Err(Refusal::invalid([
                "Data type can't be found, or is not for input".to_owned(),
            ]));
        }
        let name = upload
            .name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| blank("Data file name"))?;
        if name.contains('/') || name == "." || name == ".." {
            return Err(Refusal::invalid(["Data file name is invalid".to_owned()]));
        }
        let content = upload.content.ok_or_else(|| blank("Data"))?;
        if status != JobStatus::Created {
            return Err(Refusal::wrong_status(
                "Data files can not be added to the job in its current status",
            ));
        }
        let sha256 = Sha256::digest(&content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let id = self.fresh_id(DATA_FILE);
        let file = DataFile {
            id: id.clone(),
            job,
            name,
            data_type,
            archive: upload.archive,
            sha256,
            content: Content(content),
            created_at: now,
        };
        self.changing().files.insert(id.clone(), file);
        Ok(id)
    }

    pub(crate) fn file(&self, id: &str) -> Result<&DataFile, Refusal> {
        self.records.files.get(id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn delete_file(&mut self, id: &str) -> Result<(), Refusal> {
        self.file(id)?;
        self.changing().files.remove(id);
        Ok(())
    }
}
