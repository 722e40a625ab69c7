//! What people are shown, read off the core.

use super::{Core, sight::Sight};
use crate::{
    engine::TaskState,
    metrics::{Placed, Whose},
    model::{Container, Desired, Instance, Placement, Service},
};
use micado_api::{
    ContainerName, ContainerState, ContainerView, DecisionView, ErrorBody, ErrorCode, Explanation,
    ForeignNodeView, InstanceId, InstanceState, InstanceView, PricePerHour, Progress, Resources,
    ServiceName, ServiceView, StatusView, Tag,
};
use std::collections::BTreeMap;

/// Where a container's log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Whose log.
    pub container: ContainerName,
    /// The Swarm service to read it from, while there is one.
    pub swarm_name: Option<String>,
    /// The machine that it is placed on, and what people call that.
    pub machine: Option<(InstanceId, Tag)>,
    /// The end of the log that was kept when the containers went.
    pub stored: Option<String>,
}

/// Where a session on a container is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlace {
    /// The container.
    pub container: ContainerName,
    /// Its machine.
    pub instance: InstanceId,
    /// What people call that.
    pub tag: Tag,
    /// What the machine's own engine calls the container.
    pub engine_name: String,
}

impl Core {
    /// The cluster on one screen.
    #[must_use]
    pub fn status(&self) -> StatusView {
        let live: Vec<InstanceView> = self.instances(false);
        let in_use = live
            .iter()
            .filter(|it| !matches!(it.state, InstanceState::Failed));
        let errors = self
            .clouds
            .iter()
            .filter_map(|(cloud, sight)| sight.error.clone().map(|error| (cloud.clone(), error)));
        StatusView {
            cluster: self.config.cluster.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            blind: self.blindness(),
            cloud_errors: errors.collect(),
            instances: count(live.iter().map(|it| it.state)),
            containers: count(self.containers(true).iter().map(|it| it.state)),
            capacity: in_use
                .clone()
                .fold(Resources::default(), |sum, it| sum + it.capacity),
            reserved: in_use.fold(Resources::default(), |sum, it| sum + it.reserved),
            price: PricePerHour(live.iter().map(|it| it.price.0).sum()),
            max_instances: self.config.max_instances,
            max_price: self.config.max_price,
            foreign_nodes: self.foreign_nodes(),
            blind_instances: Vec::new(),
        }
    }

    /// Why nothing is decided at present, if so.
    #[must_use]
    pub fn blindness(&self) -> Option<String> {
        let starting = || {
            self.sight
                .is_none()
                .then(|| "the engine has not been seen yet".to_owned())
        };
        self.blind.clone().or_else(starting)
    }

    fn foreign_nodes(&self) -> Vec<ForeignNodeView> {
        let nodes = self
            .sight
            .iter()
            .flat_map(|sight| &sight.nodes)
            .filter(|node| self.is_unknown(node));
        nodes
            .map(|node| ForeignNodeView {
                node: node.id.clone(),
                hostname: node.hostname.clone(),
                manager: node.manager,
                ready: node.ready,
            })
            .collect()
    }

    /// Live instances, oldest first; with `all`, those that are gone or failed too.
    #[must_use]
    pub fn instances(&self, all: bool) -> Vec<InstanceView> {
        let mut instances: Vec<&Instance> = self
            .ledger
            .instances
            .values()
            .filter(|it| all || it.is_live())
            .collect();
        instances.sort_by(|a, b| (a.created_at, &a.tag).cmp(&(b.created_at, &b.tag)));
        let loads = self.loads();
        instances
            .into_iter()
            .map(|it| self.instance_view(it, loads.get(&it.id).copied().unwrap_or_default()))
            .collect()
    }

    /// What the containers on each instance are promised, and how many they are.
    pub(super) fn loads(&self) -> BTreeMap<&InstanceId, (Resources, u32)> {
        let mut loads: BTreeMap<&InstanceId, (Resources, u32)> = BTreeMap::new();
        for container in self.ledger.containers.values() {
            for placement in [&container.placement, &container.leaving]
                .into_iter()
                .flatten()
            {
                let (reserved, count) = loads.entry(&placement.instance).or_default();
                *reserved += self.ledger.service_of(container).spec.reservation;
                *count += 1;
            }
        }
        loads
    }

