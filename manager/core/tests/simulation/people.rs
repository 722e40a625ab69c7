//! People who use the cluster: they launch, quit, remove, start and stop, and repeat requests
//! without a reply.

use crate::{clock::Dice, scaling::CLIENT, world::World};
use micado_api::{
    AntiAffinity, CloudName, ContainerName, Critical, FlavourName, HealthCheck, InstanceId,
    LaunchRequest, Location, MemoryBytes, NanoCpus, PortMapping, Probe, Protocol, Resources,
    RestartPolicy, RunOptions, ServiceSpec, StartRequest, Tag, Unnamed, VolumeMount,
};
use micado_core::{
    control::{Reply, Request},
    engine::ImageFacts,
    model::Desired,
};
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound for the running containers of one person.
const ENOUGH: usize = 5;

/// Number of machines above which no more is started.
const ENOUGH_MACHINES: u32 = 6;

/// A person with one request at a time.
struct Person {
    /// Services that they launch; empty for the operator, who starts and stops machines.
    services: Vec<(LaunchRequest, ImageFacts)>,
    /// Request without a reply.
    open: Option<Request>,
}

/// All people, and their expectations.
#[derive(Default)]
pub struct People {
    persons: Vec<Person>,
    /// Desired state of each container that was reported to its owner.
    pub wishes: BTreeMap<ContainerName, (usize, Desired)>,
    /// Names of launch requests, and the container in each reply.
    pub requests: BTreeMap<String, Option<ContainerName>>,
    /// Containers that were asked to stop or to be removed, with or without a reply.
    pub let_go: BTreeSet<ContainerName>,
    /// Reservation in the first reply to each launch request.
    pub promised: BTreeMap<String, Resources>,
    /// Instances that were asked to stop, and if by force.
    pub given_back: BTreeMap<InstanceId, bool>,
}

impl People {
    pub fn nobody() -> Self {
        Self {
            persons: vec![Person {
                services: Vec::new(),
                open: None,
            }],
            ..Self::default()
        }
    }
    /// Three clients with services of their own, an operator, and one whose services have policies.
    pub fn drawn(dice: &mut Dice) -> Self {
        let clients = ["ann", "bob", "cyd"].map(|client| Person {
            services: services(client, dice),
            open: None,
        });
        let scaler = Person {
            services: services(CLIENT, dice)
                .into_iter()
                .filter(|(launch, _)| launch.spec.image != "job")
                .collect(),
            open: None,
        };
        let operator = Person {
            services: Vec::new(),
            open: None,
        };
        Self {
            persons: clients.into_iter().chain([operator, scaler]).collect(),
            ..Self::default()
        }
    }
    pub fn count(&self) -> usize {
        self.persons.len()
    }
    /// Returns true if all requests have their replies.
    pub fn all_answered(&self) -> bool {
        self.persons.iter().all(|it| it.open.is_none())
    }
    fn theirs(&self, person: usize, wanted: impl Fn(Desired) -> bool) -> Vec<ContainerName> {
        self.wishes
            .iter()
            .filter(|(_, (owner, desired))| *owner == person && wanted(*desired))
            .map(|(name, _)| name.clone())
            .collect()
    }
    /// Containers that a name denotes.
    fn named(&self, person: usize, name: &str) -> Vec<ContainerName> {
        let all = self.theirs(person, |_| true);
        all.into_iter()
            .filter(|it| {
                it.as_str() == name
                    || it
                        .as_str()
                        .rsplit_once('.')
                        .is_some_and(|(service, _)| service == name)
            })
            .collect()
    }
}

