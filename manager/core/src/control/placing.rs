//! From what is known to the planner's pool and demand, and from its plan to records.

use super::{
    Core,
    clouds::CloudRecord,
    dirty::Subject,
    observed::ForeignUse,
    ports::{self, host_ports},
};
use crate::{
    engine::{exclusive_volumes, swarm_name},
    model::{Container, Copy, Health, Instance, Phase, Service},
    planner::{self, Demand, Limits, Node, Offer, Pool, Readiness, Step, Waiting},
};
use ahash::HashMap;
use micado_api::{
    CloudName, ContainerName, FlavourName, InstanceId, InstanceState, Location, Origin,
    ServiceName, Tag, Timestamp,
};
use micado_cloudsetup::{Application, Bounds, Role};
use std::collections::{BTreeMap, BTreeSet};

/// The planner's view of the machines, and the containers that wait for a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Placing {
    pub(super) pool: Pool,
    /// Oldest first.
    waiting: BTreeSet<(Timestamp, ContainerName)>,
    since: HashMap<ContainerName, Timestamp>,
    /// Containers that leave a machine which the manager drains.
    pub(super) leaving: BTreeSet<ContainerName>,
    /// Instances with a placement that the pool does not show yet.
    pub(super) placed_on: BTreeSet<InstanceId>,
}

impl Placing {
    /// Notes since when a container waits, or that it does not.
    pub(super) fn waits(&mut self, name: &ContainerName, since: Option<Timestamp>) {
        if let Some(old) = self.since.remove(name) {
            self.waiting.remove(&(old, name.clone()));
        }
        if let Some(since) = since {
            self.since.insert(name.clone(), since);
            self.waiting.insert((since, name.clone()));
        }
    }

    /// An instance that has no record any more.
    pub(super) fn forget(&mut self, id: &InstanceId) {
        self.pool.remove(id);
    }
}

