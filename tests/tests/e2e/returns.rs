//! Machines that nothing needs are returned by themselves, those for headroom are kept, a dear one
//! makes way for a cheaper one, and a saturated one gives a container away.

use micado_api::{ContainerState, InstanceState, LaunchRequest, NanoCpus};
use micado_tests::{Cluster, Options, Request, Setup, measured, small_machine, wait, web};
use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
    time::{Instant, SystemTime},
};

/// Launches these and waits until all of them run; returns their names.
async fn launch(cluster: &Cluster, client: &str, copies: u32) -> Vec<String> {
    let request = LaunchRequest {
        copies: NonZeroU32::new(copies).expect("at least one"),
        ..web(client)
    };
    cluster.launch(&request).await;
    let names: Vec<String> = (1..=copies)
        .map(|number| format!("{client}_micado-web.{number}"))
        .collect();
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    names
}

async fn quit(cluster: &Cluster, names: &[String]) {
    for name in names {
        cluster.micado(&["quit", "--rm", "-n", name]).await.ok();
    }
}

/// A cluster whose manager returns machines, all of one flavour with room for four containers.
async fn cluster() -> Cluster {
    Cluster::start(Options {
        setup: Setup {
            flavours: vec![("medium", "1216M", "2", "0.09")],
            ..Setup::default()
        },
        returns: true,
        ..Options::default()
    })
    .await
}

/// Two containers on each of two machines, when the drain of the second one begins.
async fn draining() -> Cluster {
    let cluster = cluster().await;
    let stays = launch(&cluster, "stays", 4).await;
    launch(&cluster, "goes", 2).await;
    quit(&cluster, &stays[2..]).await;
    let begin = Instant::now();
    cluster
        .until_instance("application02", InstanceState::Draining, 180)
        .await;
    measured(
        "from the room for all on one machine to the drain",
        begin.elapsed(),
    );
    cluster
}