/// A few services, small and large: some with fixed ports, volumes or another location, some
/// without a given reservation.
fn services(client: &str, dice: &mut Dice) -> Vec<(LaunchRequest, ImageFacts)> {
    let images = ["web", "db", "job"].into_iter().enumerate();
    images
        .map(|(at, image)| {
            let memory = MemoryBytes::mib(
                *dice
                    .pick(&[64, 128, 200, 256, 400, 700, 890, 1500, 3800, 5000])
                    .unwrap_or(&256),
            );
            let cpu = NanoCpus::millis(*dice.pick(&[50, 250, 250, 500, 1000]).unwrap_or(&250));
            let port = u16::try_from(dice.between(80, 82)).unwrap_or(80);
            let host = match dice.below(4) {
                0 => vec![PortMapping {
                    host: Some(port),
                    container: 80,
                    protocol: Protocol::Tcp,
                }],
                1 => vec![PortMapping {
                    host: None,
                    container: 80,
                    protocol: Protocol::Tcp,
                }],
                _ => Vec::new(),
            };
            let volumes = if dice.per_mille(200) {
                vec![VolumeMount {
                    name: "data".to_owned(),
                    path: "/data".to_owned(),
                    shared: false,
                }]
            } else {
                Vec::new()
            };
            let pull = dice
                .per_mille(500)
                .then(|| format!("hub.sim/{image}@sha256:{at}"));
            let unnamed = Unnamed {
                memory: dice.per_mille(500),
                cpu: dice.per_mille(500),
            };
            let spec = spec(
                client,
                image,
                Resources::new(memory, cpu),
                host,
                volumes,
                location(dice),
            );
            let spec = ServiceSpec {
                run: Box::new(RunOptions {
                    health: check(&mut dice.clone()),
                    ..RunOptions::default()
                }),
                ..spec
            };
            (
                LaunchRequest {
                    spec,
                    publish_all: false,
                    request: None,
                    unnamed,
                    copies: std::num::NonZeroU32::MIN,
                },
                ImageFacts {
                    pull,
                    exposed: Vec::new(),
                    platforms: std::collections::BTreeSet::new(),
                },
            )
        })
        .collect()
}

/// A check of the agent for some services. Drawn from a copy: those without one are as ever.
fn check(dice: &mut Dice) -> Option<HealthCheck> {
    let restart_after_ms = dice.per_mille(300).then_some(30_000);
    dice.per_mille(250).then(|| HealthCheck {
        probe: Some(Probe::Tcp { port: Some(80) }),
        restart_after_ms,
        ..HealthCheck::default()
    })
}

fn location(dice: &mut Dice) -> Location {
    if dice.per_mille(250) {
        Location::trusted("database")
    } else {
        Location::default()
    }
}

pub fn spec(
    client: &str,
    image: &str,
    reservation: Resources,
    ports: Vec<PortMapping>,
    volumes: Vec<VolumeMount>,
    location: Location,
) -> ServiceSpec {
    let anti_affinity = match location.as_str() {
        "database" => AntiAffinity::Require,
        _ => AntiAffinity::Prefer,
    };
    ServiceSpec {
        image: image.to_owned(),
        client: client.to_owned(),
        location,
        anti_affinity,
        entrypoint: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        ports,
        domain: None,
        tags: Vec::new(),
        reservation,
        volumes,
        restart: match image {
            "web" => RestartPolicy::Always,
            "db" => RestartPolicy::OnFailure(None),
            _ => RestartPolicy::No,
        },
        run: Box::default(),
    }
}

impl World {
    /// A person repeats a request without a reply, or makes a new one.
    pub fn person_acts(&mut self, person: usize) {
        if self
            .manager
            .tickets
            .values()
            .any(|(waits, _)| *waits == person)
        {
            return;
        }
        if self.people.persons[person].open.is_none() && !self.calm {
            self.people.persons[person].open = self.new_wish(person);
        }
        let Some(request) = self.people.persons[person].open.clone() else {
            if !self.calm {
                self.clock
                    .within(500, 10_000, crate::clock::Happening::Person(person));
            }
            return;
        };
        if self.manager.core.is_none() {
            return self
                .clock
                .within(500, 5_000, crate::clock::Happening::Person(person));
        }
        self.note_asked(person, &request);
        self.loads.by_person = self.is_scaler(person);
        self.ask(person, request);
        self.loads.by_person = false;
    }

    fn is_scaler(&self, person: usize) -> bool {
        let services = &self.people.persons[person].services;
        services
            .first()
            .is_some_and(|(launch, _)| launch.spec.client == CLIENT)
    }

    /// A launch of the person whose services have policies.
    pub fn scalers_launch(&mut self, serial: u64) -> Option<Request> {
        let scaler = self.people.persons.last()?;
        let (launch, facts) = self.clock.dice.pick(&scaler.services)?.clone();
        let request = Some(format!("r{serial}"));
        Some(Request::Launch(
            Box::new(LaunchRequest { request, ..launch }),
            facts,
        ))
    }

