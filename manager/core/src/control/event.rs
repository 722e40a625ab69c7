//! Input of the core (events) and its output (actions).

use super::{MachineLoads, ServiceLoad, Signal};
use crate::{
    engine::{Delta, EngineError, ImageFacts, Observation, Pushed},
    metrics::Used,
    model::{Container, Copy, Login, Secret, Service},
    scaling::{Past, Policies},
    store::Change,
};
use micado_api::{
    CloudName, ContainerName, ContainerView, Critical, ErrorBody, FlavourName, ImageView,
    InstanceId, InstanceView, LaunchRequest, Location, Progress, RegisterRequest, ScaleRequest,
    ScalingView, ServiceName, StartRequest, Tag, Timestamp,
    agent::{ContainerEvent, HealthReport},
};
use micado_cloudsetup::{BrokerError, Machine};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Identifies a request and its reply.
pub type Ticket = u64;

#[derive(Debug, Clone)]
pub enum Event {
    /// Tick of the safety net; also the first event after a start. Full passes happen at ticks.
    Tick,
    /// The time of the requested wake-up.
    Wake,
    /// An observation of the whole engine.
    Observed(Observation),
    /// An observation of a part of it.
    Changed(Delta),
    /// The engine does not answer, with its message.
    Blind(String),
    /// A request of a caller.
    Request(Ticket, Request),
    /// An event of a container, reported by the agent of this instance. Reports may be repeated.
    Happened(InstanceId, ContainerEvent),
    /// Connection or disconnection of an agent.
    Agent {
        instance: InstanceId,
        connected: bool,
    },
    /// Health of copies on this instance, by its agent's checks. Reports may be repeated.
    Health(InstanceId, Vec<HealthReport>),
    /// Loads of services with a policy, once a second. They cause no pass unless a count changes.
    Load(Vec<(ServiceName, ServiceLoad)>),
    /// Load of the machines, while one of them is saturated.
    Machines(MachineLoads),
    /// Answer of the source of a policy.
    Signal(Signal),
    /// Load of a service on earlier days, at its start and once an hour.
    Profile(ServiceName, Arc<Past>),
    /// Output of a container's copy while it ended. It begins with lines that were saved before.
    LastWords(ContainerName, String),
    /// Answer to a call.
    Answered(CallKey, Answer),
}

impl Event {
    /// Short name for monitoring.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Wake => "wake",
            Self::Observed(_) => "observed",
            Self::Changed(_) => "changed",
            Self::Blind(_) => "blind",
            Self::Request(..) => "request",
            Self::Happened(..) => "happened",
            Self::Agent { .. } => "agent",
            Self::Health(..) => "health",
            Self::Load(_) => "load",
            Self::Machines(_) => "machines",
            Self::Signal(_) => "signal",
            Self::Profile(..) => "profile",
            Self::LastWords(..) => "last-words",
            Self::Answered(..) => "answered",
        }
    }
}

/// Requests of callers.
#[derive(Debug, Clone)]
pub enum Request {
    /// Run more containers. The image was looked up before.
    Launch(Box<LaunchRequest>, ImageFacts),
    /// Stop the containers of a service, or one container; with `remove`, also drop their records.
    Quit {
        /// Name of a service or a container.
        name: String,
        remove: bool,
    },
    /// Drop the records of stopped containers.
    Remove {
        /// Name of a service or a container.
        name: String,
    },
    /// Rent a machine.
    Start(StartRequest),
    /// Drain and return a machine.
    Stop {
        tag: Tag,
        /// Even with containers that cannot move.
        force: bool,
    },
    /// Protect an instance by its tag, a container or the containers of a service.
    Protect { name: String, protected: bool },
    /// Set the critical usage of an image; a value of `None` is suggested by the learned footprint
    /// from then on.
    SetImage {
        /// Image, as requested.
        image: String,
        critical: Critical,
    },
    /// Record an image that was built and pushed: the next new service of this image pulls it.
    ImageBuilt {
        /// Image, as it is launched.
        image: String,
        /// Reference that nodes pull, by digest.
        pull: String,
    },
    /// Drop the record of an image that was removed.
    ForgetImage {
        /// Image, as it was launched.
        image: String,
    },
    /// Set the scaling policy of a service.
    SetPolicy {
        service: String,
        policies: Box<Policies>,
    },
    /// Remove the scaling policy of a service.
    RemovePolicy { service: String },
    /// Set the count of a service, or pin it.
    Scale {
        service: String,
        scale: ScaleRequest,
    },
    /// Make an entry of the service catalogue by hand, or replace the one with this id.
    Register {
        id: String,
        request: Box<RegisterRequest>,
    },
    /// Remove an entry that was made by hand.
    Deregister { id: String },
    /// Keep a login to a registry, or replace the one to this host. It was checked before.
    LogIn {
        host: String,
        user: String,
        secret: Secret,
    },
    /// Drop the login to a registry.
    LogOut { host: String },
    /// Keep an index of the service catalogue: the next manager begins above it.
    ReserveIndex(u64),
    /// Trade of a rented machine. Its credential is verified.
    Join {
        /// Instance that the credential was made for.
        instance: InstanceId,
        /// Hash of the machine's own public key.
        key: String,
    },
    /// Learn from the resources that containers used since the last such request.
    Learn(Vec<Used>),
    /// Record events of containers, as [`Event::Happened`]: the reply comes once they are durable.
    Happened(Vec<(InstanceId, ContainerEvent)>),
}

