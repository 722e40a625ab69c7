//! The life of a container: what became of its copies, and when one is given up or has ended.

use super::{CallKey, Core, ledger::Ledger, observed::Touched, owner::Known, owner::Owner};
use crate::{
    engine::TaskState,
    model::{Container, Copy, Desired, Outcome, Phase, Service},
};
use micado_api::{
    ContainerName, InstanceId, InstanceState, Progress, RunOptions, ServiceName, Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Time for which a task may find no place on its node, which is ready, before the container is
/// planned anew.
const PENDING_PATIENCE: Duration = Duration::from_secs(2);

/// Time for which an instance that would not take a container is not tried again for it.
const SHUN: Duration = Duration::from_secs(60);

/// Time for a slow machine, after the grace period, to end a process whose end neither the engine
/// nor the agent reports.
const END_BOUND: Duration = Duration::from_secs(60);

/// Retention of the record of a removed container, so that a call that takes effect late is undone
/// and not adopted.
pub(super) const TOMBSTONE: Duration = Duration::from_secs(600);

/// Notes about copies and their Swarm services.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies {
    /// Since when Swarm finds no place for a service although its node is ready.
    pending_since: BTreeMap<String, Timestamp>,
    /// Instances that would not take a container although they should have had room, and until when
    /// they are not tried again.
    pub(super) shunned: BTreeMap<ContainerName, (InstanceId, Timestamp)>,
    /// Reasons why a Swarm service cannot be made: the engine refused, or its image is lost.
    pub(super) refused: BTreeMap<String, String>,
    /// Its message when it did not do so, and is asked again.
    pub(super) delayed: BTreeMap<String, String>,
    /// Swarm services that were made or removed a moment ago, and the number of the look that
    /// surely shows it.
    settling: BTreeMap<String, u64>,
    /// Times at which Swarm services that others had changed were set back.
    pub(super) set_back: BTreeMap<String, Timestamp>,
    /// The message when an image could not be pushed.
    pub(super) push_errors: BTreeMap<ServiceName, String>,
    /// Swarm services whose log was saved, or could not be.
    pub(super) log_saved: BTreeSet<String>,
    /// Swarm services to poll, by container: tasks have no events.
    polled: BTreeMap<ContainerName, Vec<String>>,
    polled_changed: bool,
    /// Swarm services whose process keeps ending, by container: looked at with every tick.
    failing: BTreeMap<ContainerName, Vec<String>>,
    /// Containers that leave a machine without hurry: generation of the new copy, and since when it
    /// has been observed to run.
    pub(super) warming: BTreeMap<ContainerName, (u32, Timestamp)>,
    /// Containers that wait until gossip has dropped a lost machine.
    pub(super) gossiping: BTreeSet<ContainerName>,
    /// The service of the last call that creates one.
    created: Option<Arc<Service>>,
}

impl Owner for Copies {
    fn lost_sight(&mut self) {
        self.settling.clear();
        self.pending_since.clear();
        self.warming.clear();
    }
    fn prune(&mut self, known: &Known<'_>) {
        let there = |name: &String| known.observed.has_service(name);
        self.log_saved.retain(there);
        self.pending_since.retain(|name, _| there(name));
        self.set_back.retain(|name, _| there(name));
        for messages in [&mut self.refused, &mut self.delayed] {
            messages.retain(|name, _| known.ledger.index.by_swarm_name(name).is_some());
        }
        self.shunned.retain(|_, (_, until)| *until > known.now);
        self.warming
            .retain(|name, _| known.ledger.container(name).is_some());
        self.push_errors
            .retain(|name, _| known.ledger.service(name).is_some());
    }
}

impl Copies {
    /// A call about a Swarm service has come back; the look of this number shows its effect.
    pub(super) fn settles(&mut self, name: &str, number: u64) {
        self.settling.insert(name.to_owned(), number);
    }

    /// Takes note of a look that covers these services, or all.
    pub(super) fn settled(
        &mut self,
        as_of: u64,
        services: Option<&BTreeSet<String>>,
        ledger: &mut Ledger,
    ) {
        let settled = self.settling.extract_if(.., |name, number| {
            *number <= as_of && services.is_none_or(|services| services.contains(name))
        });
        for (name, _) in settled {
            let container = ledger.index.by_swarm_name(&name).cloned();
            ledger.dirty.containers.extend(container);
        }
    }

