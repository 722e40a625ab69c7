//! The manager dies by SIGKILL at the steps of a launch that rents a machine, and the next one
//! finishes. `scripts/test --full` takes every step, other runs one of three, from an arbitrary first.

use micado_api::{ContainerState, LaunchRequest};
use micado_tests::{Cluster, Options, Request, Setup, is_full, measured, wait, web};
use std::time::{Instant, SystemTime};

/// Lower bound for the steps of a launch: if the manager survives before, the fault points are not
/// reached.
const FEWEST_STEPS: u32 = 10;

/// Distance between the steps of a short run.
const STRIDE: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_dies_at_any_step_of_a_launch_finishes_it_after_a_restart() {
    let mut cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let stride = if is_full() { 1 } else { STRIDE };
    let mut step = 1 + std::process::id() % stride;
    println!("steps {step}, {}, ...", step + stride);
    while round(&mut cluster, step).await {
        step += stride;
    }
    assert!(step > FEWEST_STEPS, "it died before step {step} only");
    println!("a launch that rents a machine has fewer than {step} steps");
}

/// A launch by a manager that dies at this step, then the clean-up; false if it did not die.
async fn round(cluster: &mut Cluster, step: u32) -> bool {
    let begin = Instant::now();
    let since = SystemTime::now();
    let request = web("acme").named(&format!("round-{step}"));
    cluster.kill_manager().await;
    cluster.spawn_manager(&[("MICADO_FAULT", &format!("any:{step}"))]);
    let died = !launched_by(cluster, &request).await;
    // A manager that survived the launch would die at a later step, of the checks.
    if cluster.manager_runs() {
        cluster.kill_manager().await;
    }
    cluster.start_manager(&[]).await;
    // Repeat the request: its caller cannot know if the first was recorded.
    let name = cluster.launch(&request).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    measured(
        &format!("dead at step {step}, and running"),
        begin.elapsed(),
    );
    check_that_all_is_there_once(cluster, since).await;
    if died {
        cluster.empty().await;
    }
    died
}

/// Repeats a launch until it runs; false if the manager died before.
async fn launched_by(cluster: &mut Cluster, request: &LaunchRequest) -> bool {
    let mut name = None;
    wait("the launch is done or the manager dead", 60, async || {
        if !cluster.manager_runs() {
            return Some(false);
        }
        match &name {
            None => {
                name = cluster
                    .api
                    .launch(request)
                    .await
                    .ok()
                    .map(|made| made[0].name.to_string())
            }
            Some(name) => {
                let view = cluster.look().await.ok()?;
                return view
                    .container_in(name, ContainerState::Running)
                    .map(|_| true);
            }
        }
        None
    })
    .await
}

async fn check_that_all_is_there_once(cluster: &Cluster, since: SystemTime) {
    assert_eq!(cluster.machines_booted_since(since), 1, "machines rented");
    let machines = cluster.machines().await;
    assert_eq!(machines.len(), 1, "machines: {machines:?}");
    // Nodes of returned machines are forgotten some seconds later.
    assert_eq!(
        cluster
            .nodes()
            .await
            .iter()
            .filter(|node| **node == machines[0].tag)
            .count(),
        1,
        "nodes of the machine"
    );
    assert_eq!(cluster.swarm_services().await.len(), 1, "Swarm services");
    assert_eq!(cluster.running_tasks().await.len(), 1, "tasks");
    let view = cluster.look().await.expect("a view");
    assert_eq!(
        (view.containers.len(), view.in_use().len()),
        (1, 1),
        "{view:?}"
    );
}
