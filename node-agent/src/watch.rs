//! Follows the engine's event stream: running containers, and their events.

use crate::{
    backoff::Backoff,
    clock::{NS_PER_MS, now_ns},
    engine::{
        Engine, EngineError, Inspected,
        events::{Event, Events},
    },
    health::{Checker, Seen},
    mailbox::Mailbox,
    sampler::Sampler,
};
use micado_api::{
    Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};

/// Concurrent requests to the engine, which has other work too.
const INSPECTIONS: usize = 8;
/// First reading of a container that may end before the next sweep; each later one waits twice as
/// long.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(2);
/// Exit code of a container with an unknown end.
const UNKNOWN_EXIT: i64 = -1;

/// Follows one engine.
pub struct Watch {
    shared: Arc<Shared>,
    running: HashMap<String, Running>,
    /// Events from this time on are requested, in nanoseconds since the Unix epoch: earlier ones
    /// were received, or are older than the agent.
    seen_ns: u64,
    first: bool,
    /// Notified when the sampler knows the containers that ran at the start.
    ready: Arc<Notify>,
}

struct Running {
    service: Option<String>,
    oom: bool,
}

struct Shared {
    engine: Engine,
    checker: Checker,
    sampler: Arc<Mutex<Sampler>>,
    mailbox: Arc<Mailbox>,
    questions: Semaphore,
}

impl Watch {
    /// Watches this engine; results go to the sampler and the mailbox.
    #[must_use]
    pub fn new(
        engine: Engine,
        checker: Checker,
        sampler: Arc<Mutex<Sampler>>,
        mailbox: Arc<Mailbox>,
        ready: Arc<Notify>,
    ) -> Self {
        let shared = Shared {
            engine,
            checker,
            sampler,
            mailbox,
            questions: Semaphore::new(INSPECTIONS),
        };
        Self {
            shared: Arc::new(shared),
            running: HashMap::new(),
            seen_ns: now_ns(),
            first: true,
            ready,
        }
    }

