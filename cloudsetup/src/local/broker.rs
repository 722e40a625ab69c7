//! The broker's calls on the hosting engine.

use super::{
    LocalCloud, container,
    engine::{refused_or_unknown, status},
    host,
};
use crate::{Broker, BrokerError, Machine, MachineState, Order, files};
use async_trait::async_trait;
use bollard::{
    Docker, body_full,
    errors::Error,
    models::ContainerSummary,
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use micado_api::{CloudName, ClusterId};
use std::{collections::HashMap, future::Future, time::Duration};

/// Folder of a machine's files, without the leading `/`.
const HOME: &str = "etc/micado";
/// Time-out of a whole broker call.
const CALL_TIMEOUT: Duration = Duration::from_secs(180);
/// Time for a machine to shut down.
const SHUTDOWN_SECONDS: i32 = 4;
/// Poll interval while a container is being removed.
const REMOVAL_POLL: Duration = Duration::from_millis(50);

#[async_trait]
impl Broker for LocalCloud {
    fn cloud(&self) -> &CloudName {
        &self.cloud.name
    }

    async fn list(&self, cluster: &ClusterId) -> Result<Vec<Machine>, BrokerError> {
        bounded(async {
            let engine = self.engine().await?;
            let containers = containers(
                &engine,
                container::filters(Some((cluster, &self.cloud.name))),
            )
            .await?;
            Ok(containers.iter().filter_map(container::machine).collect())
        })
        .await
    }

    async fn launch(&self, order: &Order) -> Result<Machine, BrokerError> {
        bounded(async {
            let archive = files::archive(
                order
                    .files
                    .iter()
                    .map(|(name, content)| (name.as_str(), content.as_slice())),
                HOME,
            )?;
            let engine = self.engine().await?;
            self.ensure_network(&engine, &order.cluster).await?;
            match self.find(&engine, &order.name).await? {
                Some(machine) if machine.state != MachineState::Pending => return Ok(machine),
                // Left behind by an interrupted order, created but never started. The rest of that
                // order may still arrive, and must find nothing; `discard` spares a container that
                // has started meanwhile.
                Some(half_made) if discard(&engine, &half_made.id).await? => {}
                Some(_) => {
                    return self
                        .find(&engine, &order.name)
                        .await?
                        .ok_or_else(|| vanished(&order.name));
                }
                None => {}
            }
            let machine = self.create(&engine, order).await?;
            boot(&engine, &machine, archive).await?;
            self.find(&engine, &order.name)
                .await?
                .ok_or_else(|| vanished(&order.name))
        })
        .await
    }

    /// The container is removed last: while it is listed, a repeated call finishes what an
    /// interrupted one left.
    async fn terminate(&self, name: &str) -> Result<(), BrokerError> {
        bounded(async {
            let engine = self.engine().await?;
            let Some(machine) = self.find(&engine, name).await? else {
                return Ok(());
            };
            // A shutdown, not a power cut: an engine that leaves properly keeps no other engine
            // waiting. An engine that does not react is killed.
            let shutdown = StopContainerOptionsBuilder::default()
                .t(SHUTDOWN_SECONDS)
                .build();
            match engine.stop_container(&machine.id, Some(shutdown)).await {
                Ok(()) => {}
                // Already gone, or not running.
                Err(error) if matches!(status(&error), Some(304 | 404 | 409)) => {}
                Err(error) => return Err(refused_or_unknown(error)),
            }
            if host::socket(&self.endpoint).is_some() {
                host::remove_cgroups(&machine.id).await;
            }
            remove(&engine, &machine.id).await
        })
        .await
    }
}

impl LocalCloud {
    /// Finds the machine of this name. A container of that name that is not our machine is an
    /// error: it must never be touched.
    async fn find(&self, engine: &Docker, name: &str) -> Result<Option<Machine>, BrokerError> {
        // The engine matches names as patterns; pick the exact one here.
        let filters = HashMap::from([("name".to_owned(), vec![format!("^/{name}$")])]);
        let named = containers(engine, filters).await?;
        let slashed = format!("/{name}");
        let Some(found) = named
            .iter()
            .find(|one| one.names.iter().flatten().any(|other| *other == slashed))
        else {
            return Ok(None);
        };
        let machine = container::machine(found)
            .filter(|_| container::is_machine(found.labels.as_ref(), &self.cloud.name, name));
        let foreign = || {
            BrokerError::Refused(format!(
                "a container `{name}` exists that is not a machine of cloud `{}`: rename or remove it",
                self.cloud.name
            ))
        };
        machine.map(Some).ok_or_else(foreign)
    }

    /// Creates the container without starting it.
    async fn create(&self, engine: &Docker, order: &Order) -> Result<Machine, BrokerError> {
        let flavour = self
            .cloud
            .flavour(order.flavour.as_str())
            .map_err(|error| BrokerError::Refused(error.to_string()))?;
        let info = engine.info().await.map_err(refused_or_unknown)?;
        let cpus = usize::try_from(info.ncpu.unwrap_or(1)).unwrap_or(1);
        let host = container::Host {
            pinned: container::pinned(&containers(engine, container::filters(None)).await?, cpus),
            unified_cgroups: super::engine::unified_cgroups(&info),
            capabilities: host::capabilities(&self.endpoint).await,
        };
        let options = CreateContainerOptionsBuilder::default()
            .name(&order.name)
            .build();
        let request = container::request(order, &self.cloud.name, flavour, &self.config, &host);
        match engine.create_container(Some(options), request).await {
            Ok(_) => {}
            // The same order was faster, or the name is taken: `find` distinguishes the two.
            Err(error) if status(&error) == Some(409) => {}
            Err(error) if status(&error) == Some(404) => {
                let image = &self.config.image;
                return Err(BrokerError::Refused(format!(
                    "{}: build `{image}` with scripts/node-image/build",
                    refused_or_unknown(error)
                )));
            }
            Err(error) => return Err(refused_or_unknown(error)),
        }
        self.find(engine, &order.name)
            .await?
            .ok_or_else(|| vanished(&order.name))
    }
}

/// Copies the files into a container that was never started, and starts it. A container that cannot
/// start is removed, so a refusal leaves nothing. Addressed by id, never by name: a late call must
/// not reach the container of the next order.
async fn boot(engine: &Docker, machine: &Machine, archive: Bytes) -> Result<(), BrokerError> {
    let into_root = UploadToContainerOptionsBuilder::default().path("/").build();
    let uploaded = engine
        .upload_to_container(&machine.id, Some(into_root), body_full(archive))
        .await;
    let booted = match uploaded {
        Ok(()) => engine.start_container(&machine.id, None).await,
        Err(error) => Err(error),
    };
    match booted {
        Err(error) if status(&error) == Some(404) => Err(vanished(&machine.name)),
        Err(Error::DockerResponseServerError { message, .. }) => {
            remove(engine, &machine.id).await?;
            Err(BrokerError::Refused(message))
        }
        other => other.map_err(refused_or_unknown),
    }
}

/// The engine removes a container when its creator hangs up early; such a container is visible for
/// a moment.
fn vanished(name: &str) -> BrokerError {
    BrokerError::Unknown(format!(
        "container `{name}`, or its network, was removed while it was being made: ask again"
    ))
}

/// Removes a container with its anonymous volumes; resolves once it is no longer listed.
async fn remove(engine: &Docker, id: &str) -> Result<(), BrokerError> {
    loop {
        let with_volumes = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match engine.remove_container(id, Some(with_volumes)).await {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            // "removal is already in progress": the engine does not report the end.
            Err(error) if status(&error) == Some(409) => tokio::time::sleep(REMOVAL_POLL).await,
            Err(error) => return Err(refused_or_unknown(error)),
            Ok(()) => {}
        }
    }
}

/// Removes a container that was never started; `false` if it has been started after all. The engine
/// decides: it waits for a start in flight.
async fn discard(engine: &Docker, id: &str) -> Result<bool, BrokerError> {
    loop {
        let with_volumes = RemoveContainerOptionsBuilder::default().v(true).build();
        match engine.remove_container(id, Some(with_volumes)).await {
            Err(error) if status(&error) == Some(404) => return Ok(true),
            Err(error) if status(&error) == Some(409) && error.to_string().contains("running") => {
                return Ok(false);
            }
            Err(error) if status(&error) == Some(409) => tokio::time::sleep(REMOVAL_POLL).await,
            Err(error) => return Err(refused_or_unknown(error)),
            Ok(()) => {}
        }
    }
}

async fn containers(
    engine: &Docker,
    filters: HashMap<String, Vec<String>>,
) -> Result<Vec<ContainerSummary>, BrokerError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    engine
        .list_containers(Some(options))
        .await
        .map_err(refused_or_unknown)
}

/// The result of the call, or `Unknown` after the time-out.
async fn bounded<T>(call: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    let late = |_| {
        Err(BrokerError::Unknown(format!(
            "no answer from the engine within {} s",
            CALL_TIMEOUT.as_secs()
        )))
    };
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(late)
}
