//! The registry that the manager runs: two containers on its own engine with one volume, made anew
//! when anything of their configuration changed. Machines pull from one, which cannot write. Only
//! the manager may ask the other (docs/decisions/009).

use crate::{
    engine::{
        EngineError,
        docker::{LIMIT, ask},
        swarm::labels,
    },
    pki::{Identity, Pki},
};
use bollard::{
    Docker, body_full,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig,
        HostConfigLogConfig, Mount, MountType, MountVolumeOptions, PortBinding, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptions, ListContainersOptions, RemoveContainerOptions,
        UploadToContainerOptions,
    },
};
use micado_api::ClusterId;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, path::PathBuf};

/// On the container: what it was made from.
pub(super) const CONFIG_LABEL: &str = "micado.config";
/// Where the container keeps images, on its volume.
pub(super) const STORAGE: &str = "/var/lib/registry";
/// Where its configuration and keys are put.
const HOME: &str = "etc/micado-registry";

/// How the manager runs a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRegistry {
    /// Whose it is; part of its container's and volume's name.
    pub cluster: ClusterId,
    /// The address at which machines, and the engine itself, reach the manager's engine. Not a
    /// loopback address.
    pub address: String,
    /// The port of the engine's machine that machines pull from.
    pub port: u16,
    /// The port that the manager and its engine push to.
    pub push_port: u16,
    /// Where the manager's engine looks for certificates.
    pub certs_dir: PathBuf,
    /// Its image, as `scripts/registry-image/build` makes it.
    pub image: String,
    /// Socket of the manager's engine, if it has one: by it, the disk of the images is found.
    pub socket: Option<PathBuf>,
}

impl OwnRegistry {
    /// The defaults for a cluster whose manager is at this address.
    #[must_use]
    pub fn new(cluster: ClusterId, address: String) -> Self {
        Self {
            cluster,
            address,
            port: 5443,
            push_port: 5444,
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            image: "micado-registry:latest".to_owned(),
            socket: None,
        }
    }

    /// The name of the container that machines pull from, and of the volume that holds the images.
    #[must_use]
    pub fn container_name(&self) -> String {
        format!("micado-{}-registry", self.cluster)
    }

    fn name(&self, side: Side) -> String {
        match side {
            Side::Pull => self.container_name(),
            Side::Push => format!("{}-push", self.container_name()),
        }
    }

    fn port_of(&self, side: Side) -> u16 {
        match side {
            Side::Pull => self.port,
            Side::Push => self.push_port,
        }
    }
}

/// One of the two containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// For certificates of the cluster's authority, to read.
    Pull,
    /// For certificates of the writers' authority, to read and write.
    Push,
}

/// Names of both containers.
pub(super) fn names(own: &OwnRegistry) -> [String; 2] {
    [Side::Pull, Side::Push].map(|side| own.name(side))
}

/// Name of the container that collects garbage.
pub(super) fn collector_name(own: &OwnRegistry) -> String {
    format!("{}-gc", own.container_name())
}

/// Labels of a container of the registry, made from this configuration.
fn labelled(own: &OwnRegistry, config: &str) -> HashMap<String, String> {
    let cluster = (labels::CLUSTER.to_owned(), own.cluster.to_string());
    [cluster, (CONFIG_LABEL.to_owned(), config.to_owned())].into()
}

