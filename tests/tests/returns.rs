//! Machines that nothing needs are returned by themselves.

use micado_api::{ContainerState, InstanceState, LaunchRequest};
use micado_tests::{Cluster, Options, measured, wait, web};
use std::{num::NonZeroU32, time::Instant};

/// Launches these and waits until all of them run; returns their names.
async fn launch(cluster: &Cluster, client: &str, copies: u32) -> Vec<String> {
    let request = LaunchRequest {
        copies: NonZeroU32::new(copies).expect("at least one"),
        ..web(client)
    };
    cluster.launch(&request).await;
    let names: Vec<String> = (1..=copies)
        .map(|number| format!("{client}_micado-web.{number}"))
        .collect();
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    names
}

async fn quit(cluster: &Cluster, names: &[String]) {
    for name in names {
        cluster.micado(&["quit", "--rm", "-n", name]).await.ok();
    }
}

/// A cluster whose manager returns machines, on flavours for two and for four containers.
async fn cluster() -> Cluster {
    Cluster::start(Options {
        returns: true,
        ..Options::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_falls_empty_is_returned_after_its_hold() {
    let cluster = cluster().await;
    launch(&cluster, "stays", 4).await;
    let goes = launch(&cluster, "goes", 1).await;
    let processes = cluster.on_machine("application01", "docker ps -q").await;
    let begin = Instant::now();
    quit(&cluster, &goes).await;
    wait("explain says that it is held", 30, async || {
        let why = cluster.micado(&["explain", "application02"]).await.ok();
        why.stdout.contains("held until").then_some(())
    })
    .await;
    cluster
        .until_instance("application02", InstanceState::Gone, 150)
        .await;
    let took = begin.elapsed();
    measured("from the end of the last container to the return", took);
    assert!(took.as_secs() >= 60, "held for {took:?}");
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.in_use().len(), 1);
    assert_eq!(
        cluster.on_machine("application01", "docker ps -q").await,
        processes,
        "the others were left alone"
    );
}
