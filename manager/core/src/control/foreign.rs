//! Foreign nodes: members of the Swarm that are no machine of ours. They are shown, and removed if
//! that is configured.

use super::{Call, CallKey, Core, owner::Owner};
use micado_api::{Progress, Settled, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// Lower bound for the time that a node was observed, with a later list of every cloud, before it
/// certainly is no machine of ours that is about to be adopted.
const SURE_AFTER: Duration = Duration::from_secs(10);

/// Foreign nodes, and since when they have been observed without a gap.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign {
    since: BTreeMap<String, Timestamp>,
}

impl Owner for Foreign {
    fn lost_sight(&mut self) {
        self.since.clear();
    }
}

impl Foreign {
    /// Handles the answer to a call about a node.
    pub(super) fn changed(&mut self, node: &str) {
        self.since.remove(node);
    }
}

impl Core {
    /// Removes foreign nodes, if that is configured, and rotates the token that they joined with.
    /// Managers are left alone.
    pub(super) fn remove_foreign(&mut self) {
        let wanted = self.config.remove_unknown_nodes;
        let Some(observed) = self.observed.as_ref().filter(|_| wanted) else {
            return;
        };
        let foreign = observed
            .nodes()
            .filter(|node| !node.manager && self.is_foreign(node));
        let foreign: BTreeMap<String, String> = foreign
            .map(|node| (node.id.clone(), node.hostname.clone()))
            .collect();
        self.foreign
            .since
            .retain(|node, _| foreign.contains_key(node));
        for (node, hostname) in foreign {
            let since = self.foreign.since.entry(node.clone());
            let sure_at = since.or_insert(self.now).plus(SURE_AFTER);
            let asked = self
                .clouds
                .values()
                .all(|cloud| cloud.error.is_none() && cloud.listed.is_some_and(|at| at >= sure_at));
            if self.now < sure_at {
                self.wake(sure_at);
            } else if asked {
                self.remove_node(node, hostname);
            }
        }
    }

    fn remove_node(&mut self, node: String, hostname: String) {
        let key = CallKey::Node(node.clone());
        if self.is_due(&key) {
            let text = format!(
                "node {node} ({hostname}) is in the Swarm, and no record and no cloud knows it: \
                 taken out, as --unknown-nodes says"
            );
            self.decide(None, None, text.clone());
            self.journal.tell(Progress {
                subject: hostname,
                at: self.now,
                text,
                settled: Some(Settled::Done),
            });
            self.token_is_known();
        }
        self.call(Call::RemoveNode { node });
    }
}

#[cfg(test)]
mod tests;