    /// Returns the service for a call that creates a copy. The calls for its copies share it.
    pub(super) fn shared(&mut self, service: &Service) -> Arc<Service> {
        if let Some(created) = self.created.as_ref().filter(|it| ***it == *service) {
            return created.clone();
        }
        let created = Arc::new(service.clone());
        self.created = Some(created.clone());
        created
    }

    /// Swarm services whose tasks have not come to rest.
    pub(super) fn polled(&self) -> impl Iterator<Item = &String> {
        self.polled.values().flatten()
    }

    /// Whether they changed since this was last asked.
    pub(super) fn polled_changed(&mut self) -> bool {
        std::mem::take(&mut self.polled_changed)
    }

    fn poll(&mut self, container: &ContainerName, names: Vec<String>) {
        let same = self.polled.get(container).map_or(&[][..], Vec::as_slice) == names;
        if same {
            return;
        }
        self.polled_changed = true;
        if names.is_empty() {
            self.polled.remove(container);
        } else {
            self.polled.insert(container.clone(), names);
        }
    }
}

impl Core {
    /// Moves a container along as far as the observations allow, and makes the calls that its
    /// copies ask for.
    pub(super) fn visit_container(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.container(name) else {
            self.copies.poll(name, Vec::new());
            self.copies.failing.remove(name);
            self.placing.waits(name, None);
            self.placing.leaving.remove(name);
            return;
        };
        if container.desired != Desired::Removed
            && let Some(observed) = &mut self.observed
        {
            observed.drop_records(name);
        }
        let live = container.copies.iter().filter(|copy| copy.is_live());
        let live: Vec<u32> = live.map(|copy| copy.generation).collect();
        for generation in live {
            self.follow_run(name, generation);
            self.follow_task(name, generation);
            self.check_machine(name, generation);
            self.check_ports(name, generation);
            self.check_health(name, generation);
        }
        self.retire_copies(name);
        self.end_copies(name);
        self.finish(name);
        self.drive_services(name);
        self.note_waiting(name);
        self.note_polled(name);
        self.note_unreported(name);
    }

    /// Takes over what a copy's task shows: that it runs or ended, that its volume now exists
    /// there, that its node has no place after all.
    fn follow_task(&mut self, name: &ContainerName, generation: u32) {
        let Some((container, copy)) = self.live_copy(name, generation) else {
            return;
        };
        let Some(observed) = &self.observed else {
            return;
        };
        let Some(task) = observed.task(&copy.swarm_name) else {
            return;
        };
        let (instance, swarm_name) = (copy.instance.clone(), copy.swarm_name.clone());
        let is_begun = copy.phase == Phase::Starting && copy.is_fit();
        let spec = self.ledger.service_of(container).spec_at(copy.spec);
        let (has_volumes, restart) = (!spec.volumes.is_empty(), spec.restart);
        let service = container.service.clone();
        let state = task.state;
        // A task that failed without an exit code never ran.
        let code = match state {
            TaskState::Complete => Some(task.exit_code.unwrap_or(0)),
            _ => task.exit_code,
        };
        let node = self
            .node(&instance)
            .filter(|node| node.ready && node.active);
        // An earlier task of its own that still ends has the room: it is there in a moment.
        let open = node.is_some_and(|node| !observed.ends(&swarm_name, &node.id));
        let message = task.message.clone();
        // One that was stopped and has no successor starts no more than one without a place, unless
        // others stopped it.
        let edited = observed.service(&swarm_name).is_some_and(|it| it.edited);
        let stuck = matches!(state, TaskState::Pending | TaskState::Stopped) && open && !edited;
        if !stuck {
            self.copies.pending_since.remove(&swarm_name);
        }
        match state {
            TaskState::Complete | TaskState::Failed => {
                if let Some(code) = code.filter(|code| restart.ends_at(*code)) {
                    self.complete(name, generation, code);
                }
            }
            TaskState::Starting | TaskState::Running => {
                if has_volumes {
                    self.note_volumes(name, &instance);
                }
                let binds = has_volumes.then_some(instance);
                let runs = state == TaskState::Running && is_begun;
                if binds.is_some() || runs {
                    self.ledger.edit_container(name, |container| {
                        container.bound_to = binds.or(container.bound_to.take());
                        if let Some(copy) = container.copy_mut(generation).filter(|_| runs) {
                            copy.phase = Phase::Serving;
                        }
                    });
                    if runs {
                        self.copy_started(&service, &swarm_name);
                    }
                }
            }
            TaskState::Pending | TaskState::Stopped if stuck => {
                let since = self.copies.pending_since.entry(swarm_name);
                let since = *since.or_insert(self.now);
                if self.now.since(since) < PENDING_PATIENCE {
                    return self.wake(since.plus(PENDING_PATIENCE));
                }
                let until = self.now.plus(SHUN);
                let shunned = &mut self.copies.shunned;
                shunned.insert(name.clone(), (instance.clone(), until));
                let message =
                    message.unwrap_or_else(|| "the engine finds no place for it".to_owned());
                let why = format!("{} does not take it ({message})", self.tag_of(&instance));
                self.give_up(name, generation, &why);
            }
            _ => {}
        }
    }

