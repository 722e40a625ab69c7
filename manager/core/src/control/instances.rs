//! The life of an instance: its transitions, and the calls that each state requires.

use super::{Core, config::SPREAD};
use crate::model::Instance;
use micado_api::{InstanceId, InstanceState, Tag, Timestamp};
use micado_cloudsetup::MachineState;
use std::time::Duration;

/// Time for which an order that the broker neither accepts nor refuses is repeated before another
/// flavour or cloud is tried.
const ORDER_PATIENCE: Duration = Duration::from_secs(30);

/// Upper bound for a node to dial again once it has something to send: it waits 5 s for an answer,
/// and pauses for up to 8 s between attempts of 5 s.
pub(super) const REDIAL: Duration = Duration::from_secs(25);

/// Time to join for a machine of a cloud that is not in `cloudsetup.xml` any more.
const DEFAULT_JOIN_TIMEOUT: Duration = Duration::from_secs(600);

impl Core {
    /// Advances an instance as far as the observations allow, and makes the calls that its state
    /// requires.
    pub(super) fn visit_instance(&mut self, id: &InstanceId) {
        if self.ledger.instance(id).is_none() {
            self.placing.forget(id);
            self.nodes.down_since.remove(id);
            return;
        }
        self.note_work(id);
        self.advance_instance(id);
        self.drive_instance(id);
        self.wake_for_silence(id);
        self.update_pool(id);
    }

