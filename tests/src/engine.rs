//! The manager's engine: a container on the host's engine, so that a Swarm of the host's own is
//! never touched.

use crate::{host::Host, run, view::wait};
use bollard::{
    API_DEFAULT_VERSION, Docker, body_try_stream,
    models::{ContainerCreateBody, HostConfig, NodeDescription, TaskState},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptions,
        ListNodesOptions, ListServicesOptions, ListTasksOptions,
    },
};
use futures_util::TryStreamExt;
use micado_cloudsetup::local;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

/// Image of nodes; without `/etc/micado/manager` it just runs an engine.
const NODE_IMAGE: &str = "micado-node:latest";
/// Images for the manager's engine: the registry, and the one that tests launch.
const IMAGES: [&str; 2] = ["micado-registry:latest", "micado-web:latest"];
/// Time-out of one request, in seconds.
const TIMEOUT: u64 = 60;

/// The manager's engine.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Its container on the host's engine.
    pub(crate) id: String,
    /// Address for machines.
    pub(crate) address: String,
    folder: PathBuf,
    pub(crate) docker: Docker,
}

impl Engine {
    /// Starts it on this network, with its socket and its certificates in this folder, and loads
    /// its images.
    pub(crate) async fn start(host: &Host, network: &str, folder: &Path) -> Self {
        let socket = socket(folder);
        for below in [socket.parent().expect("it has one"), &certificates(folder)] {
            std::fs::create_dir_all(below).expect("the engine's folders");
        }
        let id = create(host, network, folder).await;
        host.start(&id).await;
        let inspected = host
            .docker
            .inspect_container(&id, None)
            .await
            .expect("the engine's container");
        let networks = inspected
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let address = networks
            .get(network)
            .and_then(|endpoint| endpoint.ip_address.clone())
            .expect("the engine's address");
        // The client requires an existing socket.
        let connect = async || {
            Docker::connect_with_unix(&socket.display().to_string(), TIMEOUT, API_DEFAULT_VERSION)
                .ok()
        };
        let docker = wait("the manager's engine has its socket", 60, connect).await;
        let engine = Self {
            id,
            address,
            folder: folder.to_owned(),
            docker,
        };
        engine.answers().await;
        engine.load(host).await;
        engine
    }

    /// Waits until it answers.
    pub(crate) async fn answers(&self) {
        wait("the manager's engine answers", 60, async || {
            self.docker.ping().await.ok()
        })
        .await;
    }

    /// Arguments for the manager.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (socket, certificates) = (socket(&self.folder), certificates(&self.folder));
        [
            ("--engine", format!("unix://{}", socket.display())),
            ("--advertise", self.address.clone()),
            ("--registry-certs-dir", certificates.display().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// Copies images from engine to engine in pieces, without holding a whole image.
    async fn load(&self, host: &Host) {
        for image in IMAGES {
            let name = image.split(':').next().unwrap_or(image);
            host.docker
                .inspect_image(image)
                .await
                .unwrap_or_else(|error| {
                    panic!(
                        "{error}: build it with scripts/{}-image/build",
                        &name["micado-".len()..]
                    )
                });
        }
        let archive = host
            .docker
            .export_images(&IMAGES)
            .map_err(std::io::Error::other);
        let import = self.docker.import_image(
            ImportImageOptions::default(),
            body_try_stream(archive),
            None,
        );
        import
            .try_for_each(|_| async { Ok(()) })
            .await
            .expect("the images, loaded into the manager's engine");
    }

    /// Makes the image `micado-tools` of the host's busybox, which is static.
    pub(crate) async fn import_tools(&self) {
        let program = std::fs::read("/bin/busybox")
            .expect("busybox on this machine (apt-get install busybox-static)");
        let mut tar = tar::Builder::new(Vec::new());
        let mut entry = |name: &str, kind, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(content.len().try_into().expect("a size"));
            tar.append_data(&mut header, name, content)
                .expect("an entry");
        };
        for folder in ["bin/", "data/"] {
            entry(folder, tar::EntryType::Directory, &[]);
        }
        entry("bin/sh", tar::EntryType::Regular, &program);
        // Links: each machine unpacks the image.
        for name in [
            "awk", "cat", "date", "dd", "head", "mkdir", "nslookup", "pidof", "sleep", "stty",
            "timeout", "true", "wget", "yes",
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Link);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_link(&mut header, format!("bin/{name}"), "bin/sh")
                .expect("a link");
        }
        let archive = tar.into_inner().expect("an archive");
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("micado-tools")
            .tag("latest")
            .build();
        let import = self.docker.create_image(
            Some(options),
            Some(bollard::body_full(archive.into())),
            None,
        );
        import
            .try_for_each(|_| async { Ok(()) })
            .await
            .expect("the image `micado-tools`");
    }

