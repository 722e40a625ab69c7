//! Requests of callers: each is checked, recorded and answered; the reconcile passes execute it.

use super::{Core, Reply, Request};
use crate::{
    engine::{ImageFacts, plain_alias},
    model::{Container, Desired, Instance, Service},
    planner::{self, Limits},
};
use micado_api::{
    ContainerName, ErrorBody, ErrorCode, InstanceId, LaunchRequest, Origin, PricePerHour,
    Resources, ServiceName, ServiceSpec, StartRequest,
};

impl Core {
    pub(super) fn request(&mut self, request: Request) -> Result<Reply, ErrorBody> {
        match request {
            Request::Launch(launch, image) => self.launch(*launch, image),
            Request::Quit { name, remove } => self.quit(&name, remove),
            Request::Remove { name } => self.remove(&name),
            Request::Start(start) => self.start(start),
            Request::Stop { tag, force } => self.stop(&tag, force),
            Request::Protect { name, protected } => self.protect(&name, protected),
            Request::SetImage { image, critical } => self.set_image(image, critical),
            Request::ForgetImage { image } => Ok(self.forget_image(&image)),
            Request::ImageBuilt { image, pull } => Ok(self.image_built(&image, &pull)),
            Request::SetPolicy { service, policies } => self.set_policy(&service, *policies),
            Request::RemovePolicy { service } => self.remove_policy(&service),
            Request::Scale { service, scale } => self.scale(&service, &scale),
            Request::Register { id, request } => self.register(id, *request),
            Request::Deregister { id } => self.deregister(&id),
            Request::LogIn { host, user, secret } => self.log_in(&host, user, secret),
            Request::LogOut { host } => self.log_out(&host),
            Request::ReserveIndex(index) => Ok(self.reserve_index(index)),
            Request::Join { instance, key } => self.trade(&instance, key),
            Request::Learn(used) => {
                self.learn(&used);
                Ok(Reply::Recorded)
            }
            Request::Happened(events) => {
                for (instance, event) in events {
                    self.happened(&instance, event);
                }
                Ok(Reply::Recorded)
            }
        }
    }

    /// Adds containers to a service. The same request name returns the same containers.
    fn launch(&mut self, launch: LaunchRequest, facts: ImageFacts) -> Result<Reply, ErrorBody> {
        let spec = &launch.spec;
        let name = crate::model::service_name(&spec.client, &spec.image)
            .map_err(|error| ErrorBody::new(ErrorCode::BadRequest, error.to_string()))?;
        let request = launch.request.as_deref();
        let again = request.map(|request| self.ledger.index.by_request(request));
        let again: Vec<ContainerName> = again.into_iter().flatten().cloned().collect();
        if !again.is_empty() {
            return Ok(self.containers_reply(&again));
        }
        // A service without containers starts with new records: its image may have been rebuilt
        // under the same name.
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
        let mut service = kept.unwrap_or_else(|| self.afresh(&name, spec, facts));
        let first = ContainerName::trusted(format!("{name}.{}", service.next_number));
        let sent = learned.map(|_| launch.spec.reservation);
        let origin = self.refuse_impossible(&mut service, &first, sent)?;
        self.launch_with_policy(&name, launch.copies.get())?;
        // Launching again is what a person does after mending an image that could not be pushed.
        self.retry_push(&name, service.created_at);
        self.ledger.insert_service(service);
        self.ledger.images.insert(image);
        let made = self.add_containers(&name, launch.copies.get(), launch.request.as_deref());
        for container in &made {
            if let Some(origin) = &origin {
                self.decide(Some(container), None, origin.clone());
            }
        }
        Ok(self.containers_reply(&made))
    }

    /// Adds containers to a service that is in the ledger.
    pub(super) fn add_containers(
        &mut self,
        service: &ServiceName,
        count: u32,
        request: Option<&str>,
    ) -> Vec<ContainerName> {
        let numbers = self.ledger.edit_service(service, |service| {
            let first = service.next_number;
            service.next_number += count;
            first..service.next_number
        });
        let made: Vec<ContainerName> = numbers
            .into_iter()
            .flatten()
            .map(|number| ContainerName::trusted(format!("{service}.{number}")))
            .collect();
        let homes = self.homes(service);
        let record = |(at, container): (usize, &ContainerName)| Container {
            request: request.map(str::to_owned),
            bound_to: homes.get(at).cloned(),
            ..Container::new(container.clone(), service.clone(), self.now)
        };
        self.ledger
            .add_containers(made.iter().enumerate().map(record).collect());
        for container in &made {
            self.journal.begin_container(container);
        }
        for (container, home) in made.iter().zip(&homes) {
            let text = format!("its volumes are on {}", self.tag_of(home));
            self.decide(Some(container), Some(home), text);
        }
        made
    }

