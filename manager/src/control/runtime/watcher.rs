//! Observes the engine: as a whole after changes or on request, and polls tasks in flight, because
//! tasks have no events.

use crate::{
    control::Event,
    engine::{Delta, Engine, EngineEvent, Observation, SwarmService, SwarmTask},
};
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Polling interval of tasks in flight while any of them changes.
const POLL: Duration = Duration::from_millis(25);
/// Polling interval once nothing has changed for [`LIVELY`], so that a stuck task does not keep the
/// engine busy.
const IDLE_POLL: Duration = Duration::from_millis(250);
const LIVELY: Duration = Duration::from_secs(10);
/// Polling interval of tasks that no agent reports about.
const SLOW_POLL: Duration = Duration::from_secs(2);
/// The same for more services than a partial observation covers: then everything is observed.
const SLOW_LOOK: Duration = Duration::from_secs(10);
/// First pause before a blind watcher retries; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Upper bound for the time between two whole observations: the safety net under the deltas.
const WHOLE_EVERY: Duration = Duration::from_secs(60);
/// Upper bound for services in a partial observation; more are observed as a whole.
const PART: usize = 500;
/// The same for nodes.
const NODES: usize = 16;

/// A request for an observation.
#[derive(Debug)]
enum Ask {
    /// A numbered observation for the core, of these Swarm services or of everything.
    Look(u64, Option<Vec<String>>),
    /// A tick: a whole observation if the last one is old.
    Tick,
}

/// Control of the watcher. Dropping it ends the watcher's task.
#[derive(Debug)]
pub(super) struct Watcher {
    asks: mpsc::UnboundedSender<Ask>,
    poll: watch::Sender<BTreeSet<String>>,
    poll_slowly: watch::Sender<BTreeSet<String>>,
}

impl Watcher {
    /// Starts the task; observations arrive at the receiver.
    pub(super) fn start(engine: Arc<dyn Engine>) -> (Self, mpsc::Receiver<Event>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (poll, polled) = watch::channel(BTreeSet::new());
        let (poll_slowly, slowly) = watch::channel(BTreeSet::new());
        let (sender, seen) = mpsc::channel(1);
        let task = WatchTask {
            engine,
            sees: false,
            ids: HashMap::new(),
            tasks: HashMap::new(),
            number: 0,
            sender,
            pause: FIRST_PAUSE,
            whole_at: Instant::now(),
            looked: Instant::now(),
            moved: Instant::now(),
            slow_at: Instant::now() + SLOW_POLL,
            slowly,
        };
        tokio::spawn(task.watch(asked, polled));
        let watcher = Self {
            asks,
            poll,
            poll_slowly,
        };
        (watcher, seen)
    }

    /// Requests an observation of these Swarm services, or of everything.
    pub(super) fn look(&self, number: u64, services: Option<Vec<String>>) {
        drop(self.asks.send(Ask::Look(number, services)));
    }

    /// Requests a whole observation if the last one is old.
    pub(super) fn tick(&self) {
        drop(self.asks.send(Ask::Tick));
    }

    /// Polls the tasks of these Swarm services until the next call.
    pub(super) fn poll(&self, services: BTreeSet<String>) {
        self.poll.send_replace(services);
    }

    /// Polls the tasks of these Swarm services now and then until the next call.
    pub(super) fn poll_slowly(&self, services: BTreeSet<String>) {
        self.poll_slowly.send_replace(services);
    }
}

/// The state of the watcher's task.
struct WatchTask {
    engine: Arc<dyn Engine>,
    /// True if the engine answered the last whole observation.
    sees: bool,
    /// Swarm ids of observed services, by name. A removed one stays until its tasks are gone.
    ids: HashMap<String, String>,
    /// Tasks as last observed, by id of their service.
    tasks: HashMap<String, SeenTasks>,
    /// Number of the last requested observation.
    number: u64,
    sender: mpsc::Sender<Event>,
    /// Pause before a blind watcher retries.
    pause: Duration,
    whole_at: Instant,
    /// Time of the last observation, whole or partial.
    looked: Instant,
    /// Time of the last change.
    moved: Instant,
    /// Time of the next slow poll.
    slow_at: Instant,
    /// Services to poll slowly.
    slowly: watch::Receiver<BTreeSet<String>>,
}

/// Scope of one observation.
#[derive(Default)]
struct Scope {
    whole: bool,
    /// Swarm names.
    services: BTreeSet<String>,
    /// Swarm ids.
    nodes: BTreeSet<String>,
}