    /// Running tasks that are to run, each with its container's id on its node.
    pub(crate) async fn running_tasks(&self) -> BTreeMap<String, String> {
        let tasks = self
            .docker
            .list_tasks(None::<ListTasksOptions>)
            .await
            .expect("tasks");
        let wanted = tasks
            .into_iter()
            .filter(|task| task.desired_state == Some(TaskState::RUNNING));
        let running = wanted.filter_map(|task| {
            let status = task
                .status
                .filter(|status| status.state == Some(TaskState::RUNNING))?;
            Some((task.id?, status.container_status?.container_id?))
        });
        running.collect()
    }

    /// The names of all Swarm services.
    pub(crate) async fn services(&self) -> Vec<String> {
        let services = self
            .docker
            .list_services(None::<ListServicesOptions>)
            .await
            .expect("services");
        services
            .into_iter()
            .filter_map(|service| service.spec?.name)
            .collect()
    }

    /// Names of a container of ours on its network: the one that its service's containers share,
    /// and its own.
    pub(crate) async fn names_of(&self, container: &str) -> Option<Vec<String>> {
        let services = self
            .docker
            .list_services(None::<ListServicesOptions>)
            .await
            .expect("services");
        let is_it = |labels: &HashMap<String, String>| {
            labels
                .get("micado.container")
                .is_some_and(|name| name == container)
        };
        let spec = services
            .into_iter()
            .filter_map(|it| it.spec)
            .find(|spec| spec.labels.as_ref().is_some_and(is_it))?;
        spec.task_template?.networks?.into_iter().next()?.aliases
    }

    /// Present worker token of its Swarm.
    pub(crate) async fn worker_token(&self) -> String {
        let swarm = self.docker.inspect_swarm().await.expect("the Swarm");
        swarm
            .join_tokens
            .and_then(|tokens| tokens.worker)
            .expect("its worker token")
    }

    /// Host names of all nodes, including the manager's own.
    pub(crate) async fn nodes(&self) -> Vec<String> {
        let described = self.descriptions().await.into_iter();
        described.filter_map(|node| node.hostname).collect()
    }
    pub(crate) async fn claims(&self) -> Vec<String> {
        let described = self.descriptions().await.into_iter();
        let labels = described.filter_map(|node| node.engine?.labels);
        labels
            .filter_map(|mut labels| labels.remove(micado_api::labels::INSTANCE))
            .collect()
    }
    async fn descriptions(&self) -> Vec<NodeDescription> {
        let nodes = self.docker.list_nodes(None::<ListNodesOptions>).await;
        let nodes = nodes.expect("nodes").into_iter();
        nodes.filter_map(|node| node.description).collect()
    }
}

async fn create(host: &Host, network: &str, folder: &Path) -> String {
    let rights = local::engine_rights(&host.endpoint)
        .await
        .expect("the host's engine");
    let mut binds = rights.binds.unwrap_or_default();
    binds.push(format!(
        "{}:/run/engine",
        socket(folder).parent().expect("it has one").display()
    ));
    binds.push(format!(
        "{}:/etc/docker/certs.d",
        certificates(folder).display()
    ));
    let body = ContainerCreateBody {
        hostname: Some("manager".to_owned()),
        env: Some(vec![
            "MICADO_DOCKER_HOSTS=unix:///run/engine/docker.sock".to_owned(),
        ]),
        labels: Some([(run::RUN_LABEL.to_owned(), run::name())].into()),
        image: Some(NODE_IMAGE.to_owned()),
        host_config: Some(HostConfig {
            binds: Some(binds),
            network_mode: Some(network.to_owned()),
            ..rights
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default()
        .name(&format!("{network}-manager"))
        .build();
    host.docker
        .create_container(Some(options), body)
        .await
        .expect("the engine's container (scripts/node-image/build makes its image)")
        .id
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("engine/docker.sock")
}

fn certificates(folder: &Path) -> PathBuf {
    folder.join("certs.d")
}
