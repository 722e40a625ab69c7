//! Diagnosis of a cluster after a failed test: views of the manager, its log, and the state of the
//! engines.

use crate::{host::Host, manager::log_tail};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    query_parameters::{ListNodesOptions, ListServicesOptions, ListTasksOptions},
};
use micado_api::{Client, ConnectOptions};
use std::{fmt::Debug, path::Path, time::Duration};

/// Number of lines of the manager's log.
const LOG_LINES: usize = 80;
/// Time-out: a broken cluster may not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints all of it to stderr.
pub(crate) async fn print(host: &Host, network: &str, folder: &Path) {
    eprintln!("\n==== the manager shows");
    show(manager(folder)).await;
    eprintln!(
        "\n==== the manager wrote, last {LOG_LINES} lines\n{}",
        log_tail(folder, LOG_LINES)
    );
    eprintln!("\n==== the manager's engine has");
    show(engine(folder)).await;
    eprintln!("\n==== the host's engine has");
    for container in host.on_network(network).await {
        let (names, id) = (
            container.names.unwrap_or_default().join(" "),
            container.id.unwrap_or_default(),
        );
        eprintln!(
            "{names} {}\n{}",
            container.status.unwrap_or_default(),
            indented(&host.log(&id).await)
        );
    }
}

async fn show(what: impl Future<Output = Result<String, String>>) {
    let text = tokio::time::timeout(PATIENCE, what)
        .await
        .unwrap_or_else(|_| Err("no answer".to_owned()));
    eprintln!(
        "{}",
        text.unwrap_or_else(|error| format!("(nothing: {error})"))
    );
}

async fn manager(folder: &Path) -> Result<String, String> {
    let words = |error: micado_api::ClientError| error.to_string();
    let client = Client::connect(
        &format!("unix://{}", folder.join("micado.sock").display()),
        &ConnectOptions::default(),
    )
    .map_err(words)?;
    let (status, instances, containers) = tokio::try_join!(
        client.status(),
        client.instances(true),
        client.containers(true)
    )
    .map_err(words)?;
    let mut text = format!("{status:?}\n{}{}", lines(&instances), lines(&containers));
    let subjects = containers
        .iter()
        .map(|it| it.name.to_string())
        .chain(instances.iter().map(|it| it.tag.to_string()));
    for subject in subjects {
        text += &client
            .explain(&subject)
            .await
            .map_or_else(|error| format!("{subject}: {error}\n"), |told| lines(&told));
    }
    Ok(text)
}

async fn engine(folder: &Path) -> Result<String, String> {
    let words = |error: bollard::errors::Error| error.to_string();
    let socket = folder.join("engine/docker.sock").display().to_string();
    let docker = Docker::connect_with_unix(&socket, PATIENCE.as_secs(), API_DEFAULT_VERSION)
        .map_err(words)?;
    let nodes = docker
        .list_nodes(None::<ListNodesOptions>)
        .await
        .map_err(words)?;
    let services = docker
        .list_services(None::<ListServicesOptions>)
        .await
        .map_err(words)?;
    let tasks = docker
        .list_tasks(None::<ListTasksOptions>)
        .await
        .map_err(words)?;
    let nodes: Vec<_> = nodes
        .into_iter()
        .map(|it| {
            (
                it.id,
                it.description.and_then(|it| it.hostname),
                it.status,
                it.spec.and_then(|it| it.availability),
            )
        })
        .collect();
    let services: Vec<_> = services
        .into_iter()
        .map(|it| (it.id, it.spec.map(|spec| (spec.name, spec.labels))))
        .collect();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|it| {
            (
                it.id,
                it.service_id,
                it.node_id,
                it.desired_state,
                it.status,
            )
        })
        .collect();
    Ok(format!(
        "nodes:\n{}services:\n{}tasks:\n{}",
        lines(&nodes),
        lines(&services),
        lines(&tasks)
    ))
}

fn lines<T: Debug>(things: &[T]) -> String {
    things
        .iter()
        .map(|thing| format!("  {thing:?}\n"))
        .collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
