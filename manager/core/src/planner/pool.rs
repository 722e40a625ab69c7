//! The machines, kept between plans.

use super::Node;
use micado_api::InstanceId;
use std::collections::BTreeMap;

/// All machines that containers may be placed on.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    nodes: BTreeMap<InstanceId, Node>,
}

impl Pool {
    /// Inserts a machine, or replaces it whole.
    pub fn put(&mut self, node: Node) {
        self.nodes.insert(node.instance.clone(), node);
    }

    /// Removes a machine.
    pub fn remove(&mut self, id: &InstanceId) {
        self.nodes.remove(id);
    }

    /// One machine.
    #[must_use]
    pub fn node(&self, id: &InstanceId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// All machines, in order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }
}
