//! What the brokers say: lists of machines, and the answers to orders.

use super::{Call, CallKey, Core};
use crate::model::Instance;
use micado_api::{CloudName, InstanceId, InstanceState, Timestamp};
use micado_cloudsetup::{BrokerError, Machine, MachineState};
use std::{collections::BTreeMap, time::Duration};

/// For how long lists must have lacked a machine before it is taken for gone.
const VANISH: Duration = Duration::from_secs(10);

/// How long a new core rents nothing while a cloud has not answered at all: it may be the cheapest.
/// After that, the others are what there is.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// One cloud as last seen.
#[derive(Debug, Default)]
pub(super) struct CloudSight {
    /// Its machines of this cluster, by the last list that succeeded.
    pub(super) machines: BTreeMap<InstanceId, Machine>,
    /// When that list was asked for: what was done before is in it.
    pub(super) listed: Option<Timestamp>,
    /// The broker's words, while it does not answer.
    pub(super) error: Option<String>,
    /// When each machine was last known to be there, by a list or by the answer to its order.
    known: BTreeMap<InstanceId, Timestamp>,
    /// When a list first lacked a machine that should be there, and the last that did.
    missing: BTreeMap<InstanceId, (Timestamp, Timestamp)>,
    /// When each machine was surely given back.
    released: BTreeMap<InstanceId, Timestamp>,
    /// When the last list was asked for, come back or not.
    pub(super) asked: Timestamp,
    again: bool,
}

impl CloudSight {
    /// Whether it has answered at least once, well or not.
    pub(super) fn was_asked(&self) -> bool {
        self.listed.is_some() || self.error.is_some()
    }
    /// Drops what was noted of machines that have no record any more.
    pub(super) fn forget(&mut self, unknown: impl Fn(&InstanceId) -> bool) {
        self.known.retain(|id, _| !unknown(id));
        self.missing.retain(|id, _| !unknown(id));
        self.released.retain(|id, _| !unknown(id));
    }
    /// What the broker says of a machine.
    pub(super) fn machine(&self, instance: &InstanceId) -> Option<&Machine> {
        self.machines.get(instance)
    }
    /// Whether a machine that was there is there no more: lists in a row lacked it, for long enough
    /// that a broker's slow copy does not explain it.
    pub(super) fn has_vanished(&self, instance: &InstanceId) -> bool {
        self.missing
            .get(instance)
            .is_some_and(|(first, last)| last.since(*first) >= VANISH)
    }
}

impl Core {
    /// Asks every cloud for its machines.
    pub(super) fn list_clouds(&mut self) {
        for cloud in self.clouds.keys().cloned().collect::<Vec<_>>() {
            self.list_cloud(&cloud);
        }
    }

    /// Asks a cloud for its machines, now or as soon as the list that is under way has come back.
    pub(super) fn list_cloud(&mut self, cloud: &CloudName) {
        let key = CallKey::List(cloud.clone());
        let under_way = self.is_in_flight(&key);
        let now = self.now;
        let Some(sight) = self.clouds.get_mut(cloud) else {
            return;
        };
        if under_way {
            sight.again = true;
            return;
        }
        sight.asked = now;
        self.call(
            key,
            Call::ListMachines {
                cloud: cloud.clone(),
            },
        );
    }

    /// Until when nothing is rented because a cloud has not answered yet.
    pub(super) fn first_answers_awaited(&self) -> Option<Timestamp> {
        let silent = self.clouds.values().filter(|sight| !sight.was_asked());
        silent
            .map(|sight| sight.asked.plus(FIRST_ANSWER))
            .filter(|until| *until > self.now)
            .max()
    }

    /// A cloud that has never said which machines it has: what no record knows may be one of them.
    pub(super) fn unheard_cloud(&self) -> Option<&CloudName> {
        self.clouds
            .iter()
            .find(|(_, sight)| sight.listed.is_none())
            .map(|(cloud, _)| cloud)
    }

    /// The broker's last words about an instance that it has neither taken nor refused, or not
    /// given back yet.
    pub(super) fn broker_says(&self, instance: &Instance) -> Option<&String> {
        let about = || self.memory.broker_words.get(&instance.id);
        match instance.state {
            InstanceState::Requested => {
                about().or_else(|| self.clouds.get(&instance.cloud)?.error.as_ref())
            }
            InstanceState::Stopping => about(),
            _ => None,
        }
    }

    pub(super) fn machines_listed(
        &mut self,
        cloud: &CloudName,
        result: Result<Vec<Machine>, BrokerError>,
    ) {
        let Some(sight) = self.clouds.get_mut(cloud) else {
            return;
        };
        let again = std::mem::take(&mut sight.again);
        match result {
            Err(error) => sight.error = Some(error.to_string()),
            Ok(machines) => {
                let asked = sight.asked;
                sight.error = None;
                sight.listed = Some(asked);
                sight.machines = machines
                    .into_iter()
                    .map(|machine| (machine.instance.clone(), machine))
                    .collect();
                for instance in sight.machines.keys() {
                    sight.known.insert(instance.clone(), asked);
                    sight.missing.remove(instance);
                }
                self.note_missing(cloud, asked);
                self.memory.unsure.retain(|_, at| *at > asked);
                self.note_resurrected(cloud, asked);
            }
        }
        if again {
            self.list_cloud(cloud);
        }
    }

