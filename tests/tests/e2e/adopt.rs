//! The store is lost: the next manager adopts everything as it is.

use micado_api::{ContainerState, InstanceState, Origin};
use micado_tests::{Cluster, Options, Setup, View, measured, web};
use std::time::{Instant, SystemTime};

#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_the_manager_adopts_all_rents_nothing_and_stops_nothing() {
    let mut cluster = Cluster::start(Options {
        setup: Setup::small(),
        // A manager without the store waits until the previous one's lease has expired.
        arguments: vec!["--lease", "5s"],
        ..Options::default()
    })
    .await;
    let mut names = Vec::new();
    for client in ["acme", "acme", "other"] {
        names.push(cluster.launch(&web(client)).await.name.to_string());
    }
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    let (before, tasks, machines) = (
        cluster.look().await.expect("a view"),
        cluster.running_tasks().await,
        cluster.machines().await,
    );

    let since = SystemTime::now();
    cluster.kill_manager().await;
    std::fs::remove_file(cluster.file("store.redb")).expect("a store to delete");
    let begin = Instant::now();
    cluster.start_manager(&[]).await;
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 30)
            .await;
    }
    let all_active = |view: &View| {
        (view.in_use().len() == 2
            && view
                .in_use()
                .iter()
                .all(|it| it.state == InstanceState::Active))
        .then(|| view.clone())
    };
    let after = cluster
        .until("both instances are active", 30, all_active)
        .await;
    measured(
        "from a start without a store until all is adopted",
        begin.elapsed(),
    );

    assert_eq!(places(&after), places(&before));
    assert_eq!(kinds(&after), kinds(&before));
    assert!(
        after
            .instances
            .iter()
            .all(|it| it.origin == Origin::Adopted)
    );
    assert_eq!(
        cluster.running_tasks().await,
        tasks,
        "the same tasks in the same containers"
    );
    assert_eq!(cluster.machines().await, machines);
    assert_eq!(cluster.machines_booted_since(since), 0);

    // Numbers continue, and free room is used.
    let next = cluster.launch(&web("acme")).await.name.to_string();
    assert_eq!(next, "acme_micado-web.3");
    cluster
        .until_container(&next, ContainerState::Running, 60)
        .await;
    assert_eq!(cluster.machines_booted_since(since), 0);
    cluster.empty().await;
}

/// Placement of each container, with its service and its settings.
fn places(view: &View) -> Vec<String> {
    let mut places: Vec<_> = view
        .containers
        .iter()
        .map(|it| {
            format!(
                "{} {} {:?} {:?} {}",
                it.name, it.service, it.instance, it.ports, it.reservation
            )
        })
        .collect();
    places.sort();
    places
}

/// Identity and size of each instance.
fn kinds(view: &View) -> Vec<String> {
    let kind = |it: &micado_api::InstanceView| {
        format!(
            "{} {} {} {} {} {} {} {}",
            it.id, it.tag, it.cloud, it.application, it.flavour, it.location, it.price, it.capacity
        )
    };
    let mut kinds: Vec<_> = view.instances.iter().map(kind).collect();
    kinds.sort();
    kinds
}
