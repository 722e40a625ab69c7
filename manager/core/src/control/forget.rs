//! Keeps what is remembered beside the records as small as the records: a manager runs for years.

use super::Core;
use crate::model::Instance;
use micado_api::Timestamp;
use std::{collections::BTreeSet, time::Duration};

/// How long after a call may be tried again its failures are remembered.
const RETRY_MEMORY: Duration = Duration::from_secs(600);

impl Core {
    /// Drops what was remembered of things that are no more.
    pub(super) fn forget(&mut self) {
        let Some(sight) = &self.sight else { return };
        let memory = &mut self.memory;
        memory.log_saved.retain(|name| sight.has_service(name));
        memory
            .pending_since
            .retain(|name, _| sight.has_service(name));
        memory.heard.retain(|name, _| sight.has_service(name));
        let old = |at: Timestamp, now: Timestamp| now.since(at) > RETRY_MEMORY;
        memory.retry.retain(|_, (_, at)| !old(*at, self.now));
        let instances = &self.ledger.instances;
        memory
            .silent
            .retain(|id, _| instances.get(id).is_some_and(Instance::is_live));
        memory.unsure.retain(|id, _| instances.get(id).is_some());
        memory.accepted.retain(|id| instances.get(id).is_some());
        memory
            .broker_words
            .retain(|id, _| instances.get(id).is_some());
        self.clouds
            .values_mut()
            .for_each(|sight| sight.forget(|id| instances.get(id).is_none()));
        memory
            .push_errors
            .retain(|name, _| self.ledger.services.get(name).is_some());
        if !memory.refused.is_empty() {
            let placed = self
                .ledger
                .containers
                .values()
                .filter_map(|it| Some((&it.name, it.placement.as_ref()?)));
            let names: BTreeSet<String> = placed
                .map(|(name, placement)| self.swarm_name(name, placement))
                .collect();
            self.memory.refused.retain(|name, _| names.contains(name));
        }
        self.journal.forget(&self.ledger);
    }
}
