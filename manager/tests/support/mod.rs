//! Engines for tests: containers of the node image on this host's engine, with their sockets in a
//! folder. All are removed when the test ends.

use bollard::{
    Docker, body_full,
    models::{
        ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
        SwarmJoinRequest,
    },
    query_parameters::{CreateContainerOptions, UploadToContainerOptions},
};
use micado_api::RegistryAccess;
use micado_cloudsetup::local;
use micado_manager::engine::JoinFacts;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const IMAGE: &str = "micado-node:latest";
/// Upper bound for waits, sufficient for a busy machine; every wait ends as soon as its condition
/// holds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A network and the engines on it.
pub struct Lab {
    name: String,
    host: Docker,
    folder: TempDir,
    nodes: Vec<String>,
}

/// One engine in a container.
pub struct Node {
    pub container: String,
    pub endpoint: String,
    /// The engine's `/etc/docker/certs.d`.
    pub certs_dir: PathBuf,
    pub engine: Docker,
    /// Its address on the lab's network.
    pub address: String,
}

impl Lab {
    pub async fn new(test: &str) -> Self {
        let name = format!("engine-test-{}-{test}", std::process::id());
        let host = Docker::connect_with_defaults().expect("the host's engine");
        host.inspect_image(IMAGE)
            .await
            .expect("the node image: run scripts/node-image/build first");
        let lab = Self {
            name,
            host,
            folder: tempfile::tempdir().expect("a folder"),
            nodes: Vec::new(),
        };
        lab.host
            .create_network(NetworkCreateRequest {
                name: lab.name.clone(),
                ..Default::default()
            })
            .await
            .expect("a network");
        lab
    }

    /// Starts an engine with these labels, and waits until it answers.
    pub async fn node(&mut self, labels: &[(&str, &str)]) -> Node {
        let container = format!("{}-{}", self.name, self.nodes.len());
        self.nodes.push(container.clone());
        let folder = self.folder.path().join(&container);
        let certs_dir = folder.join("certs.d");
        std::fs::create_dir_all(folder.join("run")).expect("a folder");
        std::fs::create_dir_all(&certs_dir).expect("a folder");
        let request = self.request(&folder).await;
        let options = CreateContainerOptions {
            name: Some(container.clone()),
            ..Default::default()
        };
        self.host
            .create_container(Some(options), request)
            .await
            .expect("a container");
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let config = serde_json::json!({ "labels": labels }).to_string();
        let into_root = UploadToContainerOptions {
            path: "/".to_owned(),
            ..Default::default()
        };
        self.host
            .upload_to_container(
                &container,
                Some(into_root),
                body_full(archive("etc/docker/daemon.json", &config).into()),
            )
            .await
            .expect("its labels");
        self.host
            .start_container(&container, None)
            .await
            .expect("a container that starts");
        let endpoint = format!("unix://{}", folder.join("run/docker.sock").display());
        let engine = answering(&endpoint).await;
        let found = self
            .host
            .inspect_container(&container, None)
            .await
            .expect("the container");
        let networks = found
            .network_settings
            .and_then(|settings| settings.networks)
            .expect("its networks");
        let address = networks
            .values()
            .find_map(|network| network.ip_address.clone())
            .expect("its address");
        Node {
            container,
            endpoint,
            certs_dir,
            engine,
            address,
        }
    }

    async fn request(&self, folder: &Path) -> ContainerCreateBody {
        let endpoint =
            std::env::var("DOCKER_HOST").unwrap_or_else(|_| local::DEFAULT_ENDPOINT.to_owned());
        let rights = local::engine_rights(&endpoint)
            .await
            .expect("the host's engine");
        let mut binds = rights.binds.clone().unwrap_or_default();
        binds.extend([
            format!("{}/run:/run/engine", folder.display()),
            format!("{}/certs.d:/etc/docker/certs.d", folder.display()),
        ]);
        ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            env: Some(vec![
                "MICADO_DOCKER_HOSTS=unix:///run/engine/docker.sock".to_owned(),
            ]),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(
                    self.name.clone(),
                    EndpointSettings::default(),
                )])),
            }),
            host_config: Some(HostConfig {
                binds: Some(binds),
                network_mode: Some(self.name.clone()),
                ..rights
            }),
            ..Default::default()
        }
    }
}

