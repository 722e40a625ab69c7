//! Garbage collection: deletes what no manifest in the registry refers to. The writing side is
//! stopped meanwhile, because a push would lose layers; machines go on pulling from the other
//! (docs/decisions/022).

use super::{
    Registry,
    server::{OwnRegistry, collector_config, collector_name, remove_one, start, upload},
};
use crate::engine::{EngineError, docker::ask};
use bollard::{
    Docker,
    models::{ContainerCreateBody, ContainerStateStatusEnum, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, LogsOptions, StopContainerOptions,
        WaitContainerOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};

/// Upper bound for a collection. The next one goes on where it ended.
const MOST: Duration = Duration::from_secs(600);
/// Time for the writing side to stop, in seconds. No push is in flight.
const GRACE: i32 = 5;

impl Registry {
    /// Collects garbage on a task of its own: a caller that goes away does not end it. Launches of
    /// new images and builds wait until it is over, for at most 10 min.
    ///
    /// # Errors
    /// `Refused` for a registry that the manager does not run, `Unavailable` when the collection
    /// fails. The registry takes pushes again in any case.
    pub async fn collect(self: &Arc<Self>) -> Result<(), EngineError> {
        let registry = self.clone();
        let collected = tokio::spawn(async move { registry.collect_now().await });
        let ended = |_| EngineError::Unavailable("the garbage collection broke off".to_owned());
        collected.await.map_err(ended)?
    }

    /// Collects garbage at each tick. A failure is logged, and the next tick tries again.
    pub async fn collect_at(self: Arc<Self>, mut ticks: mpsc::Receiver<()>) {
        while ticks.recv().await.is_some() {
            drop(self.collect().await);
        }
    }

    async fn collect_now(&self) -> Result<(), EngineError> {
        self.is_own()?;
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let _push = self.pushing.lock().await;
        // A registry that never had an image has no folder to search, which counts as a failure.
        if self.reading.repositories().await?.is_empty() {
            return Ok(());
        }
        let begin = Instant::now();
        keeper.pause_writer().await;
        let collected = timeout(MOST, run(&self.docker, keeper.own())).await;
        let collected = collected.unwrap_or_else(|_| {
            let minutes = MOST.as_secs() / 60;
            let message = format!("it took more than {minutes} min and was ended");
            Err(EngineError::Unavailable(message))
        });
        let collected = keeper.resume_writer(&self.writing).await.and(collected);
        match &collected {
            Ok(()) => {
                tracing::info!(time = ?begin.elapsed(), "garbage of the registry is collected")
            }
            Err(error) => tracing::warn!(%error, "garbage of the registry is not collected"),
        }
        collected
    }
}

/// Stops the writing side, and runs the collector to its end.
async fn run(docker: &Docker, own: &OwnRegistry) -> Result<(), EngineError> {
    let [_, writer] = super::server::names(own);
    let options = StopContainerOptions {
        t: Some(GRACE),
        signal: None,
    };
    let stopping = docker.stop_container(&writer, Some(options));
    match ask(|| format!("stop container `{writer}`"), stopping).await {
        Ok(()) | Err(EngineError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let name = collector_name(own);
    remove_one(docker, &name).await?;
    make(docker, own, &name).await?;
    start(docker, &name).await?;
    let mut ended = docker.wait_container(&name, None::<WaitContainerOptions>);
    // The engine reports an exit code other than 0 as an error; the container is asked below.
    drop(ended.next().await);
    let state = docker.inspect_container(&name, None::<InspectContainerOptions>);
    let state = ask(|| format!("look at container `{name}`"), state)
        .await?
        .state;
    let state = state.unwrap_or_default();
    let code = state.exit_code.unwrap_or_default();
    match state.status {
        Some(ContainerStateStatusEnum::EXITED) if code == 0 => Ok(()),
        Some(ContainerStateStatusEnum::EXITED) => {
            let log = last_line(docker, &name).await;
            let message = format!("the collector ended with code {code}: {log}");
            Err(EngineError::Unavailable(message))
        }
        _ => Err(EngineError::Unavailable(
            "the collector's end was not observed".to_owned(),
        )),
    }
}

/// Makes the collector's container: the registry's program and volume, without a network.
async fn make(docker: &Docker, own: &OwnRegistry, name: &str) -> Result<(), EngineError> {
    let inspecting = docker.inspect_image(&own.image);
    let image = ask(|| format!("look for image `{}`", own.image), inspecting).await?;
    let entrypoint = image.config.and_then(|config| config.entrypoint);
    let program = entrypoint.and_then(|words| words.into_iter().next());
    let program = program
        .ok_or_else(|| EngineError::Refused(format!("image `{}` has no entry point", own.image)))?;
    let (config, files, labels) = collector_config(own);
    let volume = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(own.container_name()),
        target: Some(super::server::STORAGE.to_owned()),
        ..Default::default()
    };
    let body = ContainerCreateBody {
        image: Some(own.image.clone()),
        entrypoint: Some(vec![program]),
        cmd: Some(vec!["garbage-collect".to_owned(), config]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            mounts: Some(vec![volume]),
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptions {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    let making = docker.create_container(Some(options), body);
    ask(|| format!("make container `{name}`"), making).await?;
    upload(docker, name, &files).await
}

/// The last line of a container's log, for a message.
async fn last_line(docker: &Docker, name: &str) -> String {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: "1".to_owned(),
        ..Default::default()
    };
    let lines = docker.logs(name, Some(options));
    let lines: Vec<_> = lines.try_collect().await.unwrap_or_default();
    let text: String = lines.iter().map(ToString::to_string).collect();
    micado_api::foreign::excerpt(text.trim(), 300)
}