/// Path of the collector's configuration, its files and its labels.
pub(super) fn collector_config(
    own: &OwnRegistry,
) -> (String, Vec<(&'static str, String)>, HashMap<String, String>) {
    let none = Identity {
        certificate: String::new(),
        key: String::new(),
    };
    let [config, ..] = files(Side::Push, "", &none, own.push_port);
    let path = format!("/{HOME}/{}", config.0);
    (path, vec![config], labelled(own, "collector"))
}

/// Makes sure that both containers are there, made from this configuration, and started. Safe to
/// repeat after a crash at any point. While garbage is collected, the writing side stays as it is;
/// a collector that was left behind by a crash is removed before that side runs again.
pub(super) async fn ensure(
    docker: &Docker,
    pki: &Pki,
    writers: &Pki,
    own: &OwnRegistry,
    collecting: bool,
) -> Result<(), EngineError> {
    let names = ["127.0.0.1", own.address.as_str()].map(str::to_owned);
    let server = pki
        .lasting_server_certificate("registry", &names)
        .map_err(|error| EngineError::Refused(error.to_string()))?;
    let image = ask(
        || format!("look for image `{}`", own.image),
        docker.inspect_image(&own.image),
    )
    .await
    .map_err(|error| match error {
        EngineError::NotFound(text) => EngineError::Refused(format!(
            "{text}; build it with scripts/registry-image/build"
        )),
        other => other,
    })?;
    let image = image.id.unwrap_or_default();
    let collector = collecting.then(|| collector_name(own));
    remove_others(docker, own, collector).await?;
    for (side, clients) in [(Side::Pull, pki), (Side::Push, writers)] {
        if collecting && side == Side::Push {
            continue;
        }
        let files = files(side, clients.authority(), &server, own.port_of(side));
        ensure_side(docker, own, side, &files, &image).await?;
    }
    Ok(())
}

/// Removes containers of this registry with other names than both and this one: those that somebody
/// renamed, which hold its ports, and a collector that was left behind.
async fn remove_others(
    docker: &Docker,
    own: &OwnRegistry,
    collector: Option<String>,
) -> Result<(), EngineError> {
    let filters = [
        format!("{}={}", labels::CLUSTER, own.cluster),
        CONFIG_LABEL.to_owned(),
    ];
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), filters.to_vec())].into()),
        ..Default::default()
    };
    let listed = ask(
        || "list the registry's containers".to_owned(),
        docker.list_containers(Some(options)),
    )
    .await?;
    let wanted = names(own).into_iter().chain(collector);
    let wanted: Vec<_> = wanted.map(|name| format!("/{name}")).collect();
    for container in listed {
        let named = container.names.unwrap_or_default();
        if named.iter().any(|name| wanted.contains(name)) {
            continue;
        }
        remove_one(docker, &container.id.unwrap_or_default()).await?;
    }
    Ok(())
}

