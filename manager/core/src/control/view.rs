//! Views: what the API returns, read from the core.

use super::{Core, observed::Observed, runs::words_of};
use crate::{
    engine::{TaskState, aliases},
    model::{Container, Copy, Desired, Instance, Service},
};
use micado_api::{
    ContainerName, ContainerState, ContainerView, DecisionView, ErrorBody, ErrorCode, Explanation,
    ForeignNodeView, InstanceId, InstanceState, InstanceView, PricePerHour, Progress, Resources,
    ServiceView, StatusView,
};
use std::collections::{BTreeMap, BTreeSet};

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
            registry: None,
            cloud_errors: errors.collect(),
            instances: count(live.iter().map(|it| it.state)),
            containers: count(self.container_states()),
            capacity: in_use
                .clone()
                .fold(Resources::default(), |sum, it| sum + it.capacity),
            reserved: in_use.fold(Resources::default(), |sum, it| sum + it.reserved),
            price: PricePerHour(live.iter().map(|it| it.price.0).sum()),
            max_instances: self.config.max_instances,
            max_price: self.config.max_price,
            locations: self.locations_view(),
            foreign_nodes: self.foreign_nodes(),
            blind_instances: Vec::new(),
        }
    }

    fn container_states(&self) -> impl Iterator<Item = ContainerState> {
        let containers = self.ledger.containers().values();
        let there = containers.filter(|it| it.removed_at.is_none());
        there.filter_map(|it| Some(self.container_state(&it.name)?.0))
    }

    /// Returns true if there is a container of this name, or an instance with this tag.
    #[must_use]
    pub fn knows(&self, subject: &str) -> bool {
        let container = self.ledger.containers().get(subject);
        let there = container.is_some_and(|container| container.removed_at.is_none());
        there || self.tagged(subject).is_some()
    }

    /// Why nothing is decided at present, if so.
    #[must_use]
    pub fn blindness(&self) -> Option<String> {
        let starting = || {
            self.observed
                .is_none()
                .then(|| "the engine has not been seen yet".to_owned())
        };
        self.blind.clone().or_else(starting)
    }

    fn foreign_nodes(&self) -> Vec<ForeignNodeView> {
        let nodes = self
            .observed
            .iter()
            .flat_map(|observed| observed.nodes())
            .filter(|node| self.is_foreign(node));
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
            .instances()
            .values()
            .filter(|it| all || it.is_live())
            .collect();
        instances.sort_by(|a, b| (a.created_at, &a.tag).cmp(&(b.created_at, &b.tag)));
        instances
            .into_iter()
            .map(|it| self.instance_view(it))
            .collect()
    }

    pub(super) fn instance_view(&self, it: &Instance) -> InstanceView {
        let mut reserved = self.foreign_on(it).reserved;
        let mut containers = 0;
        for container in self.ledger.containers_on(&it.id) {
            for copy in container.copies_on(&it.id) {
                reserved += copy.reservation;
                containers += 1;
            }
        }
        let capacity = self.for_containers(it.size);
        let down = self
            .nodes
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
                .or(down)
                .or_else(|| self.exhausted_text(&it.id)),
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
            returns: self.return_view(it),
            usage: None,
        }
    }

    /// Containers that run or should run, by name; with `all`, the stopped and completed ones too.
    #[must_use]
    pub fn containers(&self, all: bool) -> Vec<ContainerView> {
        self.containers_after(None, usize::MAX, all)
    }

    /// A part of [`Self::containers`]: at most `most`, from after this name on.
    #[must_use]
    pub fn containers_after(
        &self,
        name: Option<&ContainerName>,
        most: usize,
        all: bool,
    ) -> Vec<ContainerView> {
        let shown = self.ledger.containers().after(name);
        let shown = shown.filter(|it| it.removed_at.is_none() && (all || it.wants_room()));
        let views = shown.filter_map(|it| self.container_view(&it.name));
        views.take(most).collect()
    }

    pub(super) fn container_view(&self, name: &ContainerName) -> Option<ContainerView> {
        let it = self.ledger.container(name)?;
        let spec = &self.ledger.service_of(it).spec;
        let (state, reason) = self.container_state(name)?;
        let copy = self.moving_copy(it).or(it.primary());
        let instance = copy.and_then(|copy| self.ledger.instance(&copy.instance));
        let seen = copy.zip(self.observed.as_ref());
        let task = seen.and_then(|(copy, observed)| observed.task(&copy.swarm_name));
        let failed = seen.and_then(|(copy, observed)| observed.failure(&copy.swarm_name));
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
            ports: published.unwrap_or_else(|| match copy {
                Some(copy) => {
                    let spec = self.ledger.service_of(it).spec_at(copy.spec);
                    copy.published(spec).collect()
                }
                None => spec.ports.clone(),
            }),
            reservation: spec.reservation,
            protected: it.protected,
            health: copy.and_then(|copy| self.health_view(it, copy)),
            created_at: it.created_at,
            usage: None,
        })
    }

    /// How far a container is, and why where that needs saying.
    pub(super) fn container_state(
        &self,
        name: &ContainerName,
    ) -> Option<(ContainerState, Option<String>)> {
        let it = self.ledger.container(name)?;
        let there = it.copies.iter().any(Copy::takes_room);
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
        Some(self.running_state(it))
    }

    /// The old copy of a container that is being moved, while that is the one that runs.
    fn moving_copy<'a>(&self, it: &'a Container) -> Option<&'a Copy> {
        let observed = self.observed.as_ref().filter(|_| self.blind.is_none())?;
        it.replaced()
            .find(|copy| observed.runs(&copy.swarm_name))
            .filter(|_| !self.runs(it))
    }

    fn running_state(&self, it: &Container) -> (ContainerState, Option<String>) {
        if let Some((old, new)) = self.moving_copy(it).zip(it.primary()) {
            let (from, to) = (self.tag_of(&old.instance), self.tag_of(&new.instance));
            let mut reason = format!("on {from} still, moving to {to}");
            if let Some(words) = self.copies.refused.get(&new.swarm_name) {
                reason = format!("{reason}: {words}");
            }
            return (ContainerState::Running, Some(reason));
        }
        let waiting = |reason: String| (ContainerState::Waiting, Some(reason));
        let Some(copy) = it.primary() else {
            return waiting(it.reason.clone().unwrap_or_else(|| {
                self.blindness()
                    .unwrap_or_else(|| "it is being planned".to_owned())
            }));
        };
        let Some(instance) = self.ledger.instance(&copy.instance) else {
            let silent = |cloud| {
                format!("its machine is in no record, and {cloud} has not said yet which it has")
            };
            return (ContainerState::Unknown, self.unheard_cloud().map(silent));
        };
        if instance.is_arriving() {
            return waiting(self.instance_line(instance));
        }
        let Some(observed) = self.observed.as_ref().filter(|_| self.blind.is_none()) else {
            return (ContainerState::Unknown, self.blindness());
        };
        if !self.joins(&copy.instance) {
            return (
                ContainerState::Unknown,
                Some(format!("{} does not answer", instance.tag)),
            );
        }
        match self.task_state(observed, it, copy) {
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

    pub(super) fn task_state(
        &self,
        observed: &Observed,
        it: &Container,
        copy: &Copy,
    ) -> (ContainerState, Option<String>) {
        let swarm_name = &copy.swarm_name;
        if let Some(words) = self.copies.refused.get(swarm_name) {
            return (ContainerState::Failing, Some(words.clone()));
        }
        if let Some(words) = self.copies.push_errors.get(&it.service) {
            return (
                ContainerState::Failing,
                Some(format!(
                    "its image could not be put into the registry: {words}"
                )),
            );
        }
        let failing = |words: String| {
            let words = Some(words).filter(|words| !words.is_empty());
            (ContainerState::Failing, words)
        };
        let deaths = self.runs.deaths(copy);
        match (observed.failure(swarm_name), observed.task(swarm_name)) {
            (Some(ended), _) => failing(deaths.unwrap_or_else(|| words_of(copy, ended))),
            (None, Some(task)) if task.state == TaskState::Running => {
                deaths.map_or_else(|| self.health_state(copy), failing)
            }
            _ => {
                let delayed = self.copies.delayed.get(swarm_name);
                let words = delayed.map(|words| format!("the engine does not do it: {words}"));
                (ContainerState::Starting, words)
            }
        }
    }

    /// The service of this name (a container's name gives its service), with its containers.
    ///
    /// # Errors
    /// `NotFound` when there is no service or container of this name.
    pub fn service(&self, name: &str) -> Result<ServiceView, ErrorBody> {
        let named = self.containers_named(name)?;
        let service = named.first().and_then(|name| self.ledger.container(name));
        let service = service.map(|container| self.ledger.service_of(container));
        let missing = || ErrorBody::new(ErrorCode::NotFound, format!("no service `{name}`"));
        let service = service.ok_or_else(missing)?;
        let all: BTreeSet<&ContainerName> = self.ledger.index.of_service(&service.name).collect();
        let there = all.into_iter().filter(|name| {
            let container = self.ledger.container(name);
            container.is_some_and(|container| container.removed_at.is_none())
        });
        Ok(ServiceView {
            containers: there.filter_map(|name| self.container_view(name)).collect(),
            ..self.service_view(service)
        })
    }

    /// All services, without their containers.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        let services = self.ledger.services().values();
        services.map(|service| self.service_view(service)).collect()
    }

    fn service_view(&self, service: &Service) -> ServiceView {
        ServiceView {
            name: service.name.clone(),
            spec: service.spec.clone(),
            pull: service.pull.clone(),
            containers: Vec::new(),
            created_at: service.created_at,
            aliases: aliases(service),
            learned: self.learned_view(service),
        }
    }

    /// Why a container (by its or its service's name) or an instance (by tag) is where and how it
    /// is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn explain(&self, name: &str) -> Result<Vec<Explanation>, ErrorBody> {
        let scaling = self.explain_scaling(name);
        if let Ok(names) = self.containers_named(name) {
            let containers = names.iter().map(|name| self.explain_container(name));
            return Ok(scaling.into_iter().chain(containers).collect());
        }
        if let Some(scaling) = scaling {
            return Ok(vec![scaling]);
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
        let reason = instance.reason.clone();
        let reason = reason.or_else(|| self.exhausted_text(&instance.id));
        let now = reason.map_or(now.clone(), |reason| format!("{now}: {reason}"));
        let now = self.return_view(instance).map_or(now.clone(), |kept| {
            format!("{now}; not returned: {}", kept.text)
        });
        Ok(vec![Explanation {
            name: name.to_owned(),
            now,
            views: Vec::new(),
            decisions: decisions
                .map(|it| DecisionView {
                    at: it.at,
                    text: it.text.clone(),
                })
                .collect(),
            verdicts: Vec::new(),
        }])
    }

    fn explain_container(&self, name: &ContainerName) -> Explanation {
        let (state, reason) = self
            .container_state(name)
            .unwrap_or((ContainerState::Removed, None));
        let place = self.placed(name).map_or_else(String::new, |(_, copy)| {
            format!(" on {}", self.tag_of(&copy.instance))
        });
        let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let record = self.ledger.container(name);
        let protected = match record.is_some_and(|record| record.protected) {
            true => "; protected",
            false => "",
        };
        let decisions = self
            .ledger
            .decisions
            .values()
            .filter(|it| it.concerns(name));
        let decisions = decisions
            .map(|it| DecisionView {
                at: it.at,
                text: it.text.clone(),
            })
            .collect();
        Explanation {
            name: name.to_string(),
            now: format!("{state}{place}{because}{protected}"),
            views: self.part_views(name),
            decisions,
            verdicts: Vec::new(),
        }
    }

    /// What has happened to this subject (a container's name or an instance's tag) in its present
    /// operation, oldest first.
    #[must_use]
    pub fn progress(&self, subject: &str) -> Vec<Progress> {
        self.journal.lines(subject)
    }

    /// Returns true if this instance may have a machine.
    #[must_use]
    pub fn is_live(&self, id: &InstanceId) -> bool {
        self.ledger.instance(id).is_some_and(Instance::is_live)
    }

    /// Instances that may have a machine.
    pub fn live_instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.ledger.index.live().iter()
    }
}

fn count<K: Ord>(items: impl Iterator<Item = K>) -> BTreeMap<K, u32> {
    let mut counts = BTreeMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}
