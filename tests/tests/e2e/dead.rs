//! Machines lose power: their containers run elsewhere, on machines with room or on new ones.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{
    Cluster, Options, Request, Setup, View, measured, small_machine, tools, wait, web,
};
use std::time::Instant;

/// Upper bound for the absence of a container if another machine has room for it, in seconds.
const AWAY: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_machine_that_lost_power_run_elsewhere_within_30_s() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    for tag in ["first", "second"] {
        cluster.api.start(&small_machine(tag)).await.expect("start");
        cluster.until_instance(tag, InstanceState::Active, 60).await;
    }
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let running = cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    let (lost, left) = if running.instance.expect("a place").as_str() == "first" {
        ("first", "second")
    } else {
        ("second", "first")
    };

    let begin = Instant::now();
    cluster.kill_machine(lost).await;
    let is_there = |view: &View| {
        (view.place_of(&name)? == left)
            .then(|| view.container_in(&name, ContainerState::Running))
            .flatten()
            .map(|_| ())
    };
    cluster
        .until("it runs on the machine that is left", AWAY, is_there)
        .await;
    measured(
        "from the loss of a machine until its container runs on another",
        begin.elapsed(),
    );
    check_that_it_failed_and_is_cleaned_up(&cluster, lost).await;
    assert!(cluster.ask(&name, "/").await.starts_with("micado-web "));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_name_do_not_go_to_a_machine_that_lost_power_for_long() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    for tag in ["first", "second"] {
        cluster.api.start(&small_machine(tag)).await.expect("start");
        cluster.until_instance(tag, InstanceState::Active, 60).await;
    }
    let copies = [
        cluster.launch(&web("acme")).await,
        cluster.launch(&web("acme")).await,
    ]
    .map(|it| it.name.to_string());
    let asks = cluster
        .launch(&tools("acme").memory_mib(32))
        .await
        .name
        .to_string();
    for name in copies.iter().chain([&asks]) {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    cluster.until_reached(&asks, 30).await;
    let view = cluster.look().await.expect("a view");
    let here = view.place_of(&asks).expect("a place");
    let (lost, away): (Vec<String>, Vec<String>) = copies
        .iter()
        .filter_map(|name| Some((view.place_of(name)?, name.clone())))
        .filter(|(tag, _)| *tag != here)
        .unzip();
    let ([lost], [away]) = (lost.as_slice(), away.as_slice()) else {
        panic!("copies are apart: {view:?}")
    };
    let [name, _, own] = cluster.names_of(away).await;
    wait("both copies are found by name", 10, async || {
        (found(&cluster, &asks, &name).await.len() == 2).then_some(())
    })
    .await;
    let gone = found(&cluster, &asks, &own).await;
    assert_eq!(gone.len(), 1);

    let begin = Instant::now();
    cluster.kill_machine(lost).await;
    let runs = |view: &View| {
        (view.place_of(away)? == here)
            .then(|| view.container_in(away, ContainerState::Running))
            .flatten()
            .map(|_| ())
    };
    cluster
        .until("it runs where another one does", AWAY, runs)
        .await;
    measured(
        "from the loss of a machine until its container runs where another one does",
        begin.elapsed(),
    );
    let is_gone = async || {
        let now = found(&cluster, &asks, &name).await;
        (now.len() == 2 && !now.contains(&gone[0])).then_some(())
    };
    wait(
        "by name only copies are found that are there",
        AWAY,
        is_gone,
    )
    .await;
    measured(
        "from the loss of a machine until no request by name goes there",
        begin.elapsed(),
    );
}

/// Addresses of a name as resolved in this container.
async fn found(cluster: &Cluster, container: &str, name: &str) -> Vec<String> {
    let answer = cluster
        .execute(container, &["nslookup", name], b"")
        .await
        .stdout;
    let lines = answer.lines().skip_while(|line| !line.starts_with("Name:"));
    lines
        .filter_map(|line| Some(line.strip_prefix("Address:")?.trim().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_rented_for_the_containers_of_the_last_one() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;

    let begin = Instant::now();
    cluster.kill_machine("application01").await;
    cluster
        .until("a machine is rented in its place", AWAY, |view| {
            view.instance("application02").map(|_| ())
        })
        .await;
    measured(
        "from the loss of the last machine until another is rented",
        begin.elapsed(),
    );
    let waiting = cluster
        .look()
        .await
        .expect("a view")
        .container(&name)
        .cloned()
        .expect("it is listed");
    assert!(
        waiting.state == ContainerState::Waiting
            && waiting
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains("application02")),
        "{waiting:?}"
    );
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    measured(
        "from the loss of the last machine until its container runs",
        begin.elapsed(),
    );
    check_that_it_failed_and_is_cleaned_up(&cluster, "application01").await;
    assert_eq!(cluster.machines().await.len(), 1);
}

async fn check_that_it_failed_and_is_cleaned_up(cluster: &Cluster, tag: &str) {
    let failed = cluster.until_instance(tag, InstanceState::Failed, 10).await;
    assert!(
        failed
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains("dead") || reason.contains("not answer")),
        "{failed:?}"
    );
    wait("its machine is given back", 10, async || {
        cluster
            .machines()
            .await
            .iter()
            .all(|it| it.tag != tag)
            .then_some(())
    })
    .await;
    wait("its node is forgotten", 30, async || {
        cluster
            .nodes()
            .await
            .iter()
            .all(|node| node != tag)
            .then_some(())
    })
    .await;
}
