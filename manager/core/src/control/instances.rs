//! The life of an instance: each of its arrows, and the calls that each state asks for.

use super::{Call, CallKey, Core};
use crate::model::Instance;
use micado_api::{InstanceId, InstanceState, Timestamp};
use micado_cloudsetup::MachineState;
use std::time::Duration;

/// How long an order that the broker neither takes nor refuses is asked again before another
/// flavour or cloud is tried.
const ORDER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a node may take to dial again once it has something to say: it waits 5 s for an answer,
/// and pauses for up to 8 s between attempts of 5 s.
const DIALS_AGAIN: Duration = Duration::from_secs(25);

/// How long a machine may take to join when its cloud is no longer in `cloudsetup.xml`.
const DEFAULT_JOIN_TIMEOUT: Duration = Duration::from_secs(600);

impl Core {
    /// Moves every instance along as far as what was seen allows.
    pub(super) fn advance_instances(&mut self) {
        for id in self.ledger.instances.keys() {
            self.advance_instance(&id);
        }
    }

    fn advance_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let state = instance.state;
        if matches!(
            state,
            InstanceState::Gone | InstanceState::Failed | InstanceState::Stopping
        ) {
            if instance.is_live() && self.has_vanished(instance) {
                self.release(id);
            } else if state == InstanceState::Failed {
                self.take_back(id);
            }
            return;
        }
        self.look_at(id);
        if self.lost(id) {
            return;
        }
        self.wake_for(id);
        let (joined, machine) = (
            self.joins(id),
            self.ledger
                .instances
                .get(id)
                .and_then(|it| self.machine_state(&it.cloud, id)),
        );
        match (state, machine) {
            _ if joined && (state < InstanceState::Active) => self.join(id),
            (InstanceState::Requested, Some(MachineState::Running))
            | (InstanceState::Submitted, Some(MachineState::Running)) => {
                self.set_state(id, InstanceState::Booting);
            }
            (InstanceState::Requested, Some(_)) if self.memory.accepted.contains(id) => {
                self.set_state(id, InstanceState::Submitted)
            }
            (InstanceState::Draining, _) if self.containers_on(id).next().is_none() => {
                self.set_state(id, InstanceState::Stopping)
            }
            _ => {}
        }
    }

    /// A machine that was given up and kept for its volumes, and that answers again, is in use
    /// again: nothing else can run what is bound to it.
    fn take_back(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let runs = self.machine_state(&instance.cloud, id) == Some(MachineState::Running)
            && self.joins(id);
        if !instance.is_live()
            || !runs
            || !self.keeps_volumes(id)
            || self.is_in_flight(&CallKey::Machine(id.clone()))
        {
            return;
        }
        let text = format!(
            "{} answers again, and holds volumes that are wanted: in use again",
            instance.tag
        );
        if let Some(instance) = self.ledger.instances.edit(id) {
            instance.reason = None;
        }
        self.set_state(id, InstanceState::Active);
        self.decide(None, Some(id), text);
    }

    /// Asks to be woken when the next of an instance's deadlines has passed.
    fn wake_for(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let join = instance.is_arriving().then(|| self.join_deadline(instance));
        let order = (instance.state == InstanceState::Requested)
            .then(|| instance.created_at.plus(ORDER_PATIENCE));
        let down = self
            .memory
            .down_since
            .get(id)
            .map(|since| self.down_deadline(*since));
        for at in [join, order, down]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .collect::<Vec<_>>()
        {
            self.wake(at);
        }
    }

    /// Gives an instance up when it is dead, did not come, or does not answer for too long; true
    /// when it did.
    fn lost(&mut self, id: &InstanceId) -> bool {
        let Some(instance) = self.ledger.instances.get(id) else {
            return false;
        };
        let verdict = self.death_of(instance);
        let Some((words, gone)) = verdict else {
            return false;
        };
        self.fail_instance(id, words);
        if gone {
            self.release(id);
        }
        true
    }

    /// Why an instance has to be given up, and whether its machine is surely gone.
    fn death_of(&self, instance: &Instance) -> Option<(String, bool)> {
        let (cloud, age) = (&instance.cloud, self.now.since(instance.created_at));
        if self.has_vanished(instance) {
            return Some((format!("{cloud} no longer has the machine"), true));
        }
        if self.machine_state(cloud, &instance.id) == Some(MachineState::Dead) {
            let detail = self
                .clouds
                .get(cloud)
                .and_then(|sight| sight.machine(&instance.id)?.detail.clone());
            return Some((
                format!(
                    "{cloud} says that the machine is dead{}",
                    detail.map_or(String::new(), |words| format!(": {words}"))
                ),
                false,
            ));
        }
        if instance.is_arriving() {
            let words = self.broker_says(instance);
            let in_swarm = self
                .sight
                .as_ref()
                .is_some_and(|sight| sight.node(&instance.id).is_some());
            let unknown = self.machine_state(cloud, &instance.id).is_none() && !in_swarm;
            if let Some(words) = words.filter(|_| age >= ORDER_PATIENCE && unknown) {
                return Some((format!("{cloud} does not take the order: {words}"), false));
            }
            let limit = self.join_timeout(instance);
            let late = self.now >= self.join_deadline(instance) && !self.joins(&instance.id);
            return late.then(|| (format!("did not join within {} s", limit.as_secs()), false));
        }
        let since = *self.memory.down_since.get(&instance.id)?;
        let believed = self.now >= self.down_deadline(since) && self.believes_down(instance, since);
        // The Swarm has waited for it before.
        let silent = self.now.since(since) + self.config.heartbeat * 2;
        believed.then(|| {
            (
                format!("its node has not answered for {} s", silent.as_secs()),
                false,
            )
        })
    }

    /// When a machine is given up whose node has been down since then. Nodes look as if they were
    /// down right after the engine was away, too.
    fn down_deadline(&self, since: Timestamp) -> Timestamp {
        since
            .plus(self.config.patience())
            .max(self.come_back_by().unwrap_or(since))
    }

    /// Whether a node's silence is the machine's own: its broker was heard since, and it is not
    /// that all machines fell silent, for then it is rather the manager that is cut off. When that
    /// ends they come back one after the other: the first of them says nothing about the rest.
    fn believes_down(&self, instance: &Instance, since: Timestamp) -> bool {
        let heard = self.clouds.get(&instance.cloud).is_some_and(|cloud| {
            cloud.error.is_none() && cloud.listed.is_some_and(|at| at >= since)
        });
        let mut in_use = self
            .ledger
            .instances
            .values()
            .filter(|it| matches!(it.state, InstanceState::Active | InstanceState::Draining));
        let (first, second) = (in_use.next(), in_use.next());
        let alone = first.is_none() || second.is_none();
        let proves =
            |ready: Timestamp| ready < since || self.now >= ready.plus(self.comes_back_within());
        let another_answers = || {
            self.ledger.instances.values().any(|it| {
                it.joined_at.is_some()
                    && self
                        .memory
                        .ready_since
                        .get(&it.id)
                        .copied()
                        .is_some_and(proves)
            })
        };
        heard && (alone || another_answers())
    }

    fn join_timeout(&self, instance: &Instance) -> Duration {
        self.config
            .setup
            .clouds
            .iter()
            .find(|cloud| cloud.name == instance.cloud)
            .map_or(DEFAULT_JOIN_TIMEOUT, |cloud| cloud.join_timeout)
    }

    /// Until when an arriving machine may join. Nothing joins, and nodes look as if they were down,
    /// while the engine is away and right after: such a time is not held against the machine. One
    /// that the Swarm does not know has nothing to find out: it dials until it is in.
    pub(super) fn join_deadline(&self, instance: &Instance) -> Timestamp {
        let known = self
            .sight
            .as_ref()
            .is_some_and(|sight| sight.node(&instance.id).is_some());
        let heard_by = if known {
            self.come_back_by()
        } else {
            self.memory.seen_since.map(|since| since.plus(DIALS_AGAIN))
        };
        heard_by
            .unwrap_or(self.now)
            .max(instance.created_at.plus(self.join_timeout(instance)))
    }

    /// Until when nodes may be heard again after the engine was away.
    fn come_back_by(&self) -> Option<Timestamp> {
        self.memory
            .seen_since
            .map(|since| since.plus(self.comes_back_within()))
    }

    /// How long nodes may take to be heard again after what kept all of them away: those that it
    /// left without a word find out at their next heartbeat.
    fn comes_back_within(&self) -> Duration {
        self.config.heartbeat + DIALS_AGAIN
    }

    fn has_vanished(&self, instance: &Instance) -> bool {
        self.clouds
            .get(&instance.cloud)
            .is_some_and(|sight| sight.has_vanished(&instance.id))
    }

    /// Whether its node is in the Swarm and answers.
    pub(super) fn joins(&self, id: &InstanceId) -> bool {
        self.sight
            .as_ref()
            .and_then(|sight| sight.node(id))
            .is_some_and(|node| node.ready)
    }

    /// Takes over what the engine and the broker know of the machine. When a node stops answering,
    /// that is noted and its broker asked at once.
    fn look_at(&mut self, id: &InstanceId) {
        let ready = self.joins(id);
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let (cloud, in_use) = (
            instance.cloud.clone(),
            matches!(
                instance.state,
                InstanceState::Active | InstanceState::Draining
            ),
        );
        if ready {
            self.memory.down_since.remove(id);
        } else if in_use && !self.memory.down_since.contains_key(id) {
            self.memory.down_since.insert(id.clone(), self.now);
            self.list_cloud(&cloud);
        }
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let machine = self.clouds.get(&cloud).and_then(|sight| sight.machine(id));
        let node = self
            .sight
            .as_ref()
            .and_then(|sight| sight.node(id))
            .filter(|node| node.ready);
        let address = machine
            .and_then(|it| it.address.as_ref())
            .or(instance.address.as_ref())
            .or(node.and_then(|it| it.address.as_ref()));
        let broker_id = machine.map(|it| &it.id).or(instance.broker_id.as_ref());
        let (size, node) = (
            node.map_or(instance.size, |it| it.size),
            node.map(|it| &it.id).or(instance.node.as_ref()),
        );
        let same = (address, broker_id, size, node)
            == (
                instance.address.as_ref(),
                instance.broker_id.as_ref(),
                instance.size,
                instance.node.as_ref(),
            );
        let (address, broker_id, node) = (address.cloned(), broker_id.cloned(), node.cloned());
        if same {
            return;
        }
        if let Some(instance) = self.ledger.instances.edit(id) {
            (
                instance.address,
                instance.broker_id,
                instance.size,
                instance.node,
            ) = (address, broker_id, size, node);
        }
    }

    /// Its node is in the Swarm: containers may be placed on it.
    fn join(&mut self, id: &InstanceId) {
        let now = self.now;
        let Some(instance) = self.ledger.instances.edit(id) else {
            return;
        };
        instance.joined_at = Some(now);
        let text = format!(
            "{} joined after {:.1} s",
            instance.tag,
            now.since(instance.created_at).as_secs_f64()
        );
        self.set_state(id, InstanceState::Active);
        self.decide(None, Some(id), text);
    }

    pub(super) fn set_state(&mut self, id: &InstanceId, state: InstanceState) {
        let now = self.now;
        if let Some(instance) = self.ledger.instances.edit(id) {
            instance.state = state;
            instance.state_since = now;
        }
    }

    /// Gives an instance up, in these words; its containers are planned anew, its machine is given
    /// back.
    pub(super) fn fail_instance(&mut self, id: &InstanceId, words: String) {
        self.set_state(id, InstanceState::Failed);
        self.memory.down_since.remove(id);
        let Some(instance) = self.ledger.instances.edit(id) else {
            return;
        };
        instance.reason = Some(words.clone());
        let text = format!("{} failed: {words}", instance.tag);
        self.decide(None, Some(id), text);
    }

    /// Makes the calls that the states ask for.
    pub(super) fn drive_instances(&mut self) {
        for id in self.ledger.instances.keys() {
            self.drive_instance(&id);
        }
    }

    fn drive_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        match instance.state {
            InstanceState::Requested => self.order(id),
            InstanceState::Active => self.set_node_active(id, true),
            InstanceState::Draining => self.set_node_active(id, false),
            InstanceState::Stopping => self.give_back(id),
            InstanceState::Failed if instance.is_live() && !self.keeps_volumes(id) => {
                self.give_back(id)
            }
            InstanceState::Failed | InstanceState::Gone if !instance.is_live() => {
                self.forget_node(id)
            }
            _ => {}
        }
        self.forget_old_nodes(id);
    }

    /// Orders the machine, once a list that is later than any lost answer says that it is not
    /// there. One that is there and does not run yet may be half made by an order that was cut off:
    /// the same order again finishes it.
    fn order(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let absent = matches!(
            self.machine_state(&instance.cloud, id),
            None | Some(MachineState::Pending)
        );
        let known = self
            .clouds
            .get(&instance.cloud)
            .is_some_and(|sight| sight.listed.is_some() && sight.error.is_none());
        if !known || !absent || self.memory.unsure.contains_key(id) {
            return;
        }
        let call = Call::LaunchMachine {
            cloud: instance.cloud.clone(),
            instance: id.clone(),
            tag: instance.tag.clone(),
            location: instance.location.clone(),
            application: instance.application.clone(),
            flavour: instance.flavour.clone(),
            files: instance.files.clone(),
        };
        self.call(CallKey::Machine(id.clone()), call);
    }

    fn give_back(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instances.get(id) else {
            return;
        };
        let cloud = instance.cloud.clone();
        self.call(
            CallKey::Machine(id.clone()),
            Call::TerminateMachine {
                cloud,
                instance: id.clone(),
            },
        );
    }

    /// Whether its machine may hold the only copy of a volume that somebody still wants: such a
    /// machine is given back only by force.
    pub(super) fn keeps_volumes(&self, id: &InstanceId) -> bool {
        let forced = self.ledger.instances.get(id).is_some_and(|it| it.force);
        !forced
            && self
                .ledger
                .containers
                .values()
                .any(|it| it.bound_to.as_ref() == Some(id) && it.wants_room())
    }

    /// A machine in use is open for tasks and one that is emptied is not, whoever changed it: a
    /// closed one would be paid for and of no use.
    fn set_node_active(&mut self, id: &InstanceId, active: bool) {
        if let Some(node) = self
            .sight
            .as_ref()
            .and_then(|sight| sight.node(id))
            .filter(|node| node.ready && node.active != active)
        {
            let node = node.id.clone();
            self.call(
                CallKey::Node(node.clone()),
                Call::SetActive { node, active },
            );
        }
    }

    /// Its machine is gone: so is its node, though the Swarm may wait for it for minutes yet.
    fn forget_node(&mut self, id: &InstanceId) {
        if let Some(node) = self.sight.as_ref().and_then(|sight| sight.node(id)) {
            let node = node.id.clone();
            self.call(CallKey::Node(node.clone()), Call::RemoveNode { node });
        }
    }

    /// A machine that joined again under a new node id leaves the old one behind.
    fn forget_old_nodes(&mut self, id: &InstanceId) {
        let Some(sight) = &self.sight else { return };
        let Some(present) = sight.node(id).filter(|node| node.ready) else {
            return;
        };
        let old = sight
            .doubles(id)
            .filter(|node| node.id != present.id && !node.ready);
        for node in old.map(|node| node.id.clone()).collect::<Vec<_>>() {
            self.call(CallKey::Node(node.clone()), Call::RemoveNode { node });
        }
    }
}
