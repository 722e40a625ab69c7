//! What goes into the core (events) and what comes out (actions).

use crate::{
    engine::{Delta, EngineError, ImageFacts, Observation},
    metrics::Used,
    model::{Container, Copy, Service},
    store::Change,
};
use micado_api::{
    CloudName, ContainerName, ContainerView, Critical, ErrorBody, FlavourName, ImageView,
    InstanceId, InstanceView, LaunchRequest, Location, Progress, ServiceName, StartRequest, Tag,
    Timestamp, agent::ContainerEvent,
};
use micado_cloudsetup::{BrokerError, Machine};
use std::collections::BTreeMap;

/// Who waits for the answer to a request.
pub type Ticket = u64;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The safety net's turn, and the first event after a start.
    Tick,
    /// The moment that the core wanted to be woken at has come.
    Wake,
    /// The whole engine was observed.
    Observed(Observation),
    /// A part of it was.
    Changed(Delta),
    /// The engine does not answer, with its message.
    Blind(String),
    /// What a caller wants.
    Request(Ticket, Request),
    /// What containers used since this was last said.
    Used(Vec<Used>),
    /// The agent of this instance says that something happened to a container. It may be said
    /// twice.
    Happened(InstanceId, ContainerEvent),
    /// The agent of this instance is connected, or is not any more.
    Agent {
        /// Whose it is.
        instance: InstanceId,
        /// Whether it is.
        connected: bool,
    },
    /// A call came back.
    Answered(CallKey, Answer),
}

/// What callers want.
#[derive(Debug, Clone)]
pub enum Request {
    /// One more container. The image was looked up before.
    Launch(LaunchRequest, ImageFacts),
    /// Stop the containers of this name (a service's or a container's), and with `remove` forget
    /// them.
    Quit {
        /// A service's or a container's name.
        name: String,
        /// Forget them too.
        remove: bool,
    },
    /// Forget stopped containers of this name.
    Remove {
        /// A service's or a container's name.
        name: String,
    },
    /// Rent a machine.
    Start(StartRequest),
    /// Empty a machine and give it back.
    Stop {
        /// Which.
        tag: Tag,
        /// Even what cannot be moved.
        force: bool,
    },
    /// Set the critical usage of an image; what is `None` is suggested from then on by what was
    /// learned.
    SetImage {
        /// The image, as it was asked for.
        image: String,
        /// Its critical usage.
        critical: Critical,
    },
    /// What a rented machine needs to join. Its credential was found good before.
    Join {
        /// Which instance it was made for.
        instance: InstanceId,
        /// The hash of the machine's own public key.
        key: String,
    },
}

/// What a request is answered with, once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These containers, as they are now.
    Containers(Vec<ContainerView>),
    /// This instance, as it is now.
    Instance(Box<InstanceView>),
    /// This image, as it is now.
    Image(Box<ImageView>),
    /// The machine may be told the worker token and have its certificate signed.
    MayJoin,
}

/// One call to the outside. At most one with the same [`CallKey`] is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Rent a machine.
    LaunchMachine {
        /// Where.
        cloud: CloudName,
        /// Which instance it is.
        instance: InstanceId,
        /// Its tag.
        tag: Tag,
        /// Its role.
        location: Location,
        /// What it runs.
        application: String,
        /// Its size.
        flavour: FlavourName,
        /// Files a person gave.
        files: BTreeMap<String, Vec<u8>>,
    },
    /// Give a machine back.
    TerminateMachine {
        /// Where.
        cloud: CloudName,
        /// Which.
        instance: InstanceId,
    },
    /// List a cloud's machines of this cluster.
    ListMachines {
        /// Which cloud.
        cloud: CloudName,
    },
    /// Make the Swarm service of a copy.
    CreateService {
        /// The service, its image known.
        service: Box<Service>,
        /// The container.
        container: Box<Container>,
        /// The copy.
        copy: Copy,
        /// The Swarm id of the node to pin it to.
        node: String,
    },
    /// Remove a Swarm service.
    RemoveService {
        /// Its Swarm name.
        name: String,
    },
    /// Close (`false`) or open a node for tasks.
    SetActive {
        /// Its Swarm id.
        node: String,
        /// Open or closed.
        active: bool,
    },
    /// Take a node off the Swarm's list, be it dead or not.
    RemoveNode {
        /// Its Swarm id.
        node: String,
    },
    /// Make a new worker token, so that the present one is good for nothing.
    RotateToken,
    /// Put an image into the registry.
    PushImage {
        /// The service that needs it.
        service: ServiceName,
        /// The image as the manager's engine knows it.
        image: String,
    },
    /// Read the end of a container's log.
    SaveLog {
        /// Whose.
        container: ContainerName,
        /// The Swarm name of its service.
        name: String,
    },
    /// Observe the engine; answered by [`Event::Observed`] or [`Event::Changed`] with at least
    /// this number as `as_of`, or by [`Event::Blind`].
    Observe {
        /// Rises with every such call.
        number: u64,
        /// These Swarm services and their tasks; `None` for everything.
        services: Option<Vec<String>>,
    },
}

/// What a call is about; its answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKey {
    /// Renting or returning this instance's machine.
    Machine(InstanceId),
    /// Listing this cloud.
    List(CloudName),
    /// Making or removing this Swarm service.
    Service(String),
    /// Changing this node.
    Node(String),
    /// Changing the worker token.
    Token,
    /// Pushing the image of this service, made then: a service of the same name may be made anew
    /// with another image.
    Image(ServiceName, Timestamp),
    /// Reading this container's log.
    Log(ContainerName),
    /// Observing the engine.
    Observe,
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To `LaunchMachine`.
    Launched(Result<Machine, BrokerError>),
    /// To `TerminateMachine`.
    Terminated(Result<(), BrokerError>),
    /// To `ListMachines`.
    Listed(Result<Vec<Machine>, BrokerError>),
    /// To `CreateService`, `RemoveService`, `SetActive`, `RemoveNode`, `RotateToken`.
    Engine(Result<(), EngineError>),
    /// To `PushImage`: the reference that nodes pull.
    Pushed(Result<String, EngineError>),
    /// To `SaveLog`: the end of the log.
    Log(Result<String, EngineError>),
}

/// Something to do. Actions are done in order: what follows a `Commit` is done only when it is
/// durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these records, all or none. When it fails, drop the core, load the store and make a
    /// new one.
    Commit(Vec<Change>),
    /// Call out; the answer comes back as [`Event::Answered`] however it ends, even by time-out.
    Call(CallKey, Call),
    /// Answer a request.
    Reply(Ticket, Result<Reply, ErrorBody>),
    /// Tell those who watch.
    Progress(Progress),
}

impl Call {
    /// One word for logs and fault points.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LaunchMachine { .. } => "launch-machine",
            Self::TerminateMachine { .. } => "terminate-machine",
            Self::ListMachines { .. } => "list-machines",
            Self::CreateService { .. } => "create-service",
            Self::RemoveService { .. } => "remove-service",
            Self::SetActive { .. } => "set-active",
            Self::RemoveNode { .. } => "remove-node",
            Self::RotateToken => "rotate-token",
            Self::PushImage { .. } => "push-image",
            Self::SaveLog { .. } => "save-log",
            Self::Observe { .. } => "observe",
        }
    }
}
