//! The state machine: events in, reconcile passes over the touched subjects, actions out.

use super::{
    Action, Answer, CallKey, Config, Event, Reply, Ticket,
    calls::Calls,
    catalogue::Stale,
    clouds::CloudRecord,
    copies::Copies,
    dirty::{Subject, unite},
    foreign::Foreign,
    happened::Reports,
    headroom,
    images::Learning,
    journal::Journal,
    leads::Leads,
    ledger::Ledger,
    nodes::Nodes,
    observed::{Observed, Touched},
    orders::Orders,
    panic_rule::Panicking,
    placing::Placing,
    ports::Ports,
    promised::Promised,
    rebalancing::Rebalancing,
    replacing::Replacing,
    returns::Returns,
    runs::Runs,
    scaling::Scaling,
    silent::Silent,
    tally::Tallies,
};
use crate::{model::Instance, planner::Exhausted, store::Contents};
use micado_api::{
    CloudName, ContainerName, ErrorBody, InstanceId, InstanceState, Resources, Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Upper bound for the time between two full passes: the safety net under the dirty set.
const FULL_PASS: Duration = Duration::from_secs(60);

/// Upper bound for the passes of one event. A pass touches other records at most a few times in a
/// row.
const PASSES: u32 = 32;

/// The control core. Made from the content of the store, and made anew whenever a commit fails.
#[derive(Debug, Clone)]
pub struct Core {
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    /// The engine as last observed; `None` before the first observation.
    pub(super) observed: Option<Observed>,
    /// The engine's error, while it does not answer.
    pub(super) blind: Option<String>,
    pub(super) clouds: BTreeMap<CloudName, CloudRecord>,
    pub(super) calls: Calls,
    pub(super) orders: Orders,
    pub(super) nodes: Nodes,
    pub(super) copies: Copies,
    pub(super) placing: Placing,
    pub(super) reports: Reports,
    pub(super) silent: Silent,
    pub(super) foreign: Foreign,
    pub(super) learning: Learning,
    pub(super) scaling: Scaling,
    pub(super) leads: Leads,
    pub(super) returns: Returns,
    pub(super) runs: Runs,
    pub(super) ports: Ports,
    pub(super) panicking: Panicking,
    pub(super) headroom: headroom::Found,
    pub(super) promised: Promised,
    pub(super) replacing: Replacing,
    pub(super) rebalancing: Rebalancing,
    /// Machines that have run out of something.
    pub(super) exhausted: BTreeMap<InstanceId, Exhausted>,
    pub(super) tallies: Tallies,
    pub(super) stale: Stale,
    /// True if the worker token was given to somebody since its last rotation was requested.
    pub(super) token_told: bool,
    /// Subject that the present pass visits.
    visiting: Subject,
    full_pass_at: Timestamp,
    /// Tells this core from those before it.
    pub(super) seed: u64,
    random: u64,
    replies: Vec<(Ticket, Result<Reply, ErrorBody>)>,
}

impl Core {
    /// A core on the content of a store. It changes nothing before it has observed the engine. Only
    /// decisions that depend on a cloud wait for that cloud. `seed` feeds the choice of new ids.
    #[must_use]
    pub fn new(config: Config, contents: Contents, seed: u64) -> Self {
        let clouds = config.setup.clouds.iter();
        let clouds = clouds
            .map(|cloud| (cloud.name.clone(), CloudRecord::default()))
            .collect();
        let mut ledger = Ledger::new(contents);
        ledger.dirty.returns = config.return_machines;
        Self {
            config,
            now: Timestamp(0),
            leads: Leads::new(&ledger),
            promised: Promised::new(&ledger),
            ledger,
            journal: Journal::default(),
            observed: None,
            blind: None,
            clouds,
            calls: Calls::default(),
            orders: Orders::default(),
            nodes: Nodes::default(),
            copies: Copies::default(),
            placing: Placing::default(),
            reports: Reports::default(),
            silent: Silent::default(),
            foreign: Foreign::default(),
            learning: Learning::default(),
            scaling: Scaling::default(),
            returns: Returns::default(),
            runs: Runs::default(),
            ports: Ports::default(),
            panicking: Panicking::default(),
            headroom: headroom::Found::default(),
            replacing: Replacing::default(),
            rebalancing: Rebalancing::default(),
            exhausted: BTreeMap::new(),
            tallies: Tallies::default(),
            stale: Stale::default(),
            seed,
            token_told: false,
            visiting: Subject::Plan,
            full_pass_at: Timestamp(0),
            random: seed,
            replies: Vec::new(),
        }
    }

    /// Handles an event; returns the resulting actions.
    #[must_use]
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        self.handle_all(now, [event])
    }

    /// Handles events that arrived together: one reconcile pass and one commit for all of them.
    #[must_use]
    pub fn handle_all(
        &mut self,
        now: Timestamp,
        events: impl IntoIterator<Item = Event>,
    ) -> Vec<Action> {
        self.now = self.now.max(now);
        for event in events {
            self.take_in(event);
        }
        self.reconcile();
        self.flush()
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Tick => {
                self.list_clouds();
                self.look_at_failing();
                self.enforce_floors();
                self.ledger.dirty.scaled = self.ledger.policies.keys().cloned().collect();
                self.prune();
                self.look_at_promised();
                if self.now.since(self.full_pass_at) >= FULL_PASS {
                    self.mark_all();
                }
            }
            Event::Wake => {}
            Event::Observed(observation) => {
                let as_of = observation.as_of;
                if as_of >= self.calls.looks {
                    self.calls.ended(&CallKey::Observe);
                }
                self.returns.looked();
                let touched = self.observed.get_or_insert_default().replace(observation);
                self.saw(as_of, None, touched);
                self.looked(as_of);
            }
            Event::Changed(delta) => {
                let as_of = delta.as_of;
                if as_of >= self.calls.looks {
                    self.calls.ended(&CallKey::Observe);
                }
                let services: BTreeSet<String> = delta
                    .services
                    .iter()
                    .map(|(name, _)| name.clone())
                    .collect();
                // A partial observation is of no use before the whole engine was observed.
                if let Some(observed) = self.observed.as_mut().filter(|_| self.blind.is_none()) {
                    let touched = observed.apply(delta);
                    self.saw(as_of, Some(&services), touched);
                }
            }
            Event::Blind(message) => self.lost_sight(message),
            Event::Request(ticket, request) => {
                let reply = self.request(request);
                self.replies.push((ticket, reply));
            }
            Event::Happened(instance, event) => self.happened(&instance, event),
            Event::Agent {
                instance,
                connected,
            } => self.agent_is(instance, connected),
            Event::Health(instance, reports) => self.health_reported(&instance, reports),
            Event::Load(loads) => self.loads(loads),
            Event::Machines(loads) => self.machine_loads(loads),
            Event::Signal(signal) => self.signal(&signal),
            Event::Profile(service, past) => self.take_past(&service, past),
            Event::LastWords(container, log) => self.last_words(&container, &log),
            Event::Answered(key, answer) => self.answered(&key, answer),
        }
    }

    /// Marks every record: the next pass is a full one.
    pub(super) fn mark_all(&mut self) {
        self.full_pass_at = self.now;
        self.stale.all = self.config.catalogue;
        let dirty = &mut self.ledger.dirty;
        dirty.mark_singles();
        let instances = self.ledger.instances().keys().cloned().collect();
        let mut containers: BTreeSet<ContainerName> =
            self.ledger.containers().keys().cloned().collect();
        let seen = self.observed.iter().flat_map(Observed::containers);
        containers.extend(seen.cloned());
        self.ledger.dirty.instances = instances;
        self.ledger.dirty.containers = containers;
    }

    /// Visits all marked subjects. A visit may mark more; ends when none is left.
    fn reconcile(&mut self) {
        self.ledger.dirty.ring(self.now);
        self.visit_awaited();
        self.visit_silent();
        let mut instances = BTreeSet::new();
        let mut containers = BTreeSet::new();
        if self.sees() {
            let mut passes = 0;
            while self.ledger.dirty.any() {
                passes += 1;
                if passes > PASSES {
                    debug_assert!(false, "passes do not settle: {:?}", self.ledger.dirty);
                    self.ledger
                        .dirty
                        .wake(Subject::Plan, self.now.plus(Duration::from_secs(1)));
                    break;
                }
                self.pass(&mut instances, &mut containers);
                if !self.ledger.dirty.any() {
                    containers.extend(self.apply_panic_rule(&containers));
                }
            }
        }
        instances.extend(self.ledger.dirty.instances.iter().cloned());
        containers.extend(self.ledger.dirty.containers.iter().cloned());
        self.report(&instances, &containers);
        self.note_stale(&instances, &containers);
        self.send_look();
    }

    fn pass(
        &mut self,
        all_instances: &mut BTreeSet<InstanceId>,
        all_containers: &mut BTreeSet<ContainerName>,
    ) {
        if std::mem::take(&mut self.ledger.dirty.adopt) {
            self.adopt();
        }
        let instances = std::mem::take(&mut self.ledger.dirty.instances);
        for id in &instances {
            self.visit(Subject::Instance(id.clone()));
            self.visit_instance(id);
        }
        unite(all_instances, instances);
        let containers = std::mem::take(&mut self.ledger.dirty.containers);
        self.tally(&containers);
        // Before any visit: nothing is created that a shrink ends in the same pass.
        for name in std::mem::take(&mut self.ledger.dirty.scaled) {
            self.visit(Subject::Scaled(name.clone()));
            self.check_unseen(&name);
        }
        for name in &containers {
            self.visit(Subject::Container(name.clone()));
            self.visit_container(name);
        }
        unite(all_containers, containers);
        if std::mem::take(&mut self.ledger.dirty.plan) {
            self.visit(Subject::Plan);
            self.plan();
            self.plan_moves();
        }
        if std::mem::take(&mut self.ledger.dirty.foreign) {
            self.visit(Subject::Foreign);
            self.remove_foreign();
        }
        if std::mem::take(&mut self.ledger.dirty.token) {
            self.visit(Subject::Token);
            self.renew_token();
        }
        let dirty = &mut self.ledger.dirty;
        // The pool shows every placement.
        let settled = dirty.instances.is_empty() && !dirty.plan;
        if settled && std::mem::take(&mut dirty.rebalance) {
            return self.rebalance();
        }
        if settled && std::mem::take(&mut dirty.returns) {
            self.visit(Subject::Returns);
            self.check_returns();
        }
    }

    pub(super) fn visit(&mut self, subject: Subject) {
        self.ledger.dirty.visit(&subject);
        self.visiting = subject;
    }

    /// Wakes the visited subject at this time, or earlier.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.ledger.dirty.wake(self.visiting.clone(), at);
    }

    /// Time of the next [`Event::Wake`], unless another event comes before. Every event may change
    /// it.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.ledger.dirty.next()
    }

    /// Swarm services to poll, because tasks have no events: those with an unsettled task, and
    /// those with a recent report of an agent.
    #[must_use]
    pub fn polled(&self) -> BTreeSet<String> {
        let moving = self.copies.polled().chain(self.reports.awaited());
        moving.cloned().collect()
    }

    /// As [`Self::polled`], if it changed since the last call.
    pub fn polls(&mut self) -> Option<BTreeSet<String>> {
        let changed = self.copies.polled_changed() | self.reports.awaited_changed();
        changed.then(|| self.polled())
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns true if decisions are possible: the engine answers.
    pub(super) fn sees(&self) -> bool {
        self.blind.is_none() && self.observed.is_some()
    }

    /// Handles the changes of an observation. `services` names those that a partial one covers.
    fn saw(&mut self, as_of: u64, services: Option<&BTreeSet<String>>, touched: Touched) {
        let back = self.blind.take().is_some() || self.nodes.seen_since.is_none();
        self.copies.settled(as_of, services, &mut self.ledger);
        self.nodes_changed(back, &touched);
        if back {
            self.nodes.seen_since = Some(self.now);
            self.reports.sight_is_back(self.now);
            self.mark_all();
            return;
        }
        // A node without a record delays renting.
        self.ledger.dirty.foreign |= touched.membership;
        self.ledger.dirty.plan |= touched.membership;
        let new = |name: &ContainerName| self.ledger.container(name).is_none();
        self.ledger.dirty.adopt |= touched.containers.iter().any(new);
        self.containers_moved(&touched);
        self.ledger.dirty.containers.extend(touched.containers);
    }

    fn lost_sight(&mut self, message: String) {
        self.calls.ended(&CallKey::Observe);
        if self.blind.is_none() {
            // Views of all containers change while nothing can be observed.
            self.mark_all();
        }
        self.blind = Some(message);
        self.forget_what_was_seen();
    }

    fn answered(&mut self, key: &CallKey, answer: Answer) {
        self.calls.ended(key);
        match (key, answer) {
            (CallKey::Machine(instance), Answer::Launched(result)) => {
                self.machine_launched(instance, result);
            }
            (CallKey::Machine(instance), Answer::Terminated(result)) => {
                self.machine_terminated(instance, result);
            }
            (CallKey::List(cloud), Answer::Listed(result)) => self.machines_listed(cloud, result),
            (CallKey::Service(name), Answer::Engine(result)) => self.service_changed(name, result),
            (CallKey::Service(name), Answer::ImageLost(message)) => self.image_lost(name, message),
            (CallKey::Node(node), Answer::Engine(result)) => {
                self.came_back(key, result.is_ok());
                self.foreign.changed(node);
                self.node_changed(node);
            }
            (CallKey::Token, Answer::Engine(result)) => self.token_rotated(&result),
            (CallKey::Image(service, made), Answer::Pushed(result)) => {
                self.image_pushed(service, *made, result);
            }
            (CallKey::Log(container), Answer::Log(result)) => self.log_read(container, result.ok()),
            (key, answer) => {
                debug_assert!(false, "the answer {answer:?} does not belong to {key:?}");
            }
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
            if self.ledger.instance(&id).is_none() {
                return id;
            }
        }
    }

    /// Part of a machine of this size that is available to containers.
    pub(super) fn for_containers(&self, size: Resources) -> Resources {
        size.saturating_sub(Resources::new(
            self.config.system_reserve,
            micado_api::NanoCpus(0),
        ))
    }

    /// Returns the instance with this tag: the one in use, else one that may still have a machine,
    /// else the newest of those gone.
    pub(super) fn tagged(&self, tag: &str) -> Option<&Instance> {
        let rank = |instance: &&Instance| {
            (
                !matches!(instance.state, InstanceState::Gone | InstanceState::Failed),
                instance.is_live(),
                instance.created_at,
            )
        };
        let same = self.ledger.index.tagged(tag);
        same.filter_map(|id| self.ledger.instance(id))
            .max_by_key(rank)
    }

    /// Returns the actions: the commit first, then everything that depends on it.
    fn flush(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        let changes = self.ledger.take_changes();
        if !changes.is_empty() {
            actions.push(Action::Commit(changes));
        }
        let calls = std::mem::take(&mut self.calls.out);
        actions.extend(calls.into_iter().map(|(key, call)| Action::Call(key, call)));
        let replies = std::mem::take(&mut self.replies);
        actions.extend(
            replies
                .into_iter()
                .map(|(ticket, reply)| Action::Reply(ticket, reply)),
        );
        let progress = self.journal.take_progress();
        actions.extend(progress.into_iter().map(Action::Progress));
        actions
    }

    /// Returns the actions of a full pass at this moment: none, if the dirty set is complete. The
    /// core is not changed. For the simulation.
    #[must_use]
    pub fn audit(&self) -> Vec<Action> {
        let mut twin = self.clone();
        twin.mark_all();
        twin.reconcile();
        twin.flush()
    }
}
