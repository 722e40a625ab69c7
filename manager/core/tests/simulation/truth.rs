//! Queries of the real state of the world, for invariants and the goal.

use crate::{store::Written, swarm::Service, world::World};
use micado_api::{
    AntiAffinity, InstanceId, InstanceState, Location, MemoryBytes, NanoCpus, Resources,
    ServiceSpec,
};
use micado_core::{
    control::CallKey,
    model::{Container, Instance},
    planner,
    store::{Key, Record},
};

impl World {
    /// Number and price of live instances.
    pub fn live(&self, counts: impl Fn(&Instance) -> bool) -> (u32, u64) {
        let live = self.store.instances().filter(|it| it.is_live());
        live.filter(|it| counts(it))
            .fold((0, 0), |(count, price), it| (count + 1, price + it.price.0))
    }

    /// Checks the limits, in all and of this location, for the live instances and one more of this
    /// price.
    ///
    /// # Errors
    /// The first that is exceeded.
    pub fn within_limits(&self, location: &Location, more: Option<u64>) -> Result<(), String> {
        let in_all = (self.config.max_instances, self.config.max_price);
        let here = self.config.setup.bounds(location);
        let here = here.map(|it| (it.max_machines, it.max_price));
        for (whose, (count, price), (max, max_price)) in [
            ("there are", self.live(|_| true), in_all),
            (
                "its location has",
                self.live(|it| it.location == *location),
                here.unwrap_or_default(),
            ),
        ] {
            let count = count + u32::from(more.is_some());
            let price = price + more.unwrap_or_default();
            if max.is_some_and(|max| count > max) || max_price.is_some_and(|max| price > max.0) {
                return Err(format!("{whose} {count} live instances at {price} an hour"));
            }
        }
        Ok(())
    }

    /// Containers with a copy on this instance that has not ended.
    pub fn placed_on<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> impl Iterator<Item = (&'a Container, &'a ServiceSpec)> {
        let here = move |it: &&Container| it.copies_on(instance).next().is_some();
        let containers = self.store.containers().filter(here);
        containers.filter_map(|it| Some((it, &self.store.service(&it.service)?.spec)))
    }

    /// Memory that this many containers with so many published ports cost their machine beside
    /// reservations and system reserve.
    pub fn cost_of(&self, containers: usize, ports: usize) -> Resources {
        let containers = planner::PER_CONTAINER.0 * containers as u64;
        let beside = planner::ENGINE.0 + containers + planner::PER_PORT.0 * ports as u64;
        let cost = beside.saturating_sub(self.config.system_reserve.0);
        Resources::new(MemoryBytes(cost), NanoCpus(0))
    }

    /// A container that may not be on one machine with this one: of the same service, if that asks
    /// for machines of their own, or has volumes.
    pub fn neighbour(&self, instance: &InstanceId, container: &Container) -> Option<&Container> {
        let spec = &self.store.service(&container.service)?.spec;
        let mut volumes = spec.volumes.iter();
        if spec.anti_affinity == AntiAffinity::Prefer && volumes.all(|volume| volume.shared) {
            return None;
        }
        let mut here = self.store.containers().filter(|other| {
            other.service == container.service && other.copies_on(instance).next().is_some()
        });
        here.find(|other| other.name != container.name)
    }

    /// Reservations of copies on this instance, without those of one container.
    pub fn promised_on(&self, instance: &InstanceId, but: Option<&Container>) -> Resources {
        let containers = self.store.containers();
        let others = containers.filter(|it| but.is_none_or(|but| but.name != it.name));
        others
            .flat_map(|it| it.copies_on(instance))
            .fold(Resources::default(), |sum, copy| sum + copy.reservation)
    }

    /// Returns true if a live copy of a container is on another instance and runs, or did a moment
    /// ago as far as the manager can know.
    pub fn runs_elsewhere(&self, container: &Container, than: &InstanceId) -> bool {
        let mut others = container
            .copies
            .iter()
            .filter(|copy| copy.is_live() && copy.instance != *than);
        others.any(|copy| {
            let name = &copy.swarm_name;
            let has_run = self.swarm.services.get(name).is_some_and(|it| it.has_run);
            let said = self.manager.said_to_run.contains(&container.name);
            self.swarm.runs(name) || self.swarm.shows_running(name) || said && has_run
        })
    }

    /// Number of tasks on this instance that are none of ours.
    pub fn foreign_on(&self, instance: &InstanceId) -> usize {
        let Some((node, _)) = self.swarm.node_of(instance) else {
            return 0;
        };
        let tasks = self.swarm.tasks.values();
        tasks
            .filter(|it| it.service.is_none() && it.node == Some(*node))
            .count()
    }

    /// Returns true if a write begins a move of a container.
    pub fn begins_move(&self, written: &Written) -> bool {
        let (Key::Container(name), Some(Record::Container(before))) =
            (&written.key, &written.before)
        else {
            return false;
        };
        before.replaced().next().is_none()
            && self
                .store
                .container(name)
                .is_some_and(|it| it.replaced().next().is_some())
    }

    /// Returns true if a Swarm service may run its container: it is not being removed, not on a
    /// lost machine, and not made by a late call.
    pub fn may_run(&self, service: &Service) -> bool {
        !service.late && !self.is_lost(&service.view.instance) && !self.is_going(&service.view.name)
    }

    /// Returns true if the containers of an instance have to end according to its record, wanted or
    /// not.
    pub fn is_lost(&self, instance: &InstanceId) -> bool {
        self.store.instance(instance).is_none_or(|it| {
            it.force
                || matches!(
                    it.state,
                    InstanceState::Failed | InstanceState::Stopping | InstanceState::Gone
                )
        })
    }

    /// Returns true if a Swarm service is being removed: a call to remove it, or to save its log
    /// before, is in flight.
    pub fn is_going(&self, name: &str) -> bool {
        self.removes(name)
            || self.swarm.services.get(name).is_some_and(|it| {
                self.manager
                    .open
                    .contains_key(&CallKey::Log(it.view.container.clone()))
            })
    }

    /// Returns true if there are several machines in use and none answers. The manager cannot tell
    /// that from a cut of its own, and holds.
    pub fn all_silent(&self) -> bool {
        let in_use =
            |it: &&Instance| matches!(it.state, InstanceState::Active | InstanceState::Draining);
        let machines: Vec<&Instance> = self.store.instances().filter(in_use).collect();
        machines.len() > 1 && machines.iter().all(|it| !self.answers(it))
    }

    /// Returns true if an instance's machine and node really answer.
    pub fn answers(&self, instance: &Instance) -> bool {
        self.machine_of(&instance.id)
            .is_some_and(crate::machine::Machine::runs)
            && self
                .swarm
                .node_of(&instance.id)
                .is_some_and(|(_, it)| it.view.ready && !it.silent)
    }
}
