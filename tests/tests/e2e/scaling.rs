//! Services with a policy: copies come with the load and go after it, memory and OOM kills add some,
//! and what is unknown changes nothing.

use micado_api::{ContainerState, MemoryBytes, NanoCpus};
use micado_tests::{Cluster, Options, Prometheus, Setup, is_full, measured, wait, web};
use std::time::{Duration, Instant};

const SERVICE: &str = "acme_micado-web";

/// Time of even load after which a copy counts as warm, in milliseconds.
const WARM: u64 = 35_000;

/// Time for which requests may fail when a copy stops, in seconds.
const STOP_GRACE: u64 = 10;

/// A cluster with a service that has a policy.
struct Scaled {
    cluster: Cluster,
    first: String,
}

impl Scaled {
    /// A cluster with one running copy of the web server, under a policy.
    async fn start(memory: MemoryBytes, policy: &[&str]) -> Self {
        let cluster = Cluster::start(Options {
            setup: Setup::small(),
            ..Options::default()
        })
        .await;
        let mut request = web("acme");
        request.spec.reservation.memory = memory;
        let first = cluster.launch(&request).await.name.to_string();
        cluster
            .until_container(&first, ContainerState::Running, 60)
            .await;
        let set = [&["policy", "set", SERVICE][..], policy].concat();
        println!("{}", cluster.micado(&set).await.ok().stdout);
        Self { cluster, first }
    }

    /// Waits until the first copy is warm.
    async fn warm(&self) {
        wait("the first copy is warm", 90, async || {
            let verdict = self.cluster.api.scaling(SERVICE).await.ok()?.verdict?;
            (verdict.at.0 - verdict.since.0 >= WARM).then_some(())
        })
        .await;
    }

    /// Waits until exactly so many copies run.
    async fn running(&self, count: u32, seconds: u64) {
        wait(&format!("{count} copies run"), seconds, async || {
            let view = self.cluster.api.scaling(SERVICE).await.ok()?;
            (view.running == count && view.count == count).then_some(())
        })
        .await;
    }

    /// Waits for a verdict with this text.
    async fn verdict(&self, text: &str, seconds: u64) {
        wait(&format!("a verdict with `{text}`"), seconds, async || {
            let verdict = self.cluster.api.scaling(SERVICE).await.ok()?.verdict?;
            verdict.text.contains(text).then_some(())
        })
        .await;
    }

    async fn count(&self) -> u32 {
        let view = self.cluster.api.scaling(SERVICE).await;
        view.expect("a manager that answers").count
    }
}