async fn ensure_side(
    docker: &Docker,
    own: &OwnRegistry,
    side: Side,
    files: &Files,
    image: &str,
) -> Result<(), EngineError> {
    let (name, port) = (own.name(side), own.port_of(side));
    let config = fingerprint(files, image, port);
    match ask(
        || format!("look for container `{name}`"),
        docker.inspect_container(&name, None),
    )
    .await
    {
        Ok(found) => match judge(&found, &own.cluster, &config) {
            Verdict::Good => return Ok(()),
            Verdict::Stopped => return start(docker, &name).await,
            Verdict::Old => remove_one(docker, &name).await?,
            Verdict::Foreign => {
                return Err(EngineError::Refused(format!(
                    "container `{name}` exists and is not this cluster's registry; rename or remove it"
                )));
            }
        },
        Err(EngineError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let options = CreateContainerOptions {
        name: Some(name.clone()),
        ..Default::default()
    };
    ask(
        || format!("make container `{name}`"),
        docker.create_container(Some(options), request(own, side, &config)),
    )
    .await?;
    upload(docker, &name, files).await?;
    start(docker, &name).await
}

/// Removes both containers.
pub(super) async fn remove(docker: &Docker, own: &OwnRegistry) -> Result<(), EngineError> {
    for name in names(own) {
        remove_one(docker, &name).await?;
    }
    Ok(())
}

pub(super) async fn remove_one(docker: &Docker, name: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions {
        force: true,
        ..Default::default()
    };
    let removal = docker.remove_container(name, Some(options));
    match ask(|| format!("remove the old container `{name}`"), removal).await {
        Err(EngineError::NotFound(_)) => Ok(()),
        outcome => outcome,
    }
}

pub(super) async fn upload(
    docker: &Docker,
    name: &str,
    files: &[(&'static str, String)],
) -> Result<(), EngineError> {
    let archive = archive(files).map_err(|error| {
        EngineError::Refused(format!("cannot pack the registry's configuration: {error}"))
    })?;
    let options = UploadToContainerOptions {
        path: "/".to_owned(),
        ..Default::default()
    };
    let upload = docker.upload_to_container(name, Some(options), body_full(archive.into()));
    ask(
        || format!("put the configuration into container `{name}`"),
        upload,
    )
    .await
}

pub(super) async fn start(docker: &Docker, name: &str) -> Result<(), EngineError> {
    ask(
        || format!("start container `{name}` (is its port free?)"),
        docker.start_container(name, None),
    )
    .await
    .map_err(|error| match error {
        // A port that is taken is answered as a fault of the engine's own.
        EngineError::Unavailable(text)
            if !text.contains(&format!("within {} s", LIMIT.as_secs())) =>
        {
            EngineError::Refused(text)
        }
        other => other,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Stopped,
    Old,
    Foreign,
}

fn judge(found: &ContainerInspectResponse, cluster: &ClusterId, config: &str) -> Verdict {
    let labels = found
        .config
        .as_ref()
        .and_then(|config| config.labels.clone())
        .unwrap_or_default();
    if labels
        .get(labels::CLUSTER)
        .is_none_or(|other| other != cluster.as_str())
    {
        return Verdict::Foreign;
    }
    if labels.get(CONFIG_LABEL).is_none_or(|other| other != config) {
        return Verdict::Old;
    }
    let restart = found.host_config.as_ref();
    let restart = restart.and_then(|host| host.restart_policy.as_ref()?.name);
    if restart.is_some_and(|name| name != RestartPolicyNameEnum::ALWAYS) {
        return Verdict::Old;
    }
    match found.state.as_ref().and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::RESTARTING) => {
            Verdict::Good
        }
        Some(ContainerStateStatusEnum::EXITED) => Verdict::Stopped,
        // Created and never started: the manager may have died before the files were in it.
        _ => Verdict::Old,
    }
}

fn request(own: &OwnRegistry, side: Side, config: &str) -> ContainerCreateBody {
    let cluster = (labels::CLUSTER.to_owned(), own.cluster.to_string());
    let port = format!("{}/tcp", own.port_of(side));
    let volume = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(own.container_name()),
        target: Some(STORAGE.to_owned()),
        read_only: Some(side == Side::Pull),
        volume_options: Some(MountVolumeOptions {
            labels: Some([cluster.clone()].into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(own.image.clone()),
        cmd: Some(vec![format!("/{HOME}/config.json")]),
        labels: Some(labelled(own, config)),
        exposed_ports: Some(vec![port.clone()]),
        host_config: Some(HostConfig {
            port_bindings: Some(HashMap::from([(
                port,
                Some(vec![PortBinding {
                    host_ip: None,
                    host_port: Some(own.port_of(side).to_string()),
                }]),
            )])),
            mounts: Some(vec![volume]),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(
                    [("max-size", "10m"), ("max-file", "2")]
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Files of a container, by name.
type Files = [(&'static str, String); 4];

fn files(side: Side, clients: &str, server: &Identity, port: u16) -> Files {
    let maintenance = match side {
        Side::Pull => serde_json::json!({
            "readonly": {"enabled": true},
            "uploadpurging": {"enabled": false},
        }),
        Side::Push => serde_json::json!({"readonly": {"enabled": false}}),
    };
    // JSON is YAML, which the registry reads.
    let config = serde_json::json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": STORAGE},
            "delete": {"enabled": side == Side::Push},
            "maintenance": maintenance,
        },
        "http": {
            "addr": format!(":{port}"),
            "tls": {
                "certificate": format!("/{HOME}/server.crt"),
                "key": format!("/{HOME}/server.key"),
                "clientcas": [format!("/{HOME}/ca.crt")],
            },
        },
    });
    [
        ("config.json", config.to_string()),
        ("ca.crt", clients.to_owned()),
        ("server.crt", server.certificate.clone()),
        ("server.key", server.key.clone()),
    ]
}

fn fingerprint(files: &[(&str, String)], image: &str, port: u16) -> String {
    let mut hash = Sha256::new();
    for (name, content) in files {
        hash.update(format!("{name} {}\n{content}", content.len()));
    }
    hash.update(format!("{image} {port}"));
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn archive(files: &[(&str, String)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("{HOME}/{name}"), content.as_bytes())?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests;
