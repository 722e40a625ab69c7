//! Volumes that lie on machines. A new container of a service runs where the service's volumes are,
//! if no other container has them: a service that is removed and launched again finds its data.

use super::Core;
use crate::{
    engine::volume_name,
    model::{Container, Desired, HeldVolume, Instance, Service},
};
use micado_api::{ContainerName, InstanceId, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

impl Core {
    /// Notes that a container has its volumes on a machine.
    pub(super) fn note_volumes(&mut self, container: &ContainerName, id: &InstanceId) {
        let Some(service) = self.ledger.container(container) else {
            return;
        };
        let held = self.volumes_of(self.ledger.service_of(service), container);
        let noted = |instance: &Instance| {
            let mut held = held.iter();
            held.all(|(name, volume)| instance.volumes.get(name) == Some(volume))
        };
        if self.ledger.instance(id).is_some_and(|it| !noted(it)) {
            self.ledger
                .edit_instance(id, |instance| instance.volumes.extend(held));
        }
    }

    /// Volumes that a container of this service mounts, by the engine's names.
    fn volumes_of(
        &self,
        service: &Service,
        container: &ContainerName,
    ) -> BTreeMap<String, HeldVolume> {
        let held = service.spec.volumes.iter().map(|volume| {
            let name = volume_name(&self.config.cluster, &service.name, volume);
            let held = HeldVolume {
                name: volume.name.clone(),
                container: container.clone(),
            };
            (name, held)
        });
        held.collect()
    }

    /// Machines in use with volumes of this service that no wanted container of it is bound to. The
    /// volumes of the container with the lowest name come first.
    pub(super) fn homes(&self, service: &ServiceName) -> Vec<InstanceId> {
        let Some(service) = self.ledger.service(service) else {
            return Vec::new();
        };
        let wanted = self.volumes_of(service, &ContainerName::trusted(""));
        if wanted.is_empty() {
            return Vec::new();
        }
        let containers = self.ledger.index.of_service(&service.name);
        let taken: BTreeSet<&InstanceId> = containers
            .filter_map(|name| self.ledger.container(name))
            .filter(|container| container.desired != Desired::Removed)
            .flat_map(Self::machines_with)
            .collect();
        let mut homes: Vec<_> = self
            .ledger
            .index
            .live()
            .iter()
            .filter_map(|id| self.ledger.instance(id))
            .filter(|instance| instance.accepts_work() && !taken.contains(&instance.id))
            .filter(|instance| instance.location == service.spec.location)
            .filter_map(|instance| {
                let mut held = instance.volumes.iter();
                let (_, volume) = held.find(|(name, _)| wanted.contains_key(*name))?;
                Some((&volume.container, instance.id.clone()))
            })
            .collect();
        homes.sort();
        homes.into_iter().map(|(_, id)| id).collect()
    }

    fn machines_with(container: &Container) -> impl Iterator<Item = &InstanceId> {
        let copies = container.copies.iter().map(|copy| &copy.instance);
        copies.chain(&container.bound_to)
    }

    /// Sentence about the volumes on a machine that no container uses, for its return.
    pub(super) fn volumes_lost_with(&self, id: &InstanceId) -> Option<String> {
        let instance = self.ledger.instance(id)?;
        let unused = |volume: &&HeldVolume| {
            let container = self.ledger.container(&volume.container);
            container.is_none_or(|container| container.desired == Desired::Removed)
        };
        let lost: Vec<String> = instance
            .volumes
            .values()
            .filter(unused)
            .map(|volume| format!("`{}` of {}", volume.name, volume.container))
            .collect();
        (!lost.is_empty()).then(|| format!("with it go volumes: {}", lost.join(", ")))
    }
}

#[cfg(test)]
mod tests;
