//! Machines and containers of our cluster id that the store does not know: they are taken in, not
//! lost and not doubled.

use super::Core;
use crate::{engine::ServiceView, model::Instance};
use micado_api::{CloudName, FlavourName, InstanceId, InstanceState, Origin, PricePerHour, Tag};
use micado_cloudsetup::Machine;

impl Core {
    /// Takes in what carries our cluster id and has no record: machines first, for containers refer
    /// to them.
    pub(super) fn adopt(&mut self) {
        let listed = self.clouds.iter().flat_map(|(cloud, sight)| {
            sight.machines.values().map(move |machine| (cloud, machine))
        });
        let unknown =
            listed.filter(|(_, machine)| self.ledger.instances.get(&machine.instance).is_none());
        for (cloud, machine) in unknown
            .map(|(cloud, machine)| (cloud.clone(), machine.clone()))
            .collect::<Vec<_>>()
        {
            self.adopt_machine(&cloud, machine);
        }
        let Some(sight) = &self.sight else { return };
        let unknown = sight
            .services()
            .filter(|service| self.ledger.containers.get(&service.container).is_none());
        for service in unknown.cloned().collect::<Vec<_>>() {
            self.adopt_container(service);
        }
    }

    /// Whether something of ours is seen on a machine that no record knows.
    pub(super) fn sees_unrecorded_machine(&self) -> bool {
        let unknown = |id: &InstanceId| self.ledger.instances.get(id).is_none();
        let nodes = self
            .sight
            .iter()
            .flat_map(|sight| &sight.nodes)
            .filter_map(|node| node.instance.as_ref());
        nodes
            .chain(
                self.ledger
                    .containers
                    .values()
                    .filter_map(|it| Some(&it.placement.as_ref()?.instance)),
            )
            .any(unknown)
    }

    /// What the broker does not tell of a machine, its node may.
    fn adopt_machine(&mut self, cloud: &CloudName, machine: Machine) {
        let id = machine.instance.clone();
        let node = self
            .sight
            .as_ref()
            .and_then(|sight| sight.node(&id))
            .cloned();
        let label = |key: &str| {
            node.as_ref()
                .and_then(|node| node.labels.get(key))
                .filter(|value| !value.is_empty())
                .cloned()
        };
        let location = machine
            .location
            .or_else(|| label("location").and_then(|it| it.parse().ok()))
            .unwrap_or_default();
        let flavour = machine
            .flavour
            .or_else(|| label("flavour").map(FlavourName::trusted))
            .unwrap_or_else(|| FlavourName::trusted("unknown"));
        let tag = machine
            .tag
            .or_else(|| label("tag").and_then(|it| it.parse().ok()));
        let application = machine.application.or_else(|| label("application"));
        let offer = self
            .config
            .setup
            .clouds
            .iter()
            .find(|it| it.name == *cloud)
            .and_then(|it| it.flavours.iter().find(|it| it.name == flavour));
        let price: PricePerHour = offer.map(|it| it.price).unwrap_or_default();
        let size = node
            .as_ref()
            .map(|node| node.size)
            .or(offer.and_then(|it| it.size))
            .unwrap_or_default();
        let tag = self.free_tag(tag, &id);
        let instance = Instance {
            application: application.unwrap_or_else(|| "unknown".to_owned()),
            location,
            price,
            size,
            // It counts as booting until its node is seen.
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
        self.ledger.instances.insert(id.clone(), instance);
        self.decide(
            None,
            Some(&id),
            format!(
                "{cloud} has {tag} ({}), which no record knows: taken in",
                machine.name
            ),
        );
    }

    /// The tag it has, unless another instance has it too.
    fn free_tag(&self, tag: Option<Tag>, id: &InstanceId) -> Tag {
        let taken = |tag: &Tag| self.ledger.instances.values().any(|it| it.tag == *tag);
        tag.filter(|tag| !taken(tag))
            .unwrap_or_else(|| Tag::trusted(format!("adopted-{id}")))
    }

    /// The records that the Swarm service carries become ours again.
    fn adopt_container(&mut self, view: ServiceView) {
        let Some((service, mut container)) = view.records.map(|records| *records) else {
            return;
        };
        container.name = view.container;
        container.next_generation = container.next_generation.max(view.placement.generation + 1);
        container.placement = Some(view.placement);
        container.leaving = None;
        let number = container
            .name
            .as_str()
            .rsplit_once('.')
            .and_then(|(_, number)| number.parse::<u32>().ok())
            .unwrap_or(0);
        if self.ledger.services.get(&service.name).is_none() {
            self.ledger
                .services
                .insert(service.name.clone(), service.clone());
        }
        if let Some(service) = self.ledger.services.edit(&service.name) {
            service.next_number = service.next_number.max(number + 1);
        }
        let name = container.name.clone();
        container.service = service.name;
        self.ledger.containers.insert(name.clone(), container);
        self.decide(
            Some(&name),
            None,
            "the engine has it and no record knows it: taken in".to_owned(),
        );
    }
}
