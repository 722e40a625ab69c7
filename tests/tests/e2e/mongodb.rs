//! A cluster with its records in a MongoDB: the manager dies, the server dies or hangs, and in the
//! end everything is as before.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, Store, View, measured, wait, web};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

/// Longer than the store's time-out of an answer, and than a manager's lease.
const LONG: Duration = Duration::from_secs(15);
/// Fault points of a manager during a launch that rents a machine.
const DEATHS: [&str; 4] = [
    "before-commit:1",
    "after-commit:1",
    "before-launch-machine:1",
    "after-create-service:1",
];

async fn cluster(store: Store) -> Cluster {
    Cluster::start(Options {
        setup: Setup::small(),
        store,
        ..Options::default()
    })
    .await
}

/// State that must be the same before and after: placement and state of each container, state of
/// each machine, running processes, and decisions.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    containers: BTreeMap<String, (Option<String>, ContainerState)>,
    instances: BTreeMap<String, (String, InstanceState)>,
    tasks: BTreeMap<String, String>,
    told: Vec<String>,
}

async fn picture(cluster: &Cluster, view: &View) -> Picture {
    let mut told = Vec::new();
    for container in &view.containers {
        let explained = cluster
            .api
            .explain(container.name.as_str())
            .await
            .expect("an explanation");
        told.push(format!("{explained:?}"));
    }
    Picture {
        containers: view
            .containers
            .iter()
            .map(|it| {
                (
                    it.name.to_string(),
                    (it.instance.as_ref().map(ToString::to_string), it.state),
                )
            })
            .collect(),
        instances: view
            .instances
            .iter()
            .map(|it| (it.tag.to_string(), (it.id.to_string(), it.state)))
            .collect(),
        tasks: cluster.running_tasks().await,
        told,
    }
}