    pub(super) fn instance_view(
        &self,
        it: &Instance,
        (promised, containers): (Resources, u32),
    ) -> InstanceView {
        let node = self
            .sight
            .as_ref()
            .and_then(|sight| Some((sight, sight.node(&it.id)?)));
        let reserved = node.map_or_else(Resources::default, |(sight, node)| {
            sight.foreign_reserved(&node.id)
        }) + promised;
        let capacity = self.for_containers(it.size);
        let down = self
            .memory
            .down_since
            .contains_key(&it.id)
            .then(|| "its node does not answer".to_owned());
        let holds = (it.state == InstanceState::Failed
            && it.is_live()
            && self.keeps_volumes(&it.id))
        .then(|| {
            format!(
                "{}; kept for the volumes on it until `stop --force`",
                it.reason.as_deref().unwrap_or("failed")
            )
        });
        InstanceView {
            id: it.id.clone(),
            tag: it.tag.clone(),
            cloud: it.cloud.clone(),
            application: it.application.clone(),
            flavour: it.flavour.clone(),
            location: it.location.clone(),
            state: it.state,
            reason: holds
                .or_else(|| self.broker_says(it).cloned())
                .or_else(|| it.reason.clone())
                .or(down),
            origin: it.origin,
            address: it.address.clone(),
            node: it.node.clone(),
            capacity,
            reserved,
            memory_left: capacity.memory.saturating_sub(reserved.memory),
            containers,
            price: it.price,
            created_at: it.created_at,
            state_since: it.state_since,
            released: it.released,
            joined_after_ms: it
                .joined_at
                .map(|at| u64::try_from(at.since(it.created_at).as_millis()).unwrap_or(u64::MAX)),
            usage: None,
        }
    }

    /// Containers that run or should run, by name; with `all`, the stopped and completed ones too.
    #[must_use]
    pub fn containers(&self, all: bool) -> Vec<ContainerView> {
        let shown = self
            .ledger
            .containers
            .values()
            .filter(|it| it.removed_at.is_none() && (all || it.wants_room()));
        shown
            .filter_map(|it| self.container_view(&it.name))
            .collect()
    }

    pub(super) fn container_view(&self, name: &ContainerName) -> Option<ContainerView> {
        let it = self.ledger.containers.get(name)?;
        let spec = &self.ledger.service_of(it).spec;
        let (state, reason) = self.container_state(name)?;
        let copy = self.moving_copy(it).or(it.placement.as_ref());
        let instance = copy.and_then(|placement| self.ledger.instances.get(&placement.instance));
        let seen = copy
            .map(|placement| self.swarm_name(name, placement))
            .zip(self.sight.as_ref());
        let task = seen
            .as_ref()
            .and_then(|(swarm_name, sight)| sight.task(swarm_name));
        let failed = seen
            .as_ref()
            .and_then(|(swarm_name, sight)| sight.failure(swarm_name));
        let published = task
            .map(|task| task.ports.clone())
            .filter(|ports| !ports.is_empty());
        Some(ContainerView {
            name: it.name.clone(),
            service: it.service.clone(),
            image: spec.image.clone(),
            state,
            reason,
            exit_code: it
                .outcome
                .as_ref()
                .map(|outcome| outcome.exit_code)
                .or_else(|| failed.and_then(|task| task.exit_code)),
            instance: instance.map(|it| it.tag.clone()),
            location: spec.location.clone(),
            address: instance.and_then(|it| it.address.clone()),
            ports: published.unwrap_or_else(|| spec.ports.clone()),
            reservation: spec.reservation,
            created_at: it.created_at,
            usage: None,
        })
    }

    /// How far a container is, and why where that needs saying.
    pub(super) fn container_state(
        &self,
        name: &ContainerName,
    ) -> Option<(ContainerState, Option<String>)> {
        let it = self.ledger.containers.get(name)?;
        let there = it.placement.is_some() || it.leaving.is_some();
        match it.desired {
            Desired::Removed if it.removed_at.is_some() => {
                return Some((ContainerState::Removed, None));
            }
            Desired::Removed => return Some((ContainerState::Stopping, None)),
            Desired::Stopped if there => return Some((ContainerState::Stopping, None)),
            Desired::Stopped => return Some((ContainerState::Stopped, None)),
            Desired::Running => {}
        }
        if let Some(outcome) = &it.outcome {
            return Some((
                ContainerState::Completed,
                Some(format!("its process ended with {}", outcome.exit_code)),
            ));
        }
        Some(self.running_state(name, it))
    }

