//! Preparation of an engine: a Swarm manager, a cluster with an id, and the network that its
//! containers share.

use super::{SwarmConfig, labels, network_name};
use crate::engine::{EngineError, docker::ask};
use bollard::{
    Docker,
    models::{
        Ipam, IpamConfig, LocalNodeState, NetworkCreateRequest, SwarmInfo, SwarmInitRequest,
        SwarmSpec, SwarmSpecDispatcher,
    },
    query_parameters::{InspectNetworkOptions, UpdateSwarmOptions},
};
use micado_api::ClusterId;
use std::{
    collections::HashMap,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

/// Uses the Swarm that the engine manages, or makes one.
pub(super) async fn become_manager(
    docker: &Docker,
    config: &SwarmConfig,
) -> Result<(), EngineError> {
    let info = ask(
        || format!("ask the engine at `{}` for its Swarm", config.endpoint),
        docker.info(),
    )
    .await?;
    let swarm = info.swarm.unwrap_or_default();
    if !is_manager(&config.endpoint, &swarm)? {
        return init(docker, config).await;
    }
    if let (Some(wanted), Some(present)) = (&config.advertise, &swarm.node_addr)
        && wanted != present
    {
        tracing::warn!(
            wanted,
            present,
            "the engine is in a Swarm already, with another address than the one to advertise; machines are told the present one"
        );
    }
    Ok(())
}

/// Returns true if the engine manages a Swarm, false if it is in none.
fn is_manager(endpoint: &str, swarm: &SwarmInfo) -> Result<bool, EngineError> {
    match swarm.local_node_state {
        None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE) => Ok(false),
        Some(LocalNodeState::ACTIVE) if swarm.control_available == Some(true) => Ok(true),
        Some(LocalNodeState::ACTIVE) => Err(EngineError::Refused(format!(
            "the engine at `{endpoint}` is a worker of a Swarm that another engine manages; name a manager of that Swarm, or run `docker swarm leave` on this one"
        ))),
        Some(LocalNodeState::LOCKED) => Err(EngineError::Refused(format!(
            "the Swarm of the engine at `{endpoint}` is locked; run `docker swarm unlock` on it, then start the manager again"
        ))),
        Some(state @ (LocalNodeState::PENDING | LocalNodeState::ERROR)) => {
            let said = swarm
                .error
                .as_deref()
                .filter(|said| !said.is_empty())
                .unwrap_or("nothing more");
            Err(EngineError::Unavailable(format!(
                "the Swarm of the engine at `{endpoint}` is in state `{state}` (it says: {said})"
            )))
        }
    }
}

/// Makes a Swarm. An engine with several addresses refuses to choose; then this host's outward
/// address is used, if it is one of those that the engine names.
async fn init(docker: &Docker, config: &SwarmConfig) -> Result<(), EngineError> {
    match try_init(docker, config, config.advertise.as_deref()).await {
        Err(EngineError::Refused(text) | EngineError::Unavailable(text))
            if config.advertise.is_none() && text.contains("could not choose an IP address") =>
        {
            match outward_address()
                .map(|address| address.to_string())
                .filter(|address| names_address(&text, address))
            {
                Some(address) => try_init(docker, config, Some(&address)).await,
                None => Err(EngineError::Refused(format!(
                    "{text}; name the address that the machines can reach as the one to advertise"
                ))),
            }
        }
        other => other,
    }
}

async fn try_init(
    docker: &Docker,
    config: &SwarmConfig,
    advertise: Option<&str>,
) -> Result<(), EngineError> {
    let cluster = config.wanted.as_ref().unwrap_or(&config.fresh);
    let subnet = config.gateway_of.as_deref();
    let labels = [
        Some((labels::CLUSTER, cluster.as_str())),
        Some((labels::ORIGIN, labels::MADE)),
        subnet.map(|subnet| (labels::SUBNET, subnet)),
    ]
    .into_iter()
    .flatten()
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let request = SwarmInitRequest {
        listen_addr: Some("0.0.0.0:2377".to_owned()),
        advertise_addr: Some(advertise.unwrap_or_default().to_owned()),
        spec: Some(SwarmSpec {
            labels: Some(labels.collect()),
            dispatcher: dispatcher(config.heartbeat),
            ..Default::default()
        }),
        ..Default::default()
    };
    ask(
        || "make the engine a Swarm manager".to_owned(),
        docker.init_swarm(request),
    )
    .await
    .map(drop)
}

