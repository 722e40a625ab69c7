//! The state machine: what is known, what is wanted, and what to do next.

use super::{
    Action, Answer, Call, CallKey, Event, Ticket, clouds::CloudSight, happened::Heard,
    images::Build, journal::Journal, ledger::Ledger, sight::Sight,
};
use crate::{
    engine::{EngineError, Observation, TaskState, swarm_name},
    model::{Container, Instance, Placement},
    store::Contents,
};
use micado_api::{
    CloudName, ClusterId, ContainerName, ErrorBody, InstanceId, InstanceState, MemoryBytes,
    PricePerHour, Resources, Timestamp,
};
use micado_cloudsetup::CloudSetup;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a machine may be silent, unless a person says otherwise.
pub const DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// How far apart the Swarm's time-outs of two nodes may be beside their heartbeats, which it
/// spreads by half a second each.
const SPREAD: Duration = Duration::from_secs(4);

/// The heartbeat with which the Swarm takes a node for down when it has been silent for so long,
/// and never before two thirds of that have passed. Whole seconds.
#[must_use]
pub fn heartbeat_for(down_timeout: Duration) -> Duration {
    Duration::from_secs(down_timeout.as_secs() / 3)
}

/// What a person may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The clouds and applications of `cloudsetup.xml`.
    pub setup: CloudSetup,
    /// Instances at most.
    pub max_instances: Option<u32>,
    /// Price per hour of all live instances at most.
    pub max_price: Option<PricePerHour>,
    /// Memory of every machine that is never promised.
    pub system_reserve: MemoryBytes,
    /// How long a machine may be silent before it is given up, when its broker says that it still
    /// runs.
    pub down_timeout: Duration,
    /// The Swarm's heartbeat: a node that missed three is down for it.
    pub heartbeat: Duration,
    /// The first wait after a flavour failed; doubles with each failure in a row.
    pub backoff: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// How long instances that are gone stay in the record.
    pub keep_gone: Duration,
    /// Whether nodes that we did not rent are taken out of the Swarm.
    pub remove_unknown_nodes: bool,
}

impl Config {
    /// The defaults for a cluster on these clouds.
    #[must_use]
    pub fn new(cluster: ClusterId, setup: CloudSetup) -> Self {
        Self {
            cluster,
            setup,
            max_instances: Some(10),
            max_price: None,
            system_reserve: MemoryBytes::mib(128),
            down_timeout: DOWN_TIMEOUT,
            heartbeat: heartbeat_for(DOWN_TIMEOUT),
            backoff: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            keep_gone: Duration::from_secs(24 * 3600),
            remove_unknown_nodes: false,
        }
    }

    /// How long a node must have been down for the Swarm before its machine is given up: so long
    /// that it was silent for the whole of its time, and that all others would be down too if it
    /// were the manager that is cut off. The Swarm takes two to three heartbeats to notice.
    pub(super) fn patience(&self) -> Duration {
        self.down_timeout
            .saturating_sub(self.heartbeat * 2)
            .max(self.heartbeat + SPREAD)
    }
}

/// The brain. Made from what the store holds; dropped and made anew whenever a commit fails.
#[derive(Debug)]
pub struct Core {
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    /// The engine as last seen; `None` until it was seen once.
    pub(super) sight: Option<Sight>,
    /// Why the engine does not answer, if it does not.
    pub(super) blind: Option<String>,
    pub(super) clouds: BTreeMap<CloudName, CloudSight>,
    pub(super) memory: Memory,
    pub(super) in_flight: BTreeSet<CallKey>,
    observe_again: bool,
    wake_at: Option<Timestamp>,
    random: u64,
    calls: Vec<(CallKey, Call)>,
    replies: Vec<(Ticket, Result<super::Reply, ErrorBody>)>,
}