/// Ids of the containers that run on a machine.
async fn on(cluster: &Cluster, tag: &str) -> BTreeSet<String> {
    let ids = cluster.on_machine(tag, "docker ps -q").await;
    ids.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_falls_empty_is_returned_after_its_hold() {
    let cluster = cluster().await;
    launch(&cluster, "stays", 4).await;
    let goes = launch(&cluster, "goes", 1).await;
    let processes = on(&cluster, "application01").await;
    let begin = Instant::now();
    quit(&cluster, &goes).await;
    wait("explain says that it is held", 30, async || {
        let why = cluster.micado(&["explain", "application02"]).await.ok();
        why.stdout.contains("held until").then_some(())
    })
    .await;
    cluster
        .until_instance("application02", InstanceState::Gone, 150)
        .await;
    let took = begin.elapsed();
    measured("from the end of the last container to the return", took);
    assert!(took.as_secs() >= 60, "held for {took:?}");
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.in_use().len(), 1);
    assert_eq!(
        on(&cluster, "application01").await,
        processes,
        "the others were left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_comes_back_cancels_a_drain() {
    let cluster = draining().await;
    let (before, since) = (on(&cluster, "application02").await, SystemTime::now());
    let begin = Instant::now();
    launch(&cluster, "more", 2).await;
    cluster
        .until_instance("application02", InstanceState::Active, 10)
        .await;
    measured("from the launch to the end of the drain", begin.elapsed());
    let why = cluster.micado(&["explain", "application02"]).await.ok();
    println!("{}", why.stdout);
    assert_eq!(
        cluster.machines_booted_since(since),
        0,
        "nothing was rented"
    );
    let after = on(&cluster, "application02").await;
    assert!(
        before.intersection(&after).next().is_some(),
        "one at a time moves: the other one stays, {before:?} and {after:?}"
    );
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.containers.len(), 6);
    assert_eq!(view.in_use().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_goes_on_after_the_manager_was_killed() {
    let mut cluster = draining().await;
    let stay = on(&cluster, "application01").await;
    // At the beginning, while each of the two has a copy on either machine, and between them.
    for (moved, left) in [(0, 2), (1, 2), (1, 1), (2, 1)] {
        wait(
            &format!("{moved} have a copy, {left} are left"),
            120,
            async || {
                let there = on(&cluster, "application01").await.len() - stay.len();
                let here = on(&cluster, "application02").await.len();
                assert!(there + here >= 2, "both run somewhere");
                (there >= moved && here <= left).then_some(())
            },
        )
        .await;
        cluster.kill_manager().await;
        cluster.start_manager(&[]).await;
    }
    cluster
        .until_instance("application02", InstanceState::Gone, 120)
        .await;
    wait("the cloud has one machine", 60, async || {
        (cluster.machines().await.len() == 1).then_some(())
    })
    .await;
    let all = on(&cluster, "application01").await;
    assert_eq!(all.len(), 4);
    assert!(stay.is_subset(&all), "those that were there stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_although_a_new_copy_and_then_its_machine_die() {
    let cluster = draining().await;
    let stay = on(&cluster, "application01").await;
    let arrived = async || {
        let there = on(&cluster, "application01").await;
        there.difference(&stay).next().cloned()
    };
    let new = wait("a new copy", 60, arrived).await;
    let kill = format!("docker kill {new}");
    cluster.on_machine("application01", &kill).await;
    cluster.kill_machine("application02").await;
    let begin = Instant::now();
    let names = [
        "stays_micado-web.1",
        "stays_micado-web.2",
        "goes_micado-web.1",
        "goes_micado-web.2",
    ];
    for name in names {
        cluster
            .until("all run on the other machine", 90, |view| {
                let runs = view.container_in(name, ContainerState::Running).is_some();
                let place = view.place_of(name);
                (runs && place.as_deref() == Some("application01")).then_some(())
            })
            .await;
    }
    measured("from the loss to all running elsewhere", begin.elapsed());
    assert!(
        stay.is_subset(&on(&cluster, "application01").await),
        "those that were there stay"
    );
    wait("the cloud has one machine", 60, async || {
        (cluster.machines().await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_starts_on_headroom_which_is_rented_anew_and_kept() {
    let cluster = Cluster::start(Options {
        setup: Setup {
            headroom: Some("1 machine"),
            ..Setup::small()
        },
        returns: true,
        ..Options::default()
    })
    .await;
    cluster
        .until_instance("application01", InstanceState::Active, 60)
        .await;
    let begin = Instant::now();
    let place = launch(&cluster, "first", 1).await;
    measured("from the launch to running on headroom", begin.elapsed());
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.place_of(&place[0]).as_deref(), Some("application01"));
    cluster
        .until_instance("application02", InstanceState::Active, 60)
        .await;
    println!("{}", cluster.micado(&["status"]).await.ok().stdout);
    wait("explain says that it is kept", 150, async || {
        let why = cluster.micado(&["explain", "application02"]).await.ok();
        let kept = why.stdout.contains("its room is headroom (1 machine)");
        kept.then(|| println!("{}", why.stdout))
    })
    .await;
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.in_use().len(), 2, "one was used, one is rented");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dear_machine_makes_way_for_a_cheaper_one() {
    let cluster = Cluster::start(Options {
        setup: Setup {
            flavours: vec![
                ("small", "704M", "1", "0.02"),
                ("medium", "1216M", "2", "0.09"),
            ],
            ..Setup::default()
        },
        returns: true,
        ..Options::default()
    })
    .await;
    let big = web("big").memory_mib(750);
    let big = cluster.launch(&big).await.name.to_string();
    cluster
        .until_container(&big, ContainerState::Running, 60)
        .await;
    let stays = launch(&cluster, "stays", 1).await.remove(0);
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.place_of(&stays).as_deref(), Some("application01"));
    quit(&cluster, &[big]).await;
    let begin = Instant::now();
    cluster
        .until_instance("application02", InstanceState::Active, 180)
        .await;
    measured(
        "from the end of the large one to its replacement",
        begin.elapsed(),
    );
    let stopped = AtomicBool::new(false);
    let watch = async {
        let mut fewest = usize::MAX;
        while !stopped.load(Ordering::Relaxed) {
            fewest = fewest.min(cluster.running_tasks().await.len());
        }
        fewest
    };
    let moved = async {
        cluster
            .until_instance("application01", InstanceState::Gone, 120)
            .await;
        stopped.store(true, Ordering::Relaxed);
    };
    let (fewest, ()) = tokio::join!(watch, moved);
    assert_eq!(fewest, 1, "a copy runs at any time");
    measured(
        "from its end to the return of the dear one",
        begin.elapsed(),
    );
    println!(
        "{}",
        cluster
            .micado(&["explain", "application02"])
            .await
            .ok()
            .stdout
    );
    let view = cluster.look().await.expect("a view");
    assert_eq!(view.place_of(&stays).as_deref(), Some("application02"));
    let left = cluster.machines().await.len();
    assert_eq!(left, 1, "nothing is leaked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_leaves_a_saturated_machine() {
    let cluster = Cluster::start(Options {
        setup: Setup {
            flavours: vec![("small", "704M", "0.2", "0.05")],
            ..Setup::default()
        },
        ..Options::default()
    })
    .await;
    let mut request = web("busy");
    request.spec.reservation.cpu = NanoCpus::millis(50);
    request.copies = NonZeroU32::new(2).expect("two");
    cluster.launch(&request).await;
    let names = ["busy_micado-web.1", "busy_micado-web.2"];
    for name in names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    let second = small_machine("second");
    cluster.api.start(&second).await.expect("a second machine");
    cluster
        .until_instance("second", InstanceState::Active, 60)
        .await;
    // More than its machine has.
    let begin = Instant::now();
    for name in names {
        cluster.ask(name, "/load?millicores=350").await;
    }
    wait("a new copy runs beside the old ones", 240, async || {
        (cluster.running_tasks().await.len() == 3).then_some(())
    })
    .await;
    measured("from the load to the new copy", begin.elapsed());
    assert!(begin.elapsed().as_secs() >= 60, "{:?}", begin.elapsed());
    wait("the old copy is gone", 60, async || {
        (cluster.running_tasks().await.len() == 2).then_some(())
    })
    .await;
    measured("from the load to the end of the old copy", begin.elapsed());
    let view = cluster.look().await.expect("a view");
    let moved = |name: &&str| view.place_of(name).as_deref() == Some("second");
    let moved = names.into_iter().find(moved).expect("it runs there");
    let why = cluster.micado(&["explain", moved]).await.ok().stdout;
    println!("{why}");
    let reason = "moves from application01, which has had no CPU left for";
    assert!(why.contains(reason), "{why}");
    assert_eq!(view.in_use().len(), 2, "nothing was rented");
}