/// Address from which this host would send to the internet. Nothing is sent: a datagram socket only
/// looks the route up.
fn outward_address() -> Option<IpAddr> {
    // From the range reserved for documentation: routed like any other public address.
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
        .filter(|address| !address.is_unspecified() && !address.is_loopback())
}

fn names_address(text: &str, address: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'))
        .any(|word| word == address)
}

/// A Swarm that the engine manages already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Cluster id in its labels.
    pub cluster: Option<ClusterId>,
    /// Required addresses of the network of the `local` cloud: machines reach the manager at its
    /// gateway. `None` if the Swarm's address is another one.
    pub subnet: Option<String>,
}

/// Returns the Swarm that the engine manages; `None` if it is in none.
pub(super) async fn present(
    docker: &Docker,
    endpoint: &str,
) -> Result<Option<Present>, EngineError> {
    let info = ask(
        || format!("ask the engine at `{endpoint}` for its Swarm"),
        docker.info(),
    )
    .await?;
    if !is_manager(endpoint, &info.swarm.unwrap_or_default())? {
        return Ok(None);
    }
    let swarm = ask(|| "look at the Swarm".to_owned(), docker.inspect_swarm()).await?;
    let labels = swarm.spec.and_then(|spec| spec.labels).unwrap_or_default();
    let cluster = labels.get(labels::CLUSTER);
    Ok(Some(Present {
        cluster: cluster.map(|cluster| settled(cluster, None)).transpose()?,
        subnet: labels.get(labels::SUBNET).cloned(),
    }))
}

/// Determines the Swarm's cluster and its heartbeat. A Swarm that is no cluster yet becomes the
/// wanted one, or else a fresh one. A Swarm that the manager made gets the configured heartbeat.
///
/// # Errors
/// `Refused` if the Swarm is another cluster than the wanted one.
pub(super) async fn settle(
    docker: &Docker,
    config: &SwarmConfig,
) -> Result<(ClusterId, Duration), EngineError> {
    let swarm = ask(|| "look at the Swarm".to_owned(), docker.inspect_swarm()).await?;
    let spec = swarm.spec.unwrap_or_default();
    let before = (spec.labels.clone().unwrap_or_default(), heartbeat(&spec));
    let (mut labels, mut period) = before.clone();
    let ours = is_ours(&labels);
    let cluster = match labels.get(labels::CLUSTER) {
        Some(present) => settled(present, config.wanted.as_ref())?,
        None => config.wanted.as_ref().unwrap_or(&config.fresh).clone(),
    };
    labels.insert(labels::CLUSTER.to_owned(), cluster.to_string());
    labels.insert(
        labels::ORIGIN.to_owned(),
        if ours { labels::MADE } else { labels::FOUND }.to_owned(),
    );
    if ours {
        period = config.heartbeat;
    } else if period != config.heartbeat {
        let (present, wanted) = (period.as_secs_f64(), config.heartbeat.as_secs());
        tracing::warn!(
            "the Swarm was there before this cluster and keeps its heartbeat of {present} s: a machine that is cut off for twice as long has its containers started anew. \
             `docker swarm update --dispatcher-heartbeat {wanted}s` on its manager, then a restart of this one, gives them the time that --down-timeout says"
        );
    }
    if (&labels, period) != (&before.0, before.1) {
        let version = swarm
            .version
            .and_then(|version| version.index)
            .and_then(|index| i64::try_from(index).ok())
            .unwrap_or_default();
        let changed = SwarmSpec {
            labels: Some(labels),
            dispatcher: dispatcher(period),
            ..spec
        };
        // The version makes this fail if another manager changed the Swarm in between.
        let update = docker.update_swarm(
            changed,
            UpdateSwarmOptions {
                version,
                ..Default::default()
            },
        );
        ask(
            || format!("settle the Swarm as cluster `{cluster}`"),
            update,
        )
        .await?;
    }
    Ok((cluster, period))
}

/// Returns true if the manager made the Swarm, according to its label.
fn is_ours(labels: &HashMap<String, String>) -> bool {
    labels
        .get(labels::ORIGIN)
        .is_some_and(|origin| origin == labels::MADE)
}

/// The engine's default.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);

fn heartbeat(spec: &SwarmSpec) -> Duration {
    let said = spec
        .dispatcher
        .as_ref()
        .and_then(|dispatcher| dispatcher.heartbeat_period);
    said.and_then(|period| u64::try_from(period).ok())
        .filter(|period| *period > 0)
        .map_or(DEFAULT_HEARTBEAT, Duration::from_nanos)
}

fn dispatcher(heartbeat: Duration) -> Option<SwarmSpecDispatcher> {
    Some(SwarmSpecDispatcher {
        heartbeat_period: i64::try_from(heartbeat.as_nanos()).ok(),
    })
}

