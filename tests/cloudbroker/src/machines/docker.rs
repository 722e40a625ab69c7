//! Machines as containers of an engine, each with an engine of its own.

use super::{order::Machine, software};
use crate::{
    catalogue::{Entry, What},
    config::DockerMachines,
    locked,
    record::container_of,
};
use bollard::{
    Docker as Engine, body_full,
    errors::Error,
    models::{
        ContainerCreateBody, HostConfig, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        StopContainerOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use micado_cloudsetup::local::{engine_rights, remove_cgroups};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;

/// Label of the machines of one simulator.
const REALM: &str = "cloudbroker.realm";
/// Label with the name in a machine's order.
const NAME: &str = "cloudbroker.name";
/// Time to shut down: an engine that leaves properly keeps no other engine waiting.
const SHUTDOWN_SECONDS: i32 = 4;
/// Polls until a machine that does not run has failed; before, it may be restarting.
const REBOOT_LOOKS: u32 = 30;
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Docker {
    pub(super) engine: Engine,
    config: DockerMachines,
    realm: String,
    rights: HostConfig,
    /// The host's cores.
    cores: u32,
    /// Image by the software's id.
    pub(super) images: BTreeMap<String, String>,
    /// One lock per machine, for creating and removing it.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Docker {
    pub(super) async fn prepare(
        config: DockerMachines,
        catalogue: &[Entry],
        realm: &str,
    ) -> Result<Self, String> {
        let silent = |error: Error| format!("the engine at {}: {error}", config.endpoint);
        let engine = Engine::connect_with_host(&config.endpoint)
            .map_err(silent)?
            .negotiate_version()
            .await
            .map_err(silent)?;
        let rights = engine_rights(&config.endpoint)
            .await
            .map_err(|error| error.to_string())?;
        let cores = engine
            .info()
            .await
            .map_err(silent)?
            .ncpu
            .and_then(|cores| u32::try_from(cores).ok())
            .unwrap_or(1);
        let mut images = BTreeMap::new();
        for entry in catalogue {
            if let What::Software {
                package: Some(folder),
            } = &entry.what
            {
                images.insert(
                    entry.id.clone(),
                    software::image(&engine, &config.image, &entry.name, folder).await?,
                );
            }
        }
        let docker = Self {
            engine,
            config,
            realm: realm.to_owned(),
            rights,
            cores,
            images,
            turns: Mutex::default(),
        };
        docker.ensure_network().await?;
        Ok(docker)
    }

    /// Waits for the machine's lock.
    pub(super) async fn turn(&self, id: &str) -> OwnedMutexGuard<()> {
        let turn = locked(&self.turns)
            .entry(id.to_owned())
            .or_default()
            .clone();
        turn.lock_owned().await
    }

    /// Creates and starts the machine; an existing one is started if it does not run.
    pub(super) async fn boot(&self, machine: &Machine) -> Result<(), String> {
        let container = container_of(&machine.id);
        if !machine.is_on {
            self.create(&container, machine).await?;
        }
        match self.engine.start_container(&container, None).await {
            Err(error) if status(&error) == Some(404) => {
                Err("the machine is no longer there".to_owned())
            }
            other => other.map_err(|error| format!("the machine cannot be started: {error}")),
        }
    }

    async fn create(&self, container: &str, machine: &Machine) -> Result<(), String> {
        let failed = |error: Error| format!("the machine cannot be made: {error}");
        let options = CreateContainerOptionsBuilder::default()
            .name(container)
            .build();
        match self
            .engine
            .create_container(Some(options), self.request(machine))
            .await
        {
            Ok(_) => {}
            // Created just before the program ended.
            Err(error) if status(&error) == Some(409) => {}
            Err(error) => return Err(failed(error)),
        }
        if machine.files.is_empty() {
            return Ok(());
        }
        let files = archive(&machine.files, 0o600)
            .map_err(|error| format!("the machine's files: {error}"))?;
        let into_root = UploadToContainerOptionsBuilder::default().path("/").build();
        self.engine
            .upload_to_container(container, Some(into_root), body_full(Bytes::from(files)))
            .await
            .map_err(failed)
    }

    fn request(&self, machine: &Machine) -> ContainerCreateBody {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "sizes of machines, in bytes"
        )]
        let memory = (machine.memory * f64::from(1 << 30)) as i64;
        let cpus = machine.cpus.min(self.cores);
        let own = [(REALM, self.realm.as_str()), (NAME, machine.name.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let host_config = HostConfig {
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some(i64::from(cpus) * 1_000_000_000),
            // The inner engine must see as many cores as it has. Cores are dealt by the number in
            // the id.
            cpuset_cpus: (cpus < self.cores).then(|| self.deal(&machine.id, cpus)),
            network_mode: Some(self.config.network.clone()),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            }),
            ..self.rights.clone()
        };
        ContainerCreateBody {
            hostname: Some(machine.hostname.clone()),
            image: Some(
                self.images
                    .get(&machine.software)
                    .unwrap_or(&self.config.image)
                    .clone(),
            ),
            env: Some(vec![format!("MICADO_MEMORY={memory}")]),
            labels: Some(self.config.labels.clone().into_iter().chain(own).collect()),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    fn deal(&self, id: &str, cpus: u32) -> String {
        let number = u32::from_str_radix(&id[4..13].replace('-', ""), 16).unwrap_or_default();
        let mut dealt: Vec<_> = (0..cpus).map(|next| (number + next) % self.cores).collect();
        dealt.sort_unstable();
        dealt
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The machine's address once its engine answers, or the reason why it never will.
    pub(super) async fn wait_until_up(&self, id: &str) -> Result<String, String> {
        let silent = |error: Error| format!("the machine cannot be seen: {error}");
        loop {
            if !self.comes_back(id).await {
                return Err("the machine has ended while it was booting".to_owned());
            }
            // On an error the machine has just ended, which the loop's head detects.
            if self.engine_answers(id).await.unwrap_or(false) {
                let networks = self
                    .engine
                    .inspect_container(&container_of(id), None)
                    .await
                    .map_err(silent)?
                    .network_settings;
                let networks = networks
                    .and_then(|settings| settings.networks)
                    .unwrap_or_default();
                let address = networks
                    .into_values()
                    .find_map(|network| network.ip_address.filter(|address| !address.is_empty()));
                return address.ok_or_else(|| "the machine has no address".to_owned());
            }
        }
    }

    /// Waits until the machine has ended for good; returns the reason.
    pub(super) async fn wait_for_end(&self, id: &str) -> String {
        while self.comes_back(id).await {
            let container = container_of(id);
            let mut end = std::pin::pin!(
                self.engine
                    .wait_container(&container, None::<WaitContainerOptions>)
            );
            // In any case the loop's head checks the state.
            let _ = end.next().await;
        }
        "the machine has ended".to_owned()
    }

    /// True if the machine runs or is about to.
    async fn comes_back(&self, id: &str) -> bool {
        for _ in 0..REBOOT_LOOKS {
            match self.engine.inspect_container(&container_of(id), None).await {
                Ok(found) if found.state.as_ref().and_then(|state| state.running) == Some(true) => {
                    return true;
                }
                Err(error) if status(&error) == Some(404) => return false,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        false
    }

    /// Shuts the machine down, or cuts its power, and removes all of it.
    pub(super) async fn remove(&self, id: &str, politely: bool) -> Result<(), Error> {
        self.remove_container(&container_of(id), politely).await
    }

    async fn remove_container(&self, container: &str, politely: bool) -> Result<(), Error> {
        let full_id = match self.engine.inspect_container(container, None).await {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            found => found?.id.unwrap_or_default(),
        };
        let stopped = if politely {
            let shutdown = StopContainerOptionsBuilder::default()
                .t(SHUTDOWN_SECONDS)
                .build();
            self.engine.stop_container(container, Some(shutdown)).await
        } else {
            self.engine.kill_container(container, None).await
        };
        match stopped {
            // Already gone, or not running.
            Err(error) if matches!(status(&error), Some(304 | 404 | 409)) => {}
            other => other?,
        }
        if self.config.endpoint.starts_with("unix://") {
            remove_cgroups(&full_id).await;
        }
        let with_volumes = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self
            .engine
            .remove_container(container, Some(with_volumes))
            .await
        {
            Err(error) if status(&error) == Some(404) => Ok(()),
            other => other,
        }
    }

    /// Removes every machine of this simulator, and the network if it was made here.
    pub(crate) async fn end(&self) -> Result<(), String> {
        let failed = |error: Error| error.to_string();
        let filters: HashMap<_, _> = [("label", vec![format!("{REALM}={}", self.realm)])].into();
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let containers = self
            .engine
            .list_containers(Some(options))
            .await
            .map_err(failed)?;
        let removals = containers
            .iter()
            .filter_map(|container| container.id.as_deref())
            .map(|id| self.remove_container(id, true));
        futures_util::future::try_join_all(removals)
            .await
            .map_err(failed)?;
        let network = match self
            .engine
            .inspect_network(&self.config.network, None)
            .await
        {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            other => other.map_err(failed)?,
        };
        if network
            .labels
            .is_some_and(|labels| labels.get(REALM) == Some(&self.realm))
        {
            self.engine
                .remove_network(&self.config.network)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn ensure_network(&self) -> Result<(), String> {
        match self
            .engine
            .inspect_network(&self.config.network, None)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(format!("network `{}`: {error}", self.config.network)),
        }
        let labels = self
            .config
            .labels
            .clone()
            .into_iter()
            .chain([(REALM.to_owned(), self.realm.clone())])
            .collect();
        let request = NetworkCreateRequest {
            name: self.config.network.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        let made = self.engine.create_network(request).await;
        made.map(drop)
            .map_err(|error| format!("network `{}` cannot be made: {error}", self.config.network))
    }
}

/// Status of an error response; `None` if there was no response.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// A tar of these files and their folders, owned by root.
pub(super) fn archive(files: &[(String, Vec<u8>)], mode: u32) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let folders: BTreeSet<_> = files
        .iter()
        .flat_map(|(path, _)| Path::new(path).ancestors().skip(1))
        .filter(|folder| *folder != Path::new(""))
        .collect();
    let mut header = |kind: tar::EntryType, mode: u32, path: &Path, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content)
    };
    for folder in folders {
        header(tar::EntryType::Directory, 0o755, folder, &[])?;
    }
    for (path, content) in files {
        header(tar::EntryType::Regular, mode, Path::new(path), content)?;
    }
    tar.into_inner()
}
