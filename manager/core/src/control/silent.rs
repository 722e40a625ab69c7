//! Machines without a connected agent. Their containers are polled, because nobody reports about
//! them. If the connection was lost, their clouds are asked at once for their state, and launches
//! prefer other machines.

use super::{CallKey, Core, dirty::Subject, owner::Known, owner::Owner};
use crate::model::Instance;
use micado_api::{CloudName, ContainerName, InstanceId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Time for which a cloud is asked about a machine after the loss of its agent, because brokers
/// learn of a death a moment later. After that, periodic passes ask.
const DOUBT: Duration = Duration::from_secs(10);

/// Lower bound for the time between two lists of a cloud because of agents.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Presence of agents on machines in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Silent {
    /// Machines with an agent that was connected and is not any more.
    since: BTreeMap<InstanceId, Timestamp>,
    /// Machines among these that views show as doubtful. Their containers are marked when the
    /// doubt ends.
    doubted: BTreeSet<InstanceId>,
    connected: BTreeSet<InstanceId>,
    /// The set of containers without an agent may have changed.
    changed: bool,
}

impl Owner for Silent {
    fn prune(&mut self, known: &Known<'_>) {
        let live = |id: &InstanceId| known.ledger.instance(id).is_some_and(Instance::is_live);
        self.since.retain(|id, _| live(id));
        self.doubted.retain(live);
        self.connected.retain(live);
    }
}

impl Core {
    /// Handles the connection or disconnection of an agent. The absence of one that was never
    /// connected proves nothing.
    pub(super) fn agent_is(&mut self, instance: InstanceId, connected: bool) {
        self.silent.changed = true;
        if connected {
            self.silent.since.remove(&instance);
            self.silent.doubted.remove(&instance);
            self.silent.connected.insert(instance.clone());
            self.mark_down();
        } else {
            self.silent.connected.remove(&instance);
            self.returns.needed(&instance);
            let since = &mut self.silent.since;
            since.entry(instance.clone()).or_insert(self.now);
            self.silent.doubted.insert(instance.clone());
        }
        self.ledger.dirty.silent = true;
        self.mark_containers_on(&instance);
        self.ledger.dirty.instances.insert(instance);
    }

    /// Instances with an agent that is connected, or was: true if it is.
    pub fn agents(&self) -> impl Iterator<Item = (InstanceId, bool)> + use<> {
        let Silent {
            since, connected, ..
        } = self.silent.clone();
        let gone = since.into_keys().map(|id| (id, false));
        gone.chain(connected.into_iter().map(|id| (id, true)))
    }

    /// Notes a container whose copies may be on machines without a connected agent.
    pub(super) fn note_unreported(&mut self, name: &ContainerName) {
        let container = self.ledger.container(name);
        let mut copies = container.iter().flat_map(|container| &container.copies);
        let connected = &self.silent.connected;
        self.silent.changed |= copies.any(|copy| !connected.contains(&copy.instance));
    }

    /// Swarm services of copies on machines without a connected agent, if they may have changed
    /// since the last call.
    pub fn unreported(&mut self) -> Option<BTreeSet<String>> {
        if !std::mem::take(&mut self.silent.changed) {
            return None;
        }
        let machines = self.ledger.index.live().iter();
        let machines = machines.filter(|id| !self.silent.connected.contains(*id));
        let copies = machines.flat_map(|id| {
            let containers = self.ledger.containers_on(id);
            containers.flat_map(move |container| container.copies_on(id))
        });
        Some(copies.map(|copy| copy.swarm_name.clone()).collect())
    }

    /// Time after which the Swarm would have taken a machine for down, too: if it has not, only the
    /// agent is dead.
    fn doubtful(&self) -> Duration {
        self.config.down_timeout + self.config.heartbeat
    }

    /// Returns true if a machine may be cut off: its agent was connected and is not any more.
    pub(super) fn is_silent(&self, instance: &InstanceId) -> bool {
        let since = self.silent.since.get(instance);
        since.is_some_and(|since| self.now.since(*since) < self.doubtful())
    }

    /// Returns true if the agent of another machine is connected: the manager is not cut off.
    pub(super) fn hears_other_than(&self, instance: &InstanceId) -> bool {
        let mut connected = self.silent.connected.iter();
        connected.any(|other| other != instance)
    }

    /// Returns true if a machine's agent is connected.
    pub(super) fn is_heard(&self, instance: &InstanceId) -> bool {
        self.silent.connected.contains(instance)
    }

    /// Returns true if nobody reports about a machine: its agent was connected and is not any more.
    pub(super) fn is_unreported(&self, instance: &InstanceId) -> bool {
        self.silent.since.contains_key(instance)
    }

    /// Wakes the visited instance when the doubt about it ends; then marks its containers.
    pub(super) fn wake_for_silence(&mut self, instance: &InstanceId) {
        let Some(since) = self.silent.since.get(instance) else {
            return;
        };
        let over = since.plus(self.doubtful());
        if over > self.now {
            self.wake(over);
        } else if self.silent.doubted.remove(instance) {
            self.mark_containers_on(instance);
        }
    }

    /// Asks the clouds of machines with a recently lost agent, and sets the wake-up for the next
    /// time.
    pub(super) fn visit_silent(&mut self) {
        if !std::mem::take(&mut self.ledger.dirty.silent) {
            return;
        }
        self.visit(Subject::Silent);
        for cloud in self.doubted_clouds() {
            let Some(asked) = self.clouds.get(&cloud).map(|cloud| cloud.asked) else {
                continue;
            };
            if self.calls.is_in_flight(&CallKey::List(cloud.clone())) {
                // The answer causes the next visit.
                continue;
            }
            if self.now >= asked.plus(ASK_EVERY) {
                self.list_cloud(&cloud);
            } else {
                self.wake(asked.plus(ASK_EVERY));
            }
        }
    }

    fn doubted_clouds(&self) -> BTreeSet<CloudName> {
        let doubted = |since: Timestamp| self.now.since(since) < DOUBT;
        let recent = self.silent.since.iter().filter(|(_, at)| doubted(**at));
        let machines = recent.filter_map(|(id, _)| self.ledger.instance(id));
        machines
            .filter(|instance| instance.is_live())
            .map(|instance| instance.cloud.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
