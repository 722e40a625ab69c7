//! The manager's engine loses power under the manager and comes back.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, job, measured, web};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_engine_was_away_is_caught_up() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(cluster.launch(&web("acme")).await.name.to_string());
    }
    let ends = cluster
        .launch(&job(web("ends")).memory_mib(64))
        .await
        .name
        .to_string();
    for name in names.iter().chain([&ends]) {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    let before = cluster.look().await.expect("a view");
    let tasks = cluster.running_tasks().await;

    cluster.kill_engine().await;
    cluster
        .until("containers are of unknown state", 20, |view| {
            view.containers
                .iter()
                .all(|it| it.state == ContainerState::Unknown)
                .then_some(())
        })
        .await;
    assert!(
        cluster.api.status().await.expect("status").blind.is_some(),
        "it says that it sees nothing"
    );
    assert!(
        cluster.api.launch(&web("late")).await.is_err(),
        "without the engine nothing is known of the image"
    );
    // One process ends meanwhile, unobserved.
    let gone = before.container(&ends).expect("it is listed");
    ask_to_end(&cluster, gone).await;
    let begin = Instant::now();
    cluster.revive_engine().await;

    cluster
        .until_container(&ends, ContainerState::Completed, 60)
        .await;
    measured(
        "from the engine's return until what changed is known",
        begin.elapsed(),
    );
    for name in &names {
        let now = cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
        assert_eq!(
            Some(&now.instance),
            before.container(name).map(|it| &it.instance),
            "{name} stays where it is"
        );
    }
    let after = cluster
        .until("all instances are back", 60, |view| {
            view.in_use()
                .iter()
                .all(|it| it.state == InstanceState::Active)
                .then(|| view.clone())
        })
        .await;
    assert_eq!(
        after.instances.len(),
        before.instances.len(),
        "no machine was rented or given up: {:?}",
        after.instances
    );
    let still: Vec<_> = cluster.running_tasks().await.into_iter().collect();
    assert!(
        still
            .iter()
            .all(|(task, container)| tasks.get(task) == Some(container)),
        "no container was started anew: {tasks:?}, now {still:?}"
    );
    assert_eq!(still.len(), names.len());

    // Everything works again: the registry, the network, the API.
    let name = cluster.launch(&web("late")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    assert!(cluster.ask(&name, "/").await.starts_with("micado-web "));
}

/// Makes the web server of a container exit with 0.
async fn ask_to_end(cluster: &Cluster, container: &micado_api::ContainerView) {
    let port = container
        .ports
        .iter()
        .find_map(|port| port.host)
        .expect("a published port");
    let answer = cluster
        .get(
            container.address.as_deref().expect("an address"),
            port,
            "/exit?code=0",
        )
        .await;
    assert_eq!(answer.as_deref(), Some("ending with 0\n"));
}
