//! Machines are drained and returned: containers move make-before-break, and a container that
//! cannot move is not lost silently.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, measured, wait, web};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

#[tokio::test(flavor = "multi_thread")]
async fn stop_moves_containers_before_it_stops_them_and_refuses_what_cannot_move() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        arguments: vec!["--max-instances", "2"],
        ..Options::default()
    })
    .await;
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    cluster
        .micado(&[
            "start",
            "-c",
            "local",
            "-a",
            "Node",
            "-f",
            "small",
            "-t",
            "second",
            "-n",
            "application",
        ])
        .await
        .ok();
    a_running_copy_is_there_all_the_time(&cluster, &name).await;

    // Two machines at most, and both full.
    for _ in 0..3 {
        let name = cluster.launch(&web("acme")).await.name.to_string();
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
    }
    cluster
        .micado(&["stop", "-t", "second"])
        .await
        .refused(1, &["second", "nowhere to go", "--force"]);
    let keeper = cluster
        .launch(&web("keeper").memory_mib(64).volume("data", "/data"))
        .await
        .name
        .to_string();
    let place = cluster
        .until_container(&keeper, ContainerState::Running, 60)
        .await
        .instance
        .expect("a place")
        .to_string();
    cluster
        .micado(&["stop", "-t", &place])
        .await
        .refused(1, &[&place, &keeper, "volume", "data", "--force"]);
    assert_eq!(cluster.look().await.expect("a view").in_use().len(), 2);

    cluster
        .micado(&["stop", "-t", &place, "--force"])
        .await
        .ok();
    cluster
        .until_instance(&place, InstanceState::Gone, 30)
        .await;
    cluster
        .until("all that was there has a new place", 60, |view| {
            view.containers
                .iter()
                .all(|it| it.state == ContainerState::Running)
                .then_some(())
        })
        .await;
}

/// `stop` of the first machine, observed at the engine: at least one copy runs at any time.
async fn a_running_copy_is_there_all_the_time(cluster: &Cluster, name: &str) {
    let (begin, stopped) = (Instant::now(), AtomicBool::new(false));
    let watch = async {
        let (mut fewest, mut most, mut looks) = (usize::MAX, 0, 0);
        while !stopped.load(Ordering::Relaxed) {
            let running = cluster.running_tasks().await.len();
            (fewest, most, looks) = (fewest.min(running), most.max(running), looks + 1);
        }
        (fewest, most, looks)
    };
    let stop = async {
        cluster.micado(&["stop", "-t", "application01"]).await.ok();
        cluster
            .until_instance("application01", InstanceState::Gone, 30)
            .await;
        stopped.store(true, Ordering::Relaxed);
    };
    let ((fewest, most, looks), ()) = tokio::join!(watch, stop);
    measured("a machine stopped, its container moved", begin.elapsed());
    assert_eq!((fewest, most), (1, 2), "running copies, at {looks} looks");
    assert_eq!(
        cluster
            .look()
            .await
            .expect("a view")
            .place_of(name)
            .as_deref(),
        Some("second")
    );
    assert!(cluster.ask(name, "/").await.starts_with("micado-web "));
    wait("its machine is given back", 10, async || {
        (cluster.machines().await.len() == 1).then_some(())
    })
    .await;
}