/// What need not survive a crash: a new core learns it again, or merely waits a little less.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Failures in a row of a call, and when it may be tried again.
    pub(super) retry: BTreeMap<CallKey, (u32, Timestamp)>,
    /// Orders whose answer was lost, and when: nothing more is asked before a later list.
    pub(super) unsure: BTreeMap<InstanceId, Timestamp>,
    /// Orders that the broker said it has taken.
    pub(super) accepted: BTreeSet<InstanceId>,
    /// The broker's last words about an order that it neither took nor refused.
    pub(super) broker_words: BTreeMap<InstanceId, String>,
    /// Since when the engine has been seen without a gap.
    pub(super) seen_since: Option<Timestamp>,
    /// Since when each node that answers has been seen to, without a gap.
    pub(super) ready_since: BTreeMap<InstanceId, Timestamp>,
    /// Since when a node of an instance in use does not answer.
    pub(super) down_since: BTreeMap<InstanceId, Timestamp>,
    /// Since when Swarm finds no place for a service although its node is ready.
    pub(super) pending_since: BTreeMap<String, Timestamp>,
    /// Instances that would not take a container although they should have had room, and until when
    /// they are not tried again.
    pub(super) shunned: BTreeMap<ContainerName, (InstanceId, Timestamp)>,
    /// The engine's words when it refused to make a Swarm service.
    pub(super) refused: BTreeMap<String, String>,
    /// Swarm services that were made or removed a moment ago, and after how many looks that is
    /// surely seen: one may have begun before.
    pub(super) settling: BTreeMap<String, u32>,
    /// The words when an image could not be pushed.
    pub(super) push_errors: BTreeMap<micado_api::ServiceName, String>,
    /// Swarm services whose log was saved, or could not be.
    pub(super) log_saved: BTreeSet<String>,
    /// Whether somebody was told the worker token since its last rotation was asked for.
    pub(super) token_told: bool,
    /// For how long containers of an image's digest were measured that is not written yet, in
    /// milliseconds.
    pub(super) unwritten: BTreeMap<Build, u64>,
    /// Since when the agents of machines in use have been gone that were there.
    pub(super) silent: BTreeMap<InstanceId, Timestamp>,
    /// What agents said of Swarm services.
    pub(super) heard: BTreeMap<String, Heard>,
    /// Nodes that no record knows, and since when they have been seen without a gap.
    pub(super) strangers: BTreeMap<String, Timestamp>,
}

