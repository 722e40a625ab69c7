//! The container engine: the trait, and what the manager sees through it. `swarm` is Docker in
//! Swarm mode.

use crate::model::{Container, Copy, Service};
use futures_util::stream::BoxStream;
use micado_api::{
    ClusterId, ContainerName, InstanceId, Platform, PortMapping, Resources, ServiceName,
    VolumeMount,
};
use std::{collections::BTreeSet, sync::Arc};

/// A Swarm node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmNode {
    /// Its Swarm id.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// The instance it says it is (engine label `micado.instance`), if its cluster label is ours.
    pub instance: Option<InstanceId>,
    /// Its other engine labels that begin with `micado.`, without that prefix: `tag`, `location`,
    /// `cloud`, `flavour`, `application`.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Whether it answers (Swarm state `ready`).
    pub ready: bool,
    /// Whether it takes tasks (Swarm availability `active`).
    pub active: bool,
    /// Whether it is a Swarm manager.
    pub manager: bool,
    /// What the engine says it has.
    pub size: Resources,
    /// Operating system and processor of the engine.
    pub platform: Option<Platform>,
    /// Its address, as Swarm sees it.
    pub address: Option<String>,
}

/// A Swarm service of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmService {
    /// Its Swarm id.
    pub id: String,
    /// Its Swarm name (see [`swarm_name`]).
    pub name: String,
    /// The container it stands for.
    pub container: ContainerName,
    /// The instance that it is for.
    pub instance: InstanceId,
    /// The Swarm id of the node that it is pinned to.
    pub node: Option<String>,
    /// The generation of the container's copy.
    pub generation: u32,
    /// Our records of the service and the container when it was made, as JSON: a manager without
    /// a store adopts them.
    pub records: Option<Arc<str>>,
}

/// How far a Swarm task is; its many states in the classes that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// No node holds it yet.
    Pending,
    /// A node is at it: pulling, creating, starting (or starting, not healthy yet).
    Starting,
    /// It runs (and is healthy, where the image has a health check).
    Running,
    /// It ended with 0.
    Complete,
    /// It ended otherwise, was refused by its node or lost.
    Failed,
    /// It was told to stop, and did.
    Stopped,
}

/// A Swarm task, of ours or of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmTask {
    /// Its Swarm id.
    pub id: String,
    /// The Swarm id of its service.
    pub service: String,
    /// The Swarm id of its node, once it has one.
    pub node: Option<String>,
    /// How far it is.
    pub state: TaskState,
    /// Whether Swarm still wants it to run. At most one task of a service counts; others are
    /// history.
    pub wanted: bool,
    /// Rises with every task of the same service: the latest is the present one.
    pub version: u64,
    /// What the engine says about it: `no suitable node (...)`, `task: non-zero exit (3)`.
    pub message: Option<String>,
    /// The exit code, once it ended.
    pub exit_code: Option<i64>,
    /// What it reserves.
    pub reservation: Resources,
    /// The machine ports that it really has.
    pub ports: Vec<PortMapping>,
}

/// The whole engine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The highest number of a look that was asked for before this one began: the effects of
    /// calls that had come back by then are in it.
    pub as_of: u64,
    /// All nodes of the Swarm.
    pub nodes: Vec<SwarmNode>,
    /// The services of this cluster.
    pub services: Vec<SwarmService>,
    /// All tasks, those of foreign services included (they take room too).
    pub tasks: Vec<SwarmTask>,
}

/// A part of the engine at one moment: what changed, or was asked for by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// As [`Observation::as_of`].
    pub as_of: u64,
    /// Nodes by Swarm id; `None` for one that is gone.
    pub nodes: Vec<(String, Option<SwarmNode>)>,
    /// Services of this cluster by Swarm name; `None` for one that is gone.
    pub services: Vec<(String, Option<SwarmService>)>,
    /// All tasks of services, by the Swarm id of the service.
    pub tasks: Vec<(String, Vec<SwarmTask>)>,
}

