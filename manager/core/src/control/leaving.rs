//! The copies that leave when a service shrinks.

use super::Core;
use crate::{
    model::{Container, Copy},
    scaling::{Candidate, Host, Wish, victims},
};
use ahash::HashMap;
use micado_api::{ContainerName, InstanceId, ServiceName};
use std::collections::BTreeSet;

/// Machines that a service keeps when it shrinks, if so many copies stay.
const MACHINES: u32 = 2;

/// Machines with copies of a service, in the order in which they were met.
#[derive(Default)]
struct Hosts<'a> {
    list: Vec<Host>,
    indexes: HashMap<&'a InstanceId, u32>,
}

impl Core {
    /// Copies of a service that go when it shrinks by this many; fewer if the others may not. With
    /// `quiet`, only these may go.
    pub(super) fn shrink_by(
        &self,
        name: &ServiceName,
        count: u32,
        blind: &[String],
        quiet: Option<&[String]>,
    ) -> Vec<ContainerName> {
        let names = self.ledger.index.of_service(name);
        let wanted: Vec<&Container> = names
            .filter_map(|name| self.ledger.container(name))
            .filter(|container| container.wants_room())
            .collect();
        let blind: BTreeSet<&String> = blind.iter().collect();
        let quiet_copies: BTreeSet<&String> = quiet.unwrap_or_default().iter().collect();
        let mut hosts = Hosts::default();
        let candidates: Vec<Candidate> = wanted
            .iter()
            .map(|container| {
                let copy = self.running_copy(container);
                let placed = copy.or(container.primary());
                let is_named =
                    |set: &BTreeSet<&String>| copy.is_some_and(|it| set.contains(&it.swarm_name));
                Candidate {
                    machine: placed.map(|copy| self.host_index(&mut hosts, &copy.instance)),
                    is_useless: !copy.is_some_and(Copy::is_fit),
                    is_protected: container.protected
                        || container.bound_to.is_some()
                        || is_named(&blind)
                        || copy.is_some_and(|copy| self.is_silent(&copy.instance)),
                    is_quiet: is_named(&quiet_copies),
                    started_at: container.created_at.0,
                    ..Candidate::default()
                }
            })
            .collect();
        let wish = Wish {
            count,
            machines: MACHINES,
            only_quiet: quiet.is_some(),
        };
        let gone = victims(&candidates, &hosts.list, wish);
        gone.into_iter().map(|at| wanted[at].name.clone()).collect()
    }

    /// Index of a machine in the list, which grows by it if it is missing.
    fn host_index<'a>(&'a self, hosts: &mut Hosts<'a>, id: &'a InstanceId) -> u32 {
        if let Some(at) = hosts.indexes.get(id) {
            return *at;
        }
        let on = self.ledger.containers_on(id).count();
        let instance = self.ledger.instance(id);
        let at = u32::try_from(hosts.list.len()).unwrap_or(u32::MAX);
        hosts.list.push(Host {
            containers: u32::try_from(on).unwrap_or(u32::MAX),
            price: instance.map_or(0.0, |instance| instance.price.0 as f64),
            ordered_at: instance.map_or(0, |instance| instance.created_at.0),
            is_draining: instance.is_none_or(|instance| !instance.accepts_work()),
        });
        hosts.indexes.insert(id, at);
        at
    }
}