/// Waits until `explain` says of a copy that its machine does not tell its metrics.
async fn blind_explained(cluster: &Cluster) {
    wait("a copy has no metrics", 20, async || {
        let why = cluster.micado(&["explain", SERVICE]).await.ok().stdout;
        why.contains("agent has gone").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_come_with_the_load_and_go_after_it() {
    let policy = ["--cpu", "70%", "--max", "2", "--look-back", "60s"];
    let scaled = Scaled::start(MemoryBytes::mib(128), &policy).await;
    let (cluster, first) = (&scaled.cluster, &scaled.first);
    let checker = cluster.check(first).await;
    scaled.warm().await;
    let metrics = cluster.micado(&["top"]).await.ok().stdout;
    println!("{metrics}");

    // 0.35 cores: twice what one copy carries at 70 % of 0.25 cores.
    let step = Instant::now();
    cluster.ask(first, "/load?millicores=350").await;
    scaled.running(2, 30).await;
    measured("from the load step to the running copy", step.elapsed());

    let end = Instant::now();
    cluster.ask(first, "/load?millicores=0").await;
    scaled.running(1, 240).await;
    measured("from the end of the load to one copy", end.elapsed());
    let checked = cluster.checked(checker).await;
    println!("requests to the service meanwhile: {checked:?}");
    assert!(checked.answered > 100, "{checked:?}");
    // Until there is a proxy, a request may meet a copy that is about to stop.
    assert!(checked.failing_for <= STOP_GRACE, "{checked:?}");

    let why = cluster.micado(&["explain", SERVICE]).await.ok().stdout;
    println!("{why}");
    assert!(why.contains("grew 1 -> 2: "), "{why}");
    assert!(why.contains("shrank 2 -> 1: "), "{why}");
    // Between the two, the reason for keeping both.
    let ago = format!("-{}s", end.elapsed().as_secs() - 20);
    let at = ["explain", SERVICE, "--at", &ago];
    let then = cluster.micado(&at).await.ok().stdout;
    println!("micado explain {SERVICE} --at {ago}\n{then}");
    assert!(then.contains("acme_micado-web: kept 2: "), "{then}");
    let events = cluster.micado(&["events"]).await.ok().stdout;
    println!("{events}");
    assert!(events.contains("grew 1 -> 2: "), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_an_oom_kill_add_copies() {
    let policy = ["--memory", "80%", "--max", "3"];
    let scaled = Scaled::start(MemoryBytes::mib(64), &policy).await;
    let (cluster, first) = (&scaled.cluster, &scaled.first);
    scaled.warm().await;
    let step = Instant::now();
    cluster.ask(first, "/alloc?mib=59").await;
    scaled.running(2, 30).await;
    measured("from the memory step to the running copy", step.elapsed());
    cluster.ask(first, "/alloc?mib=1").await;
    scaled.verdict("kept 2: ", 30).await;
    let step = Instant::now();
    // The kernel kills it before it can answer.
    let view = cluster.look().await.expect("a manager that answers");
    let container = view.container(first).expect("it runs");
    let port = container.ports.iter().find_map(|port| port.host);
    let address = container.address.as_deref().expect("it has a machine");
    let port = port.expect("it has a port");
    drop(cluster.get(address, port, "/alloc?mib=100").await);
    scaled.running(3, 60).await;
    measured("from the OOM kill to the running copy", step.elapsed());
    let why = cluster.micado(&["explain", SERVICE]).await.ok().stdout;
    println!("{why}");
    assert!(why.contains("grew 2 -> 3: 1 copy was OOM-killed"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_signal_holds_and_the_highest_policy_wins() {
    let mut prometheus = Prometheus::start("3");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let policy = format!(
        "max = 5\nlook-back = \"60s\"\n\
         [[policies]]\nkind = \"target\"\nmetric = \"cpu\"\ntarget = 0.7\n\
         [[policies]]\nkind = \"query\"\nserver = \"{}\"\nquery = \"jobs\"\n\
         as = \"total\"\ntarget = 1.0\ninterval = \"1s\"\n",
        prometheus.url()
    );
    std::fs::write(file.path(), policy).expect("it is written");
    let path = file.path().display().to_string();
    let scaled = Scaled::start(MemoryBytes::mib(64), &["--file", &path]).await;
    let cluster = &scaled.cluster;
    // The CPU target wants one.
    scaled.running(3, 60).await;

    let unknown = "policy 2 is unknown (its source gives no single number)";
    let known = async || {
        wait("the signal is known", 10, async || {
            let verdict = cluster.api.scaling(SERVICE).await.ok()?.verdict?;
            (!verdict.text.contains("unknown")).then_some(())
        })
        .await;
    };
    let values: [&[&str]; 3] = [&[], &["NaN"], &["1", "2"]];
    for values in values {
        prometheus.expose(&["3"]);
        known().await;
        println!("{values:?}");
        prometheus.expose(values);
        scaled.verdict(unknown, 10).await;
        assert_eq!(scaled.count().await, 3);
    }
    prometheus.expose(&["3"]);
    known().await;
    prometheus.fail();
    scaled.verdict(unknown, 10).await;

    // Without samples, the count stays, and another policy still adds copies.
    prometheus.expose(&["3"]);
    let tags = cluster.look().await.expect("a manager that answers");
    let tags: Vec<String> = tags.in_use().iter().map(|it| it.tag.to_string()).collect();
    for tag in &tags {
        cluster.cut_agent(tag).await;
    }
    let cut = Instant::now();
    blind_explained(cluster).await;
    measured("from the cut to an explanation that says so", cut.elapsed());
    assert_eq!(scaled.count().await, 3);
    prometheus.expose(&["4"]);
    scaled.running(4, 30).await;
    for tag in &tags {
        cluster.mend_agent(tag).await;
    }

    prometheus.kill();
    scaled.verdict(unknown, 10).await;
    assert_eq!(scaled.count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_beyond_the_room_rents_machines() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let mut request = web("acme");
    request.spec.reservation.cpu = NanoCpus::millis(50);
    let first = cluster.launch(&request).await.name.to_string();
    cluster
        .until_container(&first, ContainerState::Running, 60)
        .await;
    let set = ["policy", "set", SERVICE, "--cpu", "70%", "--max", "5"];
    cluster.micado(&set).await.ok();
    let scaled = Scaled { cluster, first };
    scaled.warm().await;
    let (cluster, first) = (&scaled.cluster, &scaled.first);

    // More than five copies carry at 70 % of 0.05 cores; a machine has room for two.
    let step = Instant::now();
    cluster.ask(first, "/load?millicores=300").await;
    wait("all copies are wanted", 30, async || {
        (scaled.count().await == 5).then_some(())
    })
    .await;
    measured("from the load step to five copies wanted", step.elapsed());
    cluster
        .until("two machines are ordered", 10, |view| {
            (view.in_use().len() == 3).then_some(())
        })
        .await;
    measured("from the load step to the orders", step.elapsed());
    scaled.running(5, 60).await;
    measured("from the load step to five running copies", step.elapsed());
    let view = cluster.look().await.expect("a manager that answers");
    assert_eq!(view.in_use().len(), 3, "as many as five copies need");

    // Copies on a machine that tells nothing count as busy.
    cluster.cut_agent("application02").await;
    let cut = Instant::now();
    blind_explained(cluster).await;
    measured(
        "from the cut of one agent to its explanation",
        cut.elapsed(),
    );
    while cut.elapsed() < Duration::from_secs(30) {
        assert_eq!(scaled.count().await, 5, "after {:?}", cut.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.mend_agent("application02").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_changes_no_count() {
    let policy = ["--cpu", "70%", "--max", "5", "--look-back", "60s"];
    let scaled = Scaled::start(MemoryBytes::mib(64), &policy).await;
    let (cluster, first) = (&scaled.cluster, &scaled.first);
    scaled.warm().await;
    let lasts = Duration::from_secs(if is_full() { 1_800 } else { 30 });
    let begin = Instant::now();
    let mut restarts = 0;
    // 0.15 cores of 0.175 that one copy carries, 16 % up and down.
    let loads = [150, 174, 126, 160, 140, 170, 130];
    for load in loads.into_iter().cycle() {
        let path = format!("/load?millicores={load}");
        cluster.ask(first, &path).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scaled.count().await, 1, "after {:?}", begin.elapsed());
        if begin.elapsed() >= lasts {
            break;
        }
        // Its machine starts it again.
        if begin.elapsed().as_secs() >= 10 + 60 * restarts {
            let pid = cluster.agent_pid("application01").await;
            let kill = format!("kill -9 {pid}");
            cluster.on_machine("application01", &kill).await;
            restarts += 1;
        }
    }
}