impl Node {
    /// Runs a shell command in the machine and returns what it printed.
    pub fn shell(&self, command: &str) -> String {
        let output = Command::new("docker")
            .args(["exec", &self.container, "sh", "-c", command])
            .output()
            .expect("the docker command");
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes an image of the machine's own shell and `sleep`.
    pub fn make_image(&self, name: &str) {
        let pack = "tar -chf - --transform 's,^/,,' -P /bin/sh /bin/sleep $(ldd /bin/sh | grep -o '/[^ )]*')";
        self.shell(&format!(
            "{pack} | docker import --change 'EXPOSE 8080' --change 'EXPOSE 53/udp' - {name}"
        ));
    }

    /// Copies an image of the host's engine.
    pub fn load_image(&self, name: &str) {
        let mut save = Command::new("docker")
            .args(["save", name])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the docker command");
        let archive = save.stdout.take().expect("its output");
        let load = Command::new("docker")
            .args(["--host", &self.endpoint, "load"])
            .stdin(archive)
            .output()
            .expect("the docker command");
        assert!(
            save.wait().is_ok_and(|status| status.success()) && load.status.success(),
            "image {name}: was it built?"
        );
    }

    /// Installs the certificates for the registry where the machine's engine looks for them;
    /// `own_key` belongs to the machine's own certificate.
    pub fn install_certificates(&self, access: &RegistryAccess, own_key: &str) {
        let folder = self.certs_dir.join(&access.host);
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = access.key.as_deref().unwrap_or(own_key);
        for (name, content) in [
            ("ca.crt", access.authority.as_str()),
            ("client.cert", &access.certificate),
            ("client.key", key),
        ] {
            std::fs::write(folder.join(name), content).expect("a file");
        }
    }

    /// Takes the machine into a Swarm.
    pub async fn join(&self, facts: &JoinFacts) -> Result<(), bollard::errors::Error> {
        let request = SwarmJoinRequest {
            listen_addr: Some("0.0.0.0:2377".to_owned()),
            remote_addrs: Some(facts.managers.clone()),
            join_token: Some(facts.token.clone()),
            ..Default::default()
        };
        self.engine.join_swarm(request).await
    }

    /// Powers the machine off and on.
    pub fn restart(&self) {
        let status = Command::new("docker")
            .args(["restart", "--time", "0", &self.container])
            .output()
            .expect("the docker command")
            .status;
        assert!(status.success());
    }
}

async fn answering(endpoint: &str) -> Docker {
    let path = endpoint.trim_start_matches("unix://");
    let answer = async {
        loop {
            if let Ok(engine) = Docker::connect_with_unix(path, 20, bollard::API_DEFAULT_VERSION)
                && engine.ping().await.is_ok()
            {
                return engine;
            }
            // A booting engine has no event for being up.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .expect("an engine that answers")
}

fn archive(path: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content.as_bytes())
        .expect("a small archive");
    tar.into_inner().expect("a small archive")
}

impl Drop for Lab {
    fn drop(&mut self) {
        let docker = |args: &[&str]| {
            Command::new("docker")
                .args(args)
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        for node in &self.nodes {
            let id = docker(&["inspect", "--format", "{{.Id}}", node]).unwrap_or_default();
            let removed = docker(&["rm", "--force", "--volumes", node]);
            assert!(
                removed.is_ok() || std::thread::panicking(),
                "{node} stays behind"
            );
            if !id.is_empty() {
                remove_cgroups(&id);
            }
        }
        let removed = docker(&["network", "rm", &self.name]);
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "network {} stays behind",
            self.name
        );
    }
}

/// Removes cgroups: those that the inner engine made below its container's outlive both.
fn remove_cgroups(id: &str) {
    for group in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        remove_tree(&group.path().join("docker").join(id));
    }
}

fn remove_tree(folder: &Path) {
    for below in std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        remove_tree(&below.path());
    }
    if folder.is_dir() && std::fs::remove_dir(folder).is_err() {
        eprintln!("cgroup {} stays behind", folder.display());
    }
}