    /// Its process ended by itself and is not to run again.
    fn complete(&mut self, name: &ContainerName, generation: u32, exit_code: i64) {
        let at = self.now;
        let copy = self.ledger.edit_container(name, |container| {
            container.outcome = Some(Outcome { exit_code, at });
            let copy = container.copy_mut(generation)?;
            copy.phase = Phase::Ended;
            Some(copy.clone())
        });
        let copy = copy.flatten();
        copy.iter().for_each(|copy| self.release_ports(copy));
        let text = format!("its process ended with {exit_code}");
        self.decide(Some(name), copy.map(|copy| copy.instance).as_ref(), text);
    }

    /// Gives up a copy on an instance that will not run it.
    fn check_machine(&mut self, name: &ContainerName, generation: u32) {
        let Some((container, copy)) = self.live_copy(name, generation) else {
            return;
        };
        let (instance, bound) = (copy.instance.clone(), container.bound_to.is_some());
        // On a node that is closed, what no node holds yet never starts.
        let holds = self
            .observed
            .as_ref()
            .is_some_and(|observed| observed.is_held(&copy.swarm_name))
            && self.joins(&instance);
        let service = self
            .observed
            .as_ref()
            .and_then(|observed| observed.service(&copy.swarm_name));
        let pin = service.and_then(|service| service.node.as_ref());
        let replaced = pin.is_some_and(|pin| {
            let node = self.node(&instance);
            node.is_some_and(|node| node.ready && *pin != node.id)
        });
        let stays = |copy: &Copy| {
            let instance = self.ledger.instance(&copy.instance);
            instance.is_some_and(|instance| !instance.force)
        };
        let falls_back = container
            .primary()
            .is_some_and(|primary| primary.generation == generation)
            && container.replaced().any(stays);
        let record = self.ledger.instance(&instance);
        let state = record.map(|record| (record.state, record.force));
        let tag = self.tag_of(&instance);
        match state {
            Some((InstanceState::Failed, _)) => {
                let reason = record.and_then(|record| record.reason.as_deref());
                let reason = reason.unwrap_or("for no known reason");
                let why = format!("{tag} failed: {reason}");
                self.give_up(name, generation, &why);
            }
            // It was adopted from the engine, and its machine will be when its cloud has answered.
            None if self.unheard_cloud().is_some() => {}
            None | Some((InstanceState::Gone | InstanceState::Stopping, _)) => {
                self.give_up(name, generation, &format!("{tag} is gone"));
            }
            Some((InstanceState::Draining, true)) if bound => {
                self.ledger
                    .edit_container(name, |container| container.bound_to = None);
                let why = format!("{tag} is stopped by force, with the volumes on it");
                self.give_up(name, generation, &why);
            }
            Some((InstanceState::Draining, true)) if falls_back => {
                self.give_up(name, generation, &format!("{tag} is stopped by force"));
            }
            Some((InstanceState::Draining, _)) if !holds && !self.can_stay(&instance) => {
                self.give_up(name, generation, &format!("{tag} is being drained"));
            }
            Some(_) if replaced => {
                let why = format!("{tag} joined again as another node");
                self.give_up(name, generation, &why);
            }
            Some(_) => {}
        }
    }

    /// A live copy of a container that is to run.
    fn live_copy(&self, name: &ContainerName, generation: u32) -> Option<(&Container, &Copy)> {
        let container = self.ledger.container(name)?;
        let copy = container.copy(generation)?;
        (container.wants_room() && copy.is_live()).then_some((container, copy))
    }

