//! The container engine: its trait, and the data that it shows the manager. The implementation,
//! `swarm`, is Docker in Swarm mode.

use crate::model::{Container, Copy, Login, Service};
use futures_util::stream::BoxStream;
use micado_api::{
    ClusterId, ContainerName, InstanceId, Platform, PortMapping, Resources, ServiceName,
    VolumeMount,
};
use std::{collections::BTreeSet, sync::Arc};

/// A Swarm node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmNode {
    pub id: String,
    pub hostname: String,
    /// Instance that the node claims to be (engine label `micado.instance`), if its cluster label
    /// is ours.
    pub instance: Option<InstanceId>,
    /// Other engine labels that begin with `micado.`, without that prefix: `tag`, `location`,
    /// `cloud`, `flavour`, `application`.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Reachable: Swarm state `ready`.
    pub ready: bool,
    /// Open for tasks: Swarm availability `active`.
    pub active: bool,
    /// True for a Swarm manager.
    pub manager: bool,
    /// Capacity that the engine reports.
    pub size: Resources,
    /// Operating system and processor of the engine.
    pub platform: Option<Platform>,
    /// Address that the Swarm reports.
    pub address: Option<String>,
}

/// A Swarm service of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmService {
    pub id: String,
    /// See [`swarm_name`].
    pub name: String,
    /// Container that it runs a copy of.
    pub container: ContainerName,
    /// Instance that the copy is placed on.
    pub instance: InstanceId,
    /// Swarm id of the node that it is pinned to.
    pub node: Option<String>,
    /// Generation of the copy.
    pub generation: u32,
    /// Someone else changed it since it was made or last set back.
    pub edited: bool,
    /// Records of the service and the container as of its creation, as JSON. A manager that lost
    /// its store adopts them.
    pub records: Option<Arc<str>>,
}

/// State of a Swarm task, reduced to the classes that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Made, and not looked at by the scheduler yet. A loaded engine takes seconds for that.
    New,
    /// The scheduler finds no node for it.
    Pending,
    /// Being pulled, created or started on its node, or started and not healthy yet.
    Starting,
    /// Running, and healthy if the image has a health check.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Ended with another exit code, rejected by its node, or lost.
    Failed,
    /// Shut down on request.
    Stopped,
}

/// A Swarm task, of a service of ours or a foreign one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SwarmTask {
    pub id: String,
    /// Swarm id of its service.
    pub service: String,
    /// Swarm id of its node, once assigned.
    pub node: Option<String>,
    pub state: TaskState,
    /// True if Swarm's desired state is to run it. At most one task of a service counts; others are
    /// history.
    pub wanted: bool,
    /// Rises with every task of the same service: the highest is the present one.
    pub version: u64,
    /// The engine's message: `no suitable node (...)`, `task: non-zero exit (3)`.
    pub message: Option<String>,
    /// Exit code, once ended.
    pub exit_code: Option<i64>,
    /// Resources that it reserves.
    pub reservation: Resources,
    /// Machine ports that are really published.
    pub ports: Vec<PortMapping>,
}

impl SwarmTask {
    /// Returns true if it ended because its node could not publish a port: another process has it.
    #[must_use]
    pub fn lacked_port(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        ["port is already allocated", "address already in use"]
            .iter()
            .any(|words| message.contains(words))
    }
}

/// The whole engine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Highest number among the observations that were requested before this one began. Effects of
    /// calls that had returned by then are included.
    pub as_of: u64,
    /// All nodes of the Swarm.
    pub nodes: Vec<SwarmNode>,
    /// Services of this cluster.
    pub services: Vec<SwarmService>,
    /// All tasks. Those of foreign services take up room too.
    pub tasks: Vec<SwarmTask>,
}

/// A part of the engine at one moment: what changed, or was asked for by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// See [`Observation::as_of`].
    pub as_of: u64,
    /// Nodes by Swarm id; `None` for a removed one.
    pub nodes: Vec<(String, Option<SwarmNode>)>,
    /// Services of this cluster by Swarm name; `None` for a removed one.
    pub services: Vec<(String, Option<SwarmService>)>,
    /// All tasks of services, by the Swarm id of the service.
    pub tasks: Vec<(String, Vec<SwarmTask>)>,
}

