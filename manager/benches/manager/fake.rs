//! The systems around the manager: an engine on which every container runs at once, and a cloud with
//! machines that are there already.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use micado_api::{
    CloudName, ClusterId, InstanceId, InstanceState, Location, MachineName, MemoryBytes, NanoCpus,
    Origin, Resources, Tag,
};
use micado_cloudsetup::{Broker, BrokerError, Machine, MachineState, Order};
use micado_manager::{
    clock,
    engine::{
        Engine, EngineError, EngineEvent, ImageFacts, JoinFacts, LogLine, LogOptions, Observation,
        SwarmNode, SwarmService, SwarmTask, TaskState,
    },
    model::{Container, Copy, Instance, Login, Service},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The image that is launched.
pub const IMAGE: &str = "web";

/// The size of every machine: room for 32 containers with the default reservation.
const SIZE: Resources = Resources::new(MemoryBytes::mib(16_384), NanoCpus::cores(8));

/// The id of a machine.
pub fn instance_id(number: usize) -> InstanceId {
    InstanceId::trusted(format!("{number:08x}"))
}

fn node_id(instance: &InstanceId) -> String {
    format!("node-{instance}")
}

/// The record of a machine that has joined.
pub fn instance(number: usize) -> Instance {
    let (id, now) = (instance_id(number), clock::now());
    Instance {
        application: "Node".to_owned(),
        size: SIZE,
        state: InstanceState::Active,
        address: Some("10.0.0.1".to_owned()),
        broker_id: Some(id.to_string()),
        node: Some(node_id(&id)),
        joined_at: Some(now),
        ..Instance::new(
            id,
            tag(number),
            CloudName::trusted("far"),
            micado_api::FlavourName::trusted("large"),
            Origin::Planner,
            now,
        )
    }
}

fn tag(number: usize) -> Tag {
    Tag::trusted(format!("application{number}"))
}

/// An engine with the nodes of these machines. Services that are created run at once; each call
/// answers immediately.
#[derive(Debug, Default)]
pub struct FakeEngine {
    swarm: Mutex<Swarm>,
}

#[derive(Debug, Default)]
struct Swarm {
    nodes: Vec<SwarmNode>,
    services: HashMap<String, Running>,
    /// Services that were ever created.
    created: usize,
    events: Option<mpsc::UnboundedSender<EngineEvent>>,
}

/// A service and its task. The records are kept as text, so that every observation holds text of
/// its own, as it does when read from an engine.
#[derive(Debug)]
struct Running {
    service: SwarmService,
    records: String,
    task: SwarmTask,
}

impl Running {
    fn service(&self) -> SwarmService {
        SwarmService {
            records: Some(self.records.as_str().into()),
            ..self.service.clone()
        }
    }
}

impl FakeEngine {
    pub fn new(machines: usize) -> Arc<Self> {
        let swarm = Swarm {
            nodes: (0..machines).map(node).collect(),
            ..Swarm::default()
        };
        Arc::new(Self {
            swarm: Mutex::new(swarm),
        })
    }

    fn swarm(&self) -> MutexGuard<'_, Swarm> {
        self.swarm.lock().expect("nobody panics with it")
    }

    /// Services that were ever created.
    pub fn created(&self) -> usize {
        self.swarm().created
    }
}

fn node(number: usize) -> SwarmNode {
    let id = instance_id(number);
    SwarmNode {
        id: node_id(&id),
        hostname: tag(number).to_string(),
        instance: Some(id),
        labels: BTreeMap::from([
            ("location".to_owned(), Location::default().to_string()),
            ("tag".to_owned(), tag(number).to_string()),
        ]),
        ready: true,
        active: true,
        manager: false,
        size: SIZE,
        platform: None,
        address: Some("10.0.0.1".to_owned()),
    }
}