impl WatchTask {
    async fn watch(
        mut self,
        mut asked: mpsc::UnboundedReceiver<Ask>,
        mut polled: watch::Receiver<BTreeSet<String>>,
    ) {
        let mut events = self.engine.events();
        loop {
            let services = polled.borrow_and_update().clone();
            let seen = tokio::select! {
                event = events.next() => match event {
                    Some(event) => Some(self.heard(event, &mut events).await),
                    None => return,
                },
                ask = asked.recv() => match ask {
                    Some(ask) => self.asked(ask, &mut asked).await,
                    None => return,
                },
                changed = polled.changed() => match changed {
                    Ok(()) => {
                        self.moved = Instant::now();
                        continue;
                    }
                    Err(_) => return,
                },
                () = sleep_until(self.looked + self.pause), if !self.sees => {
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    Some(self.look().await)
                }
                () = sleep_until(self.looked + self.pace()), if self.sees && !services.is_empty() => {
                    self.poll(&services).await
                }
                () = sleep_until(self.slow_at), if self.sees => {
                    let services = self.slowly.borrow().clone();
                    let (seen, pause) = match services.len() {
                        0 => (None, SLOW_POLL),
                        1..=PART => (self.poll(&services).await, SLOW_POLL),
                        _ => (Some(self.look().await), SLOW_LOOK),
                    };
                    self.slow_at = Instant::now() + pause;
                    seen
                }
            };
            if let Some(event) = seen
                && self.sender.send(event).await.is_err()
            {
                return;
            }
        }
    }

    /// Interval between two polls.
    fn pace(&self) -> Duration {
        if self.moved.elapsed() < LIVELY {
            POLL
        } else {
            IDLE_POLL
        }
    }

    /// Merges all waiting requests into one observation: they come in bursts.
    async fn asked(
        &mut self,
        mut ask: Ask,
        more: &mut mpsc::UnboundedReceiver<Ask>,
    ) -> Option<Event> {
        let mut scope = Scope::default();
        loop {
            match ask {
                Ask::Look(number, services) => {
                    self.number = self.number.max(number);
                    scope.whole |= services.is_none();
                    scope.services.extend(services.into_iter().flatten());
                }
                Ask::Tick => scope.whole |= self.whole_at.elapsed() >= WHOLE_EVERY,
            }
            match more.try_recv() {
                Ok(next) => ask = next,
                Err(_) => break,
            }
        }
        if scope.whole || !scope.services.is_empty() {
            Some(self.look_at(scope).await)
        } else {
            None
        }
    }

    /// Merges all waiting events into one observation.
    async fn heard(
        &mut self,
        mut event: EngineEvent,
        events: &mut BoxStream<'static, EngineEvent>,
    ) -> Event {
        let mut scope = Scope::default();
        loop {
            match event {
                EngineEvent::Lost(message) => return self.blind(message),
                EngineEvent::Service { name } => drop(scope.services.insert(name)),
                EngineEvent::Node { id } => drop(scope.nodes.insert(id)),
                EngineEvent::Connected => scope.whole = true,
            }
            match events.next().now_or_never() {
                Some(Some(next)) => event = next,
                _ => return self.look_at(scope).await,
            }
        }
    }

    fn blind(&mut self, message: String) -> Event {
        (self.sees, self.looked) = (false, Instant::now());
        Event::Blind(message)
    }

    async fn look_at(&mut self, scope: Scope) -> Event {
        let is_part = !scope.whole && self.sees && scope.nodes.len() <= NODES;
        let part = if is_part {
            self.part(scope).await
        } else {
            None
        };
        match part {
            Some(delta) => Event::Changed(delta),
            None => self.look().await,
        }
    }

    /// Observes a part; `None` if it fails or is too large. A node's change affects tasks, which
    /// have no events of their own: the services with tasks on it are observed too.
    async fn part(&mut self, scope: Scope) -> Option<Delta> {
        let (as_of, engine) = (self.number, self.engine.clone());
        let mut names = scope.services;
        names.extend(self.services_on(&scope.nodes).await?);
        let names: Vec<String> = names.into_iter().collect();
        if names.len() > PART {
            return None;
        }
        // List tasks first: then the service and the node of every task are in what follows.
        let tasks = engine.tasks(&names).await.ok()?;
        let services = engine.services(&names).await.ok()?;
        let mut nodes = Vec::new();
        for id in scope.nodes {
            let node = engine.node(&id).await.ok()?;
            nodes.push((id, node));
        }
        self.looked = Instant::now();
        self.moved = self.looked;
        for service in &services {
            self.ids.insert(service.name.clone(), service.id.clone());
        }
        let mut there: HashMap<String, SwarmService> = services
            .into_iter()
            .map(|service| (service.name.clone(), service))
            .collect();
        let services = names
            .iter()
            .map(|name| (name.clone(), there.remove(name)))
            .collect();
        Some(Delta {
            as_of,
            nodes,
            services,
            tasks: self.tasks_of(names.iter(), tasks),
        })
    }