    /// Lets go of copies whose process has ended and whose Swarm service is gone.
    fn end_copies(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.container(name) else {
            return;
        };
        let ending = container.copies.iter().filter(|copy| !copy.is_live());
        for copy in ending.cloned().collect::<Vec<_>>() {
            if copy.takes_room() && !self.has_ended(name, &copy) {
                continue;
            }
            if copy.takes_room() {
                self.release_ports(&copy);
            }
            let gone = !self.has_or_makes(&copy.swarm_name);
            self.ledger.edit_container(name, |container| {
                if let Some(copy) = container.copy_mut(copy.generation) {
                    copy.phase = Phase::Ended;
                }
                if gone {
                    let generation = copy.generation;
                    container
                        .copies
                        .retain(|copy| copy.generation != generation);
                }
            });
        }
    }

    /// Whether the process of a copy that is retired has ended: the engine shows no task of it any
    /// more, its machine is lost, or nobody answers for longer than the grace period and a bound.
    fn has_ended(&mut self, name: &ContainerName, copy: &Copy) -> bool {
        let record = self.ledger.instance(&copy.instance);
        let lost = match record {
            None => self.unheard_cloud().is_none(),
            Some(record) => matches!(
                record.state,
                InstanceState::Failed | InstanceState::Gone | InstanceState::Stopping
            ),
        };
        if lost {
            return true;
        }
        if self.has_or_makes(&copy.swarm_name) {
            return false;
        }
        let never_joined = record.is_some_and(|record| record.joined_at.is_none());
        let node = self.node(&copy.instance);
        let (answers, ends) = match (node, &self.observed) {
            (Some(node), Some(observed)) => {
                (node.ready, observed.ending(&copy.swarm_name, &node.id))
            }
            _ if never_joined => return true,
            _ => (false, None),
        };
        match ends {
            None if answers => return true,
            Some(true) if answers => return false,
            _ => {}
        }
        let Phase::Retiring { since } = copy.phase else {
            return false;
        };
        let grace = self.stop_grace(name, copy);
        let bound = since.plus(grace + END_BOUND);
        if self.now < bound {
            self.wake(bound);
            return false;
        }
        let text = format!(
            "{} does not say whether its process has ended: taken for ended after {} s",
            self.tag_of(&copy.instance),
            (grace + END_BOUND).as_secs()
        );
        self.decide(Some(name), Some(&copy.instance), text);
        true
    }

    /// Time from the stop signal to SIGKILL of a container's Swarm service.
    pub(super) fn grace_of(&self, name: &ContainerName, swarm_name: &str) -> Duration {
        let container = self.ledger.container(name);
        let mut copies = container.iter().flat_map(|it| &it.copies);
        let copy = copies.find(|copy| copy.swarm_name == swarm_name);
        copy.map_or_else(
            || RunOptions::default().stop_grace(),
            |copy| self.stop_grace(name, copy),
        )
    }

    /// Time from the stop signal to SIGKILL of a copy.
    fn stop_grace(&self, name: &ContainerName, copy: &Copy) -> Duration {
        let container = self.ledger.container(name);
        let service = container.and_then(|it| self.ledger.service(&it.service));
        let grace = service.map(|service| service.spec_at(copy.spec).run.stop_grace());
        grace.unwrap_or_else(|| RunOptions::default().stop_grace())
    }

    /// Whether a Swarm service is there, or a call about it is under way.
    pub(super) fn has_or_makes(&self, swarm_name: &str) -> bool {
        let observed = self.observed.as_ref();
        self.is_changing(swarm_name)
            || observed.is_some_and(|observed| observed.has_service(swarm_name))
    }

    /// Whether a call about a Swarm service is under way, or so short ago that it is not observed
    /// yet.
    pub(super) fn is_changing(&self, name: &str) -> bool {
        self.copies.settling.contains_key(name)
            || self.calls.is_in_flight(&CallKey::Service(name.to_owned()))
    }

    /// Notes that nothing is left of a container that was to be removed.
    fn finish(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.container(name) else {
            return;
        };
        let there = self
            .observed
            .as_ref()
            .is_some_and(|observed| observed.services_of(name).next().is_some());
        let removed = container.desired == Desired::Removed && container.removed_at.is_none();
        if removed && container.copies.is_empty() && !there {
            let now = self.now;
            self.ledger
                .edit_container(name, |container| container.removed_at = Some(now));
        }
    }

    /// A container with its primary copy.
    pub(super) fn placed(&self, name: &ContainerName) -> Option<(&Container, &Copy)> {
        let container = self.ledger.container(name)?;
        Some((container, container.primary()?))
    }