    /// Makes a request for a directed scenario.
    pub fn wants(&mut self, request: Request) {
        self.people.persons[0].open = Some(request);
        self.clock.within(0, 0, crate::clock::Happening::Person(0));
    }

    /// Records that the manager may do this from now on.
    fn note_asked(&mut self, person: usize, request: &Request) {
        match request {
            Request::Launch(launch, _) => {
                self.people
                    .requests
                    .entry(launch.request.clone().unwrap_or_default())
                    .or_default();
            }
            Request::Quit { name, .. } | Request::Remove { name } => {
                let named = self.people.named(person, name);
                self.people.let_go.extend(named);
            }
            Request::Stop { tag, force } => {
                let meant: Vec<InstanceId> = self
                    .store
                    .instances()
                    .filter(|it| it.tag == *tag)
                    .map(|it| it.id.clone())
                    .collect();
                for id in meant {
                    *self.people.given_back.entry(id).or_default() |= force;
                }
            }
            Request::Start(_)
            | Request::Protect { .. }
            | Request::SetImage { .. }
            | Request::ImageBuilt { .. }
            | Request::ForgetImage { .. }
            | Request::SetPolicy { .. }
            | Request::RemovePolicy { .. }
            | Request::Scale { .. }
            | Request::Register { .. }
            | Request::Deregister { .. }
            | Request::LogIn { .. }
            | Request::LogOut { .. }
            | Request::ReserveIndex(_)
            | Request::Join { .. }
            | Request::Learn(_)
            | Request::Happened(_) => {}
        }
    }

    fn new_wish(&mut self, person: usize) -> Option<Request> {
        if self.people.persons[person].services.is_empty() {
            return self.operators_wish();
        }
        if self.is_scaler(person) {
            return self.scalers_wish();
        }
        let running = self.people.theirs(person, |it| it == Desired::Running);
        let kept = self.people.theirs(person, |it| it != Desired::Removed);
        let dice = &mut self.clock.dice;
        if running.len() < ENOUGH && dice.per_mille(600) {
            return self.launch_wish(person);
        }
        let name = dice.pick(&kept)?.clone();
        let service = name
            .as_str()
            .rsplit_once('.')
            .map_or(name.as_str(), |(service, _)| service)
            .to_owned();
        let name = if dice.per_mille(100) {
            service
        } else {
            name.to_string()
        };
        Some(match dice.below(3) {
            0 => Request::Remove { name },
            which => Request::Quit {
                name,
                remove: which == 1,
            },
        })
    }

    /// A new container, or sometimes a repetition of an earlier launch under the same request name.
    fn launch_wish(&mut self, person: usize) -> Option<Request> {
        let (launch, mut facts) = self
            .clock
            .dice
            .pick(&self.people.persons[person].services)?
            .clone();
        let spec = &launch.spec;
        // Its image was rebuilt.
        if facts.pull.is_some() && self.clock.dice.per_mille(200) {
            facts.pull = Some(format!("hub.sim/{}@sha256:9", spec.image));
        }
        let kept = self.people.requests.iter().filter(|(_, name)| {
            name.as_ref()
                .and_then(|it| Some((it, self.people.wishes.get(it)?)))
                .is_some_and(|(name, (owner, desired))| {
                    *owner == person
                        && *desired != Desired::Removed
                        && name
                            .as_str()
                            .starts_with(&format!("{}_{}.", spec.client, spec.image))
                })
        });
        let kept: Vec<String> = kept.map(|(request, _)| request.clone()).collect();
        let again = self
            .clock
            .dice
            .per_mille(150)
            .then(|| self.clock.dice.pick(&kept).cloned())
            .flatten();
        let request = again.unwrap_or_else(|| format!("r{}", self.clock.serial()));
        Some(Request::Launch(
            Box::new(LaunchRequest {
                request: Some(request),
                ..launch
            }),
            facts,
        ))
    }

