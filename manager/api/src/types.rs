//! The shapes that go over the wire. Those that the manager also stores are the same types there.

use crate::{
    CloudName, ClusterId, ContainerName, ContainerUsage, FlavourName, ImageView, InstanceId,
    Location, MachineUsage, MemoryBytes, PricePerHour, Resources, RestartPolicy, ServiceName, Tag,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, num::NonZeroU32};

/// How far an instance is. The arrows are those of `design.md`, "The life of an instance".
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Stored, not yet asked for.
    Requested,
    /// The broker has the order.
    Submitted,
    /// The broker says that the machine runs; it is not in the Swarm yet.
    Booting,
    /// Its node is in the Swarm and ready: containers may be placed on it.
    Active,
    /// Its containers are being moved away, after which it stops.
    Draining,
    /// The broker was told to take it back.
    Stopping,
    /// Given back; kept for a while as history.
    Gone,
    /// It did not come up, or died. `released` says whether the broker confirmed that no machine is
    /// left.
    Failed,
}

/// Who wanted the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The planner, for waiting containers.
    Planner,
    /// A person, by `micado start`.
    User,
    /// Found at the broker under our cluster id without a record.
    Adopted,
}

/// A transport protocol.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the container and the port of its machine that leads to it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub struct PortMapping {
    /// The machine's port; `None` lets the engine choose a free one.
    pub host: Option<u16>,
    /// The container's port.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A named volume and where the container sees it. It belongs to its service, unless it is shared.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// An absolute path in the container.
    pub path: String,
    /// Whether it is the volume of this name that all services of the cluster may mount.
    #[serde(default)]
    pub shared: bool,
}

/// As it is typed: `NAME:PATH`, or `shared:NAME:PATH`.
impl fmt::Display for VolumeMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = if self.shared { "shared:" } else { "" };
        write!(f, "{shared}{}:{}", self.name, self.path)
    }
}

/// What a person asked for: equal for all containers of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceSpec {
    /// The image as the person named it.
    pub image: String,
    /// Whose it is; the first part of the service's name.
    pub client: String,
    /// The role of the machines it runs on.
    pub location: Location,
    /// The entry point; `None` is the image's own.
    pub entrypoint: Option<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// `KEY=VALUE` each.
    pub environment: Vec<String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// The domain name that leads to it.
    pub domain: Option<String>,
    /// What each container is promised.
    pub reservation: Resources,
    /// Named volumes; a container with any is bound to the machine that holds them.
    pub volumes: Vec<VolumeMount>,
    /// When an ended process is started again: `always`, `on-failure`, `on-failure:N` or `no`.
    #[serde(default)]
    #[schema(value_type = String, example = "on-failure:3")]
    pub restart: RestartPolicy,
}

/// How far a container is, as people see it. Derived from what is wanted and what the engine shows.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    /// No room: a machine is coming, or `reason` says why none is.
    Waiting,
    /// Placed, and the engine is at it.
    Starting,
    /// It runs.
    Running,
    /// Its process keeps dying; `reason` has the exit code.
    Failing,
    /// It is being stopped or removed.
    Stopping,
    /// Stopped by `quit`.
    Stopped,
    /// Its process ended, and its restart policy does not start it again.
    Completed,
    /// Nothing of it is left. Only progress says so; it is listed no more.
    Removed,
    /// Its machine or the engine does not answer.
    Unknown,
}

/// `POST /v1/containers`: run more containers of a service, and make the service if need be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LaunchRequest {
    /// The image, its settings and what it is promised.
    pub spec: ServiceSpec,
    /// Publish every port that the image exposes (no `-p` was given).
    #[serde(default)]
    pub publish_all: bool,
    /// A name for this request: repeated with the same name it makes no second container.
    #[serde(default)]
    pub request: Option<String>,
    /// How many containers: planned together, made all or none. At most 10,000.
    #[serde(default = "one")]
    #[schema(value_type = u32, minimum = 1, maximum = 10_000)]
    pub copies: NonZeroU32,
    /// What of the reservation nobody named.
    #[serde(default)]
    pub unnamed: Unnamed,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// What of a reservation was not named by whoever launches: what the service has, else what was
/// learned of the image, takes its place, and only if there is neither the figure that was sent
/// stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Unnamed {
    /// The memory.
    #[serde(default)]
    pub memory: bool,
    /// The CPU.
    #[serde(default)]
    pub cpu: bool,
}

/// `POST /v1/instances`: rent a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StartRequest {
    /// Where.
    pub cloud: CloudName,
    /// What it runs, as `cloudsetup.xml` names it.
    pub application: String,
    /// Its size.
    pub flavour: FlavourName,
    /// What to call it.
    pub tag: Tag,
    /// Its role.
    pub location: Location,
    /// The first instance: the record starts afresh; refused while a machine of this cluster is
    /// live.
    #[serde(default)]
    pub first: bool,
    /// Files for the machine, name to content.
    #[serde(default)]
    pub files: BTreeMap<String, Vec<u8>>,
}

