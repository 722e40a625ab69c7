//! Metrics of machines and containers as people see them, with both stores: measured on rented
//! machines, shown within a factor of the real load, and stored.

use micado_api::{ContainerState, LaunchRequest, Timestamp};
use micado_tests::{Cluster, Options, Request, Setup, Store, measured, tools, wait};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Upper bound until a load is shown, in seconds: a sweep every 2 s, and two for a rate.
const SEEN: u64 = 30;
/// Time in which the manager refreshes at least once: by default it does every 10 s.
const REFRESHED: Duration = Duration::from_secs(11);
const MIB: f64 = 1_048_576.0;

/// A container that runs this script.
fn script(client: &str, script: &str, mib: u64) -> LaunchRequest {
    let mut request = tools(client).memory_mib(mib);
    request.spec.arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_live_with_a_file() {
    figures_live(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_live_with_a_mongodb() {
    figures_live(Store::MongoDb).await;
}

async fn figures_live(store: Store) {
    let options = Options {
        setup: Setup::small(),
        store,
        arguments: vec!["--refresh", "2"],
        ..Options::default()
    };
    let mut cluster = Cluster::start(options).await;
    cluster.load_tools().await;
    let burns = cluster
        .launch(&script(
            "burns",
            "while :; do n=0; while test $n -lt 20000; do n=$((n + 1)); done; done",
            64,
        ))
        .await
        .name
        .to_string();
    // Allocated by a program without output.
    let holds = cluster
        .launch(&script(
            "holds",
            "dd if=/dev/zero bs=100M count=1 | sleep 1000000",
            200,
        ))
        .await
        .name
        .to_string();
    for name in [&burns, &holds] {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    let begin = Instant::now();
    let tag = cluster
        .look()
        .await
        .expect("a view")
        .place_of(&burns)
        .expect("a place");
    shown(&cluster, &burns, &holds, &tag).await;
    measured("from running to figures within bounds", begin.elapsed());
    kept(&cluster, store, &burns, &holds, &tag).await;
    image_set(&cluster, store).await;
    killed_for_want_of_memory(&mut cluster, store).await;
    blind_and_not_unplaceable(&cluster, &tag).await;
}

/// `top`, `list` and `info` show current metrics.
async fn shown(cluster: &Cluster, burns: &str, holds: &str, tag: &str) {
    let row = |rows: &Value, key: &str, name: &str| {
        rows.as_array()
            .and_then(|rows| rows.iter().find(|row| row[key] == name))
            .cloned()
            .unwrap_or_default()
    };
    let figures = async || {
        let top = cluster
            .micado(&["top", "--once", "--output", "json"])
            .await
            .ok()
            .json();
        let (burns, holds) = (
            row(&top["containers"], "name", burns),
            row(&top["containers"], "name", holds),
        );
        let cpu = burns["usage"]["cpu"].as_u64()?;
        let memory = holds["usage"]["memory"].as_u64()?;
        let machine = row(&top["instances"], "tag", tag);
        let busy = machine["usage"]["cpu"].as_u64()?;
        // Relative to one core, on a host with other load.
        let right = (200_000_000..1_200_000_000).contains(&cpu)
            && (95 << 20..130 << 20).contains(&memory)
            && busy >= cpu / 2;
        right.then_some((cpu, memory, busy))
    };
    let (cpu, memory, busy) = wait("`top` shows the load", SEEN, figures).await;
    println!(
        "measured: a busy loop: {cpu} nanocores; 100 MiB held: {memory} bytes; their machine: {busy} nanocores"
    );

    let list = cluster
        .micado(&["list", "-i", "--output", "json"])
        .await
        .ok()
        .json();
    let machine = row(&list["instances"], "tag", tag);
    let (total, left) = (
        machine["usage"]["memory_total"].as_u64().unwrap_or(0),
        machine["usage"]["memory_left"].as_u64().unwrap_or(0),
    );
    assert!(
        left > 0 && total > left + (95 << 20),
        "of its memory 100 MiB are held: {machine}"
    );
    let info = cluster
        .micado(&[
            "info",
            "-s",
            holds.trim_end_matches(".1"),
            "--output",
            "json",
        ])
        .await
        .ok()
        .json();
    assert!(info.to_string().contains("\"usage\":{"), "{info}");
    let table = cluster.micado(&["top", "--once"]).await.ok().stdout;
    assert!(
        table.contains(burns) && table.contains(tag) && !table.contains("blind"),
        "{table}"
    );
}

/// Past metrics, and readable fields in the database.
async fn kept(cluster: &Cluster, store: Store, burns: &str, holds: &str, tag: &str) {
    for name in [burns, holds, tag] {
        let history = async || {
            let history = cluster
                .micado(&["history", "-n", name, "--since", "10m", "--output", "json"])
                .await
                .ok()
                .json();
            let points = history["points"].as_array().cloned().unwrap_or_default();
            (points.len() >= 3).then_some(points)
        };
        let points = wait(&format!("past figures of {name}"), SEEN, history).await;
        assert!(
            points
                .windows(2)
                .all(|two| two[0]["at"].as_u64() < two[1]["at"].as_u64()),
            "oldest first, and each once: {points:?}"
        );
    }
    if store != Store::MongoDb {
        return;
    }
    let number = |document: &mongodb::bson::Document, path: [&str; 2]| -> Option<f64> {
        let value = document.get_document(path[0]).ok()?.get(path[1])?;
        value
            .as_f64()
            .or_else(|| value.as_i64().map(|it| it as f64))
            .or_else(|| value.as_i32().map(f64::from))
    };
    let read = async || {
        let (containers, instances) = (
            cluster.mongod().documents("container").await,
            cluster.mongod().documents("instance").await,
        );
        let named = |name: &str| {
            containers
                .iter()
                .find(|it| it.get_str("name").ok() == Some(name))
        };
        let memory = number(named(holds)?, ["memory", "now"])
            .filter(|memory| (95.0..130.0).contains(&(memory / MIB)))?;
        let cpu = number(named(burns)?, ["cpu", "now"]).filter(|cpu| (0.2..1.2).contains(cpu))?;
        let left = number(
            instances
                .iter()
                .find(|it| it.get_str("tag").ok() == Some(tag))?,
            ["memory", "left"],
        )?;
        Some((memory, cpu, left))
    };
    let found = wait("the collections hold the figures", SEEN, read).await;
    println!("measured: in the database: {found:?}");
}

async fn image_set(cluster: &Cluster, store: Store) {
    let set = cluster
        .micado(&[
            "image",
            "set",
            "micado-tools",
            "--critical-memory",
            "150M",
            "--output",
            "json",
        ])
        .await
        .ok()
        .json();
    assert_eq!(set["critical"]["memory"], 150_u64 << 20, "{set}");
    cluster
        .micado(&["image", "set", "nobody-has-it", "--critical-memory", "150M"])
        .await
        .refused(1, &["nobody-has-it"]);
    if store == Store::MongoDb {
        let images = cluster.mongod().documents("imagecontainer").await;
        let image = images
            .iter()
            .find(|it| it.get_str("image").ok() == Some("micado-tools"))
            .expect("the image");
        assert_eq!(
            image
                .get_document("critical")
                .ok()
                .and_then(|it| it.get_i64("memory").ok()),
            Some(150 << 20),
            "{image}"
        );
    }
}

/// The reason is shown as soon as the Swarm can know of the end.
async fn killed_for_want_of_memory(cluster: &mut Cluster, store: Store) {
    // The last start of its process is the one that is OOM-killed.
    let name = cluster
        .launch(&script(
            "greedy",
            "sleep 3; exec dd if=/dev/zero of=/dev/null bs=300M count=1",
            64,
        ))
        .await
        .name
        .to_string();
    let reason = |view: &micado_tests::View| {
        view.container(&name)?
            .reason
            .clone()
            .filter(|words| words.contains("OOM-killed"))
    };
    let words = cluster.until("the reason is shown", 60, reason).await;
    let seen = SystemTime::now();
    assert!(words.contains("64 MiB"), "{words}");
    let tag = cluster
        .look()
        .await
        .expect("a view")
        .place_of(&name)
        .expect("a place");
    // The first of all ended containers: by now it may have been restarted and killed again.
    let ended = "docker ps -aq --filter status=exited | xargs -r docker inspect --format '{{.State.OOMKilled}} {{.State.FinishedAt}}' | sort | sed -n 's/^true //p' | xargs -r -n 1 date +%s%3N -d | sort | head -n 1";
    let ended = Timestamp(
        cluster
            .on_machine(&tag, ended)
            .await
            .trim()
            .parse()
            .expect("when it was killed"),
    );
    let late = seen
        .duration_since(UNIX_EPOCH + Duration::from_millis(ended.0))
        .unwrap_or_default();
    measured(
        "from the kill for want of memory until its reason is shown",
        late,
    );
    known_after_a_restart(cluster, store, &name, &tag).await;
    cluster.micado(&["quit", "--rm", "-n", &name]).await.ok();
}

/// Events are stored: a restarted manager shows them, although no agent reports them again.
async fn known_after_a_restart(cluster: &mut Cluster, store: Store, name: &str, tag: &str) {
    cluster.cut_agent(tag).await;
    let blind = async || {
        cluster
            .micado(&["top", "--once"])
            .await
            .ok()
            .stdout
            .lines()
            .any(|line| line.starts_with(tag) && line.contains("blind"))
            .then_some(())
    };
    wait("its machine is blind", SEEN, blind).await;
    // It is blind 10 s after its last sample, but the agent may have reported an event since. The
    // next refresh, which nothing shows outside, records that.
    tokio::time::sleep(REFRESHED).await;
    let before = events(cluster, name).await;
    cluster.kill_manager().await;
    cluster.start_manager(&[]).await;
    let begin = Instant::now();
    let reason = |view: &micado_tests::View| {
        view.container(name)?
            .reason
            .clone()
            .filter(|words| words.contains("OOM-killed"))
    };
    cluster.until("the reason is shown again", 20, reason).await;
    measured(
        "from a manager's start until it shows the reason again",
        begin.elapsed(),
    );

    let all = events(cluster, name).await;
    assert_eq!(all, before, "as it was");
    let killed = all.iter().position(|it| {
        it["what"] == "died" && it["oom"] == true && it["exit_code"] == 137 && it["instance"] == tag
    });
    assert!(
        killed.is_some_and(|killed| all[..killed].iter().any(|it| it["what"] == "started")),
        "{all:?}"
    );
    assert!(
        all.windows(2)
            .all(|two| two[0]["at"].as_u64() <= two[1]["at"].as_u64()),
        "oldest first: {all:?}"
    );
    let table = cluster.micado(&["events", "-t", tag]).await.ok().stdout;
    assert!(
        table
            .lines()
            .any(|line| line.contains(name) && line.ends_with("died: exit code 137, OOM-killed")),
        "{table}"
    );
    if store == Store::MongoDb {
        let documents = cluster.mongod().documents("events").await;
        let of = |it: &&mongodb::bson::Document| {
            it.get_str("container").ok() == Some(name) && it.get_str("what").ok() == Some("died")
        };
        let died = documents.iter().find(of).expect("its death");
        assert!(
            died.get_bool("oom").ok() == Some(true)
                && died.get_i64("exit_code").ok() == Some(137)
                && died.get_datetime("at").is_ok(),
            "{died}"
        );
        assert_eq!(
            (died.get_str("instance").ok(), died.get_str("image").ok()),
            (Some(tag), Some("micado-tools")),
            "{died}"
        );
    }
    cluster.mend_agent(tag).await;
    let sees = |view: &micado_tests::View| view.instance(tag)?.usage.is_some().then_some(());
    cluster.until("its machine is seen again", 60, sees).await;
}

/// Events of a container.
async fn events(cluster: &Cluster, name: &str) -> Vec<Value> {
    let events = cluster
        .micado(&["events", "-n", name, "--output", "json"])
        .await
        .ok()
        .json();
    events.as_array().cloned().unwrap_or_default()
}

/// Without its agent a machine is shown as blind, but still gets containers.
async fn blind_and_not_unplaceable(cluster: &Cluster, tag: &str) {
    cluster.cut_agent(tag).await;
    let agent = cluster.agent_pid(tag).await;
    cluster.on_machine(tag, &format!("kill -9 {agent}")).await;
    let begin = Instant::now();
    let blind = async || {
        cluster
            .micado(&["top", "--once"])
            .await
            .ok()
            .stdout
            .lines()
            .any(|line| line.starts_with(tag) && line.contains("blind"))
            .then_some(())
    };
    wait("its machine is blind", SEEN, blind).await;
    measured(
        "from an agent's death until its machine is blind",
        begin.elapsed(),
    );
    let name = cluster
        .launch(&script("late", "sleep 1000000", 64))
        .await
        .name
        .to_string();
    let running = cluster
        .until_container(&name, ContainerState::Running, 30)
        .await;
    assert_eq!(
        running
            .instance
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some(tag),
        "{running:?}"
    );
    cluster.mend_agent(tag).await;
    let sees = |view: &micado_tests::View| view.instance(tag)?.usage.is_some().then_some(());
    cluster.until("its machine is seen again", 60, sees).await;
    measured(
        "from an agent's death until its machine is seen again",
        begin.elapsed(),
    );
}
