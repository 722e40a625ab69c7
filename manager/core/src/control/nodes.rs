//! Nodes of the Swarm and their instances: the binding of each node, and the times since which it
//! answers or does not.

use super::{Call, CallKey, Core, dirty::Subject, observed::Touched, owner::Known, owner::Owner};
use crate::{engine::SwarmNode, model::Instance};
use micado_api::{InstanceId, InstanceState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Times at which nodes started and stopped answering.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    /// Begin of the present time of uninterrupted observation.
    pub(super) seen_since: Option<Timestamp>,
    /// Time since which each answering node has been observed to answer, without a gap.
    ready_since: BTreeMap<InstanceId, Timestamp>,
    /// The same, by time.
    ready_order: BTreeSet<(Timestamp, InstanceId)>,
    /// Time since which the node of an instance in use does not answer.
    pub(super) down_since: BTreeMap<InstanceId, Timestamp>,
    /// Instances that are to fail because their nodes do not answer: since when, and the whole
    /// observation that must say so once more.
    doubted: BTreeMap<InstanceId, (Timestamp, u64)>,
    /// Number of the last whole observation.
    looked: u64,
}

impl Owner for Nodes {
    fn lost_sight(&mut self) {
        *self = Self::default();
    }
    fn prune(&mut self, known: &Known<'_>) {
        let there = |id: &InstanceId| known.ledger.instance(id).is_some();
        self.down_since.retain(|id, _| there(id));
        self.doubted.retain(|id, _| there(id));
    }
}

impl Nodes {
    /// Records if a node answers; true if that changed.
    fn answers(&mut self, id: &InstanceId, ready: bool, now: Timestamp) -> bool {
        if ready == self.ready_since.contains_key(id) {
            return false;
        }
        if ready {
            self.ready_since.insert(id.clone(), now);
            self.ready_order.insert((now, id.clone()));
        } else if let Some(since) = self.ready_since.remove(id) {
            self.ready_order.remove(&(since, id.clone()));
        }
        true
    }

    /// Time since which a node answers.
    pub(super) fn answers_since(&self, id: &InstanceId) -> Option<Timestamp> {
        self.ready_since.get(id).copied()
    }

    /// Instances with answering nodes, and since when; the longest first.
    pub(super) fn ready(&self) -> impl Iterator<Item = (Timestamp, &InstanceId)> {
        self.ready_order.iter().map(|(since, id)| (*since, id))
    }
}

impl Core {
    /// Returns the node of an instance: the one that was bound to it when it joined. An engine's
    /// own claim counts only while none is bound, or when the machine has traded its credential
    /// again since. A node that is bound to another instance is never used.
    pub(super) fn node(&self, id: &InstanceId) -> Option<&SwarmNode> {
        let observed = self.observed.as_ref()?;
        let record = self.ledger.instance(id);
        let bound = record.and_then(|instance| instance.node.as_deref());
        let at_bound = bound.and_then(|node| observed.node(node));
        if bound.is_some() && !record.is_some_and(may_rejoin)
            || at_bound.is_some_and(|node| node.ready)
        {
            return at_bound;
        }
        let free = |node: &&SwarmNode| {
            let owner = self.ledger.index.by_node(&node.id);
            owner.is_none_or(|owner| owner == id)
        };
        observed
            .claimants(id)
            .filter(free)
            .max_by_key(|node| (node.ready, bound == Some(node.id.as_str())))
            .or(at_bound)
    }

    /// Returns true if its node is in the Swarm and answers.
    pub(super) fn joins(&self, id: &InstanceId) -> bool {
        self.node(id).is_some_and(|node| node.ready)
    }

    /// Returns true if this node is no instance of ours, or only claims to be one.
    pub(super) fn is_foreign(&self, node: &SwarmNode) -> bool {
        let owner = self.ledger.index.by_node(&node.id);
        let claimed = node
            .instance
            .as_ref()
            .filter(|id| self.ledger.instance(id).is_some());
        let other = |id| {
            node.ready
                && self
                    .node(id)
                    .is_some_and(|own| own.ready && own.id != node.id)
        };
        owner.is_none() && claimed.is_none_or(other)
    }

    /// Marks the instances of changed nodes; `back` after a gap.
    pub(super) fn nodes_changed(&mut self, back: bool, touched: &Touched) {
        let Some(observed) = &self.observed else {
            return;
        };
        let mut changed = touched.instances.clone();
        if back {
            changed.extend(observed.claimed().cloned());
        }
        let bound = touched.nodes.iter();
        let bound: Vec<InstanceId> = bound
            .filter_map(|node| self.ledger.index.by_node(node))
            .cloned()
            .collect();
        for id in &bound {
            self.mark_ending(id);
        }
        self.ledger.dirty.instances.extend(bound);
        for id in changed {
            self.node_of_changed(&id);
        }
    }

    fn node_of_changed(&mut self, id: &InstanceId) {
        let ready = self.joins(id);
        let now = self.now;
        if self.nodes.answers(id, ready, now) {
            self.mark_down();
        }
        self.ledger.dirty.instances.insert(id.clone());
        self.mark_containers_on(id);
        self.ledger.dirty.token = true;
    }

