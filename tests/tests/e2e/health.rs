//! Health checks by the agent on real engines: a server that turns unhealthy on command leaves the
//! catalogue and comes back; slow and flapping ones; ports on which nothing listens.

use micado_api::{ContainerView, HealthState, HealthView};
use micado_tests::{Cluster, Options, Setup, dig, free_port, measured, wait};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const SERVICE: &str = "acme_micado-web";
const ONE: &str = "acme_micado-web.1";
const TWO: &str = "acme_micado-web.2";

/// From a verdict in the core to the catalogue's answer.
const SEEN_WITHIN: u64 = 500;

struct Checked {
    cluster: Cluster,
    consul: SocketAddr,
    dns: SocketAddr,
}

impl Checked {
    async fn start() -> Self {
        let [consul, dns] = [free_port(), free_port()];
        let text = |text: String| -> &'static str { text.leak() };
        let arguments = vec![
            "--consul",
            text(format!("127.0.0.1:{consul}")),
            "--dns",
            text(format!("127.0.0.1:{dns}")),
        ];
        let cluster = Cluster::start(Options {
            setup: Setup::small(),
            arguments,
            ..Options::default()
        })
        .await;
        Self {
            cluster,
            consul: ([127, 0, 0, 1], consul).into(),
            dns: ([127, 0, 0, 1], dns).into(),
        }
    }

    async fn micado(&self, arguments: &[&str]) -> micado_tests::Outcome {
        self.cluster.micado(arguments).await
    }

    /// Containers whose entries pass in the catalogue; `None` while it cannot be read.
    async fn passing(&self) -> Option<BTreeSet<String>> {
        let token = std::fs::read_to_string(self.cluster.file("consul-token")).ok()?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let client = client.build().ok()?;
        let url = format!("http://{}/v1/health/service/{SERVICE}?passing", self.consul);
        let answer = client
            .get(url)
            .bearer_auth(token.trim())
            .send()
            .await
            .ok()?;
        let rows: Value = answer.json().await.ok()?;
        let name = |row: &Value| {
            row["Service"]["Meta"]["container"]
                .as_str()
                .map(str::to_owned)
        };
        rows.as_array()?.iter().map(name).collect()
    }

