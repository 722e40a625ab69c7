//! Copies of a service that all run on one machine while another one has room: one of them moves, so
//! that the loss of a machine does not stop the service.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::{
    model::Container,
    planner::{self, Readiness, Step},
};
use micado_api::{ContainerName, InstanceId, InstanceState, Location, ServiceName, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// Lower bound for the time between two such moves of a service.
const EVERY: Duration = Duration::from_secs(600);

/// Services that one check looks at.
const LOOKED_AT: usize = 20;

/// The last such move of each service.
#[derive(Debug, Clone, Default)]
pub(super) struct Apart(BTreeMap<ServiceName, Timestamp>);

impl Owner for Apart {
    fn prune(&mut self, known: &Known<'_>) {
        self.0.retain(|service, at| {
            known.ledger.service(service).is_some() && known.now.since(*at) < EVERY
        });
    }
}

impl Core {
    /// Moves a copy of one service of a location to another machine, if nothing else moves. No
    /// machine is rented for it, and none is used that may be returned.
    pub(super) fn move_apart(&mut self, location: &Location) {
        if !self.placing.leaving.is_empty() || self.sick(location).is_some() {
            return;
        }
        let mut closed = self.closed_to_moves();
        closed.extend(self.replaced(location).into_keys());
        let active = self.in_location(InstanceState::Active, location);
        let idle =
            active.filter(|it| !self.ledger.containers_on(&it.id).any(Container::wants_room));
        closed.extend(idle.map(|instance| instance.id.clone()));
        let offers = self.offers();
        for name in self.together(location) {
            let Some(container) = self.ledger.container(&name) else {
                continue;
            };
            let (service, waiting) = (container.service.clone(), self.as_waiting(container));
            let pool = &mut self.placing.pool;
            let plan = planner::plan_moves(pool, &[waiting], &offers, &closed);
            if let [Step::Place { instance, .. }] = &plan[..] {
                let tag = self.tag_of(instance);
                let reason = format!("{tag} has room, and {service} is on one machine only");
                self.place(&name, instance, reason);
                self.apart.0.insert(service, self.now);
                return;
            }
        }
    }

    /// The newest copy of each service that is on one machine only, where it may move.
    fn together(&self, location: &Location) -> Vec<ContainerName> {
        let nodes = self.placing.pool.nodes();
        let here =
            nodes.filter(|node| node.location == *location && node.readiness == Readiness::Ready);
        let several = here.flat_map(|node| {
            let services = node.services.iter();
            let several = services.filter(|(_, count)| **count > 1);
            several.map(move |(service, _)| (&node.instance, service))
        });
        let due = several.filter(|(_, service)| {
            let last = self.apart.0.get(*service);
            last.is_none_or(|at| self.now.since(*at) >= EVERY)
        });
        let newest = due.filter_map(|(id, service)| self.newest_together(id, service));
        let newest: Vec<&Container> = newest.take(LOOKED_AT).collect();
        newest.into_iter().map(|it| it.name.clone()).collect()
    }

    /// The newest copy of a service, if all run steadily on this machine and may move.
    fn newest_together(&self, id: &InstanceId, service: &ServiceName) -> Option<&Container> {
        let names = self.ledger.index.of_service(service);
        let wanted = names.filter_map(|name| self.ledger.container(name));
        let wanted: Vec<&Container> = wanted.filter(|it| it.wants_room()).collect();
        let settled = |container: &&Container| {
            let here = container.primary().is_some_and(|copy| copy.instance == *id);
            here && self.is_steady(container)
        };
        let all = wanted.len() > 1 && wanted.iter().all(settled);
        let newest = wanted
            .into_iter()
            .filter(|_| all)
            .max_by_key(|it| it.created_at);
        newest.filter(|it| !it.protected && it.bound_to.is_none() && self.stays(id).is_none())
    }
}

#[cfg(test)]
mod tests;
