//! From what is known to the planner's snapshot, and from its plan to records.

use super::{Core, clouds::CloudSight};
use crate::{
    model::{Container, Instance, Placement},
    planner::{HostPort, Limits, Node, Offer, Readiness, Snapshot, Step, Waiting},
};
use micado_api::{
    AntiAffinity, CloudName, ContainerName, FlavourName, InstanceId, InstanceState, Location,
    Origin, PricePerHour, Resources, Tag, Timestamp,
};
use micado_cloudsetup::{Application, Role};
use std::collections::{BTreeMap, BTreeSet};

impl Core {
    /// Finds places for all that waits, and rents machines where there are none.
    pub(super) fn plan(&mut self) {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        let awaited = self.first_answers_awaited();
        for step in self.snapshot(waiting).plan() {
            match step {
                Step::Place {
                    container,
                    instance,
                    reason,
                } => self.place(&container, &instance, reason),
                // What is rented, or why nothing is, is decided when the clouds have answered.
                _ if awaited.is_some() => {}
                Step::Rent {
                    cloud,
                    flavour,
                    location,
                    containers,
                    reason,
                } => self.rent(&cloud, &flavour, location, &containers, &reason),
                Step::Wait { container, reason } | Step::Refuse { container, reason } => {
                    self.wait(&container, reason)
                }
            }
        }
        awaited.into_iter().for_each(|at| self.wake(at));
        self.wake_for_backoffs();
    }

    /// Containers that need a place: those without one, and those on machines that are being
    /// emptied. The oldest first.
    fn waiting(&self) -> Vec<Waiting> {
        let mut containers: Vec<&Container> = self
            .ledger
            .containers
            .values()
            .filter(|it| it.wants_room() && self.needs_place(it))
            .collect();
        containers.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
        containers
            .into_iter()
            .map(|it| self.as_waiting(it))
            .collect()
    }

    fn needs_place(&self, container: &Container) -> bool {
        let Some(placement) = &container.placement else {
            return true;
        };
        let drains = self
            .ledger
            .instances
            .get(&placement.instance)
            .is_some_and(|it| it.state == InstanceState::Draining);
        drains && container.leaving.is_none() && container.bound_to.is_none()
    }

    /// A container as the planner sees it.
    pub(super) fn as_waiting(&self, container: &Container) -> Waiting {
        let spec = &self.ledger.service_of(container).spec;
        let left = [&container.placement, &container.leaving]
            .into_iter()
            .flatten()
            .map(|placement| placement.instance.clone())
            .next();
        let shunned = self
            .memory
            .shunned
            .get(&container.name)
            .map(|(instance, _)| instance.clone());
        Waiting {
            container: container.name.clone(),
            service: container.service.clone(),
            location: spec.location.clone(),
            needs: spec.reservation,
            ports: host_ports(&spec.ports),
            bound_to: container.bound_to.clone(),
            avoid: left.or(shunned),
            platforms: BTreeSet::new(),
            apart: AntiAffinity::default(),
            volumes: BTreeSet::new(),
        }
    }

    /// Everything the planner looks at.
    pub(super) fn snapshot(&self, waiting: Vec<Waiting>) -> Snapshot {
        Snapshot {
            nodes: self.planner_nodes(),
            waiting,
            offers: self.offers(),
            limits: self.limits(),
        }
    }

    fn planner_nodes(&self) -> Vec<Node> {
        let mut nodes: BTreeMap<&InstanceId, Node> = self
            .ledger
            .instances
            .values()
            .filter(|it| it.is_live())
            .map(|it| (&it.id, self.planner_node(it)))
            .collect();
        for container in self.ledger.containers.values() {
            let spec = &self.ledger.service_of(container).spec;
            for placement in [&container.placement, &container.leaving]
                .into_iter()
                .flatten()
            {
                if let Some(node) = nodes.get_mut(&placement.instance) {
                    node.reserved += spec.reservation;
                    node.containers += 1;
                    node.ports.extend(host_ports(&spec.ports));
                    *node.services.entry(container.service.clone()).or_default() += 1;
                }
            }
        }
        nodes.into_values().collect()
    }

