//! What callers ask for: each request is checked, recorded and answered; carrying it out is the
//! loop's.

use super::{CallKey, Core, Reply, Request};
use crate::{
    engine::ImageFacts,
    model::{Container, Desired, Instance, Service},
    planner::{self, Step},
};
use micado_api::{
    ContainerName, ErrorBody, ErrorCode, InstanceId, InstanceState, InstanceView, LaunchRequest,
    Origin, Resources, ServiceName, ServiceSpec, StartRequest, Tag,
};

impl Core {
    pub(super) fn request(&mut self, request: Request) -> Result<Reply, ErrorBody> {
        match request {
            Request::Launch(launch, image) => self.launch(launch, image),
            Request::Quit { name, remove } => self.quit(&name, remove),
            Request::Remove { name } => self.remove(&name),
            Request::Start(start) => self.start(start),
            Request::Stop { tag, force } => self.stop(&tag, force),
            Request::SetImage { image, critical } => self.set_image(image, critical),
            Request::Join { instance, key } => self.trade(&instance, key),
        }
    }

    /// One more container of a service. The same request name gives the same container.
    fn launch(&mut self, launch: LaunchRequest, facts: ImageFacts) -> Result<Reply, ErrorBody> {
        let spec = &launch.spec;
        let name = crate::model::service_name(&spec.client, &spec.image)
            .map_err(|error| ErrorBody::new(ErrorCode::BadRequest, error.to_string()))?;
        let again = launch.request.as_ref().and_then(|request| {
            self.ledger
                .containers
                .values()
                .find(|it| it.request.as_ref() == Some(request))
        });
        if let Some(again) = again.map(|it| it.name.clone()) {
            return Ok(self.containers_reply(&[again]));
        }
        // A service of which nothing is kept begins anew: its image may have been built again under
        // the same name.
        let kept = self.kept(&name).cloned();
        let image = self.image_to_launch(
            &spec.image,
            kept.as_ref().map_or(&facts.pull, |it| &it.pull).as_deref(),
            kept.is_none(),
        );
        let (reservation, learned) = self.reservation(&launch, kept.as_ref(), &image);
        let spec = ServiceSpec {
            reservation,
            ..spec.clone()
        };
        if let Some(service) = &kept {
            refuse_other_settings(service, &spec)?;
        }
        let number = self
            .ledger
            .services
            .get(&name)
            .map_or(1, |it| it.next_number);
        let container = ContainerName::trusted(format!("{name}.{number}"));
        let mut service = kept.unwrap_or(Service {
            name: name.clone(),
            spec,
            pull: facts.pull,
            next_number: number,
            created_at: self.now,
        });
        let origin = self.refuse_impossible(
            &mut service,
            &container,
            learned.map(|_| launch.spec.reservation),
        )?;
        let push = CallKey::Image(name.clone(), service.created_at);
        self.ledger.services.insert(
            name.clone(),
            Service {
                next_number: number + 1,
                ..service
            },
        );
        let record = Container {
            request: launch.request,
            ..Container::new(container.clone(), name, self.now)
        };
        self.ledger.containers.insert(container.clone(), record);
        self.ledger.images.insert(image.name.clone(), image);
        self.journal.begin_container(&container);
        if let Some(origin) = origin {
            self.decide(Some(&container), None, origin);
        }
        // Launching again is what a person does after mending an image that could not be pushed.
        self.memory.retry.remove(&push);
        Ok(self.containers_reply(&[container]))
    }

    /// The service of this name, if it has any container.
    fn kept(&self, name: &ServiceName) -> Option<&Service> {
        let kept = self
            .ledger
            .containers
            .values()
            .any(|it| it.service == *name && it.desired != Desired::Removed);
        self.ledger.services.get(name).filter(|_| kept)
    }

