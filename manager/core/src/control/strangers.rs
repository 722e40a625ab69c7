//! Nodes of the Swarm that are no machine of ours: shown, and by setting taken out.

use super::{Call, CallKey, Core};
use crate::engine::NodeView;
use micado_api::{Progress, Settled};
use std::{collections::BTreeMap, time::Duration};

/// How long a node must have been seen, and every cloud been asked after that, before it is surely
/// no machine of ours that is about to be taken in.
const SURE_AFTER: Duration = Duration::from_secs(10);

impl Core {
    /// Whether no record knows this node.
    pub(super) fn is_unknown(&self, node: &NodeView) -> bool {
        node.instance
            .as_ref()
            .is_none_or(|id| self.ledger.instances.get(id).is_none())
    }

    /// Takes nodes out that nobody rented, where that is wanted, and makes the token useless that
    /// they came with. Managers are left alone.
    pub(super) fn remove_strangers(&mut self) {
        let Some(sight) = self
            .sight
            .as_ref()
            .filter(|_| self.config.remove_unknown_nodes)
        else {
            return;
        };
        let unknown = sight
            .nodes
            .iter()
            .filter(|node| !node.manager && self.is_unknown(node));
        let unknown: BTreeMap<String, String> = unknown
            .map(|node| (node.id.clone(), node.hostname.clone()))
            .collect();
        self.memory
            .strangers
            .retain(|node, _| unknown.contains_key(node));
        for (node, hostname) in unknown {
            let sure_at = self
                .memory
                .strangers
                .entry(node.clone())
                .or_insert(self.now)
                .plus(SURE_AFTER);
            let asked = self
                .clouds
                .values()
                .all(|cloud| cloud.error.is_none() && cloud.listed.is_some_and(|at| at >= sure_at));
            if self.now < sure_at {
                self.wake(sure_at);
            } else if asked {
                self.remove_stranger(node, hostname);
            }
        }
    }

    fn remove_stranger(&mut self, node: String, hostname: String) {
        let key = CallKey::Node(node.clone());
        if self.is_due(&key) {
            let text = format!(
                "node {node} ({hostname}) is in the Swarm, and no record and no cloud knows it: taken out, as --unknown-nodes says"
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
        self.call(key, Call::RemoveNode { node });
    }
}

#[cfg(test)]
mod tests;
