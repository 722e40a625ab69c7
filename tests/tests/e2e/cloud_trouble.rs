//! Clouds fail in every way: the result is one machine, or none and a clear reason.

use micado_api::{ContainerState, ContainerView, InstanceState};
use micado_tests::{Cluster, Fault, Options, Setup, View, measured, wait, web};
use std::time::{Instant, SystemTime};

/// Request lines by which the `local` cloud makes a machine, copies its files into it, and starts
/// it.
const CREATE: &str = "/containers/create?";
const FILES: &str = "/archive?";
const START: &str = "/start";

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_comes_of_an_order_whose_answer_is_lost_or_late() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        faulty: true,
        ..Options::default()
    })
    .await;
    let cases = [
        (Fault::LoseAnswer, CREATE, 1),
        (Fault::LoseAnswer, FILES, 1),
        (Fault::LoseAnswer, START, 1),
        (Fault::Refuse, CREATE, 2),
        (Fault::Answer(500), CREATE, 2),
        (Fault::Answer(500), "/containers/json", 2),
    ];
    for (number, (fault, request, times)) in cases.into_iter().enumerate() {
        let (begin, since, before) = (
            Instant::now(),
            SystemTime::now(),
            cluster.broker().happened(),
        );
        cluster.broker().fail(fault, request, times);
        let name = cluster
            .launch(&web(&format!("case{number}")))
            .await
            .name
            .to_string();
        cluster
            .until_container(&name, ContainerState::Running, 90)
            .await;
        measured(
            &format!("{fault:?} {times} times of {request}, until running"),
            begin.elapsed(),
        );
        assert_eq!(
            cluster.broker().happened() - before,
            times,
            "the fault has happened"
        );
        assert_eq!(
            (
                cluster.machines_booted_since(since),
                cluster.machines().await.len()
            ),
            (1, 1),
            "{fault:?} of {request}"
        );
        cluster.broker().mend();
        cluster.empty().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_keeps_the_manager_waiting_keeps_nobody_else_waiting() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        faulty: true,
        ..Options::default()
    })
    .await;
    let since = SystemTime::now();
    cluster.broker().fail(Fault::Stall, CREATE, 1);
    let begin = Instant::now();
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let waiting = waits_for(&cluster, &name, "renting small on local").await;
    assert_eq!(waiting.state, ContainerState::Waiting);
    let second = cluster.launch(&web("acme")).await.name.to_string();
    assert!(
        begin.elapsed().as_secs() < 5,
        "both launches are answered while the cloud is silent"
    );
    cluster.broker().mend();
    for name in [name, second] {
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
    }
    assert_eq!(cluster.machines_booted_since(since), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_refuses_leaves_the_container_waiting_with_its_words() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        faulty: true,
        ..Options::default()
    })
    .await;
    let since = SystemTime::now();
    cluster.broker().fail(Fault::Answer(403), CREATE, 1);
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let waiting = waits_for(&cluster, &name, "the cloud is out of order").await;
    assert_eq!(
        (waiting.state, waiting.instance),
        (ContainerState::Waiting, None)
    );
    let failed = cluster
        .until_instance("application01", InstanceState::Failed, 5)
        .await;
    assert!(
        failed
            .reason
            .is_some_and(|reason| reason.contains("local refused: ")
                && reason.contains("the cloud is out of order"))
    );
    assert_eq!(cluster.machines().await, Vec::new());

    // After a pause the order is repeated without a request, and now it rents.
    let running = cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    assert_eq!(
        running.instance.map(|tag| tag.to_string()).as_deref(),
        Some("application02")
    );
    assert_eq!(cluster.machines_booted_since(since), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flavour_that_is_refused_is_replaced_by_the_next() {
    let cluster = Cluster::start(Options {
        faulty: true,
        ..Options::default()
    })
    .await;
    cluster.broker().fail(Fault::Answer(403), CREATE, 1);
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    let view = cluster.look().await.expect("a view");
    let instances: Vec<_> = view
        .instances
        .iter()
        .map(|it| (it.flavour.as_str(), it.state))
        .collect();
    assert_eq!(
        instances,
        [
            ("small", InstanceState::Failed),
            ("medium", InstanceState::Active)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_never_joins_is_given_back_and_another_rented() {
    let setup = Setup {
        join_timeout: 12,
        ..Setup::default()
    };
    let cluster = Cluster::start(Options {
        setup,
        faulty: true,
        ..Options::default()
    })
    .await;
    let since = SystemTime::now();
    // Its files are reported as written but are missing: it boots, and knows of no Swarm.
    cluster.broker().fail(Fault::Answer(200), FILES, 1);
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let failed = cluster
        .until_instance("application01", InstanceState::Failed, 30)
        .await;
    assert_eq!(failed.reason.as_deref(), Some("did not join within 12 s"));
    let running = cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    assert_eq!(
        running.instance.map(|tag| tag.to_string()).as_deref(),
        Some("application02")
    );
    wait("one machine is left", 20, async || {
        (cluster.machines().await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(cluster.machines_booted_since(since), 2);
}

/// The container, once it waits for a reason with these words in it.
async fn waits_for(cluster: &Cluster, name: &str, words: &str) -> ContainerView {
    let says = |view: &View| {
        view.container(name)
            .filter(|it| {
                it.reason
                    .as_ref()
                    .is_some_and(|reason| reason.contains(words))
            })
            .cloned()
    };
    cluster
        .until(&format!("{name} waits: {words}"), 20, says)
        .await
}