    /// Refuses a container that no machine, rented or to rent, could ever hold. A learned
    /// reservation that none could hold gives way to the one that was sent, if that could be held.
    /// Says where the reservation comes from, if it was learned.
    fn refuse_impossible(
        &self,
        service: &mut Service,
        container: &ContainerName,
        sent: Option<Resources>,
    ) -> Result<Option<String>, ErrorBody> {
        let (image, learned) = (service.spec.image.clone(), service.spec.reservation);
        let refuse = |reason: String| {
            ErrorBody::new(ErrorCode::Unsatisfiable, format!("`{container}` {reason}"))
        };
        match (self.why_impossible(service, container), sent) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some(format!(
                "it is promised {learned}: learned from what containers of `{image}` used, for none was named"
            ))),
            (Some(reason), None) => Err(refuse(reason).hint(
                "ask for less with --memory and --cpu, or add a larger flavour to cloudsetup.xml",
            )),
            (Some(reason), Some(sent)) => {
                service.spec.reservation = sent;
                if self.why_impossible(service, container).is_some() {
                    return Err(refuse(reason).hint(format!(
                        "{learned} was learned from what containers of `{image}` used: name another reservation with --memory and --cpu, or add a larger flavour to cloudsetup.xml"
                    )));
                }
                Ok(Some(format!(
                    "it is promised {sent}: {learned} was learned from what containers of `{image}` used, which no machine could hold"
                )))
            }
        }
    }

    fn why_impossible(&self, service: &Service, container: &ContainerName) -> Option<String> {
        let waiting = planner::Waiting {
            container: container.clone(),
            service: service.name.clone(),
            location: service.spec.location.clone(),
            needs: service.spec.reservation,
            ports: super::placing::host_ports(&service.spec.ports),
            bound_to: None,
            avoid: None,
        };
        let plan = planner::plan(&self.snapshot(vec![waiting]));
        plan.into_iter().find_map(|step| {
            if let Step::Refuse { reason, .. } = step {
                Some(reason)
            } else {
                None
            }
        })
    }

    fn quit(&mut self, name: &str, remove: bool) -> Result<Reply, ErrorBody> {
        let names = self.containers_named(name)?;
        for name in &names {
            let Some(container) = self.ledger.containers.edit(name) else {
                continue;
            };
            let wanted = match (remove, container.desired) {
                (true, _) => Desired::Removed,
                (false, Desired::Running) if container.outcome.is_none() => Desired::Stopped,
                (false, desired) => desired,
            };
            container.desired = wanted;
            container.reason = None;
            self.journal.begin_container(name);
        }
        Ok(self.containers_reply(&names))
    }

    fn remove(&mut self, name: &str) -> Result<Reply, ErrorBody> {
        let names = self.containers_named(name)?;
        if let Some(running) = names.iter().find(|name| {
            self.ledger
                .containers
                .get(name)
                .is_some_and(Container::wants_room)
        }) {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("container `{running}` is not stopped"),
            )
            .hint(format!(
                "`micado quit -n {running}` first, or both at once: `micado quit --rm -n {running}`"
            )));
        }
        self.quit(name, true)
    }

    /// The containers of this name: a container's own, or all of a service's.
    pub(super) fn containers_named(&self, name: &str) -> Result<Vec<ContainerName>, ErrorBody> {
        let kept = self
            .ledger
            .containers
            .values()
            .filter(|it| it.desired != Desired::Removed || it.removed_at.is_none());
        let named: Vec<_> = kept
            .filter(|it| it.name.as_str() == name || it.service.as_str() == name)
            .map(|it| it.name.clone())
            .collect();
        if named.is_empty() {
            return Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("no container or service `{name}`"),
            )
            .hint("`micado list --all` shows all names"));
        }
        Ok(named)
    }

    /// A machine that a person wants. The same call again gives the same machine.
    fn start(&mut self, start: StartRequest) -> Result<Reply, ErrorBody> {
        let not_found = |error: micado_cloudsetup::LookupError| {
            ErrorBody::new(ErrorCode::NotFound, error.to_string())
        };
        let cloud = self
            .config
            .setup
            .cloud(start.cloud.as_str())
            .map_err(not_found)?;
        let price = cloud
            .flavour(start.flavour.as_str())
            .map_err(not_found)?
            .price;
        self.config
            .setup
            .application(&start.application)
            .map_err(not_found)?;
        if let Some(instance) = self.tagged(start.tag.as_str()).filter(|it| it.is_live()) {
            return self
                .same_machine(instance, &start)
                .map(|id| self.instance_reply(&id));
        }
        if start.first {
            self.begin_afresh()?;
        }
        let limits = self.limits();
        if let Some(max) = limits.max_instances.filter(|max| limits.instances >= *max) {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("{} of {max} instances are in use", limits.instances),
            )
            .hint("stop one, or raise --max-instances"));
        }
        if let Some(max) = limits
            .max_price
            .filter(|max| limits.price.0 + price.0 > max.0)
        {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!(
                    "`{}` at {price} an hour would exceed {max} an hour ({} are in use)",
                    start.flavour, limits.price
                ),
            )
            .hint("stop an instance, or raise --max-price"));
        }
        let id = self.request_instance(
            &start.cloud,
            &start.flavour,
            start.application,
            start.tag.clone(),
            start.location,
            Origin::User,
        );
        if let Some(instance) = self.ledger.instances.edit(&id) {
            instance.files = start.files;
        }
        self.journal.begin_instance(&id, start.tag.as_str());
        self.decide(
            None,
            Some(&id),
            format!("{} was asked for by `start`", start.tag),
        );
        Ok(self.instance_reply(&id))
    }

    /// The instance of this tag, if it is what `start` asks for and is not going.
    fn same_machine(
        &self,
        instance: &Instance,
        start: &StartRequest,
    ) -> Result<InstanceId, ErrorBody> {
        let same = (
            &instance.cloud,
            &instance.application,
            &instance.flavour,
            &instance.location,
        ) == (
            &start.cloud,
            &start.application,
            &start.flavour,
            &start.location,
        );
        if same && !start.first && instance.accepts_work() {
            return Ok(instance.id.clone());
        }
        let Instance {
            tag,
            flavour,
            cloud,
            location,
            ..
        } = instance;
        Err(ErrorBody::new(
            ErrorCode::Conflict,
            format!(
                "tag `{tag}` is in use: {flavour} on {cloud}, location {location}, {}",
                instance.state
            ),
        )
        .hint("choose another tag, or stop that instance first"))
    }

    /// Forgets instances that are gone; refused while any machine of this cluster is live.
    fn begin_afresh(&mut self) -> Result<(), ErrorBody> {
        if let Some(live) = self.ledger.instances.values().find(|it| it.is_live()) {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!(
                    "-I starts the record afresh, but instance `{}` is live",
                    live.tag
                ),
            )
            .hint("stop it first, or start without -I"));
        }
        if let Some((cloud, _)) = self
            .clouds
            .iter()
            .find(|(_, sight)| sight.listed.is_none() || sight.error.is_some())
        {
            return Err(ErrorBody::new(
                ErrorCode::Unavailable,
                format!("-I starts the record afresh, but cloud `{cloud}` does not say whether a machine of this cluster is live"),
            )
            .hint("try again when it answers"));
        }
        for id in self.ledger.instances.keys() {
            self.ledger.instances.remove(&id);
        }
        Ok(())
    }

    /// Empties a machine and gives it back. Again, or when it is gone, it changes nothing.
    fn stop(&mut self, tag: &Tag, force: bool) -> Result<Reply, ErrorBody> {
        let Some(instance) = self.tagged(tag.as_str()) else {
            return Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("no instance has the tag `{tag}`"),
            )
            .hint("`micado list -i` shows all tags"));
        };
        let (id, state) = (instance.id.clone(), instance.state);
        if instance.accepts_work() && !force {
            self.refuse_homeless(&id, tag)?;
        }
        let stops = instance_may_stop(state);
        if let Some(instance) = self.ledger.instances.edit(&id).filter(|it| it.is_live()) {
            instance.force |= force;
        }
        if force && matches!(state, InstanceState::Failed | InstanceState::Gone) {
            self.give_volumes_up(&id);
        }
        if stops {
            self.journal.begin_instance(&id, tag.as_str());
            self.set_state(&id, InstanceState::Draining);
            let why = format!("given back: `stop{}`", if force { " --force" } else { "" });
            self.decide(None, Some(&id), format!("{tag} is {why}"));
            self.ledger
                .instances
                .edit(&id)
                .into_iter()
                .for_each(|it| it.reason = Some(why.clone()));
        }
        Ok(self.instance_reply(&id))
    }

    /// What was bound to a machine that is lost may run elsewhere, with empty volumes.
    fn give_volumes_up(&mut self, id: &InstanceId) {
        let bound = self
            .ledger
            .containers
            .values()
            .filter(|it| it.bound_to.as_ref() == Some(id));
        for name in bound.map(|it| it.name.clone()).collect::<Vec<_>>() {
            if let Some(container) = self.ledger.containers.edit(&name) {
                container.bound_to = None;
            }
            self.decide(
                Some(&name),
                Some(id),
                "its volumes are given up: `stop --force`".to_owned(),
            );
        }
    }

    /// Refuses to stop a machine while a container on it has nowhere to go or holds a volume there.
    fn refuse_homeless(&self, id: &InstanceId, tag: &Tag) -> Result<(), ErrorBody> {
        let refuse = |what: String| {
            Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("instance `{tag}` cannot be stopped: {what}"),
            )
            .hint("`quit` it, or stop with --force"))
        };
        let here: Vec<&Container> = self
            .containers_on(id)
            .filter(|it| it.wants_room())
            .collect();
        if let Some(bound) = here.iter().find(|it| it.bound_to.as_ref() == Some(id)) {
            let volumes = self
                .ledger
                .service_of(bound)
                .spec
                .volumes
                .iter()
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return refuse(format!(
                "container `{}` keeps its volume there ({volumes})",
                bound.name
            ));
        }
        let mut snapshot = self.snapshot(here.iter().map(|it| self.as_waiting(it)).collect());
        for node in snapshot
            .nodes
            .iter_mut()
            .filter(|node| node.instance == *id)
        {
            node.readiness = planner::Readiness::Draining;
        }
        let homeless = planner::plan(&snapshot)
            .into_iter()
            .find_map(|step| match step {
                Step::Wait { container, reason } | Step::Refuse { container, reason } => {
                    Some((container, reason))
                }
                _ => None,
            });
        homeless.map_or(Ok(()), |(container, reason)| {
            refuse(format!(
                "container `{container}` would have nowhere to go: {reason}"
            ))
        })
    }

    fn containers_reply(&self, names: &[ContainerName]) -> Reply {
        Reply::Containers(
            names
                .iter()
                .filter_map(|name| self.container_view(name))
                .collect(),
        )
    }

    fn instance_reply(&self, id: &InstanceId) -> Reply {
        let view: InstanceView = self.instance_view(
            self.ledger
                .instances
                .get(id)
                .expect("only instances in the ledger are answered with"),
            self.loads().get(id).copied().unwrap_or_default(),
        );
        Reply::Instance(Box::new(view))
    }
}