    /// Names of the services with tasks on these nodes, now or when they were last observed; `None`
    /// if that fails, or if one of them has no known name: a foreign one.
    async fn services_on(&self, nodes: &BTreeSet<String>) -> Option<BTreeSet<String>> {
        if nodes.is_empty() {
            return Some(BTreeSet::new());
        }
        let known = self.tasks.iter();
        let known = known.filter(|(_, tasks)| tasks.nodes.iter().any(|it| nodes.contains(it)));
        let mut ids: HashSet<String> = known.map(|(id, _)| id.clone()).collect();
        for node in nodes {
            let tasks = self.engine.tasks_on(node).await.ok()?;
            ids.extend(tasks.into_iter().map(|task| task.service));
        }
        let names = self.ids.iter().filter(|(_, id)| ids.contains(*id));
        let names: BTreeSet<String> = names.map(|(name, _)| name.clone()).collect();
        (names.len() == ids.len()).then_some(names)
    }

    /// Observes everything. Only a whole observation may fail.
    async fn look(&mut self) -> Event {
        let as_of = self.number;
        match self.engine.observe().await {
            Ok(observation) => {
                (self.pause, self.looked) = (FIRST_PAUSE, Instant::now());
                self.whole_at = self.looked;
                self.sees = true;
                self.take_over(&observation);
                Event::Observed(Observation {
                    as_of,
                    ..observation
                })
            }
            Err(error) => self.blind(error.to_string()),
        }
    }

    fn take_over(&mut self, seen: &Observation) {
        let mut tasks: HashMap<&str, Vec<&SwarmTask>> = HashMap::new();
        for task in &seen.tasks {
            tasks.entry(&task.service).or_default().push(task);
        }
        let tasks: HashMap<String, SeenTasks> = tasks
            .into_iter()
            .map(|(id, of_service)| (id.to_owned(), SeenTasks::of(of_service)))
            .collect();
        let services = seen.services.iter();
        self.ids.retain(|_, id| tasks.contains_key(id));
        self.ids
            .extend(services.map(|service| (service.name.clone(), service.id.clone())));
        if self.tasks != tasks {
            self.moved = self.looked;
            self.tasks = tasks;
        }
    }

    /// Tasks of these services by id, with an empty list for a service without any.
    fn tasks_of<'a>(
        &mut self,
        names: impl Iterator<Item = &'a String>,
        tasks: Vec<SwarmTask>,
    ) -> Vec<(String, Vec<SwarmTask>)> {
        let mut by_service: HashMap<String, Vec<SwarmTask>> = names
            .filter_map(|name| self.ids.get(name))
            .map(|id| (id.clone(), Vec::new()))
            .collect();
        for task in tasks {
            if let Some(of_service) = by_service.get_mut(&task.service) {
                of_service.push(task);
            }
        }
        for (id, of_service) in &mut by_service {
            if of_service.is_empty() {
                self.tasks.remove(id);
            } else {
                self.tasks
                    .insert(id.clone(), SeenTasks::of(of_service.iter()));
            }
        }
        by_service.into_iter().collect()
    }

    /// Polls the tasks of these services; `None` if nothing about them changed.
    async fn poll(&mut self, services: &BTreeSet<String>) -> Option<Event> {
        let names: Vec<String> = services.iter().cloned().collect();
        let Ok(fresh) = self.engine.tasks(&names).await else {
            return Some(self.look().await);
        };
        let ids = names.iter().filter_map(|name| self.ids.get(name));
        let known: HashMap<String, Option<SeenTasks>> = ids
            .map(|id| (id.clone(), self.tasks.get(id).cloned()))
            .collect();
        self.looked = Instant::now();
        let mut tasks = self.tasks_of(names.iter(), fresh);
        tasks.retain(|(id, _)| known.get(id).map(Option::as_ref) != Some(self.tasks.get(id)));
        if tasks.is_empty() {
            return None;
        }
        self.moved = self.looked;
        Some(Event::Changed(Delta {
            // A poll shows tasks only, so it answers no requested observation.
            as_of: 0,
            tasks,
            ..Delta::default()
        }))
    }
}

/// Tasks of a service as last observed: enough to notice a change, without a second copy of them
/// beside the core's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenTasks {
    digest: u64,
    nodes: Box<[String]>,
}

impl SeenTasks {
    fn of<'a>(tasks: impl IntoIterator<Item = &'a SwarmTask>) -> Self {
        let mut tasks: Vec<&SwarmTask> = tasks.into_iter().collect();
        tasks.sort_by(|a, b| a.id.cmp(&b.id));
        let mut hasher = DefaultHasher::new();
        tasks.hash(&mut hasher);
        Self {
            digest: hasher.finish(),
            nodes: tasks.iter().filter_map(|task| task.node.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
