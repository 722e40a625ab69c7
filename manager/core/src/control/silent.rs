//! Machines whose agents have gone: their clouds are asked at once what became of them. Nothing
//! else follows from it but a preference.

use super::{CallKey, Core};
use micado_api::{CloudName, InstanceId, Timestamp};
use std::{collections::BTreeSet, time::Duration};

/// For how long a cloud is asked about a machine whose agent has gone: brokers learn of a death a
/// moment later. After that, the safety net asks.
const DOUBT: Duration = Duration::from_secs(10);

/// No cloud is asked more often than that because agents come and go.
const ASK_EVERY: Duration = Duration::from_secs(2);

impl Core {
    /// An agent came or went. One that was never there says nothing by its absence.
    pub(super) fn agent_is(&mut self, instance: InstanceId, connected: bool) {
        if connected {
            self.memory.silent.remove(&instance);
        } else {
            self.memory.silent.entry(instance).or_insert(self.now);
            self.ask_about_silent();
        }
    }

    /// Whether a machine may be cut off: its agent was there and has gone. For that the Swarm too
    /// would have taken it for down after so long: if it has not, only the agent is dead.
    pub(super) fn is_silent(&self, instance: &InstanceId) -> bool {
        let doubtful = self.config.down_timeout + self.config.heartbeat;
        self.memory
            .silent
            .get(instance)
            .is_some_and(|since| self.now.since(*since) < doubtful)
    }

    /// Asks the clouds of machines that fell silent a moment ago, and asks to be woken for the next
    /// time.
    pub(super) fn ask_about_silent(&mut self) {
        for cloud in self.doubted_clouds() {
            let Some(asked) = self.clouds.get(&cloud).map(|sight| sight.asked) else {
                continue;
            };
            if self.is_in_flight(&CallKey::List(cloud.clone())) {
                // Its answer brings us here again.
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
        let machines = self
            .memory
            .silent
            .iter()
            .filter(|(_, since)| doubted(**since))
            .filter_map(|(id, _)| self.ledger.instances.get(id));
        machines
            .filter(|it| it.is_live())
            .map(|it| it.cloud.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