    /// A service with these settings, of which no container is kept. Copies of removed containers
    /// that have not ended keep theirs.
    fn afresh(&self, name: &ServiceName, spec: ServiceSpec, facts: ImageFacts) -> Service {
        let ImageFacts {
            pull, platforms, ..
        } = facts;
        let Some(before) = self.ledger.service(name) else {
            return Service {
                alias: plain_alias(name).filter(|it| self.ledger.by_alias(it).is_none()),
                platforms,
                ..Service::new(name.clone(), spec, pull, self.now)
            };
        };
        let containers = self.ledger.index.of_service(name);
        let containers = containers.filter_map(|name| self.ledger.container(name));
        let copies = containers.flat_map(|container| &container.copies);
        let in_use: Vec<u32> = copies.map(|copy| copy.spec).collect();
        let mut service = before.clone();
        service.change(spec, pull, &in_use);
        (service.created_at, service.platforms) = (self.now, platforms);
        service
    }

    /// The service of this name, if it has any container.
    #[must_use]
    pub fn kept(&self, name: &ServiceName) -> Option<&Service> {
        let mut containers = self.ledger.index.of_service(name);
        let kept = containers.any(|name| {
            self.ledger
                .container(name)
                .is_some_and(|container| container.desired != Desired::Removed)
        });
        self.ledger.service(name).filter(|_| kept)
    }

