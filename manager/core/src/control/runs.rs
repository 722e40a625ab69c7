//! Young runs of copies: a container has started once it has run for a moment, and after a death it
//! is failing until it has run for longer.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::{
    engine::{SwarmTask, TaskState},
    model::{Copy, Phase},
};
use micado_api::{ContainerName, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// Time for which a new copy must have run before it has started. A program that is not there, or
/// that does not take its arguments, ends sooner.
const STARTED: Duration = Duration::from_secs(2);

/// The same after a death.
const STEADY: Duration = Duration::from_secs(5);

/// Runs of copies that have not lasted long enough, by Swarm service.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs(BTreeMap<String, Run>);

#[derive(Debug, Clone, Default)]
struct Run {
    /// The present task, and since when it runs.
    task: String,
    since: Option<Timestamp>,
    /// Number of runs that ended, and the last task that was seen to.
    deaths: u32,
    ended: Option<SwarmTask>,
}

impl Owner for Runs {
    fn prune(&mut self, known: &Known<'_>) {
        let is_known = |name: &String| known.ledger.index.by_swarm_name(name).is_some();
        self.0.retain(|name, _| is_known(name));
    }
}

impl Run {
    /// Takes over the present task, and the last that ended if it does not run. Returns until when
    /// it has to run; a checked copy has to become healthy first.
    fn follow(
        &mut self,
        task: &SwarmTask,
        is_fit: bool,
        ended: Option<&SwarmTask>,
        now: Timestamp,
    ) -> Timestamp {
        let is_new = |ended: &SwarmTask| self.ended.as_ref().is_none_or(|it| it.id != ended.id);
        let runs = task.state == TaskState::Running;
        let unseen = runs && self.since.is_some() && self.task != task.id;
        if unseen || ended.is_some_and(is_new) {
            (self.deaths, self.since) = (self.deaths + 1, None);
            self.ended = ended.cloned();
        }
        self.task.clone_from(&task.id);
        let lasts = match self.deaths {
            0 => STARTED,
            _ => STEADY,
        };
        match runs && is_fit {
            true => self.since.get_or_insert(now).plus(lasts),
            false => Timestamp(u64::MAX),
        }
    }
}

impl Runs {
    /// Returns true if the present run of a copy has not lasted long enough.
    pub(super) fn is_young(&self, swarm_name: &str) -> bool {
        self.0.contains_key(swarm_name)
    }

    /// Words about the deaths of a copy, if it has not run for long enough since.
    pub(super) fn deaths(&self, copy: &Copy) -> Option<String> {
        let run = self.0.get(&copy.swarm_name).filter(|run| run.deaths > 0)?;
        let ended = run.ended.as_ref();
        let words = ended.map_or_else(
            || "its process ended, and was started again".to_owned(),
            |ended| words_of(copy, ended),
        );
        Some(match run.deaths {
            1 => words,
            more => format!("{words}; it died {more} times"),
        })
    }
}

impl Core {
    /// Takes note of a copy's present task. A copy that this manager has not seen start is taken
    /// for one that has run for long.
    pub(super) fn follow_run(&mut self, name: &ContainerName, generation: u32) {
        let container = self.ledger.container(name);
        let copy = container.and_then(|it| it.copy(generation));
        let Some((copy, observed)) = copy.zip(self.observed.as_ref()) else {
            return;
        };
        let Some(task) = observed.task(&copy.swarm_name) else {
            return;
        };
        let ended = observed.failure(&copy.swarm_name);
        let begins = task.state == TaskState::Running && copy.phase == Phase::Starting;
        let runs = &mut self.runs.0;
        if !begins && ended.is_none() && !runs.contains_key(&copy.swarm_name) {
            return;
        }
        let run = runs.entry(copy.swarm_name.clone()).or_default();
        let until = run.follow(task, copy.is_fit(), ended, self.now);
        if until <= self.now {
            runs.remove(&copy.swarm_name);
        } else if until < Timestamp(u64::MAX) {
            self.wake(until);
        }
    }
}

/// Words about the end of a copy's run, for people.
pub(super) fn words_of(copy: &Copy, ended: &SwarmTask) -> String {
    if ended.state == TaskState::Complete {
        return "its process ended with 0, and is started again".to_owned();
    }
    let code = ended.exit_code.filter(|code| *code != 0);
    let code = code.map(|code| format!("exit code {code}"));
    let memory = copy.reservation.memory;
    let killed = copy
        .was_oom_killed(ended.exit_code)
        .then(|| format!("OOM-killed (its limit is {memory}): launch it with more --memory"));
    let words = [code, killed.or_else(|| ended.message.clone())];
    words.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
