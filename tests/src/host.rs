//! The engine that hosts everything a test makes: networks and containers with our labels, observed
//! and removed past the manager.

use crate::run::{self, FOLDER_LABEL, FOLDER_PREFIX, OWNER_LABEL, RUN_LABEL};
use bollard::{
    Docker,
    exec::StartExecResults,
    models::{ContainerSummary, ExecConfig, NetworkCreateRequest},
    query_parameters::{
        EventsOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
        LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use micado_api::MachineName;
use micado_cloudsetup::local;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Labels of a machine's container: its instance and cluster.
const INSTANCE: &str = "micado.instance";
const TAG: &str = "micado.tag";
const CLUSTER: &str = "micado.cluster";
/// Label with the name in a CloudBroker simulator's order: it has no other label of ours.
const ORDER: &str = "cloudbroker.name";

/// The host's engine.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) docker: Docker,
    pub(crate) endpoint: String,
}

/// Booted machines: time and cluster of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boots(Arc<Mutex<Vec<(SystemTime, String)>>>);

impl Boots {
    /// Number of machines of this cluster since then, including removed ones.
    pub(crate) fn since(&self, since: SystemTime, cluster: &str) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|(at, of)| *at >= since && of == cluster)
            .count()
    }
}

/// A container on the host's engine: an instance of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostContainer {
    /// The engine's id.
    pub id: String,
    pub tag: String,
    pub instance: String,
    /// `running`, `exited` and so on.
    pub state: String,
}

impl Host {
    /// Connects to the engine at `DOCKER_HOST`, or at the default socket.
    pub(crate) async fn connect() -> Self {
        let endpoint =
            std::env::var("DOCKER_HOST").unwrap_or_else(|_| local::DEFAULT_ENDPOINT.to_owned());
        let client = Docker::connect_with_host(&endpoint)
            .unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        let docker = client.negotiate_version().await.unwrap_or_else(|error| {
            panic!("no engine at {endpoint}: {error}: start it or set DOCKER_HOST")
        });
        Self { docker, endpoint }
    }