    /// Marks containers with a copy on an instance.
    pub(super) fn mark_containers_on(&mut self, id: &InstanceId) {
        let on = self.ledger.index.on(id).cloned();
        self.ledger.dirty.containers.extend(on);
    }

    /// Marks containers with a retiring copy on an instance: its end may just have been observed.
    fn mark_ending(&mut self, id: &InstanceId) {
        let containers = self.ledger.containers_on(id);
        let ending =
            containers.filter(|container| container.copies_on(id).any(|copy| !copy.is_live()));
        let names: Vec<_> = ending.map(|container| container.name.clone()).collect();
        self.ledger.dirty.containers.extend(names);
    }

    /// Takes note of a whole observation: machines that wait for one may fail now.
    pub(super) fn looked(&mut self, as_of: u64) {
        self.nodes.looked = as_of;
        if !self.nodes.doubted.is_empty() {
            self.mark_down();
        }
    }

    /// Returns true if the engine has said once more that this node does not answer since then: the
    /// event of its return may be lost. Asks for that otherwise.
    pub(super) fn is_confirmed_down(&mut self, id: &InstanceId, since: Timestamp) -> bool {
        match self.nodes.doubted.get(id) {
            Some((of, number)) if *of == since => *number <= self.nodes.looked,
            _ => {
                let number = self.observe();
                self.nodes.doubted.insert(id.clone(), (since, number));
                false
            }
        }
    }

    /// Marks the instances with a silent node: the judgement about each depends on the others.
    pub(super) fn mark_down(&mut self) {
        let down = self.nodes.down_since.keys().cloned();
        self.ledger.dirty.instances.extend(down);
    }

    /// Handles the answer to a call about a node.
    pub(super) fn node_changed(&mut self, node: &str) {
        let instances = self.observed.iter().filter_map(|seen| seen.node(node));
        let claimed = instances.filter_map(|node| node.instance.clone());
        let owner = self.ledger.index.by_node(node).cloned();
        for id in claimed.chain(owner).collect::<Vec<_>>() {
            self.ledger.dirty.mark(Subject::Instance(id));
        }
        self.ledger.dirty.foreign = true;
        self.observe();
    }

    /// Opens the node of a machine in use for tasks, and closes that of a draining one, whoever
    /// changed it: a closed machine would be paid for and of no use.
    pub(super) fn set_node_active(&mut self, id: &InstanceId, active: bool) {
        let node = self
            .node(id)
            .filter(|node| node.ready && node.active != active);
        if let Some(node) = node.map(|node| node.id.clone()) {
            self.call(Call::SetActive { node, active });
        }
    }

    /// Removes the nodes of a machine that is gone, because the Swarm may wait for them for
    /// minutes.
    pub(super) fn forget_node(&mut self, id: &InstanceId) {
        let own = self.node(id).map(|node| node.id.clone());
        let owner = |node: &SwarmNode| self.ledger.index.by_node(&node.id);
        let claimants = self.observed.iter().flat_map(|seen| seen.claimants(id));
        let left = claimants.filter(|node| !node.ready && owner(node).is_none());
        let nodes: BTreeSet<String> = left.map(|node| node.id.clone()).chain(own).collect();
        for node in nodes {
            self.call(Call::RemoveNode { node });
        }
    }

    /// Settles the nodes that claim to be an instance without being bound to it: one that is down
    /// was left behind when the machine joined again and is removed, one that answers is closed.
    pub(super) fn settle_claims(&mut self, id: &InstanceId) {
        let Some(observed) = &self.observed else {
            return;
        };
        let Some(present) = self.node(id).filter(|node| node.ready) else {
            return;
        };
        let bound = |node: &SwarmNode| self.ledger.index.by_node(&node.id).is_some();
        let others = observed
            .claimants(id)
            .filter(|node| node.id != present.id && !bound(node) && !node.manager);
        let others: Vec<_> = others
            .map(|node| (node.id.clone(), node.ready, node.active))
            .collect();
        for (node, ready, active) in others {
            if !ready {
                self.call(Call::RemoveNode { node });
            } else if active {
                if self.is_due(&CallKey::Node(node.clone())) {
                    let text = format!(
                        "node {node} claims to be {}, which is another node: it is closed",
                        self.tag_of(id)
                    );
                    self.decide(None, Some(id), text);
                }
                let active = false;
                self.call(Call::SetActive { node, active });
            }
        }
    }
}

/// Returns true if an instance's machine may have joined again under a new node id: it traded its
/// credential after it had joined.
fn may_rejoin(instance: &Instance) -> bool {
    let traded = instance.joining.as_ref().map(|trade| trade.at);
    instance.node.is_none()
        || matches!(
            instance.state,
            InstanceState::Requested | InstanceState::Submitted | InstanceState::Booting
        )
        || traded.is_some_and(|at| instance.joined_at.is_some_and(|joined| at > joined))
}