/// Reply to a request, once its effect is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Present state of these containers.
    Containers(Vec<ContainerView>),
    /// Present state of this instance.
    Instance(Box<InstanceView>),
    /// Present scaling of this service.
    Scaling(Box<ScalingView>),
    /// Present state of this image.
    Image(Box<ImageView>),
    /// The machine may receive the worker token and a signed certificate.
    MayJoin,
    /// The reported facts are recorded.
    Recorded,
}

/// Conversion of a [`Reply`] to the type of one request's reply.
macro_rules! reply {
    ($reply:pat => $value:expr, $type:ty) => {
        impl TryFrom<Reply> for $type {
            type Error = Reply;
            fn try_from(reply: Reply) -> Result<Self, Reply> {
                match reply {
                    $reply => Ok($value),
                    other => Err(other),
                }
            }
        }
    };
}
reply!(Reply::Containers(views) => views, Vec<ContainerView>);
reply!(Reply::Instance(view) => *view, InstanceView);
reply!(Reply::Scaling(view) => *view, ScalingView);
reply!(Reply::Image(view) => *view, ImageView);

/// A call to the outside. At most one with the same [`CallKey`] is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Rent a machine.
    LaunchMachine {
        cloud: CloudName,
        instance: InstanceId,
        tag: Tag,
        /// Role.
        location: Location,
        application: String,
        flavour: FlavourName,
        /// Files passed by a person.
        files: BTreeMap<String, Vec<u8>>,
    },
    /// Return a machine.
    TerminateMachine {
        cloud: CloudName,
        instance: InstanceId,
    },
    /// List a cloud's machines of this cluster.
    ListMachines { cloud: CloudName },
    /// Create the Swarm service of a copy.
    CreateService {
        /// The service, with known image.
        service: Arc<Service>,
        container: Box<Container>,
        copy: Copy,
        /// Swarm id of the node to pin it to.
        node: String,
        /// Login to the image's registry: a lost image is pulled again.
        login: Option<Box<Login>>,
    },
    /// Remove a Swarm service.
    RemoveService {
        /// Swarm name.
        name: String,
        /// Container that the log belongs to, if its end is to be kept: output after the removal
        /// comes as [`Event::LastWords`].
        log_of: Option<ContainerName>,
        /// Time from its stop signal to SIGKILL.
        grace: Duration,
    },
    /// Close (`false`) or open a node for tasks.
    SetActive {
        /// Swarm id.
        node: String,
        active: bool,
    },
    /// Remove a node from the Swarm's list, down or not.
    RemoveNode {
        /// Swarm id.
        node: String,
    },
    /// Replace the worker token; the present one becomes invalid.
    RotateToken,
    /// Push an image to the registry.
    PushImage {
        /// Service that needs it.
        service: ServiceName,
        /// Creation time of that service.
        made: Timestamp,
        /// Name of the image in the manager's engine.
        image: String,
        /// Login to its registry, by which the engine pulls it first.
        login: Option<Box<Login>>,
    },
    /// Save the end of a container's log.
    SaveLog {
        container: ContainerName,
        /// Swarm name of its service.
        name: String,
    },
    /// Observe the engine. Answered by [`Event::Observed`] or [`Event::Changed`] with at least this
    /// number as `as_of`, or by [`Event::Blind`].
    Observe {
        /// Rises with every such call.
        number: u64,
        /// Swarm services to observe with their tasks; `None` for everything.
        services: Option<Vec<String>>,
    },
}

