//! Reads of the core for the catalogue of services: the copies of containers, and the machines that
//! they are on. The core notes the subjects of each pass, so that a read costs what changed.

use super::Core;
use crate::model::{Container, Copy, Instance};
use micado_api::{
    ContainerName, ContainerState, InstanceId, InstanceState, Location, PortMapping, ServiceName,
    Tag,
};
use std::collections::BTreeSet;

/// Subjects that may look different in the catalogue since they were last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stale {
    pub containers: BTreeSet<ContainerName>,
    pub instances: BTreeSet<InstanceId>,
    /// Entries made by hand, by id.
    pub registrations: BTreeSet<String>,
    /// A full pass: entries of subjects without a record may be left too.
    pub all: bool,
}

impl Stale {
    /// Adds the subjects of another.
    pub fn unite(&mut self, more: Self) {
        super::dirty::unite(&mut self.containers, more.containers);
        super::dirty::unite(&mut self.instances, more.instances);
        super::dirty::unite(&mut self.registrations, more.registrations);
        self.all |= more.all;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A container in the catalogue, with each copy that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContainer {
    pub name: ContainerName,
    pub service: ServiceName,
    pub client: String,
    pub location: Location,
    pub domain: Option<String>,
    /// Tags of a person, as they are.
    pub tags: Vec<String>,
    /// Copies, oldest first.
    pub copies: Vec<ListedCopy>,
}

/// A copy in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCopy {
    pub generation: u32,
    pub instance: InstanceId,
    pub image: String,
    /// Published ports, those that a person named first. Empty until the engine shows them, and
    /// again once it does not.
    pub ports: Vec<PortMapping>,
    pub health: CopyHealth,
}

/// Fitness of a copy for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyHealth {
    /// It has not run yet.
    Starting,
    /// It runs, and is healthy if its image has a check.
    Running,
    /// It is wanted, and does not run at present, with the reason.
    Down(String),
    /// It is unhealthy for this reason, and stays: more than half of its service would be out.
    Kept(String),
    /// It is being stopped: nothing should be sent to it any more.
    Draining,
}

/// A machine in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNode {
    pub id: InstanceId,
    pub tag: Tag,
    pub address: String,
    pub location: Location,
    /// Its cloud and flavour, `CLOUD/FLAVOUR`.
    pub offer: String,
    /// Its node is in the Swarm and answers.
    pub answers: bool,
}

impl Core {
    /// Notes the subjects of a pass for the next read. Nothing is read while the engine does not
    /// answer: the catalogue stays as it was.
    pub(super) fn note_stale(
        &mut self,
        instances: &BTreeSet<InstanceId>,
        containers: &BTreeSet<ContainerName>,
    ) {
        if self.config.catalogue && self.sees() {
            self.stale.unite(Stale {
                containers: containers.clone(),
                instances: instances.clone(),
                ..Stale::default()
            });
        }
    }

    pub(super) fn note_registration(&mut self, id: String) {
        if self.config.catalogue {
            self.stale.registrations.insert(id);
        }
    }

    /// Returns the subjects of the passes since the last call.
    pub fn take_stale(&mut self) -> Stale {
        std::mem::take(&mut self.stale)
    }

    /// True while the catalogue can be read: the engine answers.
    #[must_use]
    pub fn can_list(&self) -> bool {
        self.sees()
    }

    /// The container of this name in the catalogue; `None` without a record.
    #[must_use]
    pub fn listed(&self, name: &ContainerName) -> Option<ListedContainer> {
        let container = self.ledger.container(name)?;
        let spec = &self.ledger.service_of(container).spec;
        let copies = container.copies.iter().filter(|copy| copy.takes_room());
        Some(ListedContainer {
            name: name.clone(),
            service: container.service.clone(),
            client: spec.client.clone(),
            location: spec.location.clone(),
            domain: spec.domain.clone(),
            tags: spec.tags.clone(),
            copies: copies
                .map(|copy| self.listed_copy(container, copy))
                .collect(),
        })
    }

    fn listed_copy(&self, container: &Container, copy: &Copy) -> ListedCopy {
        let spec = self.ledger.service_of(container).spec_at(copy.spec);
        let task = self.observed.as_ref();
        let task = task.and_then(|observed| observed.task(&copy.swarm_name));
        let mut ports = task.map_or_else(Vec::new, |task| task.ports.clone());
        ports.retain(|port| port.host.is_some());
        let named = |port: &PortMapping| {
            let mut ports = spec.ports.iter();
            let at =
                ports.position(|it| it.container == port.container && it.protocol == port.protocol);
            (at.unwrap_or(usize::MAX), port.container, port.protocol)
        };
        ports.sort_by_key(named);
        ListedCopy {
            generation: copy.generation,
            instance: copy.instance.clone(),
            image: spec.image.clone(),
            ports,
            health: self.copy_health(container, copy),
        }
    }

    fn copy_health(&self, container: &Container, copy: &Copy) -> CopyHealth {
        if !copy.is_live() || !container.wants_room() {
            return CopyHealth::Draining;
        }
        let Some(observed) = &self.observed else {
            return CopyHealth::Starting;
        };
        if !self.joins(&copy.instance) {
            let reason = format!("{} does not answer", self.tag_of(&copy.instance));
            return CopyHealth::Down(reason);
        }
        match self.task_state(observed, container, copy) {
            (ContainerState::Running, _) if observed.runs(&copy.swarm_name) => CopyHealth::Running,
            (ContainerState::Unhealthy, reason) => {
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let reason = format!("unhealthy{reason}");
                match self.is_kept_routed(&container.service, copy) {
                    true => CopyHealth::Kept(reason),
                    false => CopyHealth::Down(reason),
                }
            }
            (ContainerState::Failing, reason) => {
                CopyHealth::Down(reason.unwrap_or_else(|| "its process ended".to_owned()))
            }
            _ => CopyHealth::Starting,
        }
    }

    /// The machine of this id in the catalogue; `None` if it is not in use or has no address.
    #[must_use]
    pub fn listed_node(&self, id: &InstanceId) -> Option<ListedNode> {
        let instance = self.ledger.instance(id).filter(|it| is_in_use(it))?;
        Some(ListedNode {
            id: id.clone(),
            tag: instance.tag.clone(),
            address: instance.address.clone()?,
            location: instance.location.clone(),
            offer: format!("{}/{}", instance.cloud, instance.flavour),
            answers: self.joins(id),
        })
    }
}

fn is_in_use(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::Active | InstanceState::Draining
    )
}
