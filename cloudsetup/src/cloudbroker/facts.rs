//! Facts missing from a list of jobs: the address of a running job, and why one ended. Requested a
//! few at a time, and cached.

use super::{
    failure::{Failure, No},
    link::Link,
    records::{Instance, Job, all, items},
};
use crate::{Machine, MachineState, dom::Element};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Upper bound for requests per list.
const PER_LIST: usize = 4;
/// Time-out; a request without an answer is repeated later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a request is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// An id that no record has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// By job id.
#[derive(Debug, Default)]
pub(super) struct Facts(Mutex<BTreeMap<String, Fact>>);

#[derive(Debug)]
struct Fact {
    address: Option<String>,
    /// The last problem that the broker has logged; `Some(None)` if it has none.
    problem: Option<Option<String>>,
    ask_at: Instant,
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Question {
    Address,
    Problem,
}

impl Facts {
    /// Drops facts of jobs that no longer exist.
    pub(super) fn keep(&self, jobs: &[Job]) {
        let ids: BTreeSet<_> = jobs.iter().map(|job| &job.id).collect();
        self.lock().retain(|id, _| ids.contains(id));
    }

    /// Adds known facts to these jobs, and requests some of the others.
    pub(super) async fn complete(&self, link: &Link, machines: &mut [Machine]) {
        let due = self.due(machines);
        let asked = due.into_iter().map(async |(id, question)| match question {
            Question::Address => {
                if let Ok(Some(address)) = address(link, &id).await {
                    self.edit(&id, |fact| fact.address = Some(address));
                }
            }
            Question::Problem => match problem(link, &id).await {
                Ok(found) => self.edit(&id, |fact| fact.problem = Some(found)),
                // Repeating the request would bring nothing.
                Err(Failure::No(No::Absent | No::Other, _)) => {
                    self.edit(&id, |fact| fact.problem = Some(None))
                }
                Err(_) => {}
            },
        });
        // Late facts are requested again later; the list is complete without them.
        let _ = tokio::time::timeout(PATIENCE, join_all(asked)).await;
        let facts = self.lock();
        for machine in machines {
            let Some(fact) = facts.get(&machine.id) else {
                continue;
            };
            machine.address.clone_from(&fact.address);
            if let (MachineState::Dead, Some(Some(problem))) = (machine.state, &fact.problem) {
                machine.detail = Some(
                    machine
                        .detail
                        .take()
                        .map_or_else(|| problem.clone(), |detail| format!("{detail}; {problem}")),
                );
            }
        }
    }

    /// Requests that are due, each rescheduled.
    fn due(&self, machines: &[Machine]) -> Vec<(String, Question)> {
        let (mut facts, now, mut due) = (self.lock(), Instant::now(), Vec::new());
        for machine in machines
            .iter()
            .filter(|machine| matches!(machine.state, MachineState::Running | MachineState::Dead))
        {
            let fact = facts.entry(machine.id.clone()).or_insert(Fact {
                address: None,
                problem: None,
                ask_at: now,
                pause: FIRST_PAUSE,
            });
            let question = match machine.state {
                MachineState::Running if fact.address.is_none() => Question::Address,
                MachineState::Dead if fact.problem.is_none() => Question::Problem,
                _ => continue,
            };
            if fact.ask_at <= now && due.len() < PER_LIST {
                (fact.ask_at, fact.pause) = (now + fact.pause, (fact.pause * 2).min(LONGEST_PAUSE));
                due.push((machine.id.clone(), question));
            }
        }
        due
    }

    fn edit(&self, id: &str, edit: impl FnOnce(&mut Fact)) {
        if let Some(fact) = self.lock().get_mut(id) {
            edit(fact);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Fact>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of the first instance of a running job.
async fn address(link: &Link, job: &str) -> Result<Option<String>, Failure> {
    let instances = instances_of(link, job).await?;
    Ok(instances
        .into_iter()
        .filter(|instance| instance.status == "running")
        .find_map(|instance| instance.address))
}

/// The last problem in the log of a job.
async fn problem(link: &Link, job: &str) -> Result<Option<String>, Failure> {
    let is_problem = |severity: &str| {
        ["critical", "error", "warning"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(severity))
    };
    let last_problem = |logs: &Element| {
        let problems = items(logs, "activity-log")?
            .into_iter()
            .filter(|log| log.text_of("severity").is_some_and(is_problem));
        // The order of the list is unknown; the time is decisive, if present (its notation sorts).
        let last = problems.max_by_key(|log| log.text_of("created-at").map(str::to_owned));
        Ok(last
            .and_then(|log| {
                ["message", "error-explanation", "description"]
                    .iter()
                    .find_map(|name| log.text_of(name))
            })
            .map(str::to_owned))
    };
    link.read(
        format!("/jobs/{job}/activity_logs.xml"),
        &format!("read why job {job} ended"),
        last_problem,
    )
    .await
}

/// Present and past instances of a job.
pub(super) async fn instances_of(link: &Link, job: &str) -> Result<Vec<Instance>, Failure> {
    let purpose = format!("list the instances of job {job}");
    match link
        .read(format!("/jobs/{job}/instances.xml"), &purpose, all)
        .await
    {
        Err(failure) if failure.is(No::Absent) => {}
        found => return found,
    }
    // The job is gone, or this broker lacks the route.
    let ask = async |job: &str| {
        link.read(
            format!("/instances.xml?job_id={job}"),
            &purpose,
            all::<Instance>,
        )
        .await
    };
    let mut found = ask(job).await?;
    if found.iter().any(|instance| instance.job.is_none()) && !ask(NOBODY).await?.is_empty() {
        tracing::warn!(
            job,
            "the broker lists the instances of all jobs when it is asked for those of one: they are left alone"
        );
        return Ok(Vec::new());
    }
    found.retain(|instance| instance.job.as_deref().is_none_or(|id| id == job));
    Ok(found)
}

#[cfg(test)]
mod tests;