    fn operators_wish(&mut self) -> Option<Request> {
        let serial = self.clock.serial();
        let few = self.live(|_| true).0 < ENOUGH_MACHINES;
        let dice = &mut self.clock.dice;
        if dice.per_mille(150) {
            let image = (*dice.pick(&["web", "db", "job", "nothing"])?).to_owned();
            let memory = dice
                .per_mille(500)
                .then(|| MemoryBytes::mib(dice.between(16, 400)));
            return Some(Request::SetImage {
                image,
                critical: Critical { memory, cpu: None },
            });
        }
        if dice.per_mille(100) {
            let tags: Vec<&Tag> = self.store.instances().map(|it| &it.tag).collect();
            return Some(Request::Protect {
                name: dice.pick(&tags)?.to_string(),
                protected: dice.per_mille(300),
            });
        }
        if few && dice.per_mille(300) {
            let cloud = dice.pick(&self.config.setup.clouds)?;
            let flavour = dice.pick(&cloud.flavours)?.name.clone();
            return Some(Request::Start(start(
                cloud.name.as_str(),
                flavour.as_str(),
                &format!("op{serial}"),
                location(dice),
            )));
        }
        let tags: Vec<Tag> = self
            .store
            .instances()
            .filter(|it| it.accepts_work() || it.can_stay())
            .map(|it| it.tag.clone())
            .collect();
        if dice.per_mille(500) {
            return None;
        }
        Some(Request::Stop {
            tag: dice.pick(&tags)?.clone(),
            force: dice.per_mille(300),
        })
    }

    /// Handles a reply of the manager.
    pub fn replied(&mut self, ticket: u64, reply: Result<Reply, micado_api::ErrorBody>) {
        use crate::invariants::replies;
        let Some((person, _)) = self.manager.tickets.remove(&ticket) else {
            return self.check(Err(replies::to_nobody(ticket)));
        };
        let Some(request) = self.people.persons[person].open.take() else {
            return;
        };
        self.clock
            .within(300, 20_000, crate::clock::Happening::Person(person));
        if self.is_scaler(person) {
            self.tally.scaled += u64::from(matches!(reply, Ok(Reply::Scaling(_))));
            return self.check(replies::scaled(&request, &reply));
        }
        self.check(replies::check(self, &request, &reply));
        self.take_note(person, &request, &reply);
    }

    /// Updates the expectations.
    fn take_note(
        &mut self,
        person: usize,
        request: &Request,
        reply: &Result<Reply, micado_api::ErrorBody>,
    ) {
        match (request, reply) {
            (Request::Launch(launch, _), Ok(Reply::Containers(made))) => {
                let (Some(request), Some(made)) = (&launch.request, made.first()) else {
                    return;
                };
                let known = self
                    .people
                    .requests
                    .insert(request.clone(), Some(made.name.clone()))
                    .flatten();
                self.people
                    .promised
                    .entry(request.clone())
                    .or_insert(made.reservation);
                if known.is_none() {
                    self.tally.launched += 1;
                    self.tally.learned += u64::from(made.reservation != launch.spec.reservation);
                    self.people.let_go.remove(&made.name);
                    self.people
                        .wishes
                        .insert(made.name.clone(), (person, Desired::Running));
                }
            }
            (Request::Quit { name, remove }, Ok(_)) => self.note_end(person, name, *remove),
            (Request::Remove { name }, Ok(_)) => self.note_end(person, name, true),
            (Request::Quit { name, remove: true } | Request::Remove { name }, Err(error))
                if error.code == micado_api::ErrorCode::NotFound =>
            {
                self.note_end(person, name, true);
            }
            (Request::Stop { .. }, Ok(_)) => self.tally.stopped += 1,
            (Request::SetImage { .. }, Ok(_)) => self.tally.criticals += 1,
            _ => {}
        }
    }

    fn note_end(&mut self, person: usize, name: &str, removed: bool) {
        for name in self.people.named(person, name) {
            if let Some((_, desired)) = self.people.wishes.get_mut(&name) {
                *desired = match *desired {
                    _ if removed => Desired::Removed,
                    Desired::Removed => Desired::Removed,
                    _ => Desired::Stopped,
                };
            }
        }
    }
}

pub fn start(cloud: &str, flavour: &str, tag: &str, location: Location) -> StartRequest {
    StartRequest {
        cloud: CloudName::trusted(cloud),
        application: "Node".to_owned(),
        flavour: FlavourName::trusted(flavour),
        tag: Tag::trusted(tag),
        location,
        first: false,
        files: BTreeMap::new(),
    }
}
