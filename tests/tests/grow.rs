//! The main job: containers are launched, and machines are rented as they need them.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Setup, measured, web};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_rented_when_no_machine_has_room_twice() {
    let cluster = Cluster::start(Options { setup: Setup::small(), ..Options::default() }).await;
    for number in 1..=4 {
        let begin = Instant::now();
        let name = cluster.launch(&web("acme")).await.name.to_string();
        let running = cluster.until_container(&name, ContainerState::Running, 60).await;
        measured(&format!("{name} on {}, from launch to running", running.instance.expect("a place")), begin.elapsed());
        assert!(cluster.ask(&name, "/").await.starts_with("micado-web "), "it says who it is");
        assert_eq!(number, cluster.look().await.expect("a view").containers.len());
    }
    let view = cluster.look().await.expect("a view");
    let instances: Vec<_> = view.instances.iter().map(|it| (it.tag.as_str(), it.state, it.containers)).collect();
    assert_eq!(instances, [("application01", InstanceState::Active, 2), ("application02", InstanceState::Active, 2)]);
    json_and_tables_say_so(&cluster).await;
}

async fn json_and_tables_say_so(cluster: &Cluster) {
    let lists = cluster.micado(&["list", "--output", "json"]).await.ok().json();
    let column =
        |list: &str, key: &str| lists[list].as_array().map(|rows| rows.iter().map(|row| row[key].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>());
    assert_eq!(column("instances", "tag").expect("instances"), ["application01", "application02"]);
    assert_eq!(column("containers", "instance").expect("containers"), ["application01", "application01", "application02", "application02"]);
    assert_eq!(column("containers", "state").expect("containers"), ["running"; 4]);

    let tables = cluster.micado(&["list"]).await.ok().stdout;
    let row = |name: &str| tables.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("no {name} in\n{tables}"));
    assert!(row("application02").contains("active"), "{tables}");
    assert!(row("acme_micado-web.3").contains("running") && row("acme_micado-web.3").contains("application02"), "{tables}");
    let why = cluster.micado(&["explain", "acme_micado-web.3"]).await.ok().stdout;
    assert!(why.contains("renting small on local"), "{why}");
}