    /// Makes a network for a cluster. Its labels name its owner, so that it can be swept once that
    /// process is gone.
    pub(crate) async fn make_network(&self, name: &str, folder: &Path) {
        let labels = [
            (RUN_LABEL, run::name()),
            (OWNER_LABEL, run::owner().clone()),
            (FOLDER_LABEL, folder.display().to_string()),
        ];
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            ..NetworkCreateRequest::default()
        };
        self.docker
            .create_network(request)
            .await
            .expect("a network for the cluster");
    }

    /// Address of the host on a network.
    pub(crate) async fn gateway(&self, network: &str) -> String {
        let found = self
            .docker
            .inspect_network(network, None)
            .await
            .expect("the cluster's network");
        let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        configs
            .into_iter()
            .find_map(|config| config.gateway)
            .expect("a bridge network's gateway")
    }

    /// All containers on a network, running or not.
    pub(crate) async fn on_network(&self, network: &str) -> Vec<ContainerSummary> {
        let filters: HashMap<_, _> = [("network".to_owned(), vec![network.to_owned()])].into();
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        self.docker
            .list_containers(Some(options))
            .await
            .unwrap_or_default()
    }

    /// The instances on a network.
    pub(crate) async fn machines(&self, network: &str) -> Vec<HostContainer> {
        let label = |summary: &ContainerSummary, key: &str| {
            summary
                .labels
                .as_ref()
                .and_then(|labels| labels.get(key))
                .cloned()
        };
        let machine = |summary: ContainerSummary| {
            Some(HostContainer {
                tag: label(&summary, TAG).unwrap_or_default(),
                instance: label(&summary, INSTANCE).or_else(|| {
                    Some(
                        label(&summary, ORDER)?
                            .parse::<MachineName>()
                            .ok()?
                            .instance
                            .to_string(),
                    )
                })?,
                state: summary
                    .state
                    .map_or_else(String::new, |state| state.to_string()),
                id: summary.id?,
            })
        };
        self.on_network(network)
            .await
            .into_iter()
            .filter_map(machine)
            .collect()
    }

    /// Records every machine that is booted from now on. The engine's own memory of events is
    /// short, and shared.
    pub(crate) fn watch_boots(&self) -> Boots {
        let filters: HashMap<_, _> = [
            ("type", "container"),
            ("event", "start"),
            ("label", CLUSTER),
        ]
        .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
        .into();
        let (boots, docker) = (Boots::default(), self.docker.clone());
        let noted = boots.clone();
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(docker.events(Some(options)));
            while let Some(Ok(event)) = events.next().await {
                let cluster = event
                    .actor
                    .and_then(|actor| actor.attributes?.remove(CLUSTER))
                    .unwrap_or_default();
                noted
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((SystemTime::now(), cluster));
            }
        });
        boots
    }

    /// Runs a script in a container and returns its output.
    pub(crate) async fn run(&self, id: &str, script: &str) -> String {
        let cmd = ["bash", "-c", script].map(str::to_owned).to_vec();
        let config = ExecConfig {
            cmd: Some(cmd),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(id, config).await.expect("exec").id;
        let StartExecResults::Attached { output, .. } = self
            .docker
            .start_exec(&exec, None)
            .await
            .expect("start of exec")
        else {
            panic!("exec is not attached");
        };
        let pieces: Vec<_> = output.try_collect().await.expect("output");
        let text: String = pieces.iter().map(ToString::to_string).collect();
        let code = self
            .docker
            .inspect_exec(&exec)
            .await
            .expect("exec's end")
            .exit_code;
        assert_eq!(code, Some(0), "{script}: {text}");
        text.trim_end().to_owned()
    }

    /// First process of a container.
    pub(crate) async fn pid(&self, id: &str) -> i64 {
        let inspected = self.docker.inspect_container(id, None).await;
        let state = inspected.expect("the container").state;
        state.and_then(|state| state.pid).expect("it runs")
    }

    pub(crate) async fn kill(&self, id: &str) {
        self.docker.kill_container(id, None).await.expect("kill");
    }

    pub(crate) async fn start(&self, id: &str) {
        self.docker.start_container(id, None).await.expect("start");
    }

    /// The end of a container's log.
    pub(crate) async fn log(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail("30")
            .build();
        let lines: Vec<_> = self
            .docker
            .logs(id, Some(options))
            .filter_map(async |line| line.ok())
            .collect()
            .await;
        lines.iter().map(ToString::to_string).collect()
    }

    /// Removes a network and all that is on it: containers, their anonymous volumes and their
    /// cgroups.
    pub(crate) async fn clear(&self, network: &str) {
        let ids = self
            .on_network(network)
            .await
            .into_iter()
            .filter_map(|container| container.id);
        join_all(ids.map(|id| self.remove(id))).await;
        if let Err(error) = self.docker.remove_network(network).await {
            eprintln!("network {network} stays behind: {error}");
        }
    }

    async fn remove(&self, id: String) {
        // A container that does not run cannot be killed.
        let _ = self.docker.kill_container(&id, None).await;
        local::remove_cgroups(&id).await;
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        if let Err(error) = self.docker.remove_container(&id, Some(options)).await {
            eprintln!("container {id} stays behind: {error}");
        }
    }

    /// Removes remains of tests with a killed process.
    pub(crate) async fn sweep(&self) {
        let filters: HashMap<_, _> = [("label".to_owned(), vec![OWNER_LABEL.to_owned()])].into();
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        for network in self
            .docker
            .list_networks(Some(options))
            .await
            .unwrap_or_default()
        {
            let label = |key: &str| network.labels.as_ref().and_then(|labels| labels.get(key));
            let (Some(name), Some(owner), Some(folder)) =
                (&network.name, label(OWNER_LABEL), label(FOLDER_LABEL))
            else {
                continue;
            };
            if !run::is_alive(owner) {
                eprintln!("sweeping what process {owner} left on network {name}");
                crate::manager::end_orphan(Path::new(folder));
                self.clear(name).await;
                remove_folder(Path::new(folder));
            }
        }
    }
}

/// Removes a folder if a test made it.
fn remove_folder(folder: &Path) {
    if folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX))
    {
        let _ = std::fs::remove_dir_all(folder);
    }
}
