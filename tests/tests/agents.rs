//! The agents of machines die, lose their manager, or are cut off from it: they come back by themselves, and no container is touched by any of it.

use micado_api::{ContainerState, HistoryPoint, HistoryQuery, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, measured, tools, wait};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// After this an agent that was cut off for long has its connection again: its pauses grow to 15 s, and an attempt may take 10 s.
const BACK: u64 = 40;
/// How long the agent's way is cut.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a machine is cut off whole: too short for Swarm to notice; and long enough to be down for Swarm, and shorter than `down_timeout`.
const UNNOTICED: Duration = Duration::from_secs(6);
const SHORT: Duration = Duration::from_secs(20);

/// A cluster with one container on each of two machines, both reached, and the machines' tags.
async fn cluster() -> (Cluster, [String; 2], [String; 2]) {
    let cluster = Cluster::start(Options { setup: Setup::small(), ..Options::default() }).await;
    cluster.load_tools().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut request = tools("acme").memory_mib(400);
        // It ends when it is asked to: what Swarm starts again on a machine that was away does not wait for what ran there before.
        request.spec.arguments = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"].map(str::to_owned).to_vec();
        names.push(cluster.launch(&request).await.name.to_string());
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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).expect("a year before 584554051"))
}

/// The figures of a machine, or of a container, that were measured in this time; waits until they were written down. No moment is in them twice.
async fn figures(cluster: &Cluster, name: &str, from: u64, until: u64) -> Vec<HistoryPoint> {
    let query = HistoryQuery { from: Some(from), until: None, resolution: Some(2) };
    let whole = async || {
        let points = cluster.api.history(name, &query).await.ok()?.points;
        points.iter().any(|it| it.at.0 >= until).then_some(points)
    };
    let points: Vec<_> = wait(&format!("the figures of {name} are there"), 30, whole).await.into_iter().filter(|it| it.at.0 < until).collect();
    assert!(points.windows(2).all(|two| two[0].at < two[1].at), "each moment once: {points:?}");
    let measured: u64 = points.iter().map(|it| it.measured_ms).sum();
    assert!(measured <= until - from + 4_000, "{measured} ms were measured in {} ms: {points:?}", until - from);
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_outlive_their_own_death_and_the_managers() {
    let (mut cluster, names, tags) = cluster().await;
    let (before, since) = (running(&cluster).await, now());

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
    // What was not written down when the manager died was sent again.
    let until = now();
    for name in [&tags[1], &names[1]] {
        gapless(&figures(&cluster, name, since, until).await, since, until);
    }
    figures(&cluster, &tags[0], since, until).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_cut_off_for_a_minute_changes_nothing() {
    let (cluster, names, tags) = cluster().await;
    let (before, agent, since) = (running(&cluster).await, cluster.agent_pid(&tags[0]).await, now());
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
    // What was measured in that minute came late, and came.
    let until = now();
    for name in [&tags[0], &names[0]] {
        gapless(&figures(&cluster, name, since, until).await, since, until);
    }
    let after = running(&cluster).await;
    assert!(before.0.iter().all(|(task, container)| after.0.get(task) == Some(container)), "{before:?}, now {after:?}");
    assert!(before.1.iter().all(|(container, started)| after.1.get(container) == Some(started)), "{before:?}, now {after:?}");
}

/// There are figures of every 10 s of that time.
fn gapless(points: &[HistoryPoint], since: u64, until: u64) {
    let times: Vec<u64> = [since].into_iter().chain(points.iter().map(|it| it.at.0)).chain([until]).collect();
    assert!(times.windows(2).all(|two| two[1] - two[0] < 10_000), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_cut_off_for_less_than_its_time_is_in_use_again() {
    let (cluster, names, tags) = cluster().await;
    let (before, agent, since) = (running(&cluster).await, cluster.agent_pid(&tags[0]).await, now());
    cluster.cut_off(&tags[0]).await;
    tokio::time::sleep(UNNOTICED).await;
    cluster.mend(&tags[0]).await;
    cluster.until_reached(&names[0], BACK).await;
    assert_eq!(running(&cluster).await, before, "Swarm did not notice, and no container was touched");

    cluster.cut_off(&tags[0]).await;
    let begin = Instant::now();
    cluster.until_container(&names[0], ContainerState::Unknown, 30).await;
    measured("from the cut until Swarm takes the node for down", begin.elapsed());
    tokio::time::sleep(SHORT.saturating_sub(begin.elapsed())).await;
    cluster.mend(&tags[0]).await;
    // Swarm starts the containers of a node that was down anew when it is back, so where and since when this one runs is for Swarm and the planner to say.
    let begin = Instant::now();
    cluster.until_container(&names[0], ContainerState::Running, 60).await;
    measured("from the end of the cut until its container is seen to run", begin.elapsed());
    let sees = |view: &micado_tests::View| view.instance_in(&tags[0], InstanceState::Active)?.usage.as_ref().map(|_| ());
    cluster.until("the machine is in use, and its agent tells", BACK, sees).await;
    measured("from the end of the cut until the machine's figures are seen", begin.elapsed());
    cluster.until_reached(&names[0], BACK).await;
    assert_eq!(cluster.agent_pid(&tags[0]).await, agent, "the agent ran on");
    let other = |all: &(BTreeMap<String, String>, BTreeMap<String, String>)| all.1.keys().filter(|id| before.1.contains_key(*id)).count();
    assert!(other(&running(&cluster).await) >= 1, "the container of the other machine was not touched");
    let until = now();
    gapless(&figures(&cluster, &tags[0], since, until).await, since, until);
}
