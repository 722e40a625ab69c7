//! Clouds: the lists of machines that their brokers return.

use super::{Call, CallKey, Core};
use micado_api::{CloudName, InstanceId, InstanceState, Timestamp};
use micado_cloudsetup::{BrokerError, Machine, MachineState};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Time for which lists must have lacked a machine before it counts as gone.
const VANISH: Duration = Duration::from_secs(10);

/// Time for which a new core rents nothing while a cloud has not answered at all, because it may be
/// the cheapest. After that, only the others are considered.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Knowledge about one cloud.
#[derive(Debug, Clone, Default)]
pub(super) struct CloudRecord {
    /// Its machines of this cluster, by the last successful list.
    pub(super) machines: BTreeMap<InstanceId, Machine>,
    /// Time at which that list was requested: it includes all earlier effects.
    pub(super) listed: Option<Timestamp>,
    /// The broker's message, while it does not answer.
    pub(super) error: Option<String>,
    /// First of its answers without a failure since, and their number.
    pub(super) steady: Option<(Timestamp, u32)>,
    /// Time at which each machine last certainly existed, by the answer to its order.
    known: BTreeMap<InstanceId, Timestamp>,
    /// First and last list that lacked an expected machine.
    missing: BTreeMap<InstanceId, (Timestamp, Timestamp)>,
    /// Time at which each machine was certainly returned.
    released: BTreeMap<InstanceId, Timestamp>,
    /// Time of the last request for a list, answered or not.
    pub(super) asked: Timestamp,
    again: bool,
}

impl CloudRecord {
    /// Returns true once it has answered, even with an error.
    pub(super) fn was_asked(&self) -> bool {
        self.listed.is_some() || self.error.is_some()
    }

    /// Drops knowledge about machines without a record.
    pub(super) fn forget(&mut self, unknown: impl Fn(&InstanceId) -> bool) {
        self.known.retain(|id, _| !unknown(id));
        self.missing.retain(|id, _| !unknown(id));
        self.released.retain(|id, _| !unknown(id));
    }

    pub(super) fn machine(&self, instance: &InstanceId) -> Option<&Machine> {
        self.machines.get(instance)
    }

    /// Returns true if an existing machine has vanished: consecutive lists lacked it for longer
    /// than stale data of the broker could explain.
    pub(super) fn has_vanished(&self, instance: &InstanceId) -> bool {
        self.missing
            .get(instance)
            .is_some_and(|(first, last)| last.since(*first) >= VANISH)
    }

    /// Records the answer to an order.
    pub(super) fn ordered(&mut self, instance: &InstanceId, machine: Machine, now: Timestamp) {
        self.known.insert(instance.clone(), now);
        self.missing.remove(instance);
        self.machines.insert(instance.clone(), machine);
    }

    /// Records the return of a machine.
    pub(super) fn released(&mut self, instance: &InstanceId, now: Timestamp) {
        self.released.insert(instance.clone(), now);
        self.machines.remove(instance);
        self.known.remove(instance);
        self.missing.remove(instance);
    }

    /// Takes over a list; returns the instances with changes.
    fn replace(&mut self, list: Vec<Machine>) -> BTreeSet<InstanceId> {
        let mut changed = BTreeSet::new();
        let mut old = std::mem::take(&mut self.machines);
        for machine in list {
            let id = machine.instance.clone();
            if old.remove(&id).as_ref() != Some(&machine) {
                changed.insert(id.clone());
            }
            if !self.missing.is_empty() && self.missing.remove(&id).is_some() {
                changed.insert(id.clone());
            }
            self.machines.insert(id, machine);
        }
        changed.extend(old.into_keys());
        changed
    }
}

impl Core {
    /// Requests the machines of every cloud.
    pub(super) fn list_clouds(&mut self) {
        for cloud in self.clouds.keys().cloned().collect::<Vec<_>>() {
            self.list_cloud(&cloud);
        }
    }

    /// Requests a cloud's machines, now or once the list in flight has arrived.
    pub(super) fn list_cloud(&mut self, cloud: &CloudName) {
        let key = CallKey::List(cloud.clone());
        let under_way = self.calls.is_in_flight(&key);
        let now = self.now;
        let Some(record) = self.clouds.get_mut(cloud) else {
            return;
        };
        if under_way {
            record.again = true;
            return;
        }
        record.asked = now;
        let cloud = cloud.clone();
        self.call(Call::ListMachines { cloud });
    }

    /// Time until which nothing is rented because a cloud has not answered yet.
    pub(super) fn first_answers_awaited(&self) -> Option<Timestamp> {
        let silent = self.clouds.values().filter(|cloud| !cloud.was_asked());
        silent
            .map(|cloud| cloud.asked.plus(FIRST_ANSWER))
            .filter(|until| *until > self.now)
            .max()
    }

