//! Adoption: machines and containers of our cluster id without a record get one, and are neither
//! removed nor duplicated.

use super::Core;
use crate::{
    engine::SwarmService,
    model::{Container, Health, Instance, Phase, Service},
};
use micado_api::{
    CloudName, FlavourName, HealthState, InstanceId, InstanceState, Origin, PricePerHour, Tag,
};
use micado_cloudsetup::Machine;

impl Core {
    /// Adopts everything with our cluster id and without a record: machines first, because
    /// containers refer to them.
    pub(super) fn adopt(&mut self) {
        let listed = self.clouds.iter().flat_map(|(cloud, record)| {
            let machines = record.machines.values();
            machines.map(move |machine| (cloud, machine))
        });
        let unknown = listed.filter(|(_, it)| self.ledger.instance(&it.instance).is_none());
        let unknown = unknown.map(|(cloud, machine)| (cloud.clone(), machine.clone()));
        for (cloud, machine) in unknown.collect::<Vec<_>>() {
            self.adopt_machine(&cloud, machine);
        }
        let Some(observed) = &self.observed else {
            return;
        };
        let unknown = observed
            .containers()
            .filter(|name| self.ledger.container(name).is_none());
        let services = unknown.flat_map(|name| observed.services_of(name));
        let mut services: Vec<SwarmService> = services.cloned().collect();
        services.sort_by(|a, b| (&a.container, a.generation).cmp(&(&b.container, b.generation)));
        for service in services {
            self.adopt_container(service);
        }
    }

    /// Returns true if something of ours is observed on a machine without a record.
    pub(super) fn sees_unrecorded_machine(&self) -> bool {
        let claimed = self.observed.iter().flat_map(|observed| observed.claimed());
        claimed
            .chain(self.ledger.index.used_instances())
            .any(|id| self.ledger.instance(id).is_none())
    }

    /// Adopts a machine. Its node supplies the facts that the broker lacks.
    fn adopt_machine(&mut self, cloud: &CloudName, machine: Machine) {
        let id = machine.instance.clone();
        let node = self.node(&id).cloned();
        let label = |key: &str| {
            node.as_ref()
                .and_then(|node| node.labels.get(key))
                .filter(|value| !value.is_empty())
                .cloned()
        };
        let location = machine
            .location
            .or_else(|| label("location").and_then(|location| location.parse().ok()))
            .unwrap_or_default();
        let flavour = machine
            .flavour
            .or_else(|| label("flavour").map(FlavourName::trusted))
            .unwrap_or_else(|| FlavourName::trusted("unknown"));
        let tag = machine
            .tag
            .or_else(|| label("tag").and_then(|tag| tag.parse().ok()));
        let application = machine.application.or_else(|| label("application"));
        let offer = self
            .config
            .setup
            .clouds
            .iter()
            .find(|known| known.name == *cloud)
            .and_then(|known| known.flavours.iter().find(|known| known.name == flavour));
        let price: PricePerHour = offer.map(|offer| offer.price).unwrap_or_default();
        let size = node
            .as_ref()
            .map(|node| node.size)
            .or(offer.and_then(|offer| offer.size))
            .unwrap_or_default();
        let tag = self.free_tag(tag, &id);
        let instance = Instance {
            application: application.unwrap_or_else(|| "unknown".to_owned()),
            location,
            price,
            size,
            // It counts as booting until its node is observed.
            state: InstanceState::Booting,
            broker_id: Some(machine.id),
            address: machine.address,
            ..Instance::new(
                id.clone(),
                tag.clone(),
                cloud.clone(),
                flavour,
                Origin::Adopted,
                self.now,
            )
        };
        self.ledger.insert_instance(instance);
        let text = format!(
            "{cloud} has {tag} ({}), which no record knows: adopted",
            machine.name
        );
        self.decide(None, Some(&id), text);
    }

    /// Returns the tag, or a new one if another instance has it.
    fn free_tag(&self, tag: Option<Tag>, id: &InstanceId) -> Tag {
        let taken = |tag: &Tag| self.ledger.index.tagged(tag.as_str()).next().is_some();
        tag.filter(|tag| !taken(tag))
            .unwrap_or_else(|| Tag::trusted(format!("adopted-{id}")))
    }

    /// Adopts the records that a Swarm service carries. Of several services of a container the
    /// newest comes last and counts.
    fn adopt_container(&mut self, seen: SwarmService) {
        let records = seen.records.as_deref();
        let records = records.and_then(|json| serde_json::from_str(json).ok());
        let Some((service, mut container)): Option<(Service, Container)> = records else {
            return;
        };
        let name = seen.container;
        container.name = name.clone();
        container.next_generation = container.next_generation.max(seen.generation + 1);
        container
            .copies
            .retain(|copy| copy.generation == seen.generation);
        let Some(copy) = container.copies.first_mut() else {
            return;
        };
        (copy.instance, copy.phase) = (seen.instance, Phase::Starting);
        copy.swarm_name = seen.name;
        if let Some(health) = &mut copy.health {
            **health = Health::new(HealthState::Unknown, self.now);
        }
        let number = name.as_str().rsplit_once('.');
        let number = number.and_then(|(_, number)| number.parse::<u32>().ok());
        let next = number.unwrap_or(0).saturating_add(1);
        container.service = service.name.clone();
        if self.ledger.service(&service.name).is_none() {
            self.ledger.insert_service(service.clone());
        }
        self.ledger.edit_service(&service.name, |service| {
            service.next_number = service.next_number.max(next);
        });
        self.ledger.insert_container(container);
        let text = "the engine has it and no record knows it: adopted".to_owned();
        self.decide(Some(&name), None, text);
    }
}
