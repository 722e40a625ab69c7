//! The broker without a network: its records, its status machines and the effects of calls. Time
//! comes in as an argument, actions on machines go out as values.

mod calls;
mod life;
mod orders;

use crate::{
    DataFile, Instance, Job, Pace, Status,
    catalogue::{Entry, Kind, What},
};
pub(crate) use calls::Upload;
use jiff::Timestamp;
pub(crate) use life::Effect;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// State that survives a restart. Ids rise, so that lists are in the order of creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) files: BTreeMap<String, DataFile>,
    made: u32,
    /// Distinguishes this simulator from others on a shared engine.
    pub(crate) realm: String,
}

/// Records held back in a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) status: Status,
    /// Only those with this text in their name or description.
    pub(crate) subject: Option<String>,
}

/// A refused call: text of the `errors` document, and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) messages: Vec<String>,
    pub(crate) kind: Option<&'static str>,
}

impl Refusal {
    /// The one text that clients match exactly.
    pub(crate) fn not_found() -> Self {
        Self {
            code: 404,
            messages: vec!["404: record not found".to_owned()],
            kind: None,
        }
    }

    pub(crate) fn wrong_status(message: impl Into<String>) -> Self {
        Self {
            code: 422,
            messages: vec![message.into()],
            kind: Some("wrong status"),
        }
    }

    pub(crate) fn invalid(messages: impl IntoIterator<Item = String>) -> Self {
        Self {
            code: 422,
            messages: messages.into_iter().collect(),
            kind: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) catalogue: Vec<Entry>,
    pub(crate) pace: Pace,
    /// Softwares (ids) with real executables.
    pub(crate) packaged: BTreeSet<String>,
    /// Every job also lists an instance that was halted before its own began.
    pub(crate) with_ghosts: bool,
    pub(crate) holds: Vec<Hold>,
    records: Records,
    /// Rises with every change of the records.
    revision: u64,
}

impl World {
    pub(crate) fn new(catalogue: Vec<Entry>, pace: Pace, records: Records) -> Self {
        let realm = if records.realm.is_empty() {
            format!("{:012x}", rand::random::<u64>() >> 16)
        } else {
            records.realm.clone()
        };
        let records = Records { realm, ..records };
        Self {
            catalogue,
            pace,
            packaged: BTreeSet::new(),
            with_ghosts: false,
            holds: Vec::new(),
            records,
            revision: 0,
        }
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Mutable access to the records; raises the revision.
    fn changing(&mut self) -> &mut Records {
        self.revision += 1;
        &mut self.records
    }

    pub(crate) fn job(&self, id: &str) -> Result<&Job, Refusal> {
        self.records.jobs.get(id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn instance(&self, id: &str) -> Result<&Instance, Refusal> {
        self.records
            .instances
            .get(id)
            .ok_or_else(Refusal::not_found)
    }

    pub(crate) fn instances_of<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Instance> {
        job.instances
            .iter()
            .filter_map(|id| self.records.instances.get(id))
    }

    pub(crate) fn files_of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a DataFile> {
        self.records
            .files
            .values()
            .filter(move |file| file.job == job)
    }

    pub(crate) fn entries(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.catalogue
            .iter()
            .filter(move |entry| entry.what.kind() == kind)
    }

    pub(crate) fn entry(&self, id: &str) -> Option<&Entry> {
        self.catalogue.iter().find(|entry| entry.id == id)
    }

    /// The deployment's software, resource and region.
    fn deployment(&self, id: &str) -> Option<(&str, &str, &str)> {
        match &self.entry(id)?.what {
            What::Deployment {
                software,
                resource,
                region,
            } => Some((software, resource, region)),
            _ => None,
        }
    }

    /// An id like the platform's: higher than every one before it.
    fn fresh_id(&mut self, kind: u16) -> String {
        let records = self.changing();
        records.made += 1;
        let (high, low) = (records.made >> 16, records.made & 0xffff);
        format!("{kind:04x}{high:04x}-{low:04x}-4000-8000-{}", records.realm)
    }
}

/// A record that rules, holds and tests address by a part of its name or description.
pub(crate) trait Named {
    /// Its name and its description.
    fn words(&self) -> String;
}

impl Named for Job {
    fn words(&self) -> String {
        [&self.name, self.description.as_deref().unwrap_or_default()].join(" ")
    }
}

impl Named for Instance {
    fn words(&self) -> String {
        [
            &self.ordered_as,
            self.description.as_deref().unwrap_or_default(),
            &self.name,
        ]
        .join(" ")
    }
}

impl Hold {
    fn applies(&self, status: Status, record: &impl Named) -> bool {
        self.status == status
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| record.words().contains(subject))
    }
}

pub(crate) fn earliest(times: impl IntoIterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.into_iter().flatten().min()
}