impl Core {
    /// A core that knows what the store holds and has seen nothing else yet: it changes nothing
    /// before it has seen the engine. What depends on a cloud waits for that cloud, and keeps
    /// nothing else waiting. `seed` feeds the choice of new ids.
    #[must_use]
    pub fn new(config: Config, contents: Contents, seed: u64) -> Self {
        let ledger = Ledger::new(contents);
        let clouds = config
            .setup
            .clouds
            .iter()
            .map(|cloud| (cloud.name.clone(), CloudSight::default()))
            .collect();
        Self {
            journal: Journal::default(),
            config,
            now: Timestamp(0),
            ledger,
            sight: None,
            blind: None,
            clouds,
            memory: Memory::default(),
            in_flight: BTreeSet::new(),
            observe_again: false,
            wake_at: None,
            random: seed,
            calls: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// What to do now that this has happened.
    #[must_use]
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        // What agents say changes nothing that is wanted: it is taken in, and nothing is done for
        // it.
        let asks_for_more = !matches!(
            event,
            Event::Used(_) | Event::Happened(..) | Event::Agent { .. }
        );
        if asks_for_more {
            self.wake_at = None;
        }
        match event {
            Event::Tick => {
                self.list_clouds();
                self.prune();
            }
            Event::Wake => {}
            Event::Observed(observation) => self.saw(observation),
            Event::Blind(words) => self.lost_sight(words),
            Event::Request(ticket, request) => {
                let reply = self.request(request);
                self.replies.push((ticket, reply));
            }
            Event::Used(used) => self.learn(&used),
            Event::Happened(instance, event) => self.happened(&instance, event),
            Event::Agent {
                instance,
                connected,
            } => self.agent_is(instance, connected),
            Event::Answered(key, answer) => self.answered(&key, answer),
        }
        if asks_for_more {
            self.turn();
        }
        self.flush()
    }

    /// Does all that follows from what is known.
    fn turn(&mut self) {
        self.stop_awaiting();
        self.ask_about_silent();
        if self.sees() {
            self.adopt();
            self.advance_instances();
            self.advance_containers();
            self.plan();
            self.drive_instances();
            self.drive_services();
            self.remove_strangers();
            self.renew_token();
        }
        self.report();
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The Swarm names of services whose task has not come to rest on a machine that is up, or of
    /// which an agent has just said something: poll them, for tasks have no events.
    #[must_use]
    pub fn in_flight(&self) -> Vec<String> {
        let Some(sight) = self.sight.as_ref().filter(|_| self.blind.is_none()) else {
            return Vec::new();
        };
        let wanted = self.ledger.containers.values().filter(|it| it.wants_room());
        let placed = wanted.filter_map(|it| it.placement.as_ref().map(|placement| (it, placement)));
        let ready = placed.filter(|(_, placement)| {
            sight
                .node(&placement.instance)
                .is_some_and(|node| node.ready)
        });
        let names = ready
            .map(|(it, placement)| self.swarm_name(&it.name, placement))
            .filter(|name| sight.has_service(name));
        let moving = names.filter(|name| {
            sight.failure(name).is_none()
                && sight
                    .task(name)
                    .is_none_or(|task| task.state < TaskState::Running)
        });
        moving
            .chain(self.awaited().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Whether enough is known to decide anything: the engine answers.
    fn sees(&self) -> bool {
        self.blind.is_none() && self.sight.is_some()
    }

    fn saw(&mut self, observation: Observation) {
        self.in_flight.remove(&CallKey::Observe);
        self.blind = None;
        self.memory.seen_since.get_or_insert(self.now);
        self.memory.settling.retain(|_, looks| {
            *looks -= 1;
            *looks > 0
        });
        let sight = Sight::new(observation);
        self.memory
            .ready_since
            .retain(|id, _| sight.node(id).is_some_and(|node| node.ready));
        for id in sight
            .nodes
            .iter()
            .filter(|node| node.ready)
            .filter_map(|node| node.instance.as_ref())
        {
            self.memory
                .ready_since
                .entry(id.clone())
                .or_insert(self.now);
        }
        self.sight = Some(sight);
        if std::mem::take(&mut self.observe_again) {
            self.observe();
        }
    }

    fn lost_sight(&mut self, words: String) {
        self.in_flight.remove(&CallKey::Observe);
        self.observe_again = false;
        self.blind = Some(words);
        // How long a node has been down, or up, is not known over a gap.
        self.memory.down_since.clear();
        self.memory.ready_since.clear();
        self.memory.seen_since = None;
        self.memory.settling.clear();
        self.memory.pending_since.clear();
        self.memory.strangers.clear();
    }

    fn answered(&mut self, key: &CallKey, answer: Answer) {
        self.in_flight.remove(key);
        match (key, answer) {
            (CallKey::Machine(instance), Answer::Launched(result)) => {
                self.machine_launched(instance, result)
            }
            (CallKey::Machine(instance), Answer::Terminated(result)) => {
                self.machine_terminated(instance, result)
            }
            (CallKey::List(cloud), Answer::Listed(result)) => self.machines_listed(cloud, result),
            (CallKey::Service(name), Answer::Engine(result)) => {
                self.came_back(key, result.is_ok());
                if result.is_ok() {
                    let looks = 1 + u32::from(self.is_in_flight(&CallKey::Observe));
                    self.memory.settling.insert(name.clone(), looks);
                }
                match result {
                    Err(EngineError::Refused(words) | EngineError::NotFound(words)) => {
                        drop(self.memory.refused.insert(name.clone(), words))
                    }
                    _ => drop(self.memory.refused.remove(name)),
                }
                self.observe();
            }
            (CallKey::Node(node), Answer::Engine(result)) => {
                self.came_back(key, result.is_ok());
                self.memory.strangers.remove(node);
                self.observe();
            }
            (CallKey::Token, Answer::Engine(result)) => self.token_rotated(&result),
            (CallKey::Image(service, made), Answer::Pushed(result)) => {
                self.image_pushed(service, *made, result)
            }
            (CallKey::Log(container), Answer::Log(result)) => self.log_read(container, result.ok()),
            (key, answer) => {
                debug_assert!(false, "the answer {answer:?} does not belong to {key:?}")
            }
        }
    }

    /// Looks at the engine again, now or as soon as the look that is under way has come back.
    pub(super) fn observe(&mut self) {
        if self.in_flight.contains(&CallKey::Observe) {
            self.observe_again = true;
        } else {
            self.call(CallKey::Observe, Call::Observe);
        }
    }

    /// Calls out, unless such a call is under way or has failed a moment ago.
    pub(super) fn call(&mut self, key: CallKey, call: Call) {
        match self.memory.retry.get(&key) {
            Some((_, at)) if *at > self.now => self.wake(*at),
            _ if self.in_flight.insert(key.clone()) => self.calls.push((key, call)),
            _ => {}
        }
    }

    /// Asks to be woken then, or earlier.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When the core wants an [`Event::Wake`], if nothing happens before. Every event may change
    /// it.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    /// Whether such a call would be made at this moment.
    pub(super) fn is_due(&self, key: &CallKey) -> bool {
        !self.is_in_flight(key)
            && self
                .memory
                .retry
                .get(key)
                .is_none_or(|(_, at)| *at <= self.now)
    }

    pub(super) fn is_in_flight(&self, key: &CallKey) -> bool {
        self.in_flight.contains(key)
    }

    /// Notes how a call ended: after a failure the same call waits, longer with each failure in a
    /// row.
    pub(super) fn came_back(&mut self, key: &CallKey, well: bool) {
        if well {
            self.memory.retry.remove(key);
        } else {
            let failures = self
                .memory
                .retry
                .get(key)
                .map_or(1, |(failures, _)| failures.saturating_add(1));
            let wait = Duration::from_secs(1 << failures.min(5));
            self.memory
                .retry
                .insert(key.clone(), (failures, self.now.plus(wait)));
        }
    }

    /// Eight hexadecimal digits that no record has.
    pub(super) fn fresh_instance_id(&mut self) -> InstanceId {
        loop {
            // SplitMix64: full period, so ids do not repeat within one seed.
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = InstanceId::trusted(format!("{:08x}", (mixed ^ (mixed >> 31)) as u32));
            if self.ledger.instances.get(&id).is_none() {
                return id;
            }
        }
    }

    pub(super) fn swarm_name(&self, container: &ContainerName, placement: &Placement) -> String {
        swarm_name(&self.config.cluster, container, placement.generation)
    }

    /// What a machine of this size has for containers.
    pub(super) fn for_containers(&self, size: Resources) -> Resources {
        size.saturating_sub(Resources::new(
            self.config.system_reserve,
            micado_api::NanoCpus(0),
        ))
    }

    /// Containers that are, were until a moment ago, or will be on this instance.
    pub(super) fn containers_on<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> impl Iterator<Item = &'a Container> {
        self.ledger.containers.values().filter(move |it| {
            [&it.placement, &it.leaving]
                .into_iter()
                .flatten()
                .any(|placement| placement.instance == *instance)
        })
    }

    /// The instance that people call so: the one in use, else one that may still have a machine,
    /// else the newest of those gone.
    pub(super) fn tagged(&self, tag: &str) -> Option<&Instance> {
        let rank = |it: &&Instance| {
            (
                !matches!(it.state, InstanceState::Gone | InstanceState::Failed),
                it.is_live(),
                it.created_at,
            )
        };
        self.ledger
            .instances
            .values()
            .filter(|it| it.tag.as_str() == tag)
            .max_by_key(rank)
    }

    /// Changes are durable first; what depends on them follows.
    fn flush(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        let changes = self.ledger.take_changes();
        if !changes.is_empty() {
            actions.push(Action::Commit(changes));
        }
        actions.extend(
            std::mem::take(&mut self.calls)
                .into_iter()
                .map(|(key, call)| Action::Call(key, call)),
        );
        actions.extend(
            std::mem::take(&mut self.replies)
                .into_iter()
                .map(|(ticket, reply)| Action::Reply(ticket, reply)),
        );
        actions.extend(
            self.journal
                .take_progress()
                .into_iter()
                .map(Action::Progress),
        );
        actions
    }
}
