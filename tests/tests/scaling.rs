//! A service with a policy follows its load: copies come with it and go after it.

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, measured, wait, web};
use std::time::Instant;

const SERVICE: &str = "acme_micado-web";

/// Time of even load after which a copy counts as warm, in milliseconds.
const WARM: u64 = 35_000;

#[tokio::test(flavor = "multi_thread")]
async fn copies_come_with_the_load_and_go_after_it() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let first = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&first, ContainerState::Running, 60)
        .await;
    let set = ["policy", "set", SERVICE, "--cpu", "70%", "--max", "2"];
    let set = [&set[..], &["--look-back", "60s"]].concat();
    println!("{}", cluster.micado(&set).await.ok().stdout);
    wait("the first copy is warm", 90, async || {
        let verdict = cluster.api.scaling(SERVICE).await.ok()?.verdict?;
        (verdict.at.0 - verdict.since.0 >= WARM).then_some(())
    })
    .await;
    let metrics = cluster.micado(&["top"]).await.ok().stdout;
    println!("{metrics}");

    // 0.35 cores: twice what one copy carries at 70 % of 0.25 cores.
    let step = Instant::now();
    cluster.ask(&first, "/load?millicores=350").await;
    let running = async |count: usize| {
        let view = cluster.look().await.ok()?;
        let running = view.containers.iter();
        let running = running.filter(|it| it.state == ContainerState::Running);
        (running.count() == count && view.containers.len() == count).then_some(())
    };
    wait("a second copy runs", 30, async || running(2).await).await;
    measured("from the load step to the running copy", step.elapsed());

    let end = Instant::now();
    cluster.ask(&first, "/load?millicores=0").await;
    wait("one copy is left", 240, async || running(1).await).await;
    measured("from the end of the load to one copy", end.elapsed());

    let why = cluster.micado(&["explain", SERVICE]).await.ok().stdout;
    println!("{why}");
    assert!(why.contains("grew 1 -> 2: "), "{why}");
    assert!(why.contains("shrank 2 -> 1: "), "{why}");
}