/// Waits until all containers run again.
async fn until_all_run(cluster: &Cluster, seconds: u64) -> View {
    let all_run = |view: &View| {
        view.containers
            .iter()
            .all(|it| it.state == ContainerState::Running)
            .then(|| view.clone())
    };
    cluster.until("all containers run", seconds, all_run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_dies_finds_everything_in_the_database() {
    let mut cluster = cluster(Store::MongoDb).await;
    let since = SystemTime::now();
    for (number, death) in DEATHS.into_iter().enumerate() {
        let request = web("acme").memory_mib(512).named(death);
        cluster.kill_manager().await;
        cluster.spawn_manager(&[("MICADO_FAULT", death)]);
        wait(&format!("the manager dies at {death}"), 60, async || {
            if cluster.manager_runs() {
                drop(cluster.api.launch(&request).await);
            }
            (!cluster.manager_runs()).then_some(())
        })
        .await;
        let begin = Instant::now();
        cluster.start_manager(&[]).await;
        let name = cluster.launch(&request).await.name.to_string();
        assert_eq!(
            name,
            format!("acme_micado-web.{}", number + 1),
            "it was launched once"
        );
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
        measured(&format!("dead at {death}, and running"), begin.elapsed());
    }
    assert_eq!(
        cluster.machines_booted_since(since),
        DEATHS.len(),
        "each holds one container, and was rented once"
    );

    let before = picture(&cluster, &until_all_run(&cluster, 10).await).await;
    cluster.kill_manager().await;
    let begin = Instant::now();
    cluster.start_manager(&[]).await;
    measured(
        "from the start of a manager to its first answer",
        begin.elapsed(),
    );
    assert_eq!(
        picture(&cluster, &until_all_run(&cluster, 10).await).await,
        before
    );
    the_database_says_so(&cluster, &before).await;

    cluster.empty().await;
}

/// A Mongo shell shows the same as `micado list`.
async fn the_database_says_so(cluster: &Cluster, picture: &Picture) {
    let text = |document: &mongodb::bson::Document, key: &str| {
        document.get_str(key).unwrap_or("-").to_owned()
    };
    let containers = async || -> BTreeMap<_, _> {
        let documents = cluster.mongod().documents("container").await;
        documents
            .iter()
            .map(|it| (text(it, "name"), (text(it, "state"), text(it, "instance"))))
            .collect()
    };
    let shown: BTreeMap<_, _> = picture
        .containers
        .iter()
        .map(|(name, (place, state))| {
            (
                name.clone(),
                (state.to_string(), place.clone().unwrap_or_default()),
            )
        })
        .collect();
    wait("the collection `container` is up to date", 15, async || {
        (containers().await == shown).then_some(())
    })
    .await;
    let instances = cluster.mongod().documents("instance").await;
    let active: Vec<_> = instances
        .iter()
        .filter(|it| text(it, "state") == "active")
        .map(|it| text(it, "tag"))
        .collect();
    assert_eq!(active.len(), picture.instances.len(), "{instances:?}");
    let images = cluster.mongod().documents("imagecontainer").await;
    assert_eq!(
        images
            .iter()
            .map(|it| text(it, "image"))
            .collect::<Vec<_>>(),
        ["micado-web"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_or_dies_touches_no_container() {
    let mut cluster = cluster(Store::OwnServer).await;
    for _ in 0..3 {
        let name = cluster.launch(&web("acme")).await.name.to_string();
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
    }
    let before = picture(&cluster, &until_all_run(&cluster, 10).await).await;
    let started = cluster.containers_started().await;
    let since = SystemTime::now();

    cluster.mongod().freeze();
    without_a_store(&cluster, "it is frozen").await;
    cluster.mongod().thaw();
    back_again(&cluster, "it goes on", &before, &started).await;

    cluster.mongod().kill();
    without_a_store(&cluster, "it is dead").await;
    // A manager that is started now waits for a moment, and ends with the store's message.
    cluster.kill_manager().await;
    cluster.spawn_manager(&[]);
    tokio::time::timeout(Duration::from_secs(30), cluster.manager_ended())
        .await
        .expect("a manager without its store ends");
    tokio::task::block_in_place(|| cluster.mongod().restart());
    cluster.start_manager(&[]).await;
    back_again(
        &cluster,
        "it was started again, and the manager too",
        &before,
        &started,
    )
    .await;

    cluster.mongod().kill();
    without_a_store(&cluster, "it is dead once more").await;
    tokio::task::block_in_place(|| cluster.mongod().restart());
    back_again(&cluster, "it was started again", &before, &started).await;

    assert_eq!(
        cluster.machines_booted_since(since),
        0,
        "nothing was rented"
    );
    // Everything works again: free room is used, and a machine is rented.
    for _ in 0..2 {
        let name = cluster.launch(&web("late")).await.name.to_string();
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
    }
    cluster.empty().await;
}

/// During an outage of the store everything keeps running, and all requests are refused with the
/// reason.
async fn without_a_store(cluster: &Cluster, what: &str) {
    let begin = Instant::now();
    let words = ["the store mongodb://127.0.0.1", "does not answer"];
    wait(&format!("{what}: requests are refused"), 40, async || {
        (cluster.micado(&["status"]).await.code == Some(1)).then_some(())
    })
    .await;
    measured(
        &format!("{what}: until requests are refused"),
        begin.elapsed(),
    );
    for arguments in [
        &["status"][..],
        &["list"],
        &["launch", "-i", "micado-web", "-n", "late"],
        &["quit", "-n", "acme_micado-web.1"],
    ] {
        cluster.micado(arguments).await.refused(1, &words);
    }
    tokio::time::sleep(LONG.saturating_sub(begin.elapsed())).await;
    assert_eq!(
        cluster.machines().await.len(),
        2,
        "{what}: no machine was given back, none rented"
    );
}

/// Recovers without help, unchanged.
async fn back_again(
    cluster: &Cluster,
    what: &str,
    before: &Picture,
    started: &BTreeMap<String, String>,
) {
    let begin = Instant::now();
    let view = until_all_run(cluster, 30).await;
    measured(
        &format!("{what}: until all is seen to run"),
        begin.elapsed(),
    );
    assert_eq!(&picture(cluster, &view).await, before, "{what}");
    assert_eq!(
        &cluster.containers_started().await,
        started,
        "{what}: no container was touched"
    );
}
