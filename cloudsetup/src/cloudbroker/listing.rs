//! The account's jobs and instances, listed once for all callers at about the same time.

use super::{
    failure::Failure,
    link::Link,
    pages::{Whole, read_all},
    records::{Instance, Job, Record},
};
use crate::{Application, Rent};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Time that a listing waits for more callers.
const GATHER: Duration = Duration::from_millis(20);
/// Attempts to read a list of several pages: after a deletion meanwhile, a record may have moved to
/// the page before.
const ATTEMPTS: usize = 3;
/// Interval for reading the list that no application rents from, once it held none of ours.
/// Applications may have used it before `cloudsetup.xml` was changed.
const NONE_BELIEVED: Duration = Duration::from_secs(600);

/// Our part of the account's lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) jobs: Vec<Job>,
    pub(super) instances: Vec<Instance>,
}

/// Result of a listing, for all callers that share it.
type Outcome = Result<Arc<Listed>, Failure>;

/// Lists an account, one listing at a time.
#[derive(Debug)]
pub(super) struct Listing {
    jobs: Kind,
    instances: Kind,
    /// Counts requests and listings, so that before and after are certain.
    clock: AtomicU64,
    last: tokio::sync::Mutex<Option<(u64, Outcome)>>,
    /// Deletions begun, and deletions ended.
    deletions: [AtomicU64; 2],
}

/// Jobs, or instances.
#[derive(Debug, Default)]
struct Kind {
    /// An application rents them.
    rented: bool,
    /// Time since which the list is known to hold no machine of ours; `None` if it must be read.
    none: Mutex<Option<Instant>>,
    whole: Whole,
}

/// A deletion in progress.
#[derive(Debug)]
pub(super) struct Deleting<'a>(&'a AtomicU64);

impl Drop for Deleting<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Listing {
    pub(super) fn new(applications: &[Application]) -> Self {
        let kind = |rent| Kind {
            rented: applications
                .iter()
                .any(|application| application.rent == rent),
            ..Kind::default()
        };
        let (jobs, instances) = (kind(Rent::Jobs), kind(Rent::Instances));
        Self {
            jobs,
            instances,
            clock: AtomicU64::default(),
            last: tokio::sync::Mutex::default(),
            deletions: Default::default(),
        }
    }

    /// The account's machines. Includes the effects of everything that precedes this call.
    pub(super) async fn get(&self, link: &Link) -> Outcome {
        let asked = self.clock.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some((begun, listed)) = last.as_ref().filter(|(begun, _)| *begun > asked) {
            tracing::trace!(asked, begun, "a listing is shared");
            return listed.clone();
        }
        tokio::time::sleep(GATHER).await;
        let begun = self.clock.fetch_add(1, Ordering::SeqCst);
        let listed = self.list(link).await.map(Arc::new);
        *last = Some((begun, listed.clone()));
        listed
    }

    /// Announces that we are about to create something.
    pub(super) fn creating(&self) {
        self.jobs.whole.forget();
        self.instances.whole.forget();
    }

    /// Announces a deletion by us, which ends when the guard is dropped.
    pub(super) fn deleting(&self) -> Deleting<'_> {
        let [begun, ended] = &self.deletions;
        begun.fetch_add(1, Ordering::SeqCst);
        Deleting(ended)
    }

    async fn list(&self, link: &Link) -> Result<Listed, Failure> {
        for _ in 0..ATTEMPTS {
            let [begun, ended] = &self.deletions;
            let before = ended.load(Ordering::SeqCst);
            let (jobs, job_pages) = self.jobs.ours(link, "jobs", |job: &Job| &job.name).await?;
            let (instances, instance_pages) = self
                .instances
                .ours(link, "instances", |it: &Instance| &it.name)
                .await?;
            if job_pages.max(instance_pages) <= 1 || begun.load(Ordering::SeqCst) == before {
                self.jobs.found(|| jobs.is_empty());
                self.instances.found(|| {
                    instances
                        .iter()
                        .all(|instance| jobs.iter().any(|job| job.name == instance.name))
                });
                return Ok(Listed { jobs, instances });
            }
        }
        Err(Failure::Lost(
            "cannot list jobs whole: some are deleted all the time: it is tried again".to_owned(),
        ))
    }
}

impl Kind {
    /// Our records, with the number of pages read: zero if the list is known to hold none.
    async fn ours<R: Record>(
        &self,
        link: &Link,
        path: &str,
        name: impl Fn(&R) -> &str,
    ) -> Result<(Vec<R>, usize), Failure> {
        if !self.rented
            && self
                .none()
                .is_some_and(|since| since.elapsed() < NONE_BELIEVED)
        {
            return Ok((Vec::new(), 0));
        }
        *self.none() = None;
        let (mut records, pages) =
            read_all(link, path, R::ITEM, Some(&self.whole), R::read).await?;
        records.retain(|record| name(record).starts_with("micado-"));
        Ok((records, pages))
    }

    /// Notes a list without machines of ours that no other list shows.
    fn found(&self, nothing: impl FnOnce() -> bool) {
        let mut none = self.none();
        *none = (!self.rented && nothing()).then(|| none.unwrap_or_else(Instant::now));
    }

    fn none(&self) -> MutexGuard<'_, Option<Instant>> {
        self.none.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
