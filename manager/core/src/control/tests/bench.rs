//! A core on a bench: what it observes is set by hand, and what it asks for is done at once.

use crate::{
    control::{Action, Answer, Call, CallKey, Config, Core, Event, Reply, Request},
    engine::{ImageFacts, Observation, SwarmNode, SwarmService, SwarmTask, TaskState},
    store::{Contents, Record},
};
use micado_api::{
    ClusterId, ErrorBody, InstanceId, LaunchRequest, MemoryBytes, NanoCpus, Resources, ServiceSpec,
    StartRequest, Timestamp,
};
use micado_cloudsetup::{CloudSetup, Machine, MachineState};
use std::collections::BTreeMap;

const SETUP: &str = "<s><clouds><c><name>near</name><broker>local</broker><flavours>
    <f><size>small</size><id>s</id><memory>512M</memory><cores>1</cores><price>0.01</price></f>
    <f><size>large</size><id>l</id><memory>2G</memory><cores>2</cores><price>0.04</price></f>
  </flavours></c></clouds><applications><a><name>Node</name><sname>n</sname><executable>e</executable></a></applications></s>";

/// A core and the world as it observes it: nothing happens unless a test does it.
pub(in crate::control) struct Bench {
    pub(in crate::control) core: Core,
    pub(in crate::control) now: Timestamp,
    pub(in crate::control) seen: Observation,
    pub(in crate::control) machines: Vec<Machine>,
    /// Actions of the core that the engine has not executed yet.
    pub(in crate::control) asked: Vec<Action>,
    ticket: u64,
}

impl Bench {
    pub(in crate::control) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(
            ClusterId::trusted("test"),
            CloudSetup::parse(SETUP, "test").expect("a good file"),
        );
        change(&mut config);
        Self::of(config, Vec::new())
    }
    /// A bench on the content of a store.
    pub(in crate::control) fn of(config: Config, contents: Contents) -> Self {
        let mut bench = Self::unseeing(config, contents);
        bench.tick();
        bench.look();
        bench
    }
    /// A bench without any observation.
    pub(in crate::control) fn unseeing(config: Config, contents: Contents) -> Self {
        let core = Core::new(config, contents, 1);
        Self {
            core,
            now: Timestamp(1_000_000),
            seen: Observation::default(),
            machines: Vec::new(),
            asked: Vec::new(),
            ticket: 0,
        }
    }
    /// Content of a store that has all records of containers and machines.
    pub(in crate::control) fn contents(&self) -> Contents {
        let ledger = &self.core.ledger;
        let containers = ledger.containers().values().cloned().map(Record::Container);
        let services = ledger.services().values().cloned().map(Record::Service);
        let instances = ledger.instances().values().cloned().map(Record::Instance);
        let records = containers.chain(services).chain(instances);
        records.map(|record| (record, 1)).collect()
    }
    pub(in crate::control) fn event(&mut self, event: Event) -> Vec<Action> {
        self.now = Timestamp(self.now.0 + 1_000);
        let actions = self.core.handle(self.now, event);
        self.asked.extend(actions.iter().cloned());
        actions
    }
    /// Sends a tick; the clouds answer at once.
    pub(in crate::control) fn tick(&mut self) -> Vec<Action> {
        let actions = self.event(Event::Tick);
        self.lists_answered(actions)
    }
    pub(in crate::control) fn look(&mut self) -> Vec<Action> {
        let mut seen = self.seen.clone();
        seen.as_of = u64::MAX;
        let actions = self.event(Event::Observed(seen));
        self.lists_answered(actions)
    }
    fn lists_answered(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        for key in listed(&actions) {
            let machines = self.machines.clone();
            actions.extend(self.event(Event::Answered(key, Answer::Listed(Ok(machines)))));
        }
        actions
    }
    pub(in crate::control) fn ask(
        &mut self,
        request: Request,
    ) -> (Result<Reply, ErrorBody>, Vec<Action>) {
        self.ticket += 1;
        let ticket = self.ticket;
        let mut actions = self.event(Event::Request(ticket, request));
        let at = actions
            .iter()
            .position(|action| matches!(action, Action::Reply(to, _) if *to == ticket))
            .expect("every request is answered");
        match actions.remove(at) {
            Action::Reply(_, reply) => (reply, actions),
            _ => unreachable!("it was found as a reply"),
        }
    }
    pub(in crate::control) fn launch(
        &mut self,
        spec: ServiceSpec,
        request: Option<&str>,
    ) -> Result<String, ErrorBody> {
        let launch = LaunchRequest {
            spec,
            publish_all: false,
            request: request.map(str::to_owned),
            unnamed: micado_api::Unnamed::default(),
            copies: std::num::NonZeroU32::MIN,
        };
        let (reply, _) = self.ask(Request::Launch(
            Box::new(launch),
            ImageFacts {
                pull: Some("web@sha256:1".to_owned()),
                exposed: Vec::new(),
                platforms: std::collections::BTreeSet::new(),
            },
        ));
        reply.map(|reply| match reply {
            Reply::Containers(views) => views[0].name.to_string(),
            _ => unreachable!("a launch is answered with containers"),
        })
    }
    /// The first ordered machine that is not there yet exists, has joined and is settled.
    pub(in crate::control) fn machine_comes(&mut self) -> InstanceId {
        let ordered = self.core.instances(false).into_iter();
        let mut missing =
            ordered.filter(|new| self.machines.iter().all(|it| it.instance != new.id));
        let ordered = missing.next().expect("a machine is ordered");
        let id = ordered.id;
        let machine = machine(&id, MachineState::Running);
        self.machines.push(machine.clone());
        self.event(Event::Answered(
            CallKey::Machine(id.clone()),
            Answer::Launched(Ok(machine)),
        ));
        let mut node = node(&id);
        if ordered.flavour.as_str() == "large" {
            node.size = Resources::new(MemoryBytes::mib(2048), NanoCpus::cores(2));
        }
        self.seen.nodes.push(node);
        self.look();
        id
    }
    /// The engine executes all calls until there are no more: every requested service runs, every
    /// unwanted one is gone.
    pub(in crate::control) fn settle(&mut self) {
        self.look();
        while !self.asked.is_empty() {
            for action in std::mem::take(&mut self.asked) {
                self.obey(action);
            }
        }
    }
    pub(in crate::control) fn obey(&mut self, action: Action) {
        let Action::Call(key, call) = action else {
            return;
        };
        let answer = match call {
            Call::CreateService {
                container,
                copy,
                node,
                ..
            } => {
                let CallKey::Service(name) = &key else {
                    unreachable!("services are asked for by their key")
                };
                self.seen.services.retain(|service| service.name != *name);
                self.seen.tasks.retain(|task| task.service != *name);
                self.seen.tasks.push(task(name, Some(node.clone())));
                let (id, name) = (name.clone(), name.clone());
                self.seen.services.push(SwarmService {
                    id,
                    name,
                    container: container.name.clone(),
                    instance: copy.instance,
                    node: Some(node),
                    generation: copy.generation,
                    edited: false,
                    records: None,
                });
                Answer::Engine(Ok(()))
            }
            Call::RemoveService { name, .. } => {
                self.seen.services.retain(|service| service.name != name);
                self.seen.tasks.retain(|task| task.service != name);
                Answer::Engine(Ok(()))
            }
            Call::SaveLog { .. } => Answer::Log(Ok("last words\n".to_owned())),
            Call::Observe { .. } => return drop(self.look()),
            _ => return,
        };
        self.event(Event::Answered(key, answer));
    }
    /// Lets seconds pass in which nothing happens.
    pub(in crate::control) fn seconds(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| drop(self.event(Event::Wake)));
    }
    /// Lets time pass: ticks, looks and all that the engine is asked for, about every ten seconds.
    pub(in crate::control) fn pass(&mut self, seconds: u64) {
        let until = self.now.0 + seconds * 1_000;
        while self.now.0 < until {
            self.now.0 += 8_000;
            self.tick();
            self.settle();
        }
    }
    /// Removes a container, or those of a service, and waits until they have ended.
    pub(in crate::control) fn quit(&mut self, name: &str) {
        let quit = Request::Quit {
            name: name.to_owned(),
            remove: true,
        };
        self.ask(quit).0.expect("it is there");
        self.settle();
    }
    pub(in crate::control) fn state(&self, name: &str) -> String {
        let all = self.core.containers(true);
        let view = all
            .iter()
            .find(|it| it.name.as_str() == name)
            .expect("the container is listed");
        view.reason
            .as_ref()
            .map_or(view.state.to_string(), |reason| {
                format!("{}: {reason}", view.state)
            })
    }
}