/// A possible change in the engine: observe again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The stream is connected. Earlier events are unknown, so list everything.
    Connected,
    /// A service was created, changed or removed.
    Service {
        /// Swarm name.
        name: String,
    },
    /// A node joined, changed or left.
    Node {
        /// Swarm id.
        id: String,
    },
    /// The engine stopped answering, with its message. The stream continues and reconnects by
    /// itself.
    Lost(String),
}

/// Facts of an image that the manager's engine has or a registry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Reference that nodes can pull as it stands (a public image, by digest). `None` if only the
    /// manager's engine has the image, so that it must be pushed.
    pub pull: Option<String>,
    /// Exposed ports.
    pub exposed: Vec<PortMapping>,
    /// Platforms that it is made for; empty if unknown.
    pub platforms: BTreeSet<Platform>,
}

/// An image in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Reference that nodes pull, by digest.
    pub reference: String,
    /// Its id in the manager's engine.
    pub id: String,
}

/// Facts that a machine needs to join the Swarm.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinFacts {
    /// Addresses of the managers, `host:2377`.
    pub managers: Vec<String>,
    /// Worker token. Secret.
    pub token: String,
}

impl std::fmt::Debug for JoinFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinFacts")
            .field("managers", &self.managers)
            .finish_non_exhaustive()
    }
}

/// Selection of log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only the last lines of each run, this many.
    pub tail: Option<u32>,
    /// Only later lines, in seconds since the Unix epoch.
    pub since: Option<i64>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Time as the engine shows it, with nanoseconds: such texts sort as their times do. `None` if
    /// it was kept without.
    pub at: Option<String>,
    /// It was written to standard error.
    pub stderr: bool,
    /// Content with its line end, which only the last line of a run may lack.
    pub text: bytes::Bytes,
}

impl LogLine {
    /// Length of a time, as in `2026-11-30T01:02:03.000000000Z`.
    const TIME: usize = 30;

    /// Separates the time, which engines write before a line or a part of one.
    #[must_use]
    pub fn timed(line: &bytes::Bytes) -> (Option<String>, bytes::Bytes) {
        let is_time = line.get(Self::TIME - 1..=Self::TIME) == Some(b"Z ");
        let time = line.get(..Self::TIME).filter(|_| is_time);
        match time.and_then(|time| std::str::from_utf8(time).ok()) {
            Some(time) => (Some(time.to_owned()), line.slice(Self::TIME + 1..)),
            None => (None, line.clone()),
        }
    }
}

/// Failure of a call to the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Refused, with the engine's message. Repeating the call unchanged is pointless.
    #[error("{0}")]
    Refused(String),
    /// The subject does not exist.
    #[error("{0}")]
    NotFound(String),
    /// No answer, or none that tells the outcome. Observe, then repeat the call.
    #[error("{0}")]
    Unavailable(String),
}

