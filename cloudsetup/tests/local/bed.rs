//! A `local` cloud for one test, with actions on its machines behind the broker's back. Everything
//! is removed after the test, also after a failure.

use bollard::{
    Docker,
    container::LogOutput,
    exec::StartExecResults,
    models::{ContainerCreateBody, ExecConfig},
};
use futures_util::{StreamExt, TryStreamExt};
use micado_api::{ClusterId, FlavourName, InstanceId, Location, MachineName, Tag};
use micado_cloudsetup::{Broker, CloudSetup, LocalCloud, LocalConfig, Order};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SETUP: &str = "<setup><clouds><cloud><name>here</name><broker>local</broker><flavours>
    <flavour><size>small</size><memory>512M</memory><cores>1</cores></flavour>
    </flavours></cloud></clouds><applications><application><name>Node</name><sname>n</sname><executable>e</executable></application></applications></setup>";

/// Upper bound for any action of a machine or its engine, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Bed {
    pub cloud: LocalCloud,
    pub cluster: ClusterId,
    pub endpoint: String,
    host: Docker,
    image: String,
}

/// Runs a test on a bed of its own.
pub async fn with_bed(name: &str, test: impl AsyncFnOnce(&Bed)) {
    let bed = Bed::make(name).await;
    let outcome =
        futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&bed))).await;
    bed.clear().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Bed {
    async fn make(name: &str) -> Self {
        let endpoint = std::env::var("DOCKER_HOST")
            .unwrap_or_else(|_| micado_cloudsetup::local::DEFAULT_ENDPOINT.to_owned());
        let image =
            std::env::var("MICADO_NODE_IMAGE").unwrap_or_else(|_| "micado-node:latest".to_owned());
        let host = Docker::connect_with_host(&endpoint).unwrap_or_else(|error| {
            panic!("no Docker Engine at {endpoint}: {error}: start it or set DOCKER_HOST")
        });
        let host = host.negotiate_version().await.unwrap_or_else(|error| {
            panic!("no Docker Engine answers at {endpoint}: {error}: start it or set DOCKER_HOST")
        });
        host.inspect_image(&image).await.unwrap_or_else(|error| {
            panic!(
                "node image {image}: {error}: run scripts/node-image/build or set MICADO_NODE_IMAGE"
            )
        });
        let cluster = ClusterId::trusted(format!("cloudtest-{name}-{}", std::process::id()));
        let cloud = local_cloud(network(&cluster), None, &endpoint, &image);
        Self {
            cloud,
            cluster,
            endpoint,
            host,
            image,
        }
    }

    /// The same cloud on another engine or with another image.
    pub fn cloud_with(&self, endpoint: &str, image: &str) -> LocalCloud {
        local_cloud(network(&self.cluster), None, endpoint, image)
    }

    /// The same cloud on a network of this name, which must have these addresses if any.
    pub fn cloud_on(&self, network: &str, subnet: Option<&str>) -> LocalCloud {
        local_cloud(
            network.to_owned(),
            subnet.map(str::to_owned),
            &self.endpoint,
            &self.image,
        )
    }

    /// The network of the bed's own cloud.
    pub fn network(&self) -> String {
        network(&self.cluster)
    }

    pub fn order<const N: usize>(
        &self,
        instance: &str,
        flavour: &str,
        files: [(&str, &str); N],
    ) -> Order {
        Order {
            name: MachineName::new(&self.cluster, &InstanceId::trusted(instance)).to_string(),
            cluster: self.cluster.clone(),
            instance: InstanceId::trusted(instance),
            tag: Tag::trusted(format!("tag-{instance}")),
            location: Location::default(),
            application: "Node".to_owned(),
            flavour: FlavourName::trusted(flavour),
            files: files
                .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
                .into(),
        }
    }

    /// The machine of this name as the cloud lists it.
    pub async fn shown(&self, name: &str) -> Option<micado_cloudsetup::Machine> {
        self.cloud
            .list(&self.cluster)
            .await
            .expect("a list")
            .into_iter()
            .find(|machine| machine.name == name)
    }

    /// Output of a command on a machine, without the last line feed. A failure panics with the
    /// output.
    pub async fn run(&self, name: &str, script: &str) -> String {
        let (code, output) = self.try_run(name, script).await;
        assert_eq!(code, Some(0), "on {name}: {script}: {output}");
        output
    }

    async fn try_run(&self, name: &str, script: &str) -> (Option<i64>, String) {
        let cmd = ["bash", "-c", script].map(str::to_owned).to_vec();
        let config = ExecConfig {
            cmd: Some(cmd),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.host.create_exec(name, config).await.expect("exec").id;
        let StartExecResults::Attached { output, .. } = self
            .host
            .start_exec(&exec, None)
            .await
            .expect("start of exec")
        else {
            panic!("exec is not attached");
        };
        let output: Vec<LogOutput> = output.try_collect().await.expect("output");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for piece in output {
            if matches!(piece, LogOutput::StdErr { .. }) {
                &mut err
            } else {
                &mut out
            }
            .extend_from_slice(&piece.into_bytes());
        }
        let code = self
            .host
            .inspect_exec(&exec)
            .await
            .expect("exec's end")
            .exit_code;
        let output = if code == Some(0) {
            out
        } else {
            [out, err].concat()
        };
        (code, String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    /// Waits until a command succeeds on a machine.
    async fn until(&self, name: &str, script: &str) {
        let start = Instant::now();
        loop {
            let (code, output) = self.try_run(name, script).await;
            if code == Some(0) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "on {name}, for {PATIENCE:?}: {script}: {output}; its log:\n{}",
                self.log(name).await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the machine's engine.
    pub async fn engine_of(&self, name: &str) {
        self.until(
            name,
            "curl --silent --fail --unix-socket /run/docker.sock http://engine/_ping",
        )
        .await;
    }

    /// Waits until the manager sees the node ready.
    pub async fn ready(&self, manager: &str, node: &str) {
        self.until(
            manager,
            &format!(
                "[ \"$(docker node inspect --format '{{{{.Status.State}}}}' {node})\" = ready ]"
            ),
        )
        .await;
    }

    /// Waits until the machine's engine is in the Swarm.
    pub async fn active(&self, name: &str) {
        self.until(
            name,
            "[ \"$(docker info --format '{{.Swarm.LocalNodeState}}')\" = active ]",
        )
        .await;
    }

    async fn log(&self, name: &str) -> String {
        let options = bollard::query_parameters::LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail("40")
            .build();
        let lines: Vec<_> = self
            .host
            .logs(name, Some(options))
            .filter_map(async |line| line.ok())
            .collect()
            .await;
        lines.iter().map(ToString::to_string).collect()
    }

    /// Memory that the machine uses, without page cache, in readable form.
    pub async fn memory(&self, name: &str) -> String {
        let id = self
            .host
            .inspect_container(name, None)
            .await
            .expect("inspect")
            .id
            .expect("id");
        let statistics = cgroups(&id)
            .into_iter()
            .map(|folder| folder.join("memory.stat"))
            .find_map(|file| fs::read_to_string(file).ok());
        let rss = statistics
            .iter()
            .flat_map(|text| text.lines())
            .find_map(|line| {
                line.strip_prefix("total_rss ")
                    .or_else(|| line.strip_prefix("anon "))
            });
        rss.and_then(|bytes| bytes.parse::<u64>().ok())
            .map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
    }

    pub async fn kill(&self, name: &str) {
        self.host.kill_container(name, None).await.expect("kill");
    }

    pub async fn pause(&self, name: &str) {
        self.host.pause_container(name).await.expect("pause");
    }

    pub async fn restart(&self, name: &str) {
        self.host
            .restart_container(name, None)
            .await
            .expect("restart");
    }

    /// A container of this name that is not a machine.
    pub async fn foreign(&self, name: &str) {
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default()
            .name(name)
            .build();
        let labels = [("micado.cluster".to_owned(), self.cluster.to_string())].into();
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            labels: Some(labels),
            ..ContainerCreateBody::default()
        };
        self.host
            .create_container(Some(options), body)
            .await
            .expect("foreign container");
    }

    /// An engine that joins nothing, with its socket also in `folder`. Returns the container's id.
    pub async fn bare_engine(&self, name: &str, folder: &Path) -> String {
        let mut rights = micado_cloudsetup::local::engine_rights(&self.endpoint)
            .await
            .expect("rights");
        rights
            .binds
            .get_or_insert_default()
            .push(format!("{}:/run/engine", folder.display()));
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            hostname: Some("manager".to_owned()),
            env: Some(vec![
                "MICADO_DOCKER_HOSTS=unix:///run/engine/docker.sock".to_owned(),
            ]),
            labels: Some([("micado.cluster".to_owned(), self.cluster.to_string())].into()),
            host_config: Some(rights),
            ..ContainerCreateBody::default()
        };
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default()
            .name(name)
            .build();
        let id = self
            .host
            .create_container(Some(options), body)
            .await
            .expect("an engine's container")
            .id;
        self.host
            .start_container(name, None)
            .await
            .expect("its start");
        id
    }

    pub async fn network_is_there(&self) -> bool {
        self.host
            .inspect_network(&network(&self.cluster), None)
            .await
            .is_ok()
    }

    /// The volumes that a machine has.
    pub async fn volumes(&self, name: &str) -> Vec<String> {
        let mounts = self
            .host
            .inspect_container(name, None)
            .await
            .expect("inspect")
            .mounts
            .unwrap_or_default();
        mounts.into_iter().filter_map(|mount| mount.name).collect()
    }

    /// The volumes of these that still exist.
    pub async fn left_of(&self, volumes: &[String]) -> Vec<String> {
        let listed = self
            .host
            .list_volumes(None::<bollard::query_parameters::ListVolumesOptions>)
            .await
            .expect("volumes")
            .volumes
            .unwrap_or_default();
        listed
            .into_iter()
            .map(|volume| volume.name)
            .filter(|name| volumes.contains(name))
            .collect()
    }

    async fn clear(&self) {
        let filters = [(
            "label".to_owned(),
            vec![format!("micado.cluster={}", self.cluster)],
        )]
        .into();
        let options = bollard::query_parameters::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        for container in self
            .host
            .list_containers(Some(options))
            .await
            .unwrap_or_default()
        {
            let name = container
                .names
                .unwrap_or_default()
                .concat()
                .trim_start_matches('/')
                .to_owned();
            if self.cloud.terminate(&name).await.is_err() {
                let by_force = bollard::query_parameters::RemoveContainerOptionsBuilder::default()
                    .force(true)
                    .v(true)
                    .build();
                self.host
                    .remove_container(&name, Some(by_force))
                    .await
                    .unwrap_or_else(|error| println!("{name} stays behind: {error}"));
            }
        }
        self.cloud
            .remove_network(&self.cluster)
            .await
            .unwrap_or_else(|error| println!("the network stays behind: {error}"));
    }
}

fn network(cluster: &ClusterId) -> String {
    format!("{cluster}-net")
}

fn local_cloud(network: String, subnet: Option<String>, endpoint: &str, image: &str) -> LocalCloud {
    let cloud = CloudSetup::parse(SETUP, "setup")
        .expect("a good setup")
        .clouds
        .remove(0);
    LocalCloud::new(
        cloud,
        endpoint,
        LocalConfig {
            network,
            image: image.to_owned(),
            subnet,
        },
    )
}

/// The cgroups of this container, under either driver of the engine, and all below them, on this
/// machine.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, names: &[String; 2], inside: bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let inside = inside || names.iter().any(|name| entry.file_name() == name.as_str());
                found.extend(inside.then(|| entry.path()));
                collect(&entry.path(), names, inside, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(
        Path::new("/sys/fs/cgroup"),
        &[id.to_owned(), format!("docker-{id}.scope")],
        false,
        &mut found,
    );
    found
}