    /// The old copy of a container that is being moved, while that is the one that runs.
    fn moving_copy<'a>(&self, it: &'a Container) -> Option<&'a Placement> {
        let runs = |leaving: &&Placement| {
            self.sight
                .as_ref()
                .is_some_and(|sight| sight.runs(&self.swarm_name(&it.name, leaving)))
        };
        it.leaving
            .as_ref()
            .filter(runs)
            .filter(|_| self.blind.is_none() && !self.runs(&it.name))
    }

    fn running_state(
        &self,
        name: &ContainerName,
        it: &Container,
    ) -> (ContainerState, Option<String>) {
        if let Some(old) = self.moving_copy(it) {
            let goal = it.placement.as_ref().map_or_else(
                || "it waits for a place elsewhere".to_owned(),
                |new| format!("moving to {}", self.tag_of(&new.instance)),
            );
            return (
                ContainerState::Running,
                Some(format!("on {} still, {goal}", self.tag_of(&old.instance))),
            );
        }
        let waiting = |reason: String| (ContainerState::Waiting, Some(reason));
        let Some((_, placement, swarm_name)) = self.placed(name) else {
            return waiting(it.reason.clone().unwrap_or_else(|| {
                self.blindness()
                    .unwrap_or_else(|| "it is being planned".to_owned())
            }));
        };
        let Some(instance) = self.ledger.instances.get(&placement.instance) else {
            let silent = |cloud| {
                format!("its machine is in no record, and {cloud} has not said yet which it has")
            };
            return (ContainerState::Unknown, self.unheard_cloud().map(silent));
        };
        if instance.is_arriving() {
            return waiting(self.instance_line(instance));
        }
        let Some(sight) = self.sight.as_ref().filter(|_| self.blind.is_none()) else {
            return (ContainerState::Unknown, self.blindness());
        };
        if !sight
            .node(&placement.instance)
            .is_some_and(|node| node.ready)
        {
            return (
                ContainerState::Unknown,
                Some(format!("{} does not answer", instance.tag)),
            );
        }
        match self.task_state(sight, it, &swarm_name) {
            (ContainerState::Running, None) if self.is_silent(&instance.id) => (
                ContainerState::Running,
                Some(format!(
                    "{}'s agent has gone: the machine may be dead or cut off",
                    instance.tag
                )),
            ),
            state => state,
        }
    }

    fn task_state(
        &self,
        sight: &Sight,
        it: &Container,
        swarm_name: &str,
    ) -> (ContainerState, Option<String>) {
        if let Some(words) = self.memory.refused.get(swarm_name) {
            return (
                ContainerState::Failing,
                Some(format!("the engine refused: {words}")),
            );
        }
        if let Some(words) = self.memory.push_errors.get(&it.service) {
            return (
                ContainerState::Failing,
                Some(format!(
                    "its image could not be put into the registry: {words}"
                )),
            );
        }
        if let Some(failed) = sight.failure(swarm_name) {
            if failed.state == TaskState::Complete {
                let words = "its process ended with 0, and is started again".to_owned();
                return (ContainerState::Failing, Some(words));
            }
            let code = failed
                .exit_code
                .filter(|code| *code != 0)
                .map(|code| format!("exit code {code}"));
            let memory = self.ledger.service_of(it).spec.reservation.memory;
            let killed = self.was_killed(swarm_name, failed.exit_code);
            let killed = killed.then(|| format!("killed for want of memory (its limit is {memory}): launch it with more --memory"));
            let words = [code, killed.or_else(|| failed.message.clone())]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ");
            return (
                ContainerState::Failing,
                Some(words).filter(|words| !words.is_empty()),
            );
        }
        match sight.task(swarm_name) {
            Some(task) if task.state == TaskState::Running => (ContainerState::Running, None),
            _ => (ContainerState::Starting, None),
        }
    }

    /// All services, or the one of this name (a container's name gives its service).
    ///
    /// # Errors
    /// `NotFound` when there is no service or container of this name.
    pub fn services(&self, name: Option<&str>) -> Result<Vec<ServiceView>, ErrorBody> {
        let named = name.map(|name| self.containers_named(name)).transpose()?;
        let wanted = |service: &&Service| match &named {
            None => true,
            Some(names) => names.iter().any(|name| {
                self.ledger
                    .containers
                    .get(name)
                    .is_some_and(|it| it.service == service.name)
            }),
        };
        let mut containers: BTreeMap<ServiceName, Vec<ContainerView>> = BTreeMap::new();
        for container in self.containers(true) {
            containers
                .entry(container.service.clone())
                .or_default()
                .push(container);
        }
        let view = |service: &Service| ServiceView {
            name: service.name.clone(),
            spec: service.spec.clone(),
            pull: service.pull.clone(),
            containers: containers.remove(&service.name).unwrap_or_default(),
            created_at: service.created_at,
            learned: self.learned_view(service),
        };
        Ok(self
            .ledger
            .services
            .values()
            .filter(wanted)
            .map(view)
            .filter(|view| !view.containers.is_empty())
            .collect())
    }

    /// Why a container (by its or its service's name) or an instance (by tag) is where and how it
    /// is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn explain(&self, name: &str) -> Result<Vec<Explanation>, ErrorBody> {
        if let Ok(names) = self.containers_named(name) {
            return Ok(names
                .iter()
                .map(|name| self.explain_container(name))
                .collect());
        }
        let instance = self.tagged(name).ok_or_else(|| {
            ErrorBody::new(
                ErrorCode::NotFound,
                format!("no container, service or instance `{name}`"),
            )
            .hint("`micado list --all` shows all names")
        })?;
        let decisions = self
            .ledger
            .decisions
            .values()
            .filter(|it| it.instance.as_ref() == Some(&instance.id) && it.container.is_none());
        let now = format!(
            "{} on {}, location {}: {}",
            instance.flavour, instance.cloud, instance.location, instance.state
        );
        let now = instance
            .reason
            .as_ref()
            .map_or(now.clone(), |reason| format!("{now}: {reason}"));
        Ok(vec![Explanation {
            name: name.to_owned(),
            now,
            decisions: decisions
                .map(|it| DecisionView {
                    at: it.at,
                    text: it.text.clone(),
                })
                .collect(),
        }])
    }

    fn explain_container(&self, name: &ContainerName) -> Explanation {
        let (state, reason) = self
            .container_state(name)
            .unwrap_or((ContainerState::Removed, None));
        let place = self
            .placed(name)
            .map_or_else(String::new, |(_, placement, _)| {
                format!(" on {}", self.tag_of(&placement.instance))
            });
        let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let decisions = self
            .ledger
            .decisions
            .values()
            .filter(|it| it.container.as_ref() == Some(name));
        let decisions = decisions
            .map(|it| DecisionView {
                at: it.at,
                text: it.text.clone(),
            })
            .collect();
        Explanation {
            name: name.to_string(),
            now: format!("{state}{place}{because}"),
            decisions,
        }
    }

    /// What has happened to this subject (a container's name or an instance's tag) in its present
    /// operation, oldest first.
    #[must_use]
    pub fn progress(&self, subject: &str) -> Vec<Progress> {
        self.journal.lines(subject)
    }

    /// Whether there is such an instance, and it has not been given back.
    #[must_use]
    pub fn is_live(&self, id: &InstanceId) -> bool {
        self.ledger.instances.get(id).is_some_and(Instance::is_live)
    }

    /// Where the container of this name runs, or the only container of this service.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not run, or there are several.
    pub fn session_place(&self, name: &str) -> Result<SessionPlace, ErrorBody> {
        let named = self.containers_named(name)?;
        let places: Vec<_> = named
            .iter()
            .filter_map(|container| self.runs_at(container))
            .collect();
        match <[SessionPlace; 1]>::try_from(places) {
            Ok([place]) => Ok(place),
            Err(places) if places.is_empty() => Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("`{name}` does not run"),
            )
            .hint("`micado list -c --all` shows how it is")),
            Err(places) => Err(several(
                name,
                &places
                    .into_iter()
                    .map(|it| it.container)
                    .collect::<Vec<_>>(),
            )),
        }
    }

    /// Whose past figures are meant: a container's, an instance's by its tag, or those of the only
    /// container of this service.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the service has several containers.
    pub fn measured(&self, name: &str) -> Result<Whose, ErrorBody> {
        let of = |container: &ContainerName| Ok(Whose::Container(container.to_string()));
        if let Some(own) = self
            .ledger
            .containers
            .values()
            .find(|it| it.removed_at.is_none() && it.name.as_str() == name)
        {
            return of(&own.name);
        }
        if let Some(instance) = self.tagged(name) {
            return Ok(Whose::Instance(instance.id.clone()));
        }
        let named = self.containers_named(name)?;
        let (all, placed): (Vec<_>, Vec<_>) = (
            named.iter().collect(),
            named
                .iter()
                .filter(|it| self.placed(it).is_some())
                .collect(),
        );
        match (&all[..], &placed[..]) {
            ([only], _) | (_, [only]) => of(only),
            _ => Err(several(name, &named)),
        }
    }

    /// The copy that runs: of two, the new one.
    fn runs_at(&self, name: &ContainerName) -> Option<SessionPlace> {
        let (container, sight) = (self.ledger.containers.get(name)?, self.sight.as_ref()?);
        let running = |placement: &&Placement| {
            sight
                .task(&self.swarm_name(name, placement))
                .is_some_and(|task| task.state == TaskState::Running)
        };
        let placement = [&container.placement, &container.leaving]
            .into_iter()
            .flatten()
            .find(running)?;
        let swarm_name = self.swarm_name(name, placement);
        // Swarm calls the container of a service's only replica so.
        let engine_name = format!("{swarm_name}.1.{}", sight.task(&swarm_name)?.id);
        let instance = self.ledger.instances.get(&placement.instance)?;
        Some(SessionPlace {
            container: name.clone(),
            instance: instance.id.clone(),
            tag: instance.tag.clone(),
            engine_name,
        })
    }

    /// Every copy of a container, as agents know it: where it is placed, and where it still is
    /// while it is being moved.
    #[must_use]
    pub fn placed_copies(&self) -> Vec<Placed> {
        let places = |it: &'_ Container| {
            [it.placement.clone(), it.leaving.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        };
        self.ledger
            .containers
            .values()
            .flat_map(|it| {
                places(it)
                    .into_iter()
                    .map(|place| self.placed_copy(it, place))
            })
            .collect()
    }

    fn placed_copy(&self, it: &Container, place: Placement) -> Placed {
        Placed {
            swarm_service: self.swarm_name(&it.name, &place),
            container: it.name.clone(),
            service: it.service.clone(),
            image: self.ledger.service_of(it).spec.image.clone(),
            tag: Tag::trusted(self.tag_of(&place.instance)),
            instance: place.instance,
        }
    }

    /// Where the logs of a container, or of all containers of a service, are.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn log_sources(&self, name: &str) -> Result<Vec<LogSource>, ErrorBody> {
        let source = |name: &ContainerName| {
            let placed = self.placed(name);
            let instance = placed
                .as_ref()
                .and_then(|(_, placement, _)| self.ledger.instances.get(&placement.instance));
            let machine = instance.map(|it| (it.id.clone(), it.tag.clone()));
            let is_there = |swarm_name: &String| {
                self.sight
                    .as_ref()
                    .is_some_and(|sight| sight.has_service(swarm_name))
            };
            let swarm_name = placed.map(|(_, _, swarm_name)| swarm_name).filter(is_there);
            let record = self.ledger.containers.get(name);
            let stored = record.and_then(|it| it.log_tail.clone());
            // Once the log of one that is to end is kept, its service may go at any moment.
            let ends = record.is_some_and(|it| !it.wants_room()) && stored.is_some();
            LogSource {
                container: name.clone(),
                swarm_name: swarm_name.filter(|_| !ends),
                machine,
                stored,
            }
        };
        Ok(self.containers_named(name)?.iter().map(source).collect())
    }

    /// The same of the container of this name, or the only container of this service.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when there are several.
    pub fn log_source(&self, name: &str) -> Result<LogSource, ErrorBody> {
        let sources = <[LogSource; 1]>::try_from(self.log_sources(name)?);
        sources.map(|[only]| only).map_err(|all| {
            several(
                name,
                &all.into_iter().map(|it| it.container).collect::<Vec<_>>(),
            )
        })
    }
}

fn several(service: &str, containers: &[ContainerName]) -> ErrorBody {
    let names: Vec<&str> = containers.iter().map(ContainerName::as_str).collect();
    ErrorBody::new(
        ErrorCode::Conflict,
        format!("`{service}` has several containers"),
    )
    .hint(format!("say which: {}", names.join(", ")))
}

fn count<K: Ord>(items: impl Iterator<Item = K>) -> BTreeMap<K, u32> {
    let mut counts = BTreeMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}
