//! Conditions under which an old copy may go: make before break.

use super::Core;
use crate::model::{Container, Copy, Phase};
use micado_api::ContainerName;

impl Core {
    /// Retires unwanted copies. A replaced copy goes when its successor runs, or when its Swarm
    /// service is gone already; all copies go when the container is not to run.
    pub(super) fn retire_copies(&mut self, name: &ContainerName) {
        let Some(container) = self.ledger.container(name) else {
            return;
        };
        let going = self.may_go(container);
        if going.is_empty() {
            return;
        }
        let since = self.now;
        self.ledger.edit_container(name, |container| {
            for copy in &mut container.copies {
                if going.contains(&copy.generation) {
                    copy.phase = Phase::Retiring { since };
                }
            }
        });
    }

    /// Generations of live copies that may go.
    fn may_go(&self, container: &Container) -> Vec<u32> {
        let live = container.copies.iter().filter(|copy| copy.is_live());
        if !container.wants_room() {
            return live.map(|copy| copy.generation).collect();
        }
        // On a machine that is stopped by force no copy stays.
        let stays = |copy: &Copy| {
            let instance = self.ledger.instance(&copy.instance);
            instance.is_some_and(|instance| !instance.force)
        };
        let runs = self.runs(container);
        let successor_stays = container.primary().is_some_and(stays);
        let has_successor = |copy: &Copy| runs && (successor_stays || !stays(copy));
        let replaced = container.replaced();
        replaced
            .filter(|copy| has_successor(copy) || !self.has_or_makes(&copy.swarm_name))
            .map(|copy| copy.generation)
            .collect()
    }
}