/// Subject of a call; its answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKey {
    /// Renting or returning this instance's machine.
    Machine(InstanceId),
    /// Listing this cloud.
    List(CloudName),
    /// Creating or removing this Swarm service.
    Service(String),
    /// Changing this node.
    Node(String),
    /// Rotating the worker token.
    Token,
    /// Pushing the image of this service, created at this time: a later service of the same name
    /// may have another image.
    Image(ServiceName, Timestamp),
    /// Saving this container's log.
    Log(ContainerName),
    /// Observing the engine.
    Observe,
}

/// Answer to a call.
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
    /// To `PushImage`.
    Pushed(Result<Pushed, EngineError>),
    /// To `CreateService`: neither the registry nor the manager's engine has the image any more,
    /// with a message for people.
    ImageLost(String),
    /// To `SaveLog`: the end of the log.
    Log(Result<String, EngineError>),
}

impl Answer {
    /// Word for the failure of the call; `None` if it succeeded.
    #[must_use]
    pub const fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Launched(Err(error))
            | Self::Terminated(Err(error))
            | Self::Listed(Err(error)) => Some(match error {
                BrokerError::Refused(_) => "refused",
                BrokerError::Unknown(_) => "unavailable",
            }),
            Self::Engine(Err(error)) | Self::Pushed(Err(error)) | Self::Log(Err(error)) => {
                Some(match error {
                    EngineError::Refused(_) => "refused",
                    EngineError::NotFound(_) => "not-found",
                    EngineError::Unavailable(_) => "unavailable",
                })
            }
            Self::ImageLost(_) => Some("not-found"),
            _ => None,
        }
    }
}

/// An action, executed in order: everything after a `Commit` only once that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these records, all or none. After a failure, drop the core, load the store and make a
    /// new one.
    Commit(Vec<Change>),
    /// Call out. Every call is answered with [`Event::Answered`], at the latest by its time-out.
    Call(CallKey, Call),
    /// Reply to a request.
    Reply(Ticket, Result<Reply, ErrorBody>),
    /// Report progress to subscribers.
    Progress(Progress),
}

impl Call {
    /// Subject of the call.
    #[must_use]
    pub fn key(&self) -> CallKey {
        match self {
            Self::LaunchMachine { instance, .. } | Self::TerminateMachine { instance, .. } => {
                CallKey::Machine(instance.clone())
            }
            Self::ListMachines { cloud } => CallKey::List(cloud.clone()),
            Self::CreateService { copy, .. } => CallKey::Service(copy.swarm_name.clone()),
            Self::RemoveService { name, .. } => CallKey::Service(name.clone()),
            Self::SetActive { node, .. } | Self::RemoveNode { node } => CallKey::Node(node.clone()),
            Self::RotateToken => CallKey::Token,
            Self::PushImage { service, made, .. } => CallKey::Image(service.clone(), *made),
            Self::SaveLog { container, .. } => CallKey::Log(container.clone()),
            Self::Observe { .. } => CallKey::Observe,
        }
    }

    /// System that it goes to: `cloud`, `engine` or `registry`.
    #[must_use]
    pub const fn target(&self) -> &'static str {
        match self {
            Self::LaunchMachine { .. }
            | Self::TerminateMachine { .. }
            | Self::ListMachines { .. } => "cloud",
            Self::PushImage { .. } => "registry",
            _ => "engine",
        }
    }

    /// Cloud that it goes to, if any.
    #[must_use]
    pub const fn cloud(&self) -> Option<&CloudName> {
        match self {
            Self::LaunchMachine { cloud, .. }
            | Self::TerminateMachine { cloud, .. }
            | Self::ListMachines { cloud } => Some(cloud),
            _ => None,
        }
    }

    /// Short name for logs and fault points.
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
