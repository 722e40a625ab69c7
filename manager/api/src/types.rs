//! Wire types. Those that the manager also stores are the same types there.

use crate::{
    AntiAffinity, CloudName, ClusterId, ContainerName, ContainerUsage, FlavourName, HealthView,
    ImageView, InstanceId, Location, MachineUsage, MemoryBytes, PricePerHour, Resources,
    RestartPolicy, RunOptions, ServiceName, Tag, Timestamp, VerdictSpan,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, num::NonZeroU32};

/// State of an instance; docs/architecture.md lists the transitions.
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
    /// Stored, not yet ordered.
    Requested,
    /// The broker has the order.
    Submitted,
    /// Running by the broker's report; not in the Swarm yet.
    Booting,
    /// Its node is in the Swarm and ready: containers may be placed on it.
    Active,
    /// Its containers are being moved away; then it stops.
    Draining,
    /// The broker was asked to return it.
    Stopping,
    /// Returned; kept for a while as history.
    Gone,
    /// It did not come up, or died. `released` says if the broker confirmed that no machine is
    /// left.
    Failed,
}

/// Origin of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The planner, for waiting containers.
    Planner,
    /// A person, by `micado start`.
    User,
    /// Adopted: found at the broker under our cluster id without a record.
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

/// A published port of a container.
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
    /// The machine's port; `None` for a free one from 25000 to 29999.
    pub host: Option<u16>,
    /// The container's port.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A named volume with its mount point. It belongs to its service, unless it is shared.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// An absolute path in the container.
    pub path: String,
    /// Set for the volume of this name that all services of the cluster may mount.
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

/// A person's request, common to all containers of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceSpec {
    /// The image as requested.
    pub image: String,
    /// The client, first part of the service's name.
    pub client: String,
    /// Role of the machines that it runs on.
    pub location: Location,
    /// The entry point; `None` is the image's own.
    pub entrypoint: Option<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// `KEY=VALUE` each.
    pub environment: Vec<String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Domain name that leads to it.
    pub domain: Option<String>,
    /// Tags of its entries in the service catalogue, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Memory and CPU promised to each container.
    pub reservation: Resources,
    /// Named volumes; a container with any is bound to the machine that holds them.
    pub volumes: Vec<VolumeMount>,
    /// When an ended process is started again: `always`, `on-failure`, `on-failure:N` or `no`.
    #[serde(default)]
    #[schema(value_type = String, example = "on-failure:3")]
    pub restart: RestartPolicy,
    /// Distance between the service's containers: `prefer` different machines, or `require` them.
    #[serde(default)]
    pub anti_affinity: AntiAffinity,
    /// Options of its containers.
    #[serde(default, skip_serializing_if = "crate::run::is_default")]
    pub run: Box<RunOptions>,
}

/// State of a container. Derived from the wanted state and the observation of the engine.
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
    /// No room: a machine is on its way, or `reason` says why none is.
    Waiting,
    /// Placed; the engine is starting it.
    Starting,
    /// It runs.
    Running,
    /// It runs, and its machine's agent finds it unhealthy; `reason` has the last failure.
    Unhealthy,
    /// Its process keeps dying; `reason` has the exit code.
    Failing,
    /// It is being stopped or removed.
    Stopping,
    /// Stopped by `quit`.
    Stopped,
    /// Its process ended, and its restart policy does not start it again.
    Completed,
    /// Completely removed. Only progress reports this; it is no longer listed.
    Removed,
    /// Its machine or the engine does not answer.
    Unknown,
}

/// `POST /v1/containers`: run more containers of a service, which is made if necessary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LaunchRequest {
    /// Image, settings and reservation.
    pub spec: ServiceSpec,
    /// Publish every port that the image exposes (no `-p` was given).
    #[serde(default)]
    pub publish_all: bool,
    /// Idempotency key: repeating it makes no second container.
    #[serde(default)]
    pub request: Option<String>,
    /// Number of containers: planned together, made all or none. At most 10,000.
    #[serde(default = "one")]
    #[schema(value_type = u32, minimum = 1, maximum = 10_000)]
    pub copies: NonZeroU32,
    /// Parts of the reservation that nobody named.
    #[serde(default)]
    pub unnamed: Unnamed,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// Parts of a reservation that the request left open. They are taken from the service, else from
/// the image's footprint, else from the values sent.
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
    /// The cloud.
    pub cloud: CloudName,
    /// Its application in `cloudsetup.xml`.
    pub application: String,
    /// The machine size.
    pub flavour: FlavourName,
    /// Name for people.
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

/// An instance, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceView {
    /// Its unique id.
    pub id: InstanceId,
    /// Name for people.
    pub tag: Tag,
    /// Its cloud.
    pub cloud: CloudName,
    /// Its application.
    pub application: String,
    /// Its flavour.
    pub flavour: FlavourName,
    /// Its role.
    pub location: Location,
    /// Its state.
    pub state: InstanceState,
    /// Reason of the state, if any.
    pub reason: Option<String>,
    /// Origin.
    pub origin: Origin,
    /// Its address, once known.
    pub address: Option<String>,
    /// Its Swarm node, once joined.
    pub node: Option<String>,
    /// Size less the system reserve: available to containers.
    pub capacity: Resources,
    /// Sum of reservations on it.
    pub reserved: Resources,
    /// Memory that is not reserved.
    pub memory_left: MemoryBytes,
    /// Number of assigned containers.
    pub containers: u32,
    /// Price per hour.
    pub price: PricePerHour,
    /// Time of the request.
    pub created_at: Timestamp,
    /// Begin of the present state; for one that is gone or failed, its end.
    pub state_since: Timestamp,
    /// No machine is left, and nothing is paid: true once it is gone, and for a failed one once its
    /// broker has confirmed it.
    pub released: bool,
    /// Time from the request to joining, in milliseconds, once it has joined.
    pub joined_after_ms: Option<u64>,
    /// Why it is not returned, while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<ReturnView>,
    /// Current usage; absent while it is blind (its agent is not connected, or silent).
    #[serde(default)]
    pub usage: Option<MachineUsage>,
}