    /// Waits until exactly these containers pass. Returns when they did, in milliseconds since the
    /// Unix epoch.
    async fn until_passing(&self, names: &[&str], seconds: u64) -> u64 {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut last = None;
        while Instant::now() < deadline {
            last = self.passing().await;
            if last.as_ref() == Some(&wanted) {
                return now();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let explained = self.micado(&["explain", SERVICE]).await.stdout;
        panic!("{wanted:?} should pass, not {last:?}\n{explained}");
    }

    /// Number of records that DNS has of the service.
    fn records(&self) -> usize {
        let name = format!("_{SERVICE}._tcp.service.micado");
        dig(self.dns, &["+short", &name, "SRV"]).lines().count()
    }

    async fn container(&self, name: &str) -> ContainerView {
        let view = self.cluster.look().await.expect("a manager that answers");
        view.container(name).expect("it is there").clone()
    }

    async fn health(&self, name: &str) -> HealthView {
        self.container(name).await.health.expect("it is checked")
    }

    async fn ask(&self, name: &str, path: &str) -> String {
        self.cluster.ask(name, path).await
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("a time").as_millis()).expect("a year before 584554051")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_copy_leaves_the_catalogue_and_comes_back() {
    let mut checked = Checked::start().await;
    let launch = [
        "launch",
        "-i",
        "micado-web",
        "-n",
        "acme",
        "--copies",
        "2",
        "--memory",
        "64M",
        "--health-http",
        "/ready",
        "--health-interval",
        "500ms",
        "-e",
        "READY_AFTER_MS=1500",
    ];
    let begun = Instant::now();
    checked.micado(&launch).await.ok();
    measured(
        "a launch of two that are ready after 1.5 s",
        begun.elapsed(),
    );
    checked.until_passing(&[ONE, TWO], 10).await;
    assert_eq!(checked.records(), 2);

    checked.ask(TWO, "/fail?on=1").await;
    let begun = Instant::now();
    let seen = checked.until_passing(&[ONE], 10).await;
    measured("failing until it is out of the catalogue", begun.elapsed());
    let health = checked.health(TWO).await;
    let took = seen.saturating_sub(health.since.0);
    measured("verdict until it is out", Duration::from_millis(took));
    assert!(took <= SEEN_WITHIN, "{took} ms");
    assert_eq!((health.state, health.kept), (HealthState::Unhealthy, false));
    let failure = "GET /ready at port 8080: status 503, not 200 to 399";
    assert_eq!(health.failure.as_deref(), Some(failure));
    assert_eq!(checked.records(), 1, "DNS follows");
    let list = checked.micado(&["list", "-c"]).await.ok().stdout;
    assert!(
        list.contains("unhealthy") && list.contains(failure),
        "{list}"
    );
    let explained = checked.micado(&["explain", TWO]).await.ok().stdout;
    assert!(
        explained.contains("engine") && explained.contains("task running"),
        "{explained}"
    );
    assert!(
        explained.contains("unhealthy by HTTP 8080/ready"),
        "{explained}"
    );

    half_stays(&checked).await;
    another_manager_knows(&mut checked).await;

    checked.ask(TWO, "/fail?on=0").await;
    let seen = checked.until_passing(&[ONE, TWO], 10).await;
    let took = seen.saturating_sub(checked.health(TWO).await.since.0);
    measured("verdict until it is back", Duration::from_millis(took));
    assert!(took <= SEEN_WITHIN, "{took} ms");
    assert_eq!(checked.records(), 2);
    slow_and_flapping(&checked).await;
    assert_eq!(checked.container(TWO).await.state.to_string(), "running");
}

/// If both fail, the one that was healthy last stays.
async fn half_stays(checked: &Checked) {
    checked.ask(ONE, "/fail?on=1").await;
    wait("both are unhealthy", 10, async || {
        let health = checked.health(ONE).await;
        (health.state == HealthState::Unhealthy).then_some(())
    })
    .await;
    checked.until_passing(&[ONE], 5).await;
    assert!(checked.health(ONE).await.kept);
    let explained = checked.micado(&["explain", SERVICE]).await.ok().stdout;
    assert!(
        explained.contains("panic rule: health checks would take 2 of 2 copies out"),
        "{explained}"
    );
    checked.ask(ONE, "/fail?on=0").await;
    wait("one is healthy again", 10, async || {
        let health = checked.health(ONE).await;
        (health.state == HealthState::Healthy).then_some(())
    })
    .await;
    checked.until_passing(&[ONE], 5).await;
}

/// The verdict outlives the manager, and what happened meanwhile is reported to the next.
async fn another_manager_knows(checked: &mut Checked) {
    checked.cluster.kill_manager().await;
    checked.cluster.start_manager(&[]).await;
    let first = wait("the new manager answers", 20, async || {
        checked.passing().await
    })
    .await;
    assert_eq!(first, [ONE.to_owned()].into(), "its first answer");
    wait("the agent is back", 40, async || {
        (!checked.health(TWO).await.unchecked).then_some(())
    })
    .await;
}

async fn slow_and_flapping(checked: &Checked) {
    checked.ask(TWO, "/slow?ms=1500").await;
    checked.until_passing(&[ONE], 20).await;
    let failure = checked.health(TWO).await.failure.expect("a reason");
    assert!(failure.ends_with("no answer in 1 s"), "{failure}");
    checked.ask(TWO, "/slow?ms=0").await;
    checked.until_passing(&[ONE, TWO], 20).await;

    // Once a second it fails and heals: each verdict takes several checks.
    let (mut changes, mut last) = (0, checked.health(TWO).await.since);
    for turn in 0..16 {
        checked.ask(TWO, &format!("/fail?on={}", turn % 2)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let since = checked.health(TWO).await.since;
        changes += usize::from(since != last);
        last = since;
    }
    println!("{changes} verdicts in 8 s of flapping");
    assert!(changes <= 4, "{changes}");
    checked.ask(TWO, "/fail?on=0").await;
    checked.until_passing(&[ONE, TWO], 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_own_port_is_checked() {
    let checked = Checked::start().await;
    let launch = async |client: &str, more: &[&str]| {
        let all = [
            "launch",
            "-i",
            "micado-web",
            "-n",
            client,
            "--memory",
            "64M",
        ];
        let all: Vec<&str> = all.iter().chain(more).copied().collect();
        checked.micado(&all).await
    };
    // The image's port is published, and nothing listens on it: the engine's own proxy would take
    // connections to the machine's port.
    let closed = ["-e", "PORT=9000", "--health-tcp", "--health-start", "2s"];
    let begun = Instant::now();
    let refused = launch("closed", &closed).await;
    measured("a launch that never becomes healthy", begun.elapsed());
    refused.refused(1, &["unhealthy on", "port 8080: connection refused"]);
    let name = "closed_micado-web.1";
    let state = checked.container(name).await.state.to_string();
    assert_eq!(state, "unhealthy", "it stays, and is not restarted");
    assert_eq!(checked.health(name).await.state, HealthState::Unhealthy);

    // A port that is not published is reached too.
    let inner = ["-e", "PORT=9000", "--health-tcp", "9000"];
    launch("inner", &inner).await.ok();
    let health = checked.health("inner_micado-web.1").await;
    assert_eq!(health.state, HealthState::Healthy);
    launch(
        "status",
        &["--health-http", "8080/healthz=204", "--health-start", "1s"],
    )
    .await
    .refused(1, &["status 200, not 204"]);
    launch("bad", &["--health-http", "/x", "--health-cmd", "true"])
        .await
        .refused(2, &["cannot be used with"]);
    launch("bad", &["--health-http", "/", "--health-timeout", "5m"])
        .await
        .refused(2, &["health timeout of 300000 ms"]);
}