    /// Notes the machines that the list should have had.
    fn note_missing(&mut self, cloud: &CloudName, asked: Timestamp) {
        let Some(sight) = self.clouds.get_mut(cloud) else {
            return;
        };
        let expected = self.ledger.instances.values().filter(|it| {
            it.cloud == *cloud && it.is_live() && it.state != InstanceState::Requested
        });
        // While an order is under way, a list that lacks its machine tells nothing: it may be made
        // at any moment.
        let asked_for =
            expected.filter(|it| !self.in_flight.contains(&CallKey::Machine(it.id.clone())));
        let absent = asked_for.filter(|it| {
            !sight.machines.contains_key(&it.id)
                && sight.known.get(&it.id).is_none_or(|known| *known < asked)
        });
        for instance in absent.map(|it| it.id.clone()).collect::<Vec<_>>() {
            sight.missing.entry(instance).or_insert((asked, asked)).1 = asked;
        }
    }

    /// A machine that was given back and is listed again was made by an order whose effect came
    /// late: it has to be given back once more.
    fn note_resurrected(&mut self, cloud: &CloudName, asked: Timestamp) {
        let Some(sight) = self.clouds.get(cloud) else {
            return;
        };
        let again = |id: &&InstanceId| {
            sight
                .released
                .get(*id)
                .is_none_or(|released| *released < asked)
        };
        for id in sight
            .machines
            .keys()
            .filter(again)
            .cloned()
            .collect::<Vec<_>>()
        {
            if let Some(it) = self.ledger.instances.edit(&id).filter(|it| it.released) {
                it.released = false;
                it.state = if it.state == InstanceState::Gone {
                    InstanceState::Stopping
                } else {
                    it.state
                };
            }
        }
    }

    pub(super) fn machine_launched(
        &mut self,
        instance: &InstanceId,
        result: Result<Machine, BrokerError>,
    ) {
        let key = CallKey::Machine(instance.clone());
        self.came_back(&key, result.is_ok());
        let Some(cloud) = self
            .ledger
            .instances
            .get(instance)
            .map(|it| it.cloud.clone())
        else {
            return;
        };
        match result {
            Ok(machine) => {
                if let Some(sight) = self.clouds.get_mut(&cloud) {
                    sight.known.insert(instance.clone(), self.now);
                    sight.missing.remove(instance);
                    sight.machines.insert(instance.clone(), machine);
                }
                self.memory.accepted.insert(instance.clone());
                self.memory.broker_words.remove(instance);
            }
            Err(BrokerError::Refused(words)) => {
                if self
                    .ledger
                    .instances
                    .get(instance)
                    .is_some_and(|it| it.state == InstanceState::Requested)
                {
                    self.fail_instance(instance, format!("{cloud} refused: {words}"));
                    self.release(instance);
                }
            }
            Err(BrokerError::Unknown(words)) => {
                self.memory.unsure.insert(instance.clone(), self.now);
                self.memory.broker_words.insert(instance.clone(), words);
                self.list_cloud(&cloud);
            }
        }
    }

    pub(super) fn machine_terminated(
        &mut self,
        instance: &InstanceId,
        result: Result<(), BrokerError>,
    ) {
        self.came_back(&CallKey::Machine(instance.clone()), result.is_ok());
        match result {
            Ok(()) => self.release(instance),
            Err(error) => drop(
                self.memory
                    .broker_words
                    .insert(instance.clone(), error.to_string()),
            ),
        }
    }

    /// No machine is left of this instance.
    pub(super) fn release(&mut self, instance: &InstanceId) {
        let now = self.now;
        let Some(it) = self.ledger.instances.edit(instance) else {
            return;
        };
        it.released = true;
        if it.state == InstanceState::Stopping {
            it.state = InstanceState::Gone;
            it.state_since = now;
        }
        if let Some(sight) = self.clouds.get_mut(&it.cloud) {
            sight.released.insert(instance.clone(), now);
            sight.machines.remove(instance);
            sight.known.remove(instance);
            sight.missing.remove(instance);
        }
        self.memory.broker_words.remove(instance);
        self.memory.unsure.remove(instance);
        self.memory.accepted.remove(instance);
    }

    /// What the broker says of an instance's machine.
    pub(super) fn machine_state(
        &self,
        cloud: &CloudName,
        instance: &InstanceId,
    ) -> Option<MachineState> {
        self.clouds
            .get(cloud)?
            .machine(instance)
            .map(|machine| machine.state)
    }
}
