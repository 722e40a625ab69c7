//! Machines that nothing needs are returned by themselves, and a drain is cancelled when its room
//! is needed again.

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

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_during_a_drain_cancels_it_and_orders_nothing() {
    let cluster = cluster().await;
    let first = launch(&cluster, "first", 4).await;
    launch(&cluster, "second", 2).await;
    // The containers of the second machine fit on the first, and go one after the other.
    quit(&cluster, &first[..2]).await;
    wait("the second machine is drained", 150, async || {
        let view = cluster.look().await.ok()?;
        let second = view.instance("application02")?;
        (second.state == InstanceState::Draining).then_some(())
    })
    .await;
    let stayed = "second_micado-web.2";
    let ps = "docker ps -q --filter name=c-second-micado-web-2-";
    let process = async || cluster.on_machine("application02", ps).await;
    let before = process().await;
    let begin = Instant::now();
    // The last room of the first machine, and room of the second.
    cluster.launch(&web("third")).await;
    cluster.launch(&web("third")).await;
    cluster
        .until_instance("application02", InstanceState::Active, 30)
        .await;
    measured("from the launch to the cancelled drain", begin.elapsed());
    for name in ["third_micado-web.1", "third_micado-web.2"] {
        cluster
            .until_container(name, ContainerState::Running, 30)
            .await;
    }
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.instances.len(), 2, "no machine was ordered");
    assert_eq!(view.place_of(stayed).as_deref(), Some("application02"));
    assert!(!before.trim().is_empty());
    assert_eq!(
        process().await,
        before,
        "what has not moved keeps its process"
    );
    let why = cluster.micado(&["explain", "application02"]).await.ok();
    assert!(why.stdout.contains("is in use again: "), "{}", why.stdout);
}