impl Core {
    /// Finds places for all that waits, and rents machines where there are none.
    pub(super) fn plan(&mut self) {
        let keeps_room = self.keeps_room();
        if self.placing.waiting.is_empty() && !keeps_room {
            return;
        }
        let waiting = self.all_waiting();
        let awaited = self.first_answers_awaited();
        let (mut waits, mut placed) = (BTreeSet::new(), false);
        for step in self.ask_planner(&waiting) {
            placed |= matches!(step, Step::Place { .. } | Step::Rent { .. });
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
                } => drop(self.rent(&cloud, &flavour, location, &containers, &reason)),
                Step::Wait { container, reason } => {
                    waits.extend(self.location_of(&container));
                    self.wait(&container, reason);
                }
                Step::Refuse { container, reason } => self.wait(&container, reason),
            }
        }
        if keeps_room {
            // The pool shows places and machines in the next pass.
            self.ledger.dirty.plan |= placed && awaited.is_none();
            if !placed {
                self.plan_room(&waits, awaited.is_some());
            }
        }
        awaited.into_iter().for_each(|at| self.wake(at));
        self.wake_for_backoffs();
        self.wake_for_shunned();
    }

    /// Containers that wait for a place, oldest first.
    fn all_waiting(&self) -> Vec<Waiting> {
        let waiting = self.placing.waiting.iter();
        let waiting = waiting.filter_map(|(_, name)| self.ledger.container(name));
        waiting
            .map(|container| self.as_waiting(container))
            .collect()
    }

    fn location_of(&self, name: &ContainerName) -> Option<Location> {
        let service = self.ledger.service_of(self.ledger.container(name)?);
        Some(service.spec.location.clone())
    }

    /// Returns true if a container of this location waits for a place.
    pub(super) fn waits_at(&self, location: &Location) -> bool {
        let mut waiting = self.placing.waiting.iter();
        waiting.any(|(_, name)| self.location_of(name).as_ref() == Some(location))
    }

    pub(super) fn ask_planner(&mut self, waiting: &[Waiting]) -> Vec<Step> {
        let mut pool = std::mem::take(&mut self.placing.pool);
        let plan = self.plan_on(&mut pool, waiting);
        self.placing.pool = pool;
        plan
    }

    /// The plan for these containers on these machines, within the limits.
    pub(super) fn plan_on(&self, pool: &mut Pool, waiting: &[Waiting]) -> Vec<Step> {
        let (offers, limits) = (self.offers(), self.limits());
        let bounds = self.config.setup.locations.iter();
        let limits_at = bounds.map(|bounds| (bounds.location.clone(), self.limits_at(bounds)));
        let demand = Demand {
            waiting,
            offers: &offers,
            limits: &limits,
            limits_at: &limits_at.collect(),
        };
        planner::plan(pool, &demand)
    }

    /// The plan for these containers if a machine were drained.
    pub(super) fn plan_without(&mut self, id: &InstanceId, waiting: &[Waiting]) -> Vec<Step> {
        let Some(node) = self.placing.pool.node(id).cloned() else {
            return self.ask_planner(waiting);
        };
        self.placing.pool.put(Node {
            readiness: Readiness::Draining,
            ..node.clone()
        });
        let plan = self.ask_planner(waiting);
        self.placing.pool.put(node);
        plan
    }

    /// The reason why no machine, rented or to rent, could ever hold a container of this kind.
    pub(super) fn why_impossible(&mut self, waiting: Waiting) -> Option<String> {
        let plan = self.ask_planner(&[waiting]);
        plan.into_iter().find_map(|step| match step {
            Step::Refuse { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// Number of further copies of a service, up to `count`, that machines can hold, present or to
    /// rent, after everything that waits already.
    pub(super) fn room_for(&mut self, name: &ServiceName, count: u32) -> u32 {
        let Some(service) = self.ledger.service(name).cloned() else {
            return 0;
        };
        let mut waiting = self.all_waiting();
        let numbers = service.next_number..service.next_number.saturating_add(count);
        let fresh = numbers.map(|number| ContainerName::trusted(format!("{name}.{number}")));
        let fresh: BTreeSet<ContainerName> = fresh.collect();
        waiting.extend(fresh.iter().map(|name| self.kind_of(name, &service)));
        let plan = self.ask_planner(&waiting);
        let left_out = plan.iter().filter(|step| match step {
            Step::Wait { container, .. } | Step::Refuse { container, .. } => {
                fresh.contains(container)
            }
            Step::Place { .. } | Step::Rent { .. } => false,
        });
        count.saturating_sub(u32::try_from(left_out.count()).unwrap_or(u32::MAX))
    }

    /// Returns true if nothing needs a place.
    fn is_idle(&self) -> bool {
        self.placing.waiting.is_empty() && self.placing.leaving.is_empty() && !self.keeps_room()
    }

    /// Notes whether a container needs a place: it has none, or its machine is drained.
    pub(super) fn note_waiting(&mut self, name: &ContainerName) {
        let frees_ports = self.frees_ports(name);
        let container = self.ledger.container(name);
        let waits = container
            .filter(|container| container.wants_room())
            .filter(|container| container.primary().is_none() || self.must_move(container))
            .filter(|_| !frees_ports)
            .map(|container| container.created_at);
        let leaves = container.is_some_and(|container| self.may_move(container));
        self.ledger.dirty.plan |= waits.is_some() || leaves;
        if leaves {
            self.placing.leaving.insert(name.clone());
        } else {
            self.placing.leaving.remove(name);
        }
        if waits.as_ref() != self.placing.since.get(name) {
            self.ledger.dirty.plan |= self.keeps_room();
            self.placing.waits(name, waits);
        }
    }

    /// A container as the planner sees it.
    pub(super) fn as_waiting(&self, container: &Container) -> Waiting {
        let service = self.ledger.service_of(container);
        let left = container.primary().map(|copy| copy.instance.clone());
        let shunned = self.copies.shunned.get(&container.name);
        let shunned = shunned.filter(|(_, until)| *until > self.now);
        Waiting {
            bound_to: container.bound_to.clone(),
            avoid: left.or(shunned.map(|(instance, _)| instance.clone())),
            ..self.kind_of(&container.name, service)
        }
    }

    /// A container of this service that has never run.
    pub(super) fn kind_of(&self, container: &ContainerName, service: &Service) -> Waiting {
        let spec = &service.spec;
        Waiting {
            container: container.clone(),
            service: service.name.clone(),
            location: spec.location.clone(),
            needs: spec.reservation,
            ports: host_ports(spec.ports.iter().copied()),
            published: ports::published(&spec.ports),
            bound_to: None,
            avoid: None,
            platforms: service.platforms.clone(),
            apart: spec.anti_affinity,
            volumes: exclusive_volumes(&self.config.cluster, &service.name, &spec.volumes),
        }
    }

    /// Brings the planner's view of a machine up to date. Containers are visited if it became
    /// ready, or ceased to be.
    pub(super) fn update_pool(&mut self, id: &InstanceId) {
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let node = instance.is_live().then(|| self.planner_node(instance));
        let placed = self.placing.placed_on.remove(id);
        let old = self.placing.pool.node(id);
        if old == node.as_ref() {
            // As much was placed there as ended meanwhile: the plan did not know of that room.
            self.ledger.dirty.plan |= placed && !self.is_idle();
            return;
        }
        let readiness = old.map(|old| old.readiness);
        let was_used = old.is_some_and(|old| old.containers > 0);
        let falls_empty = was_used && node.as_ref().is_some_and(|node| node.containers == 0);
        self.ledger.dirty.returns |= falls_empty && self.config.return_machines;
        self.ledger.dirty.plan |= !self.is_idle();
        if readiness != node.as_ref().map(|node| node.readiness) {
            self.mark_containers_on(id);
        }
        match node {
            Some(node) => self.placing.pool.put(node),
            None => self.placing.pool.remove(id),
        }
    }

    /// The machine, with everything that is promised on it.
    fn planner_node(&self, instance: &Instance) -> Node {
        let seen = self
            .node(&instance.id)
            .and_then(|node| Some((self.observed.as_ref()?, node)));
        let up = seen.is_some_and(|(_, node)| node.ready);
        let open = seen.is_some_and(|(_, node)| node.active);
        let readiness = match instance.state {
            _ if instance.is_arriving() => Readiness::Arriving,
            InstanceState::Active if up && open && self.is_silent(&instance.id) => {
                Readiness::Silent
            }
            InstanceState::Active if up && open => Readiness::Ready,
            // It is being opened.
            InstanceState::Active if up => Readiness::Arriving,
            InstanceState::Draining | InstanceState::Stopping
                if up && self.can_stay(&instance.id) =>
            {
                Readiness::Leaving
            }
            InstanceState::Draining | InstanceState::Stopping => Readiness::Draining,
            _ => Readiness::Down,
        };
        let ForeignUse {
            reserved,
            containers,
            published,
            ports,
        } = self.foreign_on(instance);
        let newest = self.newest(&instance.cloud, &instance.flavour);
        let flavour_platform = newest.and_then(|newest| newest.platform.clone());
        let mut node = Node {
            instance: instance.id.clone(),
            tag: instance.tag.clone(),
            location: instance.location.clone(),
            readiness,
            exhausted: self.exhausted.get(&instance.id).copied(),
            platform: instance.platform.clone().or(flavour_platform),
            size: instance.size,
            reserve: self.config.system_reserve,
            reserved,
            containers,
            published,
            ports,
            volumes: BTreeSet::new(),
            services: BTreeMap::new(),
        };
        for container in self.ledger.containers_on(&instance.id) {
            let service = self.ledger.service_of(container);
            for copy in container.copies_on(&instance.id) {
                node.reserved += copy.reservation;
                node.containers += 1;
                let spec = service.spec_at(copy.spec);
                node.ports.extend(host_ports(copy.published(spec)));
                node.published += ports::published(&spec.ports);
                let cluster = &self.config.cluster;
                let volumes = exclusive_volumes(cluster, &service.name, &spec.volumes);
                node.volumes.extend(volumes);
                *node.services.entry(container.service.clone()).or_default() += 1;
            }
        }
        node
    }

    /// Use of a machine by tasks that are no copies of ours.
    pub(super) fn foreign_on(&self, instance: &Instance) -> ForeignUse {
        let counted = |name: &str| {
            let container = self.ledger.index.by_swarm_name(name);
            let container = container.and_then(|name| self.ledger.container(name));
            container.is_some_and(|container| {
                let mut copies = container.copies.iter();
                copies.any(|copy| copy.swarm_name == name && copy.takes_room())
            })
        };
        self.node(&instance.id)
            .zip(self.observed.as_ref())
            .map(|(node, observed)| observed.foreign(&node.id, counted))
            .unwrap_or_default()
    }

    /// What can be rented, each flavour with the size that its machines were last seen to have.
    pub(super) fn offers(&self) -> Vec<Offer> {
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
                platform: self
                    .newest(&cloud.name, &flavour.name)
                    .and_then(|newest| newest.platform.clone()),
                size: self
                    .newest(&cloud.name, &flavour.name)
                    .map_or(promised, |newest| newest.size),
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

    /// The newest machine of a flavour that has joined: its size and platform are known.
    fn newest(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<&Instance> {
        let record = self.ledger.index.of_flavour(cloud, flavour)?;
        let (_, newest) = record.sized.last()?;
        self.ledger.instance(newest)
    }

    /// Why a flavour cannot be had now: its cloud does not answer, machines may be there that no
    /// record knows, or it failed and its back-off runs.
    fn unavailable(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<String> {
        match self.clouds.get(cloud) {
            Some(CloudRecord {
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
        let record = self.ledger.index.of_flavour(cloud, flavour)?;
        let success = record.joined.last().map(|(at, _)| *at);
        let failed = record.failed.iter().rev();
        let failed = failed.take_while(|(at, _)| success.is_none_or(|success| *at > success));
        let (mut doublings, mut last) = (0_u32, None);
        for (at, id) in failed.take(17) {
            last.get_or_insert((at, id));
            doublings += 1;
        }
        let (at, last) = last?;
        let factor = 1 << (doublings - 1);
        let wait = self.config.backoff.saturating_mul(factor);
        let wait = wait.min(self.config.backoff_max);
        Some((self.ledger.instance(last)?, at.plus(wait)))
    }

    /// Asks to be woken when an instance that would not take a container is tried again.
    fn wake_for_shunned(&mut self) {
        let waiting = self.placing.since.keys();
        let shunned = waiting.filter_map(|name| self.copies.shunned.get(name));
        let next = shunned
            .map(|(_, until)| *until)
            .filter(|until| *until > self.now)
            .min();
        next.into_iter().for_each(|at| self.wake(at));
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
        let live = self.ledger.index.live();
        Limits {
            max_instances: self.config.max_instances,
            instances: u32::try_from(live.len()).unwrap_or(u32::MAX),
            max_price: self.config.max_price,
            price: self.ledger.index.price(),
        }
    }

    /// Limits of one location alone.
    pub(super) fn limits_at(&self, bounds: &Bounds) -> Limits {
        let (instances, price) = self.ledger.index.live_at(&bounds.location);
        Limits {
            max_instances: bounds.max_machines,
            instances,
            max_price: bounds.max_price,
            price,
        }
    }

    /// Assigns a container to an instance; a copy that runs goes on until the new one does.
    pub(super) fn place(&mut self, name: &ContainerName, instance: &InstanceId, reason: String) {
        let Some(container) = self.ledger.container(name) else {
            return;
        };
        let service = self.ledger.service_of(container);
        let generation = container.next_generation;
        let copy = Copy {
            generation,
            instance: instance.clone(),
            swarm_name: swarm_name(&self.config.cluster, name, generation),
            spec: service.version,
            reservation: service.spec.reservation,
            phase: Phase::Starting,
            ports: self.choose_ports(name, instance, &service.spec),
            last_end: None,
            health: Health::of_new(&service.spec, self.now),
        };
        self.placing.placed_on.insert(instance.clone());
        self.needs(instance, name);
        self.ledger.edit_container(name, |container| {
            container.next_generation += 1;
            // Mostly the only one: room for four would be most of a container's memory.
            container.copies.reserve_exact(1);
            container.copies.push(copy);
            container.reason = None;
        });
        self.decide(Some(name), Some(instance), reason);
    }

    /// Records a machine to rent, with all that is assigned to it; it is asked for once that is
    /// durable.
    pub(super) fn rent(
        &mut self,
        cloud: &CloudName,
        flavour: &FlavourName,
        location: Location,
        containers: &[ContainerName],
        reason: &str,
    ) -> Option<InstanceId> {
        let application = self.node_application()?.name.clone();
        let tag = self.ledger.index.fresh_tag(&location);
        let id = self.request_instance(cloud, flavour, application, tag, location, Origin::Planner);
        let text = format!("renting {flavour} on {cloud}: {reason}");
        self.decide(None, Some(&id), text.clone());
        for container in containers {
            self.place(container, &id, text.clone());
        }
        Some(id)
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
            size: self
                .newest(cloud, flavour)
                .map_or(promised, |newest| newest.size),
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
        self.ledger.insert_instance(instance);
        self.ledger.dirty.mark(Subject::Instance(id.clone()));
        id
    }

    /// Leaves a container waiting, and says why. On a machine that is stopped by force it does not
    /// wait.
    fn wait(&mut self, name: &ContainerName, reason: String) {
        let container = self.ledger.container(name);
        let live = container.iter().flat_map(|container| &container.copies);
        let forced = live.filter(|copy| {
            let instance = self.ledger.instance(&copy.instance);
            copy.is_live() && instance.is_some_and(|instance| instance.force)
        });
        let forced: Vec<u32> = forced.map(|copy| copy.generation).collect();
        for generation in forced {
            self.give_up(name, generation, &reason);
        }
        let news = self.ledger.edit_container(name, |container| {
            let news = container.reason.as_deref() != Some(&reason);
            container.reason = Some(reason.clone());
            news
        });
        if news == Some(true) {
            self.decide(Some(name), None, format!("waits: {reason}"));
        }
    }
}
