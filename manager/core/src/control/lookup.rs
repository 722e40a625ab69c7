//! Look-ups by name: the place of a session, a log or a series.

use super::Core;
use crate::{
    engine::TaskState,
    metrics::{Placed, Series},
    model::{Container, Copy},
};
use micado_api::{ContainerName, ErrorBody, ErrorCode, InstanceId, ServiceName, Tag};

/// Place of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The container.
    pub container: ContainerName,
    /// The Swarm service to read it from, while there is one.
    pub swarm_name: Option<String>,
    /// The machine that it is placed on.
    pub machine: Option<(InstanceId, Tag)>,
    /// The end of the log, kept when its copies ended.
    pub stored: Option<String>,
}

/// Place of a session on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlace {
    /// The container.
    pub container: ContainerName,
    /// Its machine.
    pub instance: InstanceId,
    /// The machine's tag.
    pub tag: Tag,
    /// Name of the container on the machine's engine.
    pub engine_name: String,
}

impl Core {
    /// Place of the running container of this name, or of the only one of this service.
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

    /// Series of a container, of an instance by its tag, or of a service.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn measured(&self, name: &str) -> Result<Series, ErrorBody> {
        let own = self.ledger.containers().get(name);
        if let Some(own) = own.filter(|it| it.removed_at.is_none()) {
            return Ok(Series::Container(own.name.to_string()));
        }
        if let Some(instance) = self.tagged(name) {
            return Ok(Series::Instance(instance.id.clone()));
        }
        let service = ServiceName::trusted(name);
        if self.ledger.service(&service).is_some() {
            return Ok(Series::Service(service));
        }
        Err(ErrorBody::new(
            ErrorCode::NotFound,
            format!("no container, service or instance `{name}`"),
        )
        .hint("`micado list --all` shows all names"))
    }

    /// The running copy: of two, the new one.
    fn runs_at(&self, name: &ContainerName) -> Option<SessionPlace> {
        let (container, observed) = (self.ledger.container(name)?, self.observed.as_ref()?);
        let running = |copy: &&Copy| {
            let task = observed.task(&copy.swarm_name);
            task.is_some_and(|task| task.state == TaskState::Running)
        };
        let live = container.copies.iter().rev().filter(|copy| copy.is_live());
        let copy = live.into_iter().find(running)?;
        // Swarm's name for the container of a service's only replica.
        let task = observed.task(&copy.swarm_name)?;
        let engine_name = format!("{}.1.{}", copy.swarm_name, task.id);
        let instance = self.ledger.instance(&copy.instance)?;
        Some(SessionPlace {
            container: name.clone(),
            instance: instance.id.clone(),
            tag: instance.tag.clone(),
            engine_name,
        })
    }

    /// Every copy of a container that has not ended, in the terms of node agents.
    #[must_use]
    pub fn placed_copies(&self) -> Vec<Placed> {
        let containers = self.ledger.containers().values();
        containers
            .flat_map(|container| self.placed_copies_of(container))
            .collect()
    }

    /// Copies of this container that have not ended, in the terms of node agents.
    #[must_use]
    pub fn placements(&self, name: &ContainerName) -> Vec<Placed> {
        let container = self.ledger.container(name).into_iter();
        container
            .flat_map(|container| self.placed_copies_of(container))
            .collect()
    }

    /// Containers with a copy on an instance, ended ones included.
    pub fn containers_on(&self, instance: &InstanceId) -> impl Iterator<Item = &ContainerName> {
        self.ledger.index.on(instance)
    }

    fn placed_copies_of(&self, container: &Container) -> impl Iterator<Item = Placed> {
        let copies = container.copies.iter().filter(|copy| copy.takes_room());
        copies.map(|copy| self.placed_copy(container, copy))
    }

    fn placed_copy(&self, container: &Container, copy: &Copy) -> Placed {
        let service = self.ledger.service_of(container);
        Placed {
            swarm_service: copy.swarm_name.clone(),
            container: container.name.clone(),
            service: container.service.clone(),
            image: service.spec_at(copy.spec).image.clone(),
            tag: self.tag_of(&copy.instance),
            instance: copy.instance.clone(),
        }
    }

    /// Logs of a container, or of all containers of a service.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn log_sources(&self, name: &str) -> Result<Vec<LogSource>, ErrorBody> {
        let source = |name: &ContainerName| {
            let record = self.ledger.container(name);
            let live = record.and_then(Container::primary);
            let copy = live.or_else(|| record.and_then(|record| record.copies.last()));
            let instance = copy.and_then(|copy| self.ledger.instance(&copy.instance));
            let machine = instance.map(|it| (it.id.clone(), it.tag.clone()));
            let is_there = |name: &String| {
                let observed = self.observed.as_ref();
                observed.is_some_and(|observed| observed.has_service(name))
            };
            let swarm_name = copy.map(|copy| copy.swarm_name.clone()).filter(is_there);
            let stored = record.and_then(|it| it.log_tail.clone());
            // The service of a container that is stopped may go once its log is kept.
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

    /// Log of the container of this name, or of the only container of this service.
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