/// Whether `stop` begins to empty an instance in this state.
fn instance_may_stop(state: InstanceState) -> bool {
    !matches!(
        state,
        InstanceState::Draining
            | InstanceState::Stopping
            | InstanceState::Gone
            | InstanceState::Failed
    )
}

/// A service that has containers is not changed by a launch.
fn refuse_other_settings(service: &Service, spec: &ServiceSpec) -> Result<(), ErrorBody> {
    let what = differences(&service.spec, spec).join(", ");
    if service.spec == *spec {
        return Ok(());
    }
    let name = &service.name;
    Err(ErrorBody::new(ErrorCode::Conflict, format!("service `{name}` exists with other settings: {what}"))
        .hint(format!("launch with the same settings, under another client name, or `micado quit --rm -n {name}` first")))
}

/// The settings in which two specifications differ, with the present value first.
fn differences(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |name: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{name} is {old}, not {new}"));
        }
    };
    let list = |items: Vec<String>| {
        if items.is_empty() {
            "none".to_owned()
        } else {
            items.join(" ")
        }
    };
    let ports = |spec: &ServiceSpec| list(spec.ports.iter().map(ToString::to_string).collect());
    compare("image", old.image.clone(), new.image.clone());
    compare(
        "location",
        old.location.to_string(),
        new.location.to_string(),
    );
    compare(
        "memory",
        old.reservation.memory.to_string(),
        new.reservation.memory.to_string(),
    );
    compare(
        "cpu",
        old.reservation.cpu.to_string(),
        new.reservation.cpu.to_string(),
    );
    compare(
        "entry point",
        old.entrypoint.clone().unwrap_or_default(),
        new.entrypoint.clone().unwrap_or_default(),
    );
    compare(
        "arguments",
        list(old.arguments.clone()),
        list(new.arguments.clone()),
    );
    compare("ports", ports(old), ports(new));
    compare(
        "restart policy",
        old.restart.to_string(),
        new.restart.to_string(),
    );
    compare(
        "domain",
        old.domain.clone().unwrap_or_else(|| "none".to_owned()),
        new.domain.clone().unwrap_or_else(|| "none".to_owned()),
    );
    // Values may be secrets: only that they differ is said.
    if old.environment != new.environment {
        found.push("the environment differs".to_owned());
    }
    if old.volumes != new.volumes {
        found.push("the volumes differ".to_owned());
    }
    found
}