    /// A cloud that has never listed its machines: a machine without a record may be one of them.
    pub(super) fn unheard_cloud(&self) -> Option<&CloudName> {
        self.clouds
            .iter()
            .find(|(_, cloud)| cloud.listed.is_none())
            .map(|(name, _)| name)
    }

    pub(super) fn machines_listed(
        &mut self,
        cloud: &CloudName,
        result: Result<Vec<Machine>, BrokerError>,
    ) {
        let Some(record) = self.clouds.get_mut(cloud) else {
            return;
        };
        let again = std::mem::take(&mut record.again);
        let (error, first) = (record.error.clone(), !record.was_asked());
        match result {
            Err(error) => (record.error, record.steady) = (Some(error.to_string()), None),
            Ok(machines) => {
                let asked = record.asked;
                record.error = None;
                let (since, lists) = record.steady.unwrap_or((self.now, 0));
                record.steady = Some((since, lists.saturating_add(1)));
                let unheard = record.listed.replace(asked).is_none();
                let changed = record.replace(machines);
                if unheard {
                    // From now on, objects without a record may be adopted or given up.
                    self.mark_all();
                }
                self.list_changed(changed);
                self.note_missing(cloud, asked);
                let settled = self.orders.settled_by(asked);
                self.ledger.dirty.instances.extend(settled);
                self.note_resurrected(cloud, asked);
            }
        }
        if first || self.clouds.get(cloud).map(|it| &it.error) != Some(&error) {
            self.ledger.dirty.plan = true;
        }
        self.mark_hopeful();
        if again {
            self.list_cloud(cloud);
        }
    }

    fn list_changed(&mut self, changed: BTreeSet<InstanceId>) {
        for id in changed {
            let unknown = self.ledger.instance(&id).is_none();
            self.ledger.dirty.adopt |= unknown;
            self.ledger.dirty.foreign |= unknown;
            self.ledger.dirty.instances.insert(id);
        }
    }

    /// Marks instances to which any list matters: those not ordered yet, and those with a silent
    /// node.
    fn mark_hopeful(&mut self) {
        let requested = self.ledger.index.in_state(InstanceState::Requested);
        let requested: Vec<_> = requested.cloned().collect();
        self.ledger.dirty.instances.extend(requested);
        self.mark_down();
        self.ledger.dirty.foreign = true;
        self.ledger.dirty.silent = true;
    }

    /// Records expected machines that the list lacks.
    fn note_missing(&mut self, cloud: &CloudName, asked: Timestamp) {
        let Some(record) = self.clouds.get_mut(cloud) else {
            return;
        };
        let live = self.ledger.index.live().iter();
        let absent = live.filter(|id| !record.machines.contains_key(*id));
        let expected = absent.filter(|id| {
            self.ledger.instance(id).is_some_and(|instance| {
                instance.cloud == *cloud && instance.state != InstanceState::Requested
            })
        });
        // While an order is in flight, a list without its machine proves nothing: it may be made at
        // any moment.
        let asked_for =
            expected.filter(|id| !self.calls.is_in_flight(&CallKey::Machine((*id).clone())));
        let absent: Vec<InstanceId> = asked_for
            .filter(|id| record.known.get(*id).is_none_or(|known| *known < asked))
            .cloned()
            .collect();
        for id in absent {
            record.missing.entry(id.clone()).or_insert((asked, asked)).1 = asked;
            self.ledger.dirty.instances.insert(id);
        }
    }

    /// Records returned machines that are listed again: an order took effect late, and they must be
    /// returned once more.
    fn note_resurrected(&mut self, cloud: &CloudName, asked: Timestamp) {
        let Some(record) = self.clouds.get(cloud) else {
            return;
        };
        let again = |id: &&InstanceId| {
            let released = record.released.get(*id);
            released.is_none_or(|released| *released < asked)
                && self.ledger.instance(id).is_some_and(|it| it.released)
        };
        let ended: Vec<_> = record.machines.keys().filter(again).cloned().collect();
        for id in ended {
            self.ledger.edit_instance(&id, |instance| {
                instance.released = false;
                if instance.state == InstanceState::Gone {
                    instance.state = InstanceState::Stopping;
                }
            });
        }
    }

    /// State of an instance's machine by its cloud's list.
    pub(super) fn machine_state(
        &self,
        cloud: &CloudName,
        instance: &InstanceId,
    ) -> Option<MachineState> {
        let machine = self.clouds.get(cloud)?.machine(instance);
        machine.map(|machine| machine.state)
    }
}
