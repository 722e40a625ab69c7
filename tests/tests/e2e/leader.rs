//! Two managers on one Swarm, each with a store of its own: one leads, and the other changes
//! nothing.

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, measured, run_micado, wait, web};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

/// Duration of each manager's lease.
const LEASE: Duration = Duration::from_secs(15);

/// Facts that must not change: running containers with process and start time, and the machines.
async fn facts(cluster: &Cluster) -> (BTreeMap<String, String>, BTreeMap<String, String>, usize) {
    (
        cluster.running_tasks().await,
        cluster.containers_started().await,
        cluster.machines().await.len(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_store_leads_a_swarm_until_an_operator_gives_it_to_another() {
    let mut cluster = Cluster::start(Options {
        setup: Setup::small(),
        arguments: vec!["--lease", "15s"],
        ..Options::default()
    })
    .await;
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    let (before, since) = (facts(&cluster).await, SystemTime::now());
    let other = tempfile::tempdir_in(cluster.folder()).expect("a folder");

    // Another store is refused with the leader's name, and leaves nothing that its later clean-up
    // could take for its own cluster.
    let arguments = cluster.arguments_of_another(other.path());
    let begin = Instant::now();
    let refused = start(&cluster, &arguments).end(b"", 60).await;
    measured("a second manager is refused", begin.elapsed());
    refused.refused(
        1,
        &["led by another manager", "--take-over", &pid(&cluster)],
    );
    assert!(!other.path().join("cluster-id").exists());
    assert!(cluster.manager_runs());
    assert_eq!(facts(&cluster).await, before);

    // The same store needs no wait.
    cluster.kill_manager().await;
    let begin = Instant::now();
    cluster.start_manager(&[]).await;
    measured("a killed manager starts again", begin.elapsed());
    assert!(begin.elapsed() < LEASE, "it waited for its own lease");

    // An operator gives the cluster to the other store: the first manager stops by itself.
    let mut arguments = arguments;
    arguments.push("--take-over".to_owned());
    let second = start(&cluster, &arguments);
    tokio::time::timeout(LEASE, cluster.manager_ended())
        .await
        .expect("the first manager ends within its lease");
    assert!(
        cluster
            .manager_log()
            .contains("another manager leads the cluster now"),
        "it says why: {}",
        cluster.manager_log()
    );
    let address = format!("unix://{}", other.path().join("micado.sock").display());
    wait("the second manager has the container", 60, async || {
        state(&address, &name)
            .await
            .filter(|state| state == "running")
    })
    .await;
    assert_eq!(facts(&cluster).await, before);
    assert_eq!(cluster.machines_booted_since(since), 0);

    // Now the first store is refused.
    cluster.spawn_manager(&[]);
    tokio::time::timeout(LEASE * 2, cluster.manager_ended())
        .await
        .expect("the first store is refused");
    assert_eq!(facts(&cluster).await, before);
    drop(second);
}

fn start(cluster: &Cluster, arguments: &[String]) -> micado_tests::Running {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.start_micado(&arguments)
}

fn pid(cluster: &Cluster) -> String {
    format!("(process {})", cluster.manager_pid())
}

/// State of a container according to the manager at this address.
async fn state(address: &str, name: &str) -> Option<String> {
    let arguments = ["list", "-c", "--all", "--output", "json"];
    let outcome = run_micado(&arguments, &[("MICADO_MANAGER", address)]).await;
    if outcome.code != Some(0) {
        return None;
    }
    let listed = outcome.json();
    let containers = listed["containers"].as_array()?;
    let found = containers.iter().find(|it| it["name"] == name)?;
    Some(found["state"].as_str()?.to_owned())
}
