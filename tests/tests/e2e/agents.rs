//! Agents of machines die, lose their manager, or are cut off from it: they reconnect by
//! themselves, and no container is affected.

use micado_api::{ContainerState, HistoryPoint, HistoryQuery, InstanceState};
use micado_tests::{Cluster, Fault, Options, Request, Setup, View, measured, tools, wait};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Upper bound for an agent to reconnect after a long cut, in seconds: pauses grow to 15 s, and an
/// attempt may take 10 s.
const BACK: u64 = 40;
/// Duration of cuts.
const MINUTE: Duration = Duration::from_secs(60);
/// Time after which the Swarm would have taken a silent machine for down, in seconds since the
/// begin of the cut.
const NOTICED: Duration = Duration::from_secs(125);
/// Time between two samples, plus a margin for a busy machine, in milliseconds.
const SAMPLE: u64 = 2_000 + 1_000;
/// Does nothing, and ends on SIGTERM: after a machine was away, the Swarm starts its successor
/// without waiting for it.
const IDLE: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";
/// Uses a part of a core all the time.
const BURNS: &str = "trap 'exit 0' TERM; while :; do i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 0.3; done";

/// A cluster with one container on each of two machines, both with a connected agent, and the
/// machines' tags.
async fn cluster(options: Options, script: &str) -> (Cluster, [String; 2], [String; 2]) {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..options
    })
    .await;
    cluster.load_tools().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut request = tools("acme").memory_mib(400);
        request.spec.arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
        names.push(cluster.launch(&request).await.name.to_string());
    }
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
        cluster.until_reached(name, 60).await;
    }
    // An agent finds a new container with its first or its second sweep.
    cluster
        .until("all containers are measured", 30, |view| {
            let mut usages = view.containers.iter().map(|it| it.usage.as_ref());
            usages
                .all(|usage| usage.is_some_and(|usage| usage.cpu.is_some()))
                .then_some(())
        })
        .await;
    let view = cluster.look().await.expect("a view");
    let tags = [0, 1].map(|number: usize| view.place_of(&names[number]).expect("a place"));
    assert_ne!(tags[0], tags[1]);
    (cluster, [names[0].clone(), names[1].clone()], tags)
}

/// Running tasks of the engine, and every container with its process and start time.
async fn running(cluster: &Cluster) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    (
        cluster.running_tasks().await,
        cluster.containers_started().await,
    )
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).expect("a year before 584554051")
        })
}

/// Metrics of a machine or a container for this time, plus the first point after it, which covers
/// its last moment. Waits until they are recorded, and checks that no time occurs twice.
async fn figures(cluster: &Cluster, name: &str, from: u64, until: u64) -> Vec<HistoryPoint> {
    let query = HistoryQuery {
        from: Some(from),
        until: None,
        resolution: Some(2),
    };
    let whole = async || {
        let mut points = cluster.api.history(name, &query).await.ok()?.points;
        let end = points.iter().position(|it| it.at.0 >= until)?;
        points.truncate(end + 1);
        Some(points)
    };
    let points: Vec<_> = wait(&format!("the figures of {name} are there"), 30, whole).await;
    assert!(
        points.windows(2).all(|two| two[0].at < two[1].at),
        "each moment once: {points:?}"
    );
    let measured: u64 = points.iter().map(|it| it.measured_ms).sum();
    let end = points.last().map_or(until, |it| it.at.0);
    assert!(
        measured <= end - from + SAMPLE,
        "{measured} ms were measured in {} ms: {points:?}",
        end - from
    );
    points
}

/// Checks that all of that time was measured, with a point in every 10 s of it.
fn gapless(points: &[HistoryPoint], since: u64, until: u64) {
    let within = || points.iter().filter(|it| it.at.0 < until);
    let times: Vec<u64> = [since]
        .into_iter()
        .chain(within().map(|it| it.at.0))
        .chain([until])
        .collect();
    assert!(
        times.windows(2).all(|two| two[1] - two[0] < 10_000),
        "{times:?}"
    );
    let measured: u64 = within().map(|it| it.measured_ms).sum();
    assert!(
        measured + SAMPLE >= until - since,
        "{measured} ms were measured in {} ms: {points:?}",
        until - since
    );
}