    fn advance_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
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
                self.readopt(id);
            }
            return;
        }
        self.take_over_facts(id);
        if self.fails(id) {
            return;
        }
        self.wake_for_deadlines(id);
        let joined = self.joins(id);
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        match (state, self.machine_state(&instance.cloud, id)) {
            _ if joined && state < InstanceState::Active => self.join(id),
            (InstanceState::Requested | InstanceState::Submitted, Some(MachineState::Running)) => {
                self.set_state(id, InstanceState::Booting)
            }
            (InstanceState::Requested, Some(_)) if self.orders.is_accepted(id) => {
                self.set_state(id, InstanceState::Submitted);
            }
            (InstanceState::Draining, _) => self.end_drain(id),
            _ => {}
        }
    }

    /// Makes the calls that the state requires.
    fn drive_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        match instance.state {
            InstanceState::Requested => self.order(id),
            InstanceState::Active => self.set_node_active(id, true),
            InstanceState::Draining => self.set_node_active(id, false),
            InstanceState::Stopping => self.return_machine(id),
            InstanceState::Failed if instance.is_live() && !self.keeps_volumes(id) => {
                self.return_machine(id);
            }
            InstanceState::Failed | InstanceState::Gone if !instance.is_live() => {
                self.forget_node(id);
            }
            _ => {}
        }
        self.settle_claims(id);
    }

    /// Re-adopts a machine that failed, was kept for its volumes and answers again, because nothing
    /// else can run the containers that are bound to it.
    fn readopt(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let runs = self.machine_state(&instance.cloud, id) == Some(MachineState::Running)
            && self.joins(id);
        let key = super::CallKey::Machine(id.clone());
        if !instance.is_live() || !runs || !self.keeps_volumes(id) || self.calls.is_in_flight(&key)
        {
            return;
        }
        let text = format!(
            "{} answers again, and holds volumes that are wanted: in use again",
            instance.tag
        );
        self.ledger.edit_instance(id, |instance| {
            (instance.reason, instance.drain) = (None, None)
        });
        self.set_state(id, InstanceState::Active);
        self.decide(None, Some(id), text);
    }

    /// Sets the wake-up for the next of an instance's deadlines.
    fn wake_for_deadlines(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let join = instance.is_arriving().then(|| self.join_deadline(instance));
        let order = (instance.state == InstanceState::Requested)
            .then(|| instance.created_at.plus(ORDER_PATIENCE));
        let down = self.nodes.down_since.get(id).copied();
        let failed = down.map(|since| self.down_deadline(since));
        let unheard = down.map(|since| since.plus(self.config.unheard_patience()));
        let proof = down.and_then(|_| Some(self.proves_from(self.first_ready()?.0)));
        let deadlines = [join, order, failed, unheard, proof];
        for at in deadlines.into_iter().flatten() {
            if at > self.now {
                self.wake(at);
            }
        }
    }

    /// Fails an instance that is dead, did not join in time, or has been silent for too long; true
    /// if it did.
    fn fails(&mut self, id: &InstanceId) -> bool {
        let Some(instance) = self.ledger.instance(id) else {
            return false;
        };
        let (death, silence) = (self.death_of(instance), self.silence_of(instance));
        let death = death.or_else(|| {
            let (since, message) = silence?;
            let is_down = self.is_confirmed_down(id, since);
            is_down.then_some((message, false))
        });
        let Some((message, gone)) = death else {
            return false;
        };
        self.fail_instance(id, message);
        if gone {
            self.release(id);
        }
        true
    }

    /// Reason for which an instance has failed, and true if its machine is certainly gone.
    fn death_of(&self, instance: &Instance) -> Option<(String, bool)> {
        let (cloud, age) = (&instance.cloud, self.now.since(instance.created_at));
        if self.has_vanished(instance) {
            return Some((format!("{cloud} no longer has the machine"), true));
        }
        if self.machine_state(cloud, &instance.id) == Some(MachineState::Dead) {
            let machine = self.clouds.get(cloud);
            let detail = machine.and_then(|cloud| cloud.machine(&instance.id)?.detail.clone());
            let detail = detail.map_or(String::new(), |detail| format!(": {detail}"));
            return Some((
                format!("{cloud} says that the machine is dead{detail}"),
                false,
            ));
        }
        if instance.is_arriving() {
            let unknown = self.machine_state(cloud, &instance.id).is_none()
                && self.node(&instance.id).is_none();
            let message = self
                .broker_says(instance)
                .filter(|_| age >= ORDER_PATIENCE && unknown);
            if let Some(message) = message {
                return Some((format!("{cloud} does not take the order: {message}"), false));
            }
            let limit = self.join_timeout(instance);
            let late = self.now >= self.join_deadline(instance) && !self.joins(&instance.id);
            return late.then(|| (format!("did not join within {} s", limit.as_secs()), false));
        }
        None
    }

    /// Time since which the node of an instance does not answer, if that is too long, and the
    /// reason for which it fails.
    fn silence_of(&self, instance: &Instance) -> Option<(Timestamp, String)> {
        if instance.is_arriving() {
            return None;
        }
        let since = *self.nodes.down_since.get(&instance.id)?;
        let believed = self.now >= self.down_deadline(since) && self.believes_down(instance, since);
        // The Swarm has waited for it before.
        let silent = self.now.since(since) + self.config.heartbeat * 2;
        let message = format!("its node has not answered for {} s", silent.as_secs());
        believed.then_some((since, message))
    }

    /// Time at which a machine fails if its node has been down since then. Nodes also appear to be
    /// down right after an engine outage.
    fn down_deadline(&self, since: Timestamp) -> Timestamp {
        since
            .plus(self.config.patience())
            .max(self.reconnect_deadline().unwrap_or(since))
    }

    /// Returns true if a node's silence is the machine's own: its broker answered since, and not
    /// all machines fell silent. If all did, the manager is probably cut off. Afterwards they come
    /// back one after the other, so the first of them proves nothing about the rest. If the manager
    /// is cut off again meanwhile, it stays ready for long: only a connected agent tells that
    /// sooner.
    fn believes_down(&self, instance: &Instance, since: Timestamp) -> bool {
        let heard = self.clouds.get(&instance.cloud).is_some_and(|cloud| {
            cloud.error.is_none() && cloud.listed.is_some_and(|at| at >= since)
        });
        let states = [InstanceState::Active, InstanceState::Draining];
        let in_use = states
            .into_iter()
            .flat_map(|state| self.ledger.index.in_state(state));
        let alone = in_use.take(2).count() < 2;
        let another_answers = || {
            self.first_ready()
                .is_some_and(|(ready, _)| ready < since || self.now >= self.proves_from(ready))
        };
        let is_sure = || {
            self.now >= since.plus(self.config.unheard_patience())
                || self.hears_other_than(&instance.id)
        };
        heard && (alone || another_answers() && is_sure())
    }

    /// Time from which a node that has answered since `ready` proves that the manager is not cut
    /// off, because the others had time to reconnect. Right after an engine outage, the Swarm takes
    /// nodes for ready that it has not had time to miss.
    fn proves_from(&self, ready: Timestamp) -> Timestamp {
        let missed = self.config.heartbeat * 3 + SPREAD;
        let stale = self.nodes.seen_since == Some(ready);
        let bound = self.reconnect_bound();
        ready.plus(if stale { bound.max(missed) } else { bound })
    }

    /// The machine of ours that has answered for the longest time.
    fn first_ready(&self) -> Option<(Timestamp, &InstanceId)> {
        let joined = |id: &InstanceId| {
            self.ledger
                .instance(id)
                .is_some_and(|instance| instance.joined_at.is_some())
        };
        self.nodes.ready().find(|(_, id)| joined(id))
    }

    fn join_timeout(&self, instance: &Instance) -> Duration {
        self.config
            .setup
            .clouds
            .iter()
            .find(|cloud| cloud.name == instance.cloud)
            .map_or(DEFAULT_JOIN_TIMEOUT, |cloud| cloud.join_timeout)
    }

    /// Time until which an arriving machine may join. During an engine outage and right after it,
    /// nothing joins and nodes appear to be down, so that time does not count. A machine that the
    /// Swarm does not know needs no time to notice: it dials until it has joined.
    pub(super) fn join_deadline(&self, instance: &Instance) -> Timestamp {
        let heard_by = if self.node(&instance.id).is_some() {
            self.reconnect_deadline()
        } else {
            self.nodes.seen_since.map(|since| since.plus(REDIAL))
        };
        heard_by
            .unwrap_or(self.now)
            .max(instance.created_at.plus(self.join_timeout(instance)))
    }

    /// Time until which nodes may reconnect after an engine outage.
    fn reconnect_deadline(&self) -> Option<Timestamp> {
        let since = self.nodes.seen_since?;
        Some(since.plus(self.reconnect_bound()))
    }

    /// Upper bound for nodes to reconnect after a manager-side outage: one heartbeat to notice, plus
    /// redial time.
    fn reconnect_bound(&self) -> Duration {
        self.config.heartbeat + REDIAL
    }

    fn has_vanished(&self, instance: &Instance) -> bool {
        self.clouds
            .get(&instance.cloud)
            .is_some_and(|cloud| cloud.has_vanished(&instance.id))
    }

    /// Takes over what the engine and the broker report about the machine. When a node stops
    /// answering, records that and asks its broker at once.
    fn take_over_facts(&mut self, id: &InstanceId) {
        let ready = self.joins(id);
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let in_use = matches!(
            instance.state,
            InstanceState::Active | InstanceState::Draining
        );
        let cloud = instance.cloud.clone();
        if ready {
            self.nodes.down_since.remove(id);
        } else if in_use && !self.nodes.down_since.contains_key(id) {
            self.nodes.down_since.insert(id.clone(), self.now);
            self.list_cloud(&cloud);
        }
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let machine = self.clouds.get(&cloud).and_then(|cloud| cloud.machine(id));
        let node = self.node(id).filter(|node| node.ready);
        let address = machine
            .and_then(|machine| machine.address.as_ref())
            .or(instance.address.as_ref())
            .or(node.and_then(|node| node.address.as_ref()));
        let broker_id = machine
            .map(|machine| &machine.id)
            .or(instance.broker_id.as_ref());
        let size = node.map_or(instance.size, |node| node.size);
        let platform = node.and_then(|node| node.platform.as_ref());
        let platform = platform.or(instance.platform.as_ref()).cloned();
        let node = node.map(|node| &node.id).or(instance.node.as_ref());
        let (address, broker_id, node) = (address.cloned(), broker_id.cloned(), node.cloned());
        let facts = (&address, &broker_id, &node, size, &platform);
        let known = (
            &instance.address,
            &instance.broker_id,
            &instance.node,
            instance.size,
            &instance.platform,
        );
        if facts != known {
            self.ledger.edit_instance(id, |instance| {
                (instance.address, instance.broker_id) = (address, broker_id);
                (instance.node, instance.size, instance.platform) = (node, size, platform);
            });
        }
    }

    /// Its node is in the Swarm: containers may be placed on it.
    fn join(&mut self, id: &InstanceId) {
        let now = self.now;
        let text = self.ledger.edit_instance(id, |instance| {
            instance.joined_at = Some(now);
            let after = now.since(instance.created_at).as_secs_f64();
            format!("{} joined after {after:.1} s", instance.tag)
        });
        self.set_state(id, InstanceState::Active);
        if let Some(text) = text {
            self.decide(None, Some(id), text);
        }
        self.learn_lead(id);
        self.mark_down();
    }

    pub(super) fn set_state(&mut self, id: &InstanceId, state: InstanceState) {
        let now = self.now;
        self.ledger.edit_instance(id, |instance| {
            instance.state = state;
            instance.state_since = now;
        });
        self.mark_down();
    }

    /// Fails an instance with this message; its containers are planned again, its machine is
    /// returned.
    pub(super) fn fail_instance(&mut self, id: &InstanceId, message: String) {
        self.set_state(id, InstanceState::Failed);
        self.nodes.down_since.remove(id);
        let text = self.ledger.edit_instance(id, |instance| {
            instance.reason = Some(message.clone());
            format!("{} failed: {message}", instance.tag)
        });
        if let Some(text) = text {
            self.decide(None, Some(id), text);
        }
    }

    /// Returns true if its machine may hold the only copy of a wanted volume: such a machine is
    /// returned only by force.
    pub(super) fn keeps_volumes(&self, id: &InstanceId) -> bool {
        let forced = self
            .ledger
            .instance(id)
            .is_some_and(|instance| instance.force);
        let mut bound = self.ledger.index.bound_to(id);
        !forced
            && bound.any(|name| {
                self.ledger
                    .container(name)
                    .is_some_and(|container| container.wants_room())
            })
    }

    /// The tag of an instance.
    pub(super) fn tag_of(&self, instance: &InstanceId) -> Tag {
        let unknown = || Tag::trusted(instance.as_str());
        let record = self.ledger.instance(instance);
        record.map_or_else(unknown, |record| record.tag.clone())
    }
}