/// Something in the engine may have changed; look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The stream is connected: what happened before it is unknown, so list everything.
    Connected,
    /// A service was made, changed or removed.
    Service {
        /// Its Swarm name.
        name: String,
    },
    /// A node joined, changed or left.
    Node {
        /// Its Swarm id.
        id: String,
    },
    /// The engine stopped answering, with its words. The stream goes on and reconnects by itself.
    Lost(String),
}

/// An image that the manager's engine has, or a registry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The reference that nodes can pull as it stands (a public image, by digest); `None` when only
    /// the manager's engine has it, so that it must be pushed.
    pub pull: Option<String>,
    /// The ports it exposes.
    pub exposed: Vec<PortMapping>,
    /// Platforms that it is made for; empty if unknown.
    pub platforms: BTreeSet<Platform>,
}

/// How a machine joins the Swarm.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinFacts {
    /// The managers' addresses, `host:2377`.
    pub managers: Vec<String>,
    /// The worker token. Secret.
    pub token: String,
}

impl std::fmt::Debug for JoinFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinFacts")
            .field("managers", &self.managers)
            .finish_non_exhaustive()
    }
}

/// Which part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as more is written.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only what is later, in seconds since the Unix epoch.
    pub since: Option<i64>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// Why the engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It said no, in these words; asking again as it stands is pointless.
    #[error("{0}")]
    Refused(String),
    /// It has no such thing.
    #[error("{0}")]
    NotFound(String),
    /// No answer, or none that says whether it was done. Look, then ask again.
    #[error("{0}")]
    Unavailable(String),
}

/// The engine that runs the containers. Every call may be repeated: creating what is there and
/// removing what is gone succeed.
#[async_trait::async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// All nodes, services and tasks.
    async fn observe(&self) -> Result<Observation, EngineError>;
    /// These Swarm services of this cluster, by Swarm name; those that are gone are left out.
    async fn services(&self, names: &[String]) -> Result<Vec<SwarmService>, EngineError>;
    /// The tasks of these Swarm services only (by Swarm name): cheap, for polling while one is in
    /// flight.
    async fn tasks(&self, services: &[String]) -> Result<Vec<SwarmTask>, EngineError>;
    /// One node; `None` when the Swarm has none of this id.
    async fn node(&self, id: &str) -> Result<Option<SwarmNode>, EngineError>;
    /// Events, for ever: reconnects by itself and says [`EngineEvent::Connected`] each time.
    fn events(&self) -> BoxStream<'static, EngineEvent>;
    /// Makes the Swarm service of this copy: one replica, pinned to the node of this id.
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
    /// Opens a node for tasks, or closes it (`pause`: what runs goes on).
    async fn set_active(&self, node: &str, active: bool) -> Result<(), EngineError>;
    /// Takes a node off the Swarm's list, be it down or not.
    async fn remove_node(&self, node: &str) -> Result<(), EngineError>;
    /// The log of a Swarm service, in pieces as they come.
    fn logs(
        &self,
        name: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<bytes::Bytes, EngineError>>;
    /// What is known of an image: first the manager's own engine, then its registry is asked.
    async fn image(&self, image: &str) -> Result<ImageFacts, EngineError>;
    /// How a machine joins.
    async fn join_facts(&self) -> Result<JoinFacts, EngineError>;
    /// Makes a new worker token: the present one is good for nothing then. Nodes that are in stay
    /// in.
    async fn rotate_join_token(&self) -> Result<(), EngineError>;
}

/// The Swarm service's name for a placement: a DNS label (at most 63 characters), unique per
/// cluster, container and generation. `c-` and a readable part, cut, then a hash of all three, so
/// that equal input gives equal names for ever.
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

/// The network alias that all containers of a service share: its name as a DNS label, hashed when
/// long or changed.
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

/// The engine's name for a volume of a service, or for the cluster's shared volume of this name:
/// what services of other clients, or of other clusters on the same engine, never get. A readable
/// part, cut, then a hash of all that it is made from.
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

/// The engine's names of the volumes that only one container may have mounted on one machine at a
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

/// Longest readable part of a volume's name: with the rest it stays well below the 255 bytes of a
/// file name.
const VOLUME_READABLE: usize = 80;

/// Lower case, anything that a host name may not hold replaced by `-`.
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
}