#[async_trait::async_trait]
impl Engine for FakeEngine {
    async fn observe(&self) -> Result<Observation, EngineError> {
        let swarm = self.swarm();
        Ok(Observation {
            as_of: 0,
            nodes: swarm.nodes.clone(),
            services: swarm.services.values().map(Running::service).collect(),
            tasks: swarm.services.values().map(|it| it.task.clone()).collect(),
        })
    }
    async fn services(&self, names: &[String]) -> Result<Vec<SwarmService>, EngineError> {
        let swarm = self.swarm();
        let known = names.iter().filter_map(|name| swarm.services.get(name));
        Ok(known.map(Running::service).collect())
    }
    async fn tasks(&self, services: &[String]) -> Result<Vec<SwarmTask>, EngineError> {
        let swarm = self.swarm();
        let known = services.iter().filter_map(|name| swarm.services.get(name));
        Ok(known.map(|running| running.task.clone()).collect())
    }
    async fn tasks_on(&self, node: &str) -> Result<Vec<SwarmTask>, EngineError> {
        let swarm = self.swarm();
        let tasks = swarm.services.values().map(|running| &running.task);
        let on = tasks.filter(|task| task.node.as_deref() == Some(node));
        Ok(on.cloned().collect())
    }
    async fn node(&self, id: &str) -> Result<Option<SwarmNode>, EngineError> {
        Ok(self
            .swarm()
            .nodes
            .iter()
            .find(|node| node.id == id)
            .cloned())
    }
    fn events(&self) -> BoxStream<'static, EngineEvent> {
        let (sender, events) = mpsc::unbounded_channel();
        self.swarm().events = Some(sender);
        stream::iter([EngineEvent::Connected])
            .chain(UnboundedReceiverStream::new(events))
            .boxed()
    }
    async fn create(
        &self,
        service: &Service,
        container: &Container,
        copy: &Copy,
        node: &str,
    ) -> Result<(), EngineError> {
        let records = serde_json::to_string(&(service, container)).expect("JSON");
        let mut swarm = self.swarm();
        swarm.created += 1;
        let running = running(swarm.created, container, copy, node, records);
        swarm.services.insert(copy.swarm_name.clone(), running);
        swarm.changed(&copy.swarm_name);
        Ok(())
    }
    async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let mut swarm = self.swarm();
        swarm.services.remove(name);
        swarm.changed(name);
        Ok(())
    }
    async fn set_active(&self, _: &str, _: bool) -> Result<(), EngineError> {
        Ok(())
    }
    async fn remove_node(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    fn logs(&self, _: &str, _: &LogOptions) -> BoxStream<'static, Result<LogLine, EngineError>> {
        stream::empty().boxed()
    }
    fn follow(
        &self,
        _: &str,
        _: Option<String>,
        _: Option<u32>,
    ) -> BoxStream<'static, Result<LogLine, EngineError>> {
        stream::empty().boxed()
    }
    async fn image(&self, _: &str, _: Option<&Login>) -> Result<ImageFacts, EngineError> {
        Ok(ImageFacts {
            pull: Some(format!("registry:5000/{IMAGE}@sha256:{:064}", 0)),
            exposed: Vec::new(),
            platforms: BTreeSet::new(),
        })
    }
    async fn log_in(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, EngineError> {
        Err(EngineError::Refused("there are no registries".to_owned()))
    }
    async fn join_facts(&self) -> Result<JoinFacts, EngineError> {
        Err(EngineError::Refused("no machine joins".to_owned()))
    }
    async fn rotate_join_token(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Swarm {
    fn changed(&self, name: &str) {
        let name = name.to_owned();
        if let Some(events) = &self.events {
            // Nobody listens to the engine of a manager that has stopped.
            drop(events.send(EngineEvent::Service { name }));
        }
    }
}

/// Ids are as long as the engine's own.
fn running(
    number: usize,
    container: &Container,
    copy: &Copy,
    node: &str,
    records: String,
) -> Running {
    let service = SwarmService {
        id: format!("service{number:018}"),
        name: copy.swarm_name.clone(),
        container: container.name.clone(),
        instance: copy.instance.clone(),
        node: Some(node.to_owned()),
        generation: copy.generation,
        edited: false,
        records: None,
    };
    let task = SwarmTask {
        id: format!("task{number:021}"),
        service: service.id.clone(),
        node: Some(node.to_owned()),
        state: TaskState::Running,
        wanted: true,
        version: 1,
        message: None,
        exit_code: None,
        reservation: copy.reservation,
        ports: Vec::new(),
    };
    Running {
        service,
        records,
        task,
    }
}

/// A cloud that has these machines, and rents no others.
#[derive(Debug)]
pub struct FakeCloud {
    name: CloudName,
    machines: usize,
}

impl FakeCloud {
    pub fn new(machines: usize) -> Arc<Self> {
        let name = CloudName::trusted("far");
        Arc::new(Self { name, machines })
    }
}

#[async_trait::async_trait]
impl Broker for FakeCloud {
    fn cloud(&self) -> &CloudName {
        &self.name
    }
    async fn list(&self, cluster: &ClusterId) -> Result<Vec<Machine>, BrokerError> {
        let machine = |number: usize| Machine {
            name: MachineName::new(cluster, &instance_id(number)).to_string(),
            instance: instance_id(number),
            id: instance_id(number).to_string(),
            state: MachineState::Running,
            address: Some("10.0.0.1".to_owned()),
            tag: Some(tag(number)),
            location: Some(Location::default()),
            application: Some("Node".to_owned()),
            flavour: Some(micado_api::FlavourName::trusted("large")),
            detail: None,
        };
        Ok((0..self.machines).map(machine).collect())
    }
    async fn launch(&self, _: &Order) -> Result<Machine, BrokerError> {
        Err(BrokerError::Refused("no machine is rented".to_owned()))
    }
    async fn terminate(&self, _: &str) -> Result<(), BrokerError> {
        Err(BrokerError::Refused("no machine is returned".to_owned()))
    }
}