pub(super) fn listed(actions: &[Action]) -> Vec<CallKey> {
    actions
        .iter()
        .filter_map(|action| {
            if let Action::Call(key @ CallKey::List(_), _) = action {
                Some(key.clone())
            } else {
                None
            }
        })
        .collect()
}

pub(in crate::control) fn machine(id: &InstanceId, state: MachineState) -> Machine {
    let name = format!("micado-test-{id}");
    let (id, broker_id) = (id.clone(), "b1".to_owned());
    Machine {
        name,
        instance: id,
        id: broker_id,
        state,
        address: None,
        tag: None,
        location: None,
        application: None,
        flavour: None,
        detail: None,
    }
}

pub(in crate::control) fn node(id: &InstanceId) -> SwarmNode {
    SwarmNode {
        id: format!("node-{id}"),
        hostname: id.to_string(),
        instance: Some(id.clone()),
        labels: BTreeMap::new(),
        ready: true,
        active: true,
        manager: false,
        size: Resources::new(MemoryBytes::mib(512), NanoCpus::cores(1)),
        platform: None,
        address: Some("10.0.0.2".to_owned()),
    }
}

pub(super) fn task(service: &str, node: Option<String>) -> SwarmTask {
    SwarmTask {
        id: format!("task-{service}"),
        service: service.to_owned(),
        node,
        state: TaskState::Running,
        wanted: true,
        version: 1,
        message: None,
        exit_code: None,
        reservation: Resources::default(),
        ports: Vec::new(),
    }
}

pub(in crate::control) fn spec(client: &str, mib: u64) -> ServiceSpec {
    ServiceSpec {
        image: "web".to_owned(),
        client: client.to_owned(),
        location: "application".parse().expect("a name"),
        entrypoint: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        ports: Vec::new(),
        domain: None,
        tags: Vec::new(),
        reservation: Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(250)),
        volumes: Vec::new(),
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    }
}

pub(in crate::control) fn start(tag: &str) -> StartRequest {
    StartRequest {
        cloud: "near".parse().expect("a name"),
        application: "Node".to_owned(),
        flavour: "small".parse().expect("a name"),
        tag: tag.parse().expect("a name"),
        location: "application".parse().expect("a name"),
        first: false,
        files: BTreeMap::new(),
    }
}
