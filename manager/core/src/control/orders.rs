//! Orders to brokers and their answers: renting and returning machines.

use super::{Call, CallKey, Core, owner::Known, owner::Owner};
use crate::model::Instance;
use micado_api::{InstanceId, InstanceState, Timestamp};
use micado_cloudsetup::{BrokerError, Machine, MachineState};
use std::collections::{BTreeMap, BTreeSet};

/// Answers of brokers to orders.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// Orders with a lost answer, and its time: they are repeated only after a later list.
    unconfirmed: BTreeMap<InstanceId, Timestamp>,
    /// Orders that the broker confirmed.
    accepted: BTreeSet<InstanceId>,
    /// The broker's last message about an order that it neither accepted nor refused.
    messages: BTreeMap<InstanceId, String>,
    /// Machines whose return the broker refused, so that they run on.
    refused: BTreeSet<InstanceId>,
}

impl Owner for Orders {
    fn prune(&mut self, known: &Known<'_>) {
        let there = |id: &InstanceId| known.ledger.instance(id).is_some();
        self.unconfirmed.retain(|id, _| there(id));
        self.accepted.retain(there);
        self.messages.retain(|id, _| there(id));
        self.refused.retain(there);
    }
}

impl Orders {
    pub(super) fn is_accepted(&self, instance: &InstanceId) -> bool {
        self.accepted.contains(instance)
    }

    /// Orders that a list requested at this time has settled.
    pub(super) fn settled_by(&mut self, asked: Timestamp) -> Vec<InstanceId> {
        let settled = self.unconfirmed.extract_if(.., |_, at| *at <= asked);
        settled.map(|(id, _)| id).collect()
    }
}

impl Core {
    /// Orders the machine, once a list that is later than any lost answer lacks it. A listed
    /// machine that does not run yet may be incomplete because an order was interrupted: repeating
    /// the order completes it.
    pub(super) fn order(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let absent = matches!(
            self.machine_state(&instance.cloud, id),
            None | Some(MachineState::Pending)
        );
        let known = self
            .clouds
            .get(&instance.cloud)
            .is_some_and(|cloud| cloud.listed.is_some() && cloud.error.is_none());
        if !known || !absent || self.orders.unconfirmed.contains_key(id) {
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
        self.call(call);
    }

    /// Returns true if the broker refused to take a machine back, and is not being asked again.
    pub(super) fn is_refused(&self, id: &InstanceId) -> bool {
        let asked = self.calls.is_in_flight(&CallKey::Machine(id.clone()));
        self.orders.refused.contains(id) && !asked
    }

    pub(super) fn return_machine(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let call = Call::TerminateMachine {
            cloud: instance.cloud.clone(),
            instance: id.clone(),
        };
        self.call(call);
    }

    /// The broker's last message about an instance that it has neither accepted nor refused, or not
    /// returned yet.
    pub(super) fn broker_says(&self, instance: &Instance) -> Option<&String> {
        let about = || self.orders.messages.get(&instance.id);
        match instance.state {
            InstanceState::Requested => {
                about().or_else(|| self.clouds.get(&instance.cloud)?.error.as_ref())
            }
            InstanceState::Stopping => about(),
            _ => None,
        }
    }

    pub(super) fn machine_launched(
        &mut self,
        instance: &InstanceId,
        result: Result<Machine, BrokerError>,
    ) {
        self.came_back(&CallKey::Machine(instance.clone()), result.is_ok());
        let Some(record) = self.ledger.instance(instance) else {
            return;
        };
        let (cloud, state) = (record.cloud.clone(), record.state);
        self.ledger.dirty.instances.insert(instance.clone());
        match result {
            Ok(machine) => {
                if let Some(cloud) = self.clouds.get_mut(&cloud) {
                    cloud.ordered(instance, machine, self.now);
                }
                self.orders.accepted.insert(instance.clone());
                self.orders.messages.remove(instance);
            }
            Err(BrokerError::Refused(message)) => {
                if state == InstanceState::Requested {
                    self.fail_instance(instance, format!("{cloud} refused: {message}"));
                    self.release(instance);
                }
            }
            Err(BrokerError::Unknown(message)) => {
                self.orders.unconfirmed.insert(instance.clone(), self.now);
                self.orders.messages.insert(instance.clone(), message);
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
        self.ledger.dirty.instances.insert(instance.clone());
        match result {
            Ok(()) => self.release(instance),
            Err(error) => {
                let text = error.to_string();
                // After a lost answer, nobody knows whether it runs on.
                match error {
                    BrokerError::Refused(_) => self.orders.refused.insert(instance.clone()),
                    BrokerError::Unknown(_) => self.orders.refused.remove(instance),
                };
                self.orders.messages.insert(instance.clone(), text);
            }
        }
    }

    /// Records that no machine is left of this instance.
    pub(super) fn release(&mut self, id: &InstanceId) {
        let now = self.now;
        let cloud = self.ledger.edit_instance(id, |instance| {
            instance.released = true;
            if instance.state == InstanceState::Stopping {
                instance.state = InstanceState::Gone;
                instance.state_since = now;
            }
            instance.cloud.clone()
        });
        if let Some(cloud) = cloud.and_then(|cloud| self.clouds.get_mut(&cloud)) {
            cloud.released(id, now);
        }
        self.orders.messages.remove(id);
        self.orders.unconfirmed.remove(id);
        self.orders.accepted.remove(id);
    }
}
