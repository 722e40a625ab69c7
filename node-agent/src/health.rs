//! Health checks that the manager asks for: which containers are checked, and what of them is
//! reported.

pub mod address;
pub mod probe;
pub mod verdict;

use crate::{clock::now_ns, engine::Engine, mailbox::Mailbox};
use address::Addresses;
use micado_api::{
    Timestamp,
    agent::{AgentCheck, HealthReport},
    health::{HealthState, MOST_CHECKS},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, task::AbortHandle, time::Instant};
use verdict::Verdict;

/// Upper bound for checks at once.
const AT_ONCE: usize = 64;

/// The checks of this machine; cheap to clone.
#[derive(Clone)]
pub struct Checker(Arc<Shared>);

struct Shared {
    engine: Engine,
    mailbox: Arc<Mailbox>,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Checks that the manager asks for, by Swarm service.
    checks: HashMap<String, AgentCheck>,
    /// The running container of each Swarm service.
    running: HashMap<String, Running>,
    /// Checks that are being made.
    tasks: HashMap<String, AbortHandle>,
}

#[derive(Clone)]
struct Running {
    id: String,
    /// Its start, as far as it is known.
    since: Instant,
    /// The agent saw it start: earlier verdicts were on another process.
    is_new: bool,
}

/// A container that runs, as the engine shows it.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    /// It starts now.
    Starts,
    /// It was there when the agent started.
    Found,
}

impl Checker {
    /// Checks nothing yet. Reports go to the mailbox.
    #[must_use]
    pub fn new(engine: Engine, mailbox: Arc<Mailbox>) -> Self {
        Self(Arc::new(Shared {
            engine,
            mailbox,
            turns: Semaphore::new(AT_ONCE),
            state: Mutex::default(),
        }))
    }

    /// Takes over the checks that the manager asks for; others end.
    pub fn set(&self, checks: Vec<AgentCheck>) {
        let mut state = self.0.state();
        let checks = checks.into_iter().take(MOST_CHECKS);
        let checks = checks.map(|check| (check.service.clone(), check));
        let before = std::mem::replace(&mut state.checks, checks.collect());
        for service in before.keys() {
            if state.checks.get(service) != before.get(service) {
                state.stop(service);
                self.0.mailbox.forget_health(service);
            }
        }
        let new: Vec<String> = state.checks.keys().cloned().collect();
        for service in new {
            self.begin(&mut state, &service);
        }
    }

    /// A container of a Swarm service runs.
    pub fn runs(&self, id: &str, service: &str, seen: Seen) {
        let mut state = self.0.state();
        let known = state.running.get(service);
        if known.is_some_and(|running| running.id == id) {
            return;
        }
        let running = Running {
            id: id.to_owned(),
            since: Instant::now(),
            is_new: matches!(seen, Seen::Starts),
        };
        state.running.insert(service.to_owned(), running);
        state.stop(service);
        self.begin(&mut state, service);
    }

    /// Its start by the engine's clock, which is this machine's.
    pub fn began(&self, id: &str, service: &str, at: Timestamp) {
        let age = (now_ns() / 1_000_000).saturating_sub(at.0);
        let since = Instant::now().checked_sub(Duration::from_millis(age));
        let mut state = self.0.state();
        let running = state.running.get_mut(service);
        if let Some((running, since)) = running.filter(|it| it.id == id).zip(since) {
            running.since = running.since.min(since);
        }
    }

    /// A container has ended.
    pub fn ended(&self, id: &str, service: &str) {
        let mut state = self.0.state();
        let running = state.running.get(service);
        if running.is_some_and(|running| running.id == id) {
            state.running.remove(service);
            state.stop(service);
        }
    }

    /// Begins to check a service, if it runs, is to be checked and is not yet.
    fn begin(&self, state: &mut State, service: &str) {
        let (Some(check), Some(running)) =
            (state.checks.get(service), state.running.get_mut(service))
        else {
            return;
        };
        if state.tasks.contains_key(service) {
            return;
        }
        let is_new = std::mem::take(&mut running.is_new);
        let verdict = Verdict::new(check, is_new);
        if is_new {
            self.0.mailbox.health(report(service, &verdict));
        }
        let shared = Arc::clone(&self.0);
        let work = shared.keep(check.clone(), running.id.clone(), verdict);
        let task = tokio::spawn(work).abort_handle();
        state.tasks.insert(service.to_owned(), task);
    }
}

impl State {
    fn stop(&mut self, service: &str) {
        if let Some(task) = self.tasks.remove(service) {
            task.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks one container until it is stopped.
    async fn keep(self: Arc<Self>, check: AgentCheck, id: String, mut verdict: Verdict) {
        let mut addresses = None;
        loop {
            let begun = Instant::now();
            let outcome = match self.turns.acquire().await {
                Ok(_turn) => self.check(&check, &id, &mut addresses).await,
                Err(_) => return,
            };
            let age = self.age(&check.service, &id);
            // It may have ended meanwhile, and another runs.
            let Some(age) = age else { return };
            if verdict.checked(age, outcome) {
                self.mailbox.health(report(&check.service, &verdict));
            }
            let pause = verdict.pause(age, rand::random());
            tokio::time::sleep_until(begun + pause).await;
        }
    }

    /// Time since the start of a container, if it still runs.
    fn age(&self, service: &str, id: &str) -> Option<Duration> {
        let state = self.state();
        let running = state.running.get(service).filter(|it| it.id == id)?;
        Some(running.since.elapsed())
    }

    async fn check(
        &self,
        check: &AgentCheck,
        id: &str,
        addresses: &mut Option<Addresses>,
    ) -> Result<(), String> {
        if addresses.is_none() {
            let found = Addresses::of(&self.engine, id).await;
            *addresses = Some(found.map_err(|error| format!("its address is unknown: {error}"))?);
        }
        let port = check.probe.port().unwrap_or_default();
        let target = addresses.as_ref().and_then(|found| found.of_port(port));
        match target {
            Some(target) => probe::check(check, target).await,
            None => {
                *addresses = None;
                Err(format!("port {port}: the machine has no way to it"))
            }
        }
    }
}

fn report(service: &str, verdict: &Verdict) -> HealthReport {
    HealthReport {
        service: service.to_owned(),
        health: verdict.state().unwrap_or(HealthState::Unknown),
        failure: verdict.failure().map(str::to_owned),
    }
}