/// Why a machine in use is not returned: a sentence for people, and the same as values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReturnView {
    /// The sentence.
    pub text: String,
    /// The reason and its values.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// A container, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContainerView {
    /// Its name.
    pub name: ContainerName,
    /// Its service.
    pub service: ServiceName,
    /// The image as requested.
    pub image: String,
    /// Its state.
    pub state: ContainerState,
    /// Reason of the state, if any.
    pub reason: Option<String>,
    /// Exit code of the last run, if it ended.
    pub exit_code: Option<i64>,
    /// Tag of its instance.
    pub instance: Option<Tag>,
    /// The requested role.
    pub location: Location,
    /// Address of its machine.
    pub address: Option<String>,
    /// Its published ports.
    pub ports: Vec<PortMapping>,
    /// Memory and CPU promised to it.
    pub reservation: Resources,
    /// Set if only a person moves or stops it (`protect`).
    #[serde(default)]
    pub protected: bool,
    /// Health by the checks of its machine's agent, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthView>,
    /// Time of the launch.
    pub created_at: Timestamp,
    /// Current usage; absent if it does not run or its machine is blind.
    #[serde(default)]
    pub usage: Option<ContainerUsage>,
}

/// A service, as shown (`info`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// The request.
    pub spec: ServiceSpec,
    /// Reference that nodes pull, once known.
    pub pull: Option<String>,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// Time of the first launch.
    pub created_at: Timestamp,
    /// Names by which other containers of the cluster reach it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Learned footprint of its image, if any.
    #[serde(default)]
    pub learned: Option<ImageView>,
}

/// A foreign node: a Swarm node that is not one of our instances. Shown, never touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForeignNodeView {
    /// Its Swarm id.
    pub node: String,
    /// Its host name.
    pub hostname: String,
    /// Set for a Swarm manager.
    pub manager: bool,
    /// Set if it answers.
    pub ready: bool,
}

/// The cluster on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusView {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The manager's version.
    pub version: String,
    /// Reason why the engine does not answer, if so. Nothing is decided meanwhile.
    pub blind: Option<String>,
    /// Reason why the image registry does not answer, if so. New images cannot run meanwhile.
    #[serde(default)]
    pub registry: Option<String>,
    /// Clouds that do not answer, with their messages.
    pub cloud_errors: BTreeMap<CloudName, String>,
    /// Number of live instances in each state.
    pub instances: BTreeMap<InstanceState, u32>,
    /// Number of containers in each state.
    pub containers: BTreeMap<ContainerState, u32>,
    /// Capacity of all live instances for containers.
    pub capacity: Resources,
    /// Sum of reservations on them.
    pub reserved: Resources,
    /// Price of all live instances per hour.
    pub price: PricePerHour,
    /// Upper bound for instances.
    pub max_instances: Option<u32>,
    /// Upper bound for the price per hour.
    pub max_price: Option<PricePerHour>,
    /// Bounds of single locations, and how they are used.
    #[serde(default)]
    pub locations: Vec<LocationView>,
    /// Foreign nodes.
    pub foreign_nodes: Vec<ForeignNodeView>,
    /// Blind instances: active, but the agent is not connected or silent.
    #[serde(default)]
    pub blind_instances: Vec<Tag>,
}

/// Bounds of a location's machines, and how they are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LocationView {
    /// Its name.
    pub location: Location,
    /// Live machines.
    pub machines: u32,
    /// Lower bound for them.
    pub min_machines: u32,
    /// Upper bound for them.
    pub max_machines: Option<u32>,
    /// Their price per hour.
    pub price: PricePerHour,
    /// Upper bound for it.
    pub max_price: Option<PricePerHour>,
    /// Room that is kept free there, as the last plan found it.
    pub headroom: Option<HeadroomView>,
}

/// Room that a location keeps free, in placeholders of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeadroomView {
    /// Room that is asked for, as `cloudsetup.xml` says it.
    pub asked: String,
    /// Placeholders with room on machines that run.
    pub ready: u32,
    /// Placeholders with room on machines that are on their way.
    pub coming: u32,
    /// Placeholders without room.
    pub missing: u32,
    /// Cause for which some are missing.
    pub reason: Option<String>,
}

/// A line in the history of a container or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// Time of the decision.
    pub at: Timestamp,
    /// Decision and reason.
    pub text: String,
}

/// `explain NAME`: reasons for a thing's place and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The container or instance.
    pub name: String,
    /// Its present state, one line.
    pub now: String,
    /// Views of the parts that watch it, each by itself; empty if there is only the engine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<PartView>,
    /// Decisions about it, oldest first.
    pub decisions: Vec<DecisionView>,
    /// Verdicts of the scaling around the moment that was asked for, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictSpan>,
}

/// One part's view of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartView {
    /// The part: `engine` or `agent`.
    pub by: String,
    /// Its view, one line.
    pub text: String,
}

/// A step of a long operation. The last one of a stream has `settled` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// The container's name or the instance's tag.
    pub subject: String,
    /// Time of the step.
    pub at: Timestamp,
    /// The step, for people: `renting small on local`.
    pub text: String,
    /// Set on the last step of the operation.
    pub settled: Option<Settled>,
}

/// Result of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// The wanted state is reached.
    Done,
    /// It cannot be reached without a person; `text` says why.
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