/// An instance as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceView {
    /// Its unique id.
    pub id: InstanceId,
    /// What it is called.
    pub tag: Tag,
    /// Where it is rented.
    pub cloud: CloudName,
    /// What it runs.
    pub application: String,
    /// Its size's name.
    pub flavour: FlavourName,
    /// Its role.
    pub location: Location,
    /// How far it is.
    pub state: InstanceState,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// Who wanted it.
    pub origin: Origin,
    /// Its address, once known.
    pub address: Option<String>,
    /// Its Swarm node, once joined.
    pub node: Option<String>,
    /// What it has for containers (its size less the system reserve).
    pub capacity: Resources,
    /// What is promised on it.
    pub reserved: Resources,
    /// Memory that is not promised yet.
    pub memory_left: MemoryBytes,
    /// How many containers are assigned to it.
    pub containers: u32,
    /// What it costs.
    pub price: PricePerHour,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its present state began: for one that is gone or failed, when it ended.
    pub state_since: Timestamp,
    /// No machine is left of it, and nothing is paid: surely so when it is gone, and when it failed
    /// as soon as its broker has confirmed it.
    pub released: bool,
    /// From being asked for to joined, in milliseconds, once it has joined.
    pub joined_after_ms: Option<u64>,
    /// What it really uses; nothing while it is blind: its agent is not there, or silent.
    #[serde(default)]
    pub usage: Option<MachineUsage>,
}

/// A container as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerView {
    /// Its name.
    pub name: ContainerName,
    /// The service it is a copy of.
    pub service: ServiceName,
    /// The image as it was asked for.
    pub image: String,
    /// How far it is.
    pub state: ContainerState,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// The exit code it ended with, if it ended.
    pub exit_code: Option<i64>,
    /// The tag of its instance.
    pub instance: Option<Tag>,
    /// The role it asked for.
    pub location: Location,
    /// The address of its machine.
    pub address: Option<String>,
    /// Its ports, with the machine's ports that lead to them.
    pub ports: Vec<PortMapping>,
    /// What it is promised.
    pub reservation: Resources,
    /// When it was launched.
    pub created_at: Timestamp,
    /// What it really uses; nothing when it does not run or its machine is blind.
    #[serde(default)]
    pub usage: Option<ContainerUsage>,
}

/// A service as people see it (`info`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// What was asked for.
    pub spec: ServiceSpec,
    /// The reference that nodes pull, once known.
    pub pull: Option<String>,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// When it was first launched.
    pub created_at: Timestamp,
    /// What was learned of its image, once anything was.
    #[serde(default)]
    pub learned: Option<ImageView>,
}

/// A Swarm node that is not one of our instances: shown, never touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForeignNodeView {
    /// Its Swarm id.
    pub node: String,
    /// Its host name.
    pub hostname: String,
    /// Whether it is a Swarm manager.
    pub manager: bool,
    /// Whether it answers.
    pub ready: bool,
}

/// The cluster on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusView {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The manager's version.
    pub version: String,
    /// Why the engine does not answer, if it does not. Nothing is decided while it is so.
    pub blind: Option<String>,
    /// Clouds that do not answer, with their words.
    pub cloud_errors: BTreeMap<CloudName, String>,
    /// How many live instances are in each state.
    pub instances: BTreeMap<InstanceState, u32>,
    /// How many containers are in each state.
    pub containers: BTreeMap<ContainerState, u32>,
    /// What all live instances have for containers.
    pub capacity: Resources,
    /// What is promised on them.
    pub reserved: Resources,
    /// What all live instances cost.
    pub price: PricePerHour,
    /// Instances at most.
    pub max_instances: Option<u32>,
    /// Price per hour at most.
    pub max_price: Option<PricePerHour>,
    /// Swarm nodes that we did not rent.
    pub foreign_nodes: Vec<ForeignNodeView>,
    /// Active instances that nothing is known of but what Swarm says: their agent is not there, or
    /// silent.
    #[serde(default)]
    pub blind_instances: Vec<Tag>,
}

/// One line of the history of a container or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// When.
    pub at: Timestamp,
    /// What, and why.
    pub text: String,
}

/// `explain NAME`: why a thing is where and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The container or instance.
    pub name: String,
    /// Its state now, one line.
    pub now: String,
    /// Decisions about it, oldest first.
    pub decisions: Vec<DecisionView>,
}

/// One step of a long operation, as it happens. The last one of a stream has `settled` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// The container's name or the instance's tag.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// What happened, for people: `renting small on local`.
    pub text: String,
    /// Whether the operation has come to rest, and how; `None` while it goes on.
    pub settled: Option<Settled>,
}

/// How an operation came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// What was wanted is so.
    Done,
    /// It will not come to be without a person; `text` says why.
    Failed,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(host) => write!(f, "{host}:{}/{}", self.container, self.protocol),
            None => write!(f, "{}/{}", self.container, self.protocol),
        }
    }
}