    /// Refuses a container that no machine, rented or to rent, could ever hold. A learned
    /// reservation that none could hold gives way to the one that was sent, if that could be held.
    /// Says where the reservation comes from, if it was learned.
    fn refuse_impossible(
        &mut self,
        service: &mut Service,
        container: &ContainerName,
        sent: Option<Resources>,
    ) -> Result<Option<String>, ErrorBody> {
        let (image, learned) = (service.spec.image.clone(), service.spec.reservation);
        let refuse = |reason: String| {
            ErrorBody::new(ErrorCode::Unsatisfiable, format!("`{container}` {reason}"))
        };
        let waiting = self.kind_of(container, service);
        match (self.why_impossible(waiting.clone()), sent) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some(format!(
                "it is promised {learned}: learned from what containers of `{image}` used, for none was named"
            ))),
            (Some(reason), None) => Err(refuse(reason).hint(
                "ask for less with --memory and --cpu, or add a larger flavour to cloudsetup.xml",
            )),
            (Some(reason), Some(sent)) => {
                service.spec.reservation = sent;
                let needs = sent;
                if self
                    .why_impossible(planner::Waiting { needs, ..waiting })
                    .is_some()
                {
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

    fn quit(&mut self, name: &str, remove: bool) -> Result<Reply, ErrorBody> {
        let names = self.containers_named(name)?;
        self.quit_containers(&names, remove);
        self.lower_floor(&names);
        Ok(self.containers_reply(&names))
    }

    /// Stops containers; with `remove`, also drops their records.
    pub(super) fn quit_containers(&mut self, names: &[ContainerName], remove: bool) {
        for name in names {
            self.ledger.edit_container(name, |container| {
                container.desired = match (remove, container.desired) {
                    (true, _) => Desired::Removed,
                    (false, Desired::Running) if container.outcome.is_none() => Desired::Stopped,
                    (false, desired) => desired,
                };
                container.reason = None;
            });
            self.journal.begin_container(name);
            self.ledger.dirty.containers.insert(name.clone());
        }
    }

    fn remove(&mut self, name: &str) -> Result<Reply, ErrorBody> {
        let names = self.containers_named(name)?;
        if let Some(running) = names.iter().find(|name| {
            self.ledger
                .container(name)
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

    /// Containers of this name: one container, or all of a service.
    pub(super) fn containers_named(&self, name: &str) -> Result<Vec<ContainerName>, ErrorBody> {
        let own = ContainerName::trusted(name);
        let kept = |container: &&Container| {
            container.desired != Desired::Removed || container.removed_at.is_none()
        };
        let service = ServiceName::trusted(name);
        let service = self.ledger.index.of_service(&service);
        let named: Vec<_> = std::iter::once(&own)
            .chain(service)
            .filter_map(|name| self.ledger.container(name))
            .filter(kept)
            .map(|container| container.name.clone())
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

    /// Adds a machine for a person. Repeating the call returns the same machine.
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
        if let Some(bounds) = self.config.setup.bounds(&start.location) {
            let names = ["max_machines of the location", "max_price of the location"];
            within(&self.limits_at(bounds), &start, price, names)?;
        }
        let names = ["--max-instances", "--max-price"];
        within(&self.limits(), &start, price, names)?;
        let id = self.request_instance(
            &start.cloud,
            &start.flavour,
            start.application,
            start.tag.clone(),
            start.location,
            Origin::User,
        );
        self.ledger
            .edit_instance(&id, |instance| instance.files = start.files);
        self.journal.begin_instance(&id, start.tag.as_str());
        self.decide(
            None,
            Some(&id),
            format!("{} was asked for by `start`", start.tag),
        );
        Ok(self.instance_reply(&id))
    }

    /// The instance of this tag, if it matches `start` and is not being returned.
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

    /// Drops instances that are gone; refused while any machine of this cluster is live.
    fn begin_afresh(&mut self) -> Result<(), ErrorBody> {
        let mut live = self.ledger.index.live().iter();
        if let Some(live) = live.find_map(|id| self.ledger.instance(id)) {
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
        // The record of an instance whose node is still in the Swarm is needed to remove that node.
        let left = |id: &&InstanceId| self.node(id).is_none();
        let gone = self.ledger.instances().keys().filter(left);
        for id in gone.cloned().collect::<Vec<_>>() {
            self.ledger.remove_instance(&id);
        }
        Ok(())
    }

    fn containers_reply(&self, names: &[ContainerName]) -> Reply {
        Reply::Containers(
            names
                .iter()
                .filter_map(|name| self.container_view(name))
                .collect(),
        )
    }

    pub(super) fn instance_reply(&self, id: &InstanceId) -> Reply {
        let instance = self
            .ledger
            .instance(id)
            .expect("only instances in the ledger are answered with");
        Reply::Instance(Box::new(self.instance_view(instance)))
    }
}

/// Refuses to change a service with containers by a launch.
fn refuse_other_settings(service: &Service, spec: &ServiceSpec) -> Result<(), ErrorBody> {
    let tagged = |image: &str| image.strip_suffix(":latest").unwrap_or(image).to_owned();
    let mut asked = spec.clone();
    if tagged(&asked.image) == tagged(&service.spec.image) {
        asked.image.clone_from(&service.spec.image);
    }
    let what = differences(&service.spec, &asked).join(", ");
    if service.spec == asked {
        return Ok(());
    }
    let name = &service.name;
    Err(ErrorBody::new(ErrorCode::Conflict, format!("service `{name}` exists with other settings: {what}"))
        .hint(format!("launch with the same settings, under another client name, or `micado quit --rm -n {name}` first")))
}

/// Settings in which two specifications differ, with the present value first.
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
    let (before, after) = (old.run.settings(), new.run.settings());
    let names = before.iter().chain(&after).map(|(name, _)| *name);
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let value = |all: &[(&str, String)]| {
            let found = all.iter().find(|(other, _)| *other == name);
            found.map_or_else(|| "default".to_owned(), |(_, value)| value.clone())
        };
        compare(name, value(&before), value(&after));
    }
    compare("tags", list(old.tags.clone()), list(new.tags.clone()));
    // Values may be secrets: the message names only the setting.
    if old.environment != new.environment {
        found.push("the environment differs".to_owned());
    }
    if old.volumes != new.volumes {
        found.push("the volumes differ".to_owned());
    }
    found
}

/// Refuses one more machine of this price above these limits. `names` are those of the settings for
/// the number and the price.
fn within(
    limits: &Limits,
    start: &StartRequest,
    price: PricePerHour,
    names: [&str; 2],
) -> Result<(), ErrorBody> {
    let refuse = |what: String, name: &str| {
        let error = ErrorBody::new(ErrorCode::Conflict, what);
        Err(error.hint(format!("stop an instance, or raise {name}")))
    };
    if let Some(max) = limits.max_instances.filter(|max| limits.instances >= *max) {
        let what = format!("{} of {max} instances are in use", limits.instances);
        return refuse(what, names[0]);
    }
    let exceeded = |max: &PricePerHour| limits.price.0 + price.0 > max.0;
    if let Some(max) = limits.max_price.filter(exceeded) {
        let what = format!(
            "`{}` at {price} an hour would exceed {max} an hour ({} are in use)",
            start.flavour, limits.price
        );
        return refuse(what, names[1]);
    }
    Ok(())
}