    /// The machine itself, with what others have on it.
    fn planner_node(&self, instance: &Instance) -> Node {
        let seen = self
            .sight
            .as_ref()
            .and_then(|sight| Some((sight, sight.node(&instance.id)?)));
        let up = seen.is_some_and(|(_, node)| node.ready);
        let open = seen.is_some_and(|(_, node)| node.active);
        let readiness = match instance.state {
            _ if instance.is_arriving() => Readiness::Arriving,
            InstanceState::Active if up && open && self.is_silent(&instance.id) => {
                Readiness::Silent
            }
            InstanceState::Active if up && open => Readiness::Ready,
            InstanceState::Active if up => Readiness::Draining,
            InstanceState::Draining | InstanceState::Stopping => Readiness::Draining,
            _ => Readiness::Down,
        };
        Node {
            instance: instance.id.clone(),
            tag: instance.tag.clone(),
            location: instance.location.clone(),
            readiness,
            platform: None,
            size: instance.size,
            reserve: self.config.system_reserve,
            containers: 0,
            volumes: BTreeSet::new(),
            reserved: seen.map_or_else(Resources::default, |(sight, node)| {
                sight.foreign_reserved(&node.id)
            }),
            ports: seen.map_or_else(BTreeSet::new, |(sight, node)| sight.foreign_ports(&node.id)),
            services: BTreeMap::new(),
        }
    }

    /// What can be rented, each flavour with the size that its machines were last seen to have.
    fn offers(&self) -> Vec<Offer> {
        if self.node_application().is_none() {
            return Vec::new();
        }
        let clouds = self
            .config
            .setup
            .clouds
            .iter()
            .flat_map(|cloud| cloud.flavours.iter().map(move |flavour| (cloud, flavour)));
        let sized =
            clouds.filter_map(|(cloud, flavour)| flavour.size.map(|size| (cloud, flavour, size)));
        sized
            .map(|(cloud, flavour, promised)| Offer {
                cloud: cloud.name.clone(),
                flavour: flavour.name.clone(),
                platform: None,
                size: self
                    .seen_size(&cloud.name, &flavour.name)
                    .unwrap_or(promised),
                reserve: self.config.system_reserve,
                price: flavour.price,
                unavailable: self.unavailable(&cloud.name, &flavour.name),
            })
            .collect()
    }

    fn node_application(&self) -> Option<&Application> {
        self.config
            .setup
            .applications
            .iter()
            .find(|it| it.role == Role::Node)
    }

