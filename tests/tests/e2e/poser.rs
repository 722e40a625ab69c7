//! A machine that poses as another gets none of its containers.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, small_machine, wait, web};
use std::{collections::BTreeMap, time::Duration};

const VICTIM: &str = "victim";
const POSER: &str = "poser";

/// Time in which an engine tells the Swarm of changed labels: it looks each 10 s.
const TOLD: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_claims_to_be_another_gets_nothing_of_it() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    for tag in [VICTIM, POSER] {
        let machine = small_machine(tag);
        cluster.api.start(&machine).await.expect("start");
        cluster.until_instance(tag, InstanceState::Active, 60).await;
    }
    let labels = cluster
        .on_machine(
            VICTIM,
            "jq --compact-output .labels /etc/docker/daemon.json",
        )
        .await;
    let labels = labels.trim();
    assert!(labels.contains("micado."), "{labels}");

    // Its engine takes the labels of the other, and tells them the Swarm.
    let pose = format!(
        "jq '.labels = {labels}' /etc/docker/daemon.json >/tmp/new && cp /tmp/new /etc/docker/daemon.json && kill -HUP $(cat /run/docker.pid)"
    );
    cluster.on_machine(POSER, &pose).await;
    wait("both claim to be one", TOLD, async || {
        let claims = cluster.claims().await;
        (claims.len() == 2 && claims[0] == claims[1]).then_some(())
    })
    .await;
    for _ in 0..4 {
        let name = launch(&cluster).await;
        cluster
            .until_container(&name, ContainerState::Running, 120)
            .await;
    }
    let (listed, found) = (listed(&cluster).await, found(&cluster).await);
    assert_eq!(listed, found, "containers run where they are listed");

    // It leaves, and joins again as a new node with the labels of the other.
    let token = cluster.worker_token().await;
    let join = format!(
        "at=$(docker info --format '{{{{(index .Swarm.RemoteManagers 0).Addr}}}}') && docker swarm leave && docker swarm join --token {token} $at"
    );
    cluster.on_machine(POSER, &join).await;
    wait("the new node is closed, and shown", 60, async || {
        let told = cluster.api.explain(VICTIM).await.ok()?;
        let mut decisions = told.iter().flat_map(|it| &it.decisions);
        decisions
            .any(|it| it.text.contains("claims to be victim"))
            .then_some(())
    })
    .await;
    // Two more: one for each machine. The Swarm takes the poser's old node for ready until it has
    // missed its heartbeats, so what is placed there waits.
    let more = [launch(&cluster).await, launch(&cluster).await];
    cluster
        .until("one of them runs on the victim", 60, |view| {
            let mut running = more
                .iter()
                .filter_map(|name| view.container_in(name, ContainerState::Running));
            running
                .any(|it| {
                    it.instance
                        .as_ref()
                        .is_some_and(|tag| tag.as_str() == VICTIM)
                })
                .then_some(())
        })
        .await;
    // Time in which a task would start there.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let on_poser = cluster.on_machine(POSER, "docker ps --quiet").await;
    assert_eq!(on_poser.trim(), "", "nothing runs on a node that poses");
}

async fn launch(cluster: &Cluster) -> String {
    let request = web("acme").environment(&["SECRET=of the victim"]);
    let request = request.memory_mib(32);
    cluster.launch(&request).await.name.to_string()
}

/// Number of containers on each machine, as listed.
async fn listed(cluster: &Cluster) -> BTreeMap<String, usize> {
    let view = cluster.look().await.expect("a view");
    let mut counts = BTreeMap::from([(VICTIM.to_owned(), 0), (POSER.to_owned(), 0)]);
    for container in &view.containers {
        let tag = container.instance.as_ref().expect("a machine").to_string();
        *counts.entry(tag).or_default() += 1;
    }
    counts
}

/// Number of containers on each machine, as its engine says.
async fn found(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for tag in [VICTIM, POSER] {
        let running = cluster.on_machine(tag, "docker ps --quiet").await;
        counts.insert(tag.to_owned(), running.lines().count());
    }
    counts
}
