//! Swarm services of ours that someone changes by hand are set back, and the change is named.

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, wait, web};

/// Time in which a change is noticed and undone. Copies that are too many stop meanwhile.
const SOON: u64 = 30;

/// Runs one container with the identifier of its process, as the engine shows it.
async fn only_task(cluster: &Cluster, service: &str) -> Option<String> {
    let script = format!(
        "docker service ps --filter desired-state=running --no-trunc --format '{{{{.ID}}}} {{{{.CurrentState}}}}' {service}"
    );
    let shown = cluster.on_engine(&script).await;
    let mut tasks = shown.lines().filter(|line| line.contains("Running"));
    let task = tasks.next()?.split(' ').next()?.to_owned();
    (tasks.next().is_none() && shown.lines().count() == 1).then_some(task)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_hand_are_undone_and_named() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let name = cluster.launch(&web("acme")).await.name;
    let running = ContainerState::Running;
    cluster.until_container(name.as_str(), running, 120).await;
    let service = &cluster.swarm_services().await[0];
    let task = wait("it runs", SOON, async || only_task(&cluster, service).await).await;

    let update = |what: &str| format!("docker service update --detach {what} {service}");
    // The process goes on if the change does not concern it.
    for (change, keeps) in [
        (update("--label-add micado.container=acme_other.7"), true),
        (update("--label-rm micado.cluster"), true),
        (format!("docker service scale --detach {service}=3"), false),
        (format!("docker service scale --detach {service}=0"), false),
        (update("--env-add ADDED=1"), false),
    ] {
        let before = decisions(&cluster, name.as_str()).await;
        cluster.on_engine(&change).await;
        wait(&change, SOON, async || {
            let spec = "docker service inspect --format '{{json .Spec}}'";
            let spec = cluster.on_engine(&format!("{spec} {service}")).await;
            let is_back = spec.contains(&format!("\"micado.container\":\"{name}\""))
                && spec.contains("\"micado.cluster\"")
                && spec.contains("\"Replicas\":1}")
                && !spec.contains("ADDED");
            let only = only_task(&cluster, service).await?;
            (is_back && (!keeps || only == task)).then_some(())
        })
        .await;
        cluster.until_container(name.as_str(), running, SOON).await;
        wait("the change is named", SOON, async || {
            let after = decisions(&cluster, name.as_str()).await;
            (after > before).then_some(())
        })
        .await;
    }
    let listed = cluster.look().await.expect("a list");
    assert_eq!(listed.containers.len(), 1, "{:?}", listed.containers);
    assert_eq!(cluster.swarm_services().await.len(), 1);
}

/// Number of changes by hand that `explain` tells of.
async fn decisions(cluster: &Cluster, name: &str) -> usize {
    let told = cluster.api.explain(name).await.unwrap_or_default();
    let decisions = told.iter().flat_map(|it| &it.decisions);
    let changed = decisions.filter(|it| it.text.contains("changed by others"));
    changed.count()
}