    /// The size that the newest joined machine of a flavour turned out to have.
    fn seen_size(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<Resources> {
        let same = self.ledger.instances.values().filter(|it| {
            it.cloud == *cloud && it.flavour == *flavour && it.origin != Origin::Adopted
        });
        same.filter(|it| it.joined_at.is_some())
            .max_by_key(|it| it.joined_at)
            .map(|it| it.size)
    }

    /// Why a flavour cannot be had now: its cloud does not answer, machines may be there that no
    /// record knows, or it failed and its back-off runs.
    fn unavailable(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<String> {
        match self.clouds.get(cloud) {
            Some(CloudSight {
                error: Some(error), ..
            }) => return Some(format!("{cloud} does not answer: {error}")),
            Some(sight) if !sight.was_asked() => {
                return Some(format!("{cloud} has not answered yet"));
            }
            _ => {}
        }
        if let Some(unheard) = self
            .unheard_cloud()
            .filter(|_| self.sees_unrecorded_machine())
        {
            return Some(format!(
                "there are machines that no record knows, and {unheard} has not said yet which it has"
            ));
        }
        let (last, until) = self.backoff(cloud, flavour)?;
        let reason = last.reason.as_deref().unwrap_or("it failed");
        (until > self.now).then(|| format!("{} failed a moment ago: {reason}", last.tag))
    }

    /// The last machine of a flavour that did not come up, if none did since, and until when the
    /// flavour is left alone for it: longer with each in a row.
    fn backoff(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<(&Instance, Timestamp)> {
        let same = || {
            self.ledger
                .instances
                .values()
                .filter(|it| it.cloud == *cloud && it.flavour == *flavour)
        };
        let success = same().filter_map(|it| it.joined_at).max();
        let failed = |it: &&Instance| {
            it.state == InstanceState::Failed
                && it.joined_at.is_none()
                && success.is_none_or(|at| it.state_since > at)
        };
        let last = same().filter(failed).max_by_key(|it| it.state_since)?;
        let doublings = u32::try_from(same().filter(failed).count() - 1)
            .unwrap_or(u32::MAX)
            .min(16);
        let wait = self
            .config
            .backoff
            .saturating_mul(1 << doublings)
            .min(self.config.backoff_max);
        Some((last, last.state_since.plus(wait)))
    }

    /// Asks to be woken when the next back-off ends.
    fn wake_for_backoffs(&mut self) {
        let flavours = self
            .config
            .setup
            .clouds
            .iter()
            .flat_map(|cloud| cloud.flavours.iter().map(move |flavour| (cloud, flavour)));
        let ends = flavours
            .filter_map(|(cloud, flavour)| self.backoff(&cloud.name, &flavour.name))
            .map(|(_, until)| until);
        if let Some(at) = ends.filter(|at| *at > self.now).min() {
            self.wake(at);
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let live = || self.ledger.instances.values().filter(|it| it.is_live());
        Limits {
            max_instances: self.config.max_instances,
            instances: u32::try_from(live().count()).unwrap_or(u32::MAX),
            max_price: self.config.max_price,
            price: PricePerHour(live().map(|it| it.price.0).sum()),
        }
    }

    /// Assigns a container to an instance; what it leaves behind goes on until the new copy runs.
    fn place(&mut self, name: &ContainerName, instance: &InstanceId, reason: String) {
        let Some(container) = self.ledger.containers.edit(name) else {
            return;
        };
        let generation = container.next_generation;
        container.next_generation += 1;
        let old = container.placement.replace(Placement {
            instance: instance.clone(),
            generation,
        });
        container.leaving = old.or(container.leaving.take());
        container.reason = None;
        self.decide(Some(name), Some(instance), reason);
    }

    /// Records a machine to rent, with all that is assigned to it; it is asked for once that is
    /// durable.
    fn rent(
        &mut self,
        cloud: &CloudName,
        flavour: &FlavourName,
        location: Location,
        containers: &[ContainerName],
        reason: &str,
    ) {
        let Some(application) = self.node_application().map(|it| it.name.clone()) else {
            return;
        };
        let tag = self.fresh_tag(&location);
        let id = self.request_instance(cloud, flavour, application, tag, location, Origin::Planner);
        let text = format!("renting {flavour} on {cloud}: {reason}");
        self.decide(None, Some(&id), text.clone());
        for container in containers {
            self.place(container, &id, text.clone());
        }
    }

    /// The record of a machine that is wanted.
    pub(super) fn request_instance(
        &mut self,
        cloud: &CloudName,
        flavour: &FlavourName,
        application: String,
        tag: Tag,
        location: Location,
        origin: Origin,
    ) -> InstanceId {
        let id = self.fresh_instance_id();
        let offer = self
            .config
            .setup
            .clouds
            .iter()
            .find(|it| it.name == *cloud)
            .and_then(|it| it.flavours.iter().find(|it| it.name == *flavour));
        let promised = offer.and_then(|it| it.size).unwrap_or_default();
        let instance = Instance {
            application,
            location,
            size: self.seen_size(cloud, flavour).unwrap_or(promised),
            price: offer.map(|it| it.price).unwrap_or_default(),
            ..Instance::new(
                id.clone(),
                tag,
                cloud.clone(),
                flavour.clone(),
                origin,
                self.now,
            )
        };
        self.ledger.instances.insert(id.clone(), instance);
        id
    }

    /// `application01` and so on: the first that no record has.
    fn fresh_tag(&self, location: &Location) -> Tag {
        let used: BTreeSet<&str> = self
            .ledger
            .instances
            .values()
            .map(|it| it.tag.as_str())
            .collect();
        let numbered = (1_u32..).map(|number| format!("{location}{number:02}"));
        Tag::trusted(
            numbered
                .into_iter()
                .find(|tag| !used.contains(tag.as_str()))
                .expect("there are more numbers than records"),
        )
    }

    /// Leaves a container waiting, and says why. On a machine that is stopped by force it does not
    /// wait there.
    fn wait(&mut self, name: &ContainerName, reason: String) {
        let forced = self.placed(name).is_some_and(|(_, placement, _)| {
            self.ledger
                .instances
                .get(&placement.instance)
                .is_some_and(|it| it.force)
        });
        if forced {
            self.unplace(name, &reason);
        }
        let left_by_force = |left: &Placement| {
            self.ledger
                .instances
                .get(&left.instance)
                .is_some_and(|it| it.force)
        };
        let moves_on = self.ledger.containers.get(name).is_some_and(|it| {
            it.placement.is_none() && it.leaving.as_ref().is_some_and(left_by_force)
        });
        let Some(container) = self.ledger.containers.edit(name) else {
            return;
        };
        if moves_on {
            container.leaving = None;
        }
        if container.reason.as_deref() != Some(&reason) {
            container.reason = Some(reason.clone());
            self.decide(Some(name), None, format!("waits: {reason}"));
        }
    }
}

/// The fixed machine ports among these.
pub(super) fn host_ports(ports: &[micado_api::PortMapping]) -> BTreeSet<HostPort> {
    ports
        .iter()
        .filter_map(|port| Some((port.host?, port.protocol)))
        .collect()
}