    /// Gives up a copy: the container waits unless it has another, and is planned anew.
    pub(super) fn give_up(&mut self, name: &ContainerName, generation: u32, why: &str) {
        let since = self.now;
        let instance = self.ledger.edit_container(name, |container| {
            container.reason = Some(why.to_owned());
            let copy = container.copy_mut(generation)?;
            copy.phase = Phase::Retiring { since };
            Some(copy.instance.clone())
        });
        let text = format!("planned anew: {why}");
        self.journal.tell(Progress {
            subject: name.to_string(),
            at: self.now,
            text: text.clone(),
            settled: None,
        });
        self.decide(Some(name), instance.flatten().as_ref(), text);
    }

    /// Returns true if the primary copy of a container runs, and is healthy if it is checked.
    pub(super) fn runs(&self, container: &Container) -> bool {
        container
            .primary()
            .is_some_and(|copy| self.copy_serves(copy))
    }

    pub(super) fn copy_runs(&self, copy: &Copy) -> bool {
        let observed = self.observed.as_ref();
        observed.is_some_and(|observed| observed.runs(&copy.swarm_name))
            && self.joins(&copy.instance)
    }

    /// Notes which of its Swarm services have to be polled: those with a task that is on its way up
    /// on a machine that answers, or whose process is to end.
    fn note_polled(&mut self, name: &ContainerName) {
        let copies = self.ledger.container(name);
        let copies = copies.map_or(&[][..], |container| &container.copies);
        let named = |which: &dyn Fn(&&Copy) -> bool| {
            let copies = copies.iter().filter(which);
            copies
                .map(|copy| copy.swarm_name.clone())
                .collect::<Vec<_>>()
        };
        let moving = named(&|copy| self.moves(copy));
        let observed = self.observed.as_ref();
        let fails = |copy: &Copy| observed?.failure(&copy.swarm_name);
        let failing = named(&|copy| fails(copy).is_some());
        self.copies.poll(name, moving);
        if failing.is_empty() {
            self.copies.failing.remove(name);
        } else {
            self.copies.failing.insert(name.clone(), failing);
        }
    }

    /// Looks at the Swarm services whose process keeps ending: nothing else tells when one stays up.
    pub(super) fn look_at_failing(&mut self) {
        let names = self.copies.failing.values().flatten().cloned();
        for name in names.collect::<Vec<_>>() {
            self.observe_service(&name);
        }
    }

    fn moves(&self, copy: &Copy) -> bool {
        let Some(observed) = &self.observed else {
            return false;
        };
        let name = &copy.swarm_name;
        if !copy.is_live() {
            return copy.takes_room() && !observed.has_service(name);
        }
        let rests = |task: &crate::engine::SwarmTask| task.state >= TaskState::Running;
        observed.has_service(name)
            && self.joins(&copy.instance)
            && observed.failure(name).is_none()
            && !observed.task(name).is_some_and(rests)
    }

    /// Visits containers that wait for another to run on their machine.
    pub(super) fn containers_moved(&mut self, touched: &Touched) {
        if touched.containers.is_empty() || self.copies.gossiping.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.copies.gossiping);
        self.ledger.dirty.containers.extend(waiting);
    }

    /// Drops records that have served their time.
    pub(super) fn prune(&mut self) {
        while let Some((at, name)) = self.ledger.index.removed.first().cloned()
            && self.now.since(at) >= TOMBSTONE
        {
            let service = self
                .ledger
                .container(&name)
                .map(|container| container.service.clone());
            self.ledger.remove_container(&name);
            if let Some(service) = service
                && self.ledger.index.of_service(&service).next().is_none()
                && self.ledger.policies.get(&service).is_none()
            {
                self.ledger.remove_service(&service);
            }
        }
        let now = self.now;
        let keep = self.config.keep_gone;
        let ended = self.ledger.index.ended.iter();
        let old = ended.take_while(|(at, _)| now.since(*at) >= keep);
        let unneeded = old.filter(|(_, id)| {
            self.ledger.containers_on(id).next().is_none()
                && self.observed.as_ref().is_some_and(|observed| {
                    self.node(id).is_none() && observed.claimants(id).next().is_none()
                })
        });
        for id in unneeded.map(|(_, id)| id.clone()).collect::<Vec<_>>() {
            self.ledger.remove_instance(&id);
        }
        self.prune_images();
        self.prune_notes();
    }
}
