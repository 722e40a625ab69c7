//! The agents of machines die, lose their manager, or are cut off from it: they come back by themselves, and no container is touched by any of it.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, measured, tools, wait};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// After this an agent that was cut off for long has its connection again: its pauses grow to 15 s, and an attempt may take 10 s.
const BACK: u64 = 40;
/// How long the agent's way is cut.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a machine is cut off whole: long enough to be down for Swarm, and shorter than `down_timeout`.
const SHORT: Duration = Duration::from_secs(20);

/// A cluster with one container on each of two machines, both reached, and the machines' tags.
async fn cluster() -> (Cluster, [String; 2], [String; 2]) {
    let cluster = Cluster::start(Options { setup: Setup::small(), ..Options::default() }).await;
    cluster.load_tools().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(cluster.launch(&tools("acme").memory_mib(400)).await.name.to_string());
    }
    for name in &names {
        cluster.until_container(name, ContainerState::Running, 60).await;
        cluster.until_reached(name, 60).await;
    }
    let view = cluster.look().await.expect("a view");
    let tags = [0, 1].map(|number: usize| view.place_of(&names[number]).expect("a place"));
    assert_ne!(tags[0], tags[1]);
    (cluster, [names[0].clone(), names[1].clone()], tags)
}

/// What runs: the engine's tasks, and every container with its process and when that was started.
async fn running(cluster: &Cluster) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    (cluster.running_tasks().await, cluster.containers_started().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_outlive_their_own_death_and_the_managers() {
    let (mut cluster, names, tags) = cluster().await;
    let before = running(&cluster).await;

    let agent = cluster.agent_pid(&tags[0]).await;
    cluster.on_machine(&tags[0], &format!("kill -9 {agent}")).await;
    let begin = Instant::now();
    cluster.until_reached(&names[0], BACK).await;
    measured("from an agent's death to the next command", begin.elapsed());
    let next = cluster.agent_pid(&tags[0]).await;
    assert!(!next.is_empty() && next != agent, "it was started again");
    assert_eq!(running(&cluster).await, before, "no container was touched");

    let agents = [cluster.agent_pid(&tags[0]).await, cluster.agent_pid(&tags[1]).await];
    cluster.kill_manager().await;
    cluster.start_manager(&[]).await;
    let begin = Instant::now();
    for name in &names {
        cluster.until_reached(name, BACK).await;
    }
    measured("from a manager's start until both machines are reached", begin.elapsed());
    assert_eq!([cluster.agent_pid(&tags[0]).await, cluster.agent_pid(&tags[1]).await], agents, "the agents ran on");
    assert_eq!(running(&cluster).await, before, "no container was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_cut_off_for_a_minute_changes_nothing() {
    let (cluster, names, tags) = cluster().await;
    let (before, agent) = (running(&cluster).await, cluster.agent_pid(&tags[0]).await);
    cluster.cut_agent(&tags[0]).await;
    let begin = Instant::now();
    let refused = async || (cluster.execute(&names[0], &["true"], b"").await.stderr.contains("is not connected")).then_some(());
    wait("the manager knows that the agent is not connected", BACK, refused).await;
    measured("from the cut until the manager knows", begin.elapsed());

    // A machine without an agent is as good a place as any.
    let late = cluster.launch(&tools("late").memory_mib(64)).await.name.to_string();
    let late = cluster.until_container(&late, ContainerState::Running, 30).await;
    let full = cluster.launch(&tools("late").memory_mib(64)).await.name.to_string();
    cluster.until_container(&full, ContainerState::Running, 30).await;
    let blind = cluster.look().await.expect("a view").containers.iter().filter(|it| it.instance.as_ref().is_some_and(|tag| tag.as_str() == tags[0])).count();
    assert!(blind >= 2, "of two launches one went where the agent is cut off: {late:?}");

    while begin.elapsed() < MINUTE {
        let view = cluster.look().await.expect("a view");
        assert!(view.containers.iter().all(|it| it.state == ContainerState::Running), "{view:?}");
        assert!(view.instances.len() == 2 && view.instances.iter().all(|it| it.state == InstanceState::Active), "{view:?}");
        cluster.execute(&names[1], &["true"], b"").await.ok();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.mend_agent(&tags[0]).await;
    let begin = Instant::now();
    cluster.until_reached(&names[0], BACK).await;
    measured("from the end of a minute's cut to the next command", begin.elapsed());
    assert_eq!(cluster.agent_pid(&tags[0]).await, agent, "the agent ran on");
    let after = running(&cluster).await;
    assert!(before.0.iter().all(|(task, container)| after.0.get(task) == Some(container)), "{before:?}, now {after:?}");
    assert!(before.1.iter().all(|(container, started)| after.1.get(container) == Some(started)), "{before:?}, now {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_cut_off_for_less_than_its_time_is_in_use_again() {
    let (cluster, names, tags) = cluster().await;
    let (before, agent) = (running(&cluster).await, cluster.agent_pid(&tags[0]).await);
    cluster.cut_off(&tags[0]).await;
    let begin = Instant::now();
    cluster.until_container(&names[0], ContainerState::Unknown, 19).await;
    measured("from the cut until Swarm takes the node for down", begin.elapsed());
    tokio::time::sleep(SHORT.saturating_sub(begin.elapsed())).await;
    cluster.mend(&tags[0]).await;
    let begin = Instant::now();
    cluster.until_container(&names[0], ContainerState::Running, 60).await;
    measured("from the end of the cut until its container is seen to run", begin.elapsed());
    cluster.until_reached(&names[0], BACK).await;
    measured("from the end of the cut to the next command", begin.elapsed());
    let after = running(&cluster).await;
    println!("before {before:?}\nafter {after:?}");
    let view = cluster.look().await.expect("a view");
    assert!(view.instances.len() == 2 && view.instances.iter().all(|it| it.state == InstanceState::Active), "{view:?}");
    assert_eq!(view.place_of(&names[0]).as_deref(), Some(tags[0].as_str()), "it is where it was");
    assert_eq!(cluster.agent_pid(&tags[0]).await, agent, "the agent ran on");
}
