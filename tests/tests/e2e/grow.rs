//! The main purpose: containers are launched, and machines are rented as they need them.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Setup, measured, wait, web};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_rented_when_no_machine_has_room_twice() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let mut told = String::new();
    for number in 1..=4 {
        if number == 3 {
            told = cluster.worker_token().await;
        }
        let begin = Instant::now();
        let name = cluster.launch(&web("acme")).await.name.to_string();
        let running = cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
        let place = running.instance.expect("a place").to_string();
        measured(
            &format!("{name} on {place}, from launch to running"),
            begin.elapsed(),
        );
        if number % 2 == 1 {
            measured(
                &format!("{name} on {place}, from joined to running"),
                since_joined(&cluster, &place).await,
            );
        }
        assert!(
            cluster.ask(&name, "/").await.starts_with("micado-web "),
            "it says who it is"
        );
        assert_eq!(
            number,
            cluster.look().await.expect("a view").containers.len()
        );
    }
    let view = cluster.look().await.expect("a view");
    let instances: Vec<_> = view
        .instances
        .iter()
        .map(|it| (it.tag.as_str(), it.state, it.containers))
        .collect();
    assert_eq!(
        instances,
        [
            ("application01", InstanceState::Active, 2),
            ("application02", InstanceState::Active, 2)
        ]
    );
    nothing_that_lets_others_in_stays(&cluster, &told).await;
    json_and_tables_say_so(&cluster).await;
}

/// The worker token that the second machine received is invalid, and neither it nor the credential
/// is on the machine.
async fn nothing_that_lets_others_in_stays(cluster: &Cluster, told: &str) {
    wait("the worker token is renewed", 30, async || {
        (cluster.worker_token().await != told).then_some(())
    })
    .await;
    let found = cluster
        .on_machine(
            "application02",
            "ls /etc/micado; grep -rl SWMTKN /etc/micado /run/micado || true",
        )
        .await;
    let files: Vec<&str> = found.split_whitespace().collect();
    assert!(
        files.contains(&"node.key")
            && !files.contains(&"credential")
            && files.iter().all(|file| !file.starts_with('/')),
        "{found}"
    );
}

/// Time since the machine joined.
async fn since_joined(cluster: &Cluster, tag: &str) -> Duration {
    let view = cluster.look().await.expect("a view");
    let instance = view.instance(tag).expect("it is listed");
    let joined = UNIX_EPOCH
        + Duration::from_millis(
            instance.created_at.0 + instance.joined_after_ms.expect("it has joined"),
        );
    SystemTime::now().duration_since(joined).unwrap_or_default()
}

async fn json_and_tables_say_so(cluster: &Cluster) {
    let lists = cluster
        .micado(&["list", "--output", "json"])
        .await
        .ok()
        .json();
    let column = |list: &str, key: &str| {
        lists[list].as_array().map(|rows| {
            rows.iter()
                .map(|row| row[key].as_str().unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        column("instances", "tag").expect("instances"),
        ["application01", "application02"]
    );
    assert_eq!(
        column("containers", "instance").expect("containers"),
        [
            "application01",
            "application01",
            "application02",
            "application02"
        ]
    );
    assert_eq!(
        column("containers", "state").expect("containers"),
        ["running"; 4]
    );

    let tables = cluster.micado(&["list"]).await.ok().stdout;
    let row = |name: &str| {
        tables
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name))
            .unwrap_or_else(|| panic!("no {name} in\n{tables}"))
    };
    assert!(row("application02").contains("active"), "{tables}");
    assert!(
        row("acme_micado-web.3").contains("running")
            && row("acme_micado-web.3").contains("application02"),
        "{tables}"
    );
    let why = cluster
        .micado(&["explain", "acme_micado-web.3"])
        .await
        .ok()
        .stdout;
    assert!(why.contains("renting small on local"), "{why}");
}