/// The engine that runs the containers. Calls are idempotent: creating what exists and removing
/// what is gone succeed.
#[async_trait::async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Returns all nodes, services and tasks.
    async fn observe(&self) -> Result<Observation, EngineError>;
    /// Returns these Swarm services of this cluster, by Swarm name, without removed ones.
    async fn services(&self, names: &[String]) -> Result<Vec<SwarmService>, EngineError>;
    /// Returns the tasks of these Swarm services only, by Swarm name. Cheap: meant for polling
    /// while one is in flight.
    async fn tasks(&self, services: &[String]) -> Result<Vec<SwarmTask>, EngineError>;
    /// Returns the tasks of a node, by Swarm id; none if the Swarm has no such node.
    async fn tasks_on(&self, node: &str) -> Result<Vec<SwarmTask>, EngineError>;
    /// Returns one node, or `None` if the Swarm has none of this id.
    async fn node(&self, id: &str) -> Result<Option<SwarmNode>, EngineError>;
    /// Returns an endless stream of events. It reconnects by itself and yields
    /// [`EngineEvent::Connected`] each time.
    fn events(&self) -> BoxStream<'static, EngineEvent>;
    /// Creates the Swarm service of this copy: one replica, pinned to the node of this id.
    /// `service.pull` must be known.
    async fn create(
        &self,
        service: &Service,
        container: &Container,
        copy: &Copy,
        node: &str,
    ) -> Result<(), EngineError>;
    /// Removes a Swarm service by its Swarm name.
    async fn remove(&self, name: &str) -> Result<(), EngineError>;
    /// Opens a node for tasks, or closes it (`pause`: running tasks continue).
    async fn set_active(&self, node: &str, active: bool) -> Result<(), EngineError>;
    /// Removes a node from the Swarm's list, down or not.
    async fn remove_node(&self, node: &str) -> Result<(), EngineError>;
    /// Streams the log of a Swarm service: of all its runs, in order of time.
    fn logs(
        &self,
        name: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<LogLine, EngineError>>;
    /// Streams the log of a Swarm service without end: lines after this time, or if that is not
    /// given, the last lines and all later ones.
    fn follow(
        &self,
        name: &str,
        after: Option<String>,
        tail: Option<u32>,
    ) -> BoxStream<'static, Result<LogLine, EngineError>>;
    /// Looks an image up in the manager's own engine, then in its registry. With a login, the
    /// registry comes first, unless the image was made on the engine.
    async fn image(&self, image: &str, login: Option<&Login>) -> Result<ImageFacts, EngineError>;
    /// Asks a registry whether it accepts a login. Returns its identity token, if it gives one.
    async fn log_in(
        &self,
        host: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, EngineError>;
    async fn join_facts(&self) -> Result<JoinFacts, EngineError>;
    /// Replaces the worker token; the present one becomes invalid. Joined nodes stay members.
    async fn rotate_join_token(&self) -> Result<(), EngineError>;
}

/// Returns the Swarm service's name for a placement: a DNS label (at most 63 characters), unique
/// per cluster, container and generation. It consists of `c-`, a readable part, cut, and a hash of
/// all three, so that equal input gives equal names for ever.
#[must_use]
pub fn swarm_name(cluster: &ClusterId, container: &ContainerName, generation: u32) -> String {
    use sha2::{Digest, Sha256};
    let parts = [
        cluster.as_str(),
        "/",
        container.as_str(),
        "/",
        &generation.to_string(),
    ];
    let digest = parts
        .into_iter()
        .fold(Sha256::new(), |hasher, part| hasher.chain_update(part))
        .finalize();
    let hash = digest
        .iter()
        .take(6)
        .fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let mut readable = host_label(container.as_str());
    readable.truncate(44);
    format!("c-{}-{hash:012x}", readable.trim_end_matches('-'))
}

/// Returns the plain name of a service on the network: its name as a DNS label. `None` if that is
/// too long, or could be the name of a container.
#[must_use]
pub fn plain_alias(service: &ServiceName) -> Option<String> {
    let label = host_label(service.as_str());
    let last = label.rsplit('-').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    (label.len() <= 63 && !label.is_empty() && !is_number).then_some(label)
}

/// Names of a service on the network, which all of its containers share: the plain one if it is its
/// own, and one that no other service can have.
#[must_use]
pub fn aliases(service: &Service) -> Vec<String> {
    let unique = alias(&service.name);
    let plain = service.alias.clone().filter(|plain| *plain != unique);
    plain.into_iter().chain([unique]).collect()
}

/// Returns the network alias that all containers of a service share: its name as a DNS label,
/// hashed when long or changed.
#[must_use]
pub fn alias(service: &ServiceName) -> String {
    use sha2::{Digest, Sha256};
    let label = host_label(service.as_str());
    if label == service.as_str() && label.len() <= 63 {
        return label;
    }
    let digest = Sha256::digest(service.as_str());
    let hash: String = digest
        .iter()
        .take(3)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let readable: String = label.chars().take(55).collect();
    format!("{}-{hash}", readable.trim_end_matches('-'))
}

/// Returns the engine's name for a volume of a service, or for the cluster's shared volume of this
/// name. Services of other clients or of other clusters on the same engine never get it. It
/// consists of a readable part, cut, and a hash of all inputs.
#[must_use]
pub fn volume_name(cluster: &ClusterId, service: &ServiceName, volume: &VolumeMount) -> String {
    use sha2::{Digest, Sha256};
    let (owner, name) = (service.as_str(), volume.name.as_str());
    // No name holds a `/`, so that no two volumes have the same text.
    let (text, readable) = if volume.shared {
        (format!("{cluster}//{name}"), format!("shared-{name}"))
    } else {
        (
            format!("{cluster}/{owner}/{name}"),
            format!("{owner}-{name}"),
        )
    };
    let hash: String = Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let readable: String = readable.chars().take(VOLUME_READABLE).collect();
    format!("micado-{cluster}-{readable}-{hash}")
}

/// Returns the engine's names of the volumes that only one container per machine may mount at a
/// time: those that are not shared.
#[must_use]
pub fn exclusive_volumes(
    cluster: &ClusterId,
    service: &ServiceName,
    volumes: &[VolumeMount],
) -> BTreeSet<String> {
    volumes
        .iter()
        .filter(|volume| !volume.shared)
        .map(|volume| volume_name(cluster, service, volume))
        .collect()
}

/// Maximum length of the readable part of a volume's name: the whole stays well below the 255 bytes
/// of a file name.
const VOLUME_READABLE: usize = 80;

/// Converts to lower case and replaces characters that a host name may not contain by `-`.
#[must_use]
pub fn host_label(name: &str) -> String {
    let label: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    label.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_belong_to_their_service() {
        let named = |cluster: &str, service: &str, name: &str, shared| {
            let volume = VolumeMount {
                name: name.to_owned(),
                path: "/data".to_owned(),
                shared,
            };
            volume_name(
                &ClusterId::trusted(cluster),
                &ServiceName::trusted(service),
                &volume,
            )
        };
        let long = "x".repeat(300);
        let all = [
            named("c", "a_web", "data", false),
            named("c", "b_web", "data", false),
            named("c", "a_web-x", "data", false),
            named("c", "a_web", "x-data", false),
            named("d", "a_web", "data", false),
            named("c", "a_web", "data", true),
            named("c", "shared", "data", false),
            named("c", "a_web", &long, false),
            named("c", "a_web", &format!("{long}y"), false),
        ];
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        for name in &all {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(name.len() <= 128 && name.chars().all(good), "{name}");
        }
        assert!(all[0].starts_with("micado-c-a_web-data-"), "{}", all[0]);
        assert_eq!(
            named("c", "a_web", "data", true),
            named("c", "b_db", "data", true)
        );
    }

    #[test]
    fn only_volumes_that_are_not_shared_are_exclusive() {
        let (cluster, service) = (ClusterId::trusted("c"), ServiceName::trusted("a_web"));
        let volume = |name: &str, path: &str, shared| VolumeMount {
            name: name.to_owned(),
            path: path.to_owned(),
            shared,
        };
        let volumes = [
            volume("data", "/data", false),
            volume("data", "/again", false),
            volume("both", "/both", true),
        ];
        let expected = BTreeSet::from([volume_name(&cluster, &service, &volumes[0])]);
        assert_eq!(exclusive_volumes(&cluster, &service, &volumes), expected);
    }

    #[test]
    fn derived_names_are_host_names() {
        let cluster = ClusterId::trusted("abc");
        let name = swarm_name(
            &cluster,
            &ContainerName::trusted(format!("client_{}.12", "x".repeat(90))),
            3,
        );
        assert!(
            name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{name}"
        );
        let one = swarm_name(&cluster, &ContainerName::trusted("a_b.1"), 1);
        assert_ne!(
            one,
            swarm_name(&cluster, &ContainerName::trusted("a_b.1"), 2)
        );
        assert_ne!(
            one,
            swarm_name(&cluster, &ContainerName::trusted("a-b.1"), 1)
        );
        assert_ne!(
            alias(&micado_api::ServiceName::trusted("a_b")),
            alias(&micado_api::ServiceName::trusted("a-b"))
        );
    }

    #[test]
    fn b16_plain_names_are_predictable_and_no_container_s() {
        let plain = |name: &str| plain_alias(&ServiceName::trusted(name));
        assert_eq!(plain("acme_web").as_deref(), Some("acme-web"));
        assert_eq!(
            plain("acme_Redis.7-alpine").as_deref(),
            Some("acme-redis-7-alpine")
        );
        assert_eq!(plain("acme_web-1"), None, "the host name of acme_web.1");
        assert_eq!(plain(&format!("acme_{}", "x".repeat(60))), None);
    }
}
