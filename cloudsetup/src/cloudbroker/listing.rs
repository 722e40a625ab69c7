//! The account's jobs and instances, listed once for all that ask at about the same time.

use super::{
    failure::Failure,
    link::Link,
    pages::{Whole, read_all},
    records::{Instance, Job, Record},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// For so long a listing waits for others who want it too.
const GATHER: Duration = Duration::from_millis(20);
/// A list of several pages is read anew so often when something was deleted meanwhile, for then a record may have slipped from a page to the one before.
const ATTEMPTS: usize = 3;

/// What the account has, of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) jobs: Vec<Job>,
    pub(super) instances: Vec<Instance>,
}

/// What came of a listing, for all that share it.
type Outcome = Result<Arc<Listed>, Failure>;

/// Lists an account. One at a time.
#[derive(Debug)]
pub(super) struct Listing {
    /// Whether there may be instances that are no job's.
    instances: bool,
    /// Counts askings and listings, so that before and after are certain.
    clock: AtomicU64,
    last: tokio::sync::Mutex<Option<(u64, Outcome)>>,
    /// Deletions that were begun, and those that ended.
    deletions: [AtomicU64; 2],
    whole: [Whole; 2],
}

/// A deletion under way.
#[derive(Debug)]
pub(super) struct Deleting<'a>(&'a AtomicU64);

impl Drop for Deleting<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Listing {
    pub(super) fn new(instances: bool) -> Self {
        Self { instances, clock: AtomicU64::default(), last: tokio::sync::Mutex::default(), deletions: Default::default(), whole: Default::default() }
    }

    /// What the account has. What was done before this was asked is in it.
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

    /// Something is about to be made, by us.
    pub(super) fn creating(&self) {
        self.whole.iter().for_each(Whole::forget);
    }

    /// Something is about to be deleted, by us, and is when the answer is dropped.
    pub(super) fn deleting(&self) -> Deleting<'_> {
        let [begun, ended] = &self.deletions;
        begun.fetch_add(1, Ordering::SeqCst);
        Deleting(ended)
    }

    async fn list(&self, link: &Link) -> Result<Listed, Failure> {
        for _ in 0..ATTEMPTS {
            let [begun, ended] = &self.deletions;
            let before = ended.load(Ordering::SeqCst);
            let [jobs, instances] = &self.whole;
            let (jobs, job_pages) = ours::<Job>(link, "jobs", jobs, |job| &job.name).await?;
            let (instances, instance_pages) =
                if self.instances { ours::<Instance>(link, "instances", instances, |it| &it.name).await? } else { Default::default() };
            if job_pages.max(instance_pages) <= 1 || begun.load(Ordering::SeqCst) == before {
                return Ok(Listed { jobs, instances });
            }
        }
        Err(Failure::Lost("cannot list jobs whole: some are deleted all the time: it is tried again".to_owned()))
    }
}

async fn ours<R: Record>(link: &Link, path: &str, whole: &Whole, name: impl Fn(&R) -> &str) -> Result<(Vec<R>, usize), Failure> {
    let (mut records, pages) = read_all(link, path, R::ITEM, Some(whole), R::read).await?;
    records.retain(|record| name(record).starts_with("micado-"));
    Ok((records, pages))
}

#[cfg(test)]
mod tests;