    /// Follows the engine until the process ends.
    pub async fn keep(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let Err(error) = self.follow(&mut backoff).await;
            let pause = backoff.pause();
            tracing::warn!("{error}; trying again in {} ms", pause.as_millis());
            tokio::time::sleep(pause).await;
        }
    }

    async fn follow(
        &mut self,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, EngineError> {
        let data_root = self.shared.engine.data_root().await?;
        self.shared.sampler().set_data_root(data_root);
        // Events first, then the list: events in between appear in both.
        let mut events = Events::since(&self.shared.engine, self.seen_ns).await?;
        self.reconcile().await?;
        backoff.reset();
        loop {
            let event = events.next().await?;
            self.seen_ns = self.seen_ns.max(event.time_ns + 1);
            self.happened(event);
        }
    }

    /// Compares the engine's list with the known containers.
    async fn reconcile(&mut self) -> Result<(), EngineError> {
        let listed = self.shared.engine.running().await?;
        let gone: Vec<String> = self
            .running
            .keys()
            .filter(|id| !listed.iter().any(|container| container.id == **id))
            .cloned()
            .collect();
        for id in gone {
            let end = self
                .shared
                .engine
                .inspect(&id)
                .await
                .map(|inspected| inspected.state);
            let (exit_code, oom) = end.map_or((UNKNOWN_EXIT, false), |state| {
                (state.exit_code, state.oom_killed)
            });
            self.died(&id, now_ns(), exit_code, oom);
        }
        let mut found = JoinSet::new();
        for container in listed {
            let service = container.labels.service;
            let seen = match self.first {
                true => Seen::Found,
                false => Seen::Starts,
            };
            self.shared.runs(&container.id, service.as_deref(), seen);
            let new = self
                .running
                .insert(
                    container.id.clone(),
                    Running {
                        service: service.clone(),
                        oom: false,
                    },
                )
                .is_none();
            if new && !self.first {
                self.shared.tell(
                    &container.id,
                    service.clone(),
                    now_ns(),
                    ContainerHappening::Started,
                );
            }
            let shared = Arc::clone(&self.shared);
            found.spawn(async move { shared.find(&container.id, service).await });
        }
        if std::mem::take(&mut self.first) {
            let ready = Arc::clone(&self.ready);
            tokio::spawn(async move {
                found.join_all().await;
                ready.notify_one();
            });
        } else {
            found.detach_all();
        }
        Ok(())
    }

    fn happened(&mut self, event: Event) {
        let (id, at) = (event.actor.id, event.time_ns);
        let service = event.actor.attributes.labels.service;
        match event.action.as_str() {
            "start" if !self.running.contains_key(&id) => {
                self.shared.runs(&id, service.as_deref(), Seen::Starts);
                self.shared
                    .tell(&id, service.clone(), at, ContainerHappening::Started);
                self.running.insert(
                    id.clone(),
                    Running {
                        service: service.clone(),
                        oom: false,
                    },
                );
                tokio::spawn(Arc::clone(&self.shared).watch_young(id, service));
            }
            "oom" => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.oom = true;
                    // An OOM kill is counted only now, or a moment later.
                    self.shared.sampler().look(&id);
                }
            }
            "die" => {
                let exit_code = event
                    .actor
                    .attributes
                    .exit_code
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(UNKNOWN_EXIT);
                self.died(&id, at, exit_code, false);
            }
            "update" => self.shared.sampler().updated(&id),
            "health_status: healthy" => {
                self.shared
                    .tell(&id, service, at, ContainerHappening::Healthy)
            }
            "health_status: unhealthy" => {
                self.shared
                    .tell(&id, service, at, ContainerHappening::Unhealthy)
            }
            _ => {}
        }
    }

    /// Reports an end once.
    fn died(&mut self, id: &str, at: u64, exit_code: i64, oom: bool) {
        if let Some(Running { service, oom: seen }) = self.running.remove(id) {
            self.shared.sampler().ended(id, service.clone());
            if let Some(service) = &service {
                self.shared.checker.ended(id, service);
            }
            self.shared.tell(
                id,
                service,
                at,
                ContainerHappening::Died {
                    exit_code,
                    oom: oom || seen,
                },
            );
        }
    }
}

impl Shared {
    fn runs(&self, id: &str, service: Option<&str>, seen: Seen) {
        if let Some(service) = service {
            self.checker.runs(id, service, seen);
        }
    }

    fn sampler(&self) -> MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, id: &str, service: Option<String>, at_ns: u64, what: ContainerHappening) {
        self.mailbox.event(ContainerEvent {
            id: id.to_owned(),
            service,
            at: Timestamp(at_ns / NS_PER_MS),
            what,
        });
    }

    /// Asks the engine for a container's first process, and passes it to the sampler. True if it
    /// runs.
    async fn find(&self, id: &str, service: Option<String>) -> bool {
        let Ok(_turn) = self.questions.acquire().await else {
            return false;
        };
        match self.engine.inspect(id).await {
            Ok(Inspected { state, .. }) => {
                if let Some((service, at)) = service.as_ref().zip(state.started_at()) {
                    self.checker.began(id, service, at);
                }
                state.pid != 0
                    && self
                        .sampler()
                        .started(id, service, state.started_at(), state.pid)
            }
            Err(error) => {
                tracing::debug!("{id}: {error}");
                false
            }
        }
    }

    /// Reads a new container at growing intervals, so that one that ends before the next sweep
    /// leaves values too.
    async fn watch_young(self: Arc<Self>, id: String, service: Option<String>) {
        if !self.find(&id, service).await {
            return;
        }
        let mut pause = FIRST_LOOK;
        while pause < LAST_LOOK {
            tokio::time::sleep(pause).await;
            if !self.sampler().look(&id) {
                return;
            }
            pause *= 2;
        }
    }
}