fn settled(present: &str, wanted: Option<&ClusterId>) -> Result<ClusterId, EngineError> {
    match wanted {
        Some(wanted) if wanted.as_str() != present => Err(EngineError::Refused(format!(
            "this Swarm is cluster `{present}`, not `{wanted}`; use the store or the cluster id that belong to it, or another engine"
        ))),
        _ => present.parse().map_err(|error| {
            EngineError::Refused(format!(
                "the Swarm's label `{}` is unusable: {error}",
                labels::CLUSTER
            ))
        }),
    }
}

/// Makes the network of the cluster's containers, once.
pub(super) async fn make_network(
    docker: &Docker,
    cluster: &ClusterId,
    subnet: &str,
) -> Result<(), EngineError> {
    let name = network_name(cluster);
    let present = ask(
        || format!("look for network `{name}`"),
        docker.inspect_network(&name, None::<InspectNetworkOptions>),
    )
    .await;
    match present {
        Err(EngineError::NotFound(_)) => {}
        other => return other.map(drop),
    }
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("overlay".to_owned()),
        attachable: Some(true),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        labels: Some(HashMap::from([(
            labels::CLUSTER.to_owned(),
            cluster.to_string(),
        )])),
        ..Default::default()
    };
    match ask(
        || format!("make network `{name}` with the addresses {subnet}"),
        docker.create_network(request),
    )
    .await
    {
        // Another manager has just made it.
        Err(EngineError::Refused(text)) if text.contains("already exists") => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(state: LocalNodeState, control: bool) -> Result<bool, EngineError> {
        is_manager(
            "unix:///e.sock",
            &SwarmInfo {
                local_node_state: Some(state),
                control_available: Some(control),
                ..Default::default()
            },
        )
    }

    #[test]
    fn only_a_manager_or_a_free_engine_will_do() {
        assert_eq!(is_manager("e", &SwarmInfo::default()), Ok(false));
        assert_eq!(state(LocalNodeState::INACTIVE, false), Ok(false));
        assert_eq!(state(LocalNodeState::ACTIVE, true), Ok(true));
        assert!(
            matches!(state(LocalNodeState::ACTIVE, false), Err(EngineError::Refused(text)) if text.contains("unix:///e.sock") && text.contains("worker"))
        );
        assert!(
            matches!(state(LocalNodeState::LOCKED, false), Err(EngineError::Refused(text)) if text.contains("unlock"))
        );
        assert!(matches!(
            state(LocalNodeState::PENDING, false),
            Err(EngineError::Unavailable(_))
        ));
    }

    #[test]
    fn another_cluster_is_refused() {
        let (ours, theirs) = (ClusterId::trusted("abc"), ClusterId::trusted("xyz"));
        assert_eq!(settled("abc", None), Ok(ours.clone()));
        assert_eq!(settled("abc", Some(&ours)), Ok(ours));
        assert!(
            matches!(settled("abc", Some(&theirs)), Err(EngineError::Refused(text)) if text.contains("`abc`, not `xyz`"))
        );
        assert!(settled("no good", None).is_err());
    }

    #[test]
    fn only_a_swarm_that_the_manager_made_has_its_heartbeat_set() {
        let ours = |labels: &[(&str, &str)]| {
            is_ours(
                &labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        let cluster = (labels::CLUSTER, "abc");
        assert!(ours(&[cluster, (labels::ORIGIN, labels::MADE)]));
        assert!(
            !ours(&[]) && !ours(&[cluster]) && !ours(&[cluster, (labels::ORIGIN, labels::FOUND)])
        );
        let spec = |period| SwarmSpec {
            dispatcher: Some(SwarmSpecDispatcher {
                heartbeat_period: period,
            }),
            ..Default::default()
        };
        for (period, seconds) in [
            (None, 5),
            (Some(0), 5),
            (Some(-1), 5),
            (Some(40_000_000_000), 40),
        ] {
            assert_eq!(
                heartbeat(&spec(period)),
                Duration::from_secs(seconds),
                "{period:?}"
            );
        }
    }

    #[test]
    fn an_address_is_found_whole_in_the_engines_words() {
        let words = "could not choose an IP address to advertise since this system has multiple addresses on different interfaces (10.0.0.5 on eth0 and 172.30.0.21 on eth1)";
        assert!(names_address(words, "10.0.0.5") && names_address(words, "172.30.0.21"));
        assert!(!names_address(words, "172.30.0.2") && !names_address(words, "0.0.0.5"));
    }
}