/// Total CPU time in that time, in nanoseconds: of points that reach beyond its ends, their share.
fn cpu(points: &[HistoryPoint], since: u64, until: u64) -> u64 {
    let within = |it: &HistoryPoint| {
        it.at
            .0
            .min(until)
            .saturating_sub((it.at.0 - it.measured_ms).max(since))
    };
    points.iter().map(|it| it.cpu.0 / 1_000 * within(it)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_outlive_their_own_death_and_the_managers() {
    let (mut cluster, names, tags) = cluster(Options::default(), IDLE).await;
    let (before, since) = (running(&cluster).await, now());

    let agent = cluster.agent_pid(&tags[0]).await;
    cluster
        .on_machine(&tags[0], &format!("kill -9 {agent}"))
        .await;
    let begin = Instant::now();
    cluster.until_reached(&names[0], BACK).await;
    measured("from an agent's death to the next command", begin.elapsed());
    let next = cluster.agent_pid(&tags[0]).await;
    assert!(!next.is_empty() && next != agent, "it was started again");
    assert_eq!(running(&cluster).await, before, "no container was touched");

    let agents = [
        cluster.agent_pid(&tags[0]).await,
        cluster.agent_pid(&tags[1]).await,
    ];
    cluster.kill_manager().await;
    cluster.start_manager(&[]).await;
    let begin = Instant::now();
    for name in &names {
        cluster.until_reached(name, BACK).await;
    }
    measured(
        "from a manager's start until both machines are reached",
        begin.elapsed(),
    );
    assert_eq!(
        [
            cluster.agent_pid(&tags[0]).await,
            cluster.agent_pid(&tags[1]).await
        ],
        agents,
        "the agents ran on"
    );
    assert_eq!(running(&cluster).await, before, "no container was touched");
    // The agent has resent what the dead manager had not recorded.
    let until = now();
    for name in [&tags[1], &names[1]] {
        gapless(&figures(&cluster, name, since, until).await, since, until);
    }
    figures(&cluster, &tags[0], since, until).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_cut_off_for_a_minute_changes_nothing() {
    let (cluster, names, tags) = cluster(Options::default(), IDLE).await;
    let (before, agent, since) = (
        running(&cluster).await,
        cluster.agent_pid(&tags[0]).await,
        now(),
    );
    cluster.cut_agent(&tags[0]).await;
    let begin = Instant::now();
    let refused = async || {
        (cluster
            .execute(&names[0], &["true"], b"")
            .await
            .stderr
            .contains("is not connected"))
        .then_some(())
    };
    wait(
        "the manager knows that the agent is not connected",
        BACK,
        refused,
    )
    .await;
    measured("from the cut until the manager knows", begin.elapsed());

    // A machine without a connected agent is used last, but before another one is rented.
    let mut places = Vec::new();
    for _ in 0..3 {
        let late = cluster
            .launch(&tools("late").memory_mib(64))
            .await
            .name
            .to_string();
        let late = cluster
            .until_container(&late, ContainerState::Running, 30)
            .await;
        places.extend(late.instance.map(|tag| tag.to_string()));
    }
    assert_eq!(
        places,
        [&tags[1], &tags[1], &tags[0]].map(String::clone),
        "where the agent is cut off is room for two, and where it is not too"
    );

    while begin.elapsed() < MINUTE {
        let view = cluster.look().await.expect("a view");
        assert!(
            view.containers
                .iter()
                .all(|it| it.state == ContainerState::Running),
            "{view:?}"
        );
        assert!(
            view.instances.len() == 2
                && view
                    .instances
                    .iter()
                    .all(|it| it.state == InstanceState::Active),
            "{view:?}"
        );
        cluster.execute(&names[1], &["true"], b"").await.ok();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.mend_agent(&tags[0]).await;
    let begin = Instant::now();
    cluster.until_reached(&names[0], BACK).await;
    measured(
        "from the end of a minute's cut to the next command",
        begin.elapsed(),
    );
    assert_eq!(cluster.agent_pid(&tags[0]).await, agent, "the agent ran on");
    // Samples of that minute arrived late, but complete.
    let until = now();
    for name in [&tags[0], &names[0]] {
        gapless(&figures(&cluster, name, since, until).await, since, until);
    }
    let after = running(&cluster).await;
    assert!(
        before
            .0
            .iter()
            .all(|(task, container)| after.0.get(task) == Some(container)),
        "{before:?}, now {after:?}"
    );
    assert!(
        before
            .1
            .iter()
            .all(|(container, started)| after.1.get(container) == Some(started)),
        "{before:?}, now {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_cut_off_for_a_minute_runs_on_and_every_figure_comes_once() {
    let (cluster, names, tags) = cluster(Options::default(), BURNS).await;
    let (before, agent) = (running(&cluster).await, cluster.agent_pid(&tags[0]).await);
    let counted = cluster.cpu_counted(&tags[0]).await;
    let unmoved = |view: &View| {
        let stays = |number: usize| {
            view.container_in(&names[number], ContainerState::Running)
                .is_some()
                && view.place_of(&names[number]).as_ref() == Some(&tags[number])
        };
        stays(0)
            && stays(1)
            && view.instances.len() == 2
            && view
                .instances
                .iter()
                .all(|it| it.state == InstanceState::Active)
    };
    cluster.cut_off(&tags[0]).await;
    let begin = Instant::now();
    let watch = async |until: Duration| {
        while begin.elapsed() < until {
            let view = cluster.look().await.expect("a view");
            assert!(unmoved(&view), "after {:?}: {view:?}", begin.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    watch(MINUTE).await;
    cluster.mend(&tags[0]).await;
    let mended = Instant::now();
    cluster.until_reached(&names[0], BACK).await;
    measured(
        "from the end of a minute's cut of the whole machine to the next command",
        mended.elapsed(),
    );
    watch(NOTICED).await;
    assert_eq!(running(&cluster).await, before, "no container was touched");
    assert_eq!(cluster.agent_pid(&tags[0]).await, agent, "the agent ran on");

    let (since, used) = counted;
    let (until, now_used) = cluster.cpu_counted(&tags[0]).await;
    for name in [&tags[0], &names[0], &names[1]] {
        gapless(&figures(&cluster, name, since, until).await, since, until);
    }
    let points = figures(&cluster, &names[0], since, until).await;
    let (kernel, told) = (now_used - used, cpu(&points, since, until));
    println!(
        "measured: {} ms of CPU by the kernel's own count, {} ms by the figures",
        kernel / 1_000_000,
        told / 1_000_000
    );
    assert!(
        kernel / (until - since) > 100_000,
        "it burns more than a tenth of a core"
    );
    let sample = kernel * 2_000 / (until - since);
    assert!(
        kernel.abs_diff(told) < sample / 2,
        "none is lost or counted twice: the kernel counts {kernel} ns, the figures add up to {told}: {points:?}"
    );
}

/// `--down-timeout` with which machines fail soon enough for a test.
const QUICK: &str = "15s";

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_cut_off_for_longer_is_given_up_and_returned_when_it_comes_back() {
    let options = Options {
        arguments: vec!["--down-timeout", QUICK],
        faulty: true,
        ..Options::default()
    };
    let (cluster, names, tags) = cluster(options, IDLE).await;
    let (before, machine) = (running(&cluster).await, cluster.machine(&tags[0]).await.id);
    // Its cloud refuses the return for a while, so that the machine exists when the cut ends.
    cluster
        .broker()
        .fail(Fault::Answer(500), &machine, u32::MAX);
    cluster.cut_off(&tags[0]).await;
    let begin = Instant::now();
    let elsewhere = |view: &View| {
        let there = view.container_in(&names[0], ContainerState::Running)?;
        there.instance.clone().filter(|tag| tag.as_str() != tags[0])
    };
    let new = cluster.until("it runs elsewhere", 60, elsewhere).await;
    measured(
        "from the cut until a container runs elsewhere, with --down-timeout 15s",
        begin.elapsed(),
    );
    assert!(
        begin.elapsed() >= Duration::from_secs(15),
        "its time was over"
    );
    let failed = cluster
        .until_instance(&tags[0], InstanceState::Failed, 1)
        .await;
    assert!(
        failed
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains("not answered")),
        "{failed:?}"
    );

    cluster.mend(&tags[0]).await;
    let mended = Instant::now();
    let copies = async || (cluster.containers_started().await.len() == 2).then_some(());
    wait(
        "the machine that came back has stopped what runs elsewhere",
        30,
        copies,
    )
    .await;
    measured(
        "from the end of the cut until the old copy is gone",
        mended.elapsed(),
    );
    cluster.broker().mend();
    wait("the machine is given back", 60, async || {
        cluster
            .machines()
            .await
            .iter()
            .all(|it| it.id != machine)
            .then_some(())
    })
    .await;
    wait("its node is forgotten", 30, async || {
        cluster
            .nodes()
            .await
            .iter()
            .all(|node| *node != tags[0])
            .then_some(())
    })
    .await;
    let view = cluster.look().await.expect("a view");
    assert_eq!(
        view.place_of(&names[0]).as_deref(),
        Some(new.as_str()),
        "it stays where it is"
    );
    let (after, other) = (running(&cluster).await, |all: &BTreeMap<String, String>| {
        all.iter()
            .filter(|pair| before.1.iter().any(|it| it == *pair))
            .count()
    });
    assert_eq!(
        (after.0.len(), other(&after.1)),
        (2, 1),
        "the container of the other machine was not touched: {before:?}, now {after:?}"
    );
}
