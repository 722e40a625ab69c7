//! Programs of others read the service catalogue, by Consul's interface and by DNS, while a service
//! grows and shrinks: Traefik, VictoriaMetrics, py-consul and `dig`.

use micado_api::{ContainerState, LaunchRequest};
use micado_tests::{
    Cluster, Options, Reader, Setup, Watch, dig, free_port, measured, py_consul, wait, web,
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const SERVICE: &str = "acme_micado-web";

/// Host that Traefik routes to the service.
const HOST: &str = "shop.example";

/// A cluster whose catalogue is offered in all ways.
struct Offered {
    cluster: Cluster,
    consul: SocketAddr,
    tls: u16,
    dns: SocketAddr,
    /// May read.
    token: String,
}

impl Offered {
    async fn start(more: &[&'static str]) -> Self {
        let [consul, tls, dns] = [free_port(), free_port(), free_port()];
        let text = |text: String| -> &'static str { text.leak() };
        let mut arguments = vec![
            "--consul",
            text(format!("127.0.0.1:{consul}")),
            "--consul-tls",
            text(format!("127.0.0.1:{tls}")),
            "--dns",
            text(format!("127.0.0.1:{dns}")),
        ];
        arguments.extend(more);
        let cluster = Cluster::start(Options {
            setup: Setup::small(),
            arguments,
            ..Options::default()
        })
        .await;
        let token = std::fs::read_to_string(cluster.file("consul-token")).expect("a token");
        Self {
            cluster,
            consul: ([127, 0, 0, 1], consul).into(),
            tls,
            dns: ([127, 0, 0, 1], dns).into(),
            token: token.trim().to_owned(),
        }
    }

    async fn launch(&self) -> String {
        let name = self.cluster.launch(&routed()).await.name.to_string();
        let cluster = &self.cluster;
        cluster
            .until_container(&name, ContainerState::Running, 60)
            .await;
        name
    }

    fn watch(&self) -> Watch {
        let authority = self.cluster.file("ca.crt");
        Watch::start(self.tls, &self.token, &authority, SERVICE)
    }

    /// Answer of Consul's interface.
    async fn consul(&self, path: &str) -> Value {
        self.known(path).await.expect("it has read the cluster")
    }

    /// The same; `None` while a new manager has not read the cluster.
    async fn known(&self, path: &str) -> Option<Value> {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let request = client.build().expect("a client");
        let request = request.get(format!("http://{}{path}", self.consul));
        let answer = request.bearer_auth(&self.token).send().await;
        let answer = answer.expect("an answer");
        if answer.status() == reqwest::StatusCode::INTERNAL_SERVER_ERROR {
            let text = answer.text().await.expect("a text");
            assert!(text.starts_with("No cluster leader"), "{text}");
            return None;
        }
        Some(answer.json().await.expect("JSON"))
    }
}

/// A web server with tags for Traefik.
fn routed() -> LaunchRequest {
    let mut request = web("acme");
    let rule = format!("traefik.http.routers.web.rule=Host(`{HOST}`)");
    request.spec.tags = vec!["traefik.enable=true".to_owned(), rule];
    request
}

/// Waits until the watch shows this many copies; returns when it did.
async fn shows(watch: &Watch, copies: usize) -> Instant {
    wait(
        &format!("py-consul shows {copies} copies"),
        30,
        async || {
            let (at, ids) = watch.last()?;
            (ids.len() == copies).then_some(at)
        },
    )
    .await
}

/// Waits until Traefik sends to this many copies.
async fn routes(traefik: &Reader, copies: usize) {
    // It writes names with dashes.
    let path = "/api/http/services/acme-micado-web@consulcatalog";
    let mut last = None;
    let reached = async {
        loop {
            last = traefik.api(path).await;
            let servers = last
                .as_ref()
                .and_then(|it| it["loadBalancer"]["servers"].as_array());
            if servers.map_or(0, Vec::len) == copies {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), reached)
        .await
        .is_err()
    {
        panic!(
            "Traefik has not {copies} servers: {last:?}\n{}",
            traefik.log()
        );
    }
}

/// Waits until VictoriaMetrics scrapes this many copies.
async fn scrapes(metrics: &Reader, copies: usize) {
    let mut last = None;
    let reached = async {
        loop {
            last = metrics.api("/api/v1/targets?state=active").await;
            let targets = last
                .as_ref()
                .and_then(|it| it["data"]["activeTargets"].as_array());
            let up = targets.into_iter().flatten();
            if up.filter(|target| target["health"] == "up").count() == copies
                && targets.map_or(0, Vec::len) == copies
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(40), reached)
        .await
        .is_err()
    {
        panic!(
            "VictoriaMetrics scrapes not {copies}: {last:?}\n{}",
            metrics.log()
        );
    }
}

/// Sends requests through Traefik until it is told to stop; returns how many were answered, and the
/// first that was not.
fn load(traefik: &Reader, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<(usize, Vec<String>)> {
    let (port, stop) = (traefik.port, Arc::clone(stop));
    tokio::spawn(async move {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let client = client.build().expect("a client");
        let (mut answered, mut failed) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let request = client.get(format!("http://127.0.0.1:{port}/"));
            match request.header("host", HOST).send().await {
                Ok(answer) if answer.status() == 200 => answered += 1,
                Ok(answer) => failed.push(answer.status().to_string()),
                Err(error) => failed.push(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (answered, failed)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_others_follow_a_service() {
    // Traefik follows within a second; the copy goes on for longer.
    let mut offered = Offered::start(&["--drain-wait", "3s"]).await;
    let watch = offered.watch();
    let traefik = Reader::traefik(offered.consul, &offered.token);
    let metrics = Reader::victoria_metrics(offered.consul, &offered.token, SERVICE);
    shows(&watch, 0).await;

    let first = offered.launch().await;
    let running = Instant::now();
    let seen = shows(&watch, 1).await;
    measured(
        "py-consul: a new copy",
        seen.saturating_duration_since(running),
    );
    routes(&traefik, 1).await;
    measured("Traefik: a new service", running.elapsed());
    scrapes(&metrics, 1).await;
    measured("VictoriaMetrics: a new service", running.elapsed());
    let (status, body) = traefik.route(HOST, "/").await.expect("an answer");
    assert_eq!(status, 200, "{body}");

    // Two more, the last of which needs another machine.
    let second = offered.launch().await;
    let running = Instant::now();
    routes(&traefik, 2).await;
    measured("Traefik: one copy more", running.elapsed());
    let third = offered.launch().await;
    let running = Instant::now();
    let seen = shows(&watch, 3).await;
    measured(
        "py-consul: one copy more",
        seen.saturating_duration_since(running),
    );
    routes(&traefik, 3).await;
    scrapes(&metrics, 3).await;
    measured("VictoriaMetrics: one copy more", running.elapsed());
    let nodes = offered.consul("/v1/catalog/nodes").await;
    assert_eq!(nodes.as_array().expect("a list").len(), 2, "{nodes}");

    check_dns(offered.dns, 3);

    // A copy is critical before it ends, and no request is lost.
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&traefik, &stop);
    offered
        .cluster
        .api
        .quit(&third, true)
        .await
        .expect("it quits");
    let quit = Instant::now();
    wait("the copy is draining", 5, async || {
        let checks = offered.consul("/v1/health/state/critical").await;
        let mut checks = checks.as_array()?.iter();
        let check = checks.find(|check| check["Output"] == "draining")?;
        let id = check["ServiceID"].as_str()?;
        id.contains(&third).then_some(())
    })
    .await;
    measured("a quit is in the catalogue", quit.elapsed());
    routes(&traefik, 2).await;
    measured("Traefik: one copy less", quit.elapsed());
    shows(&watch, 2).await;
    wait("the entry is gone", 30, async || {
        let all = offered
            .consul(&format!("/v1/health/service/{SERVICE}"))
            .await;
        (all.as_array()?.len() == 2).then_some(())
    })
    .await;
    measured("the entry is gone", quit.elapsed());
    scrapes(&metrics, 2).await;
    stop.store(true, Ordering::Relaxed);
    let (answered, failed) = load.await.expect("no panic");
    println!("{answered} requests answered through Traefik, failed: {failed:?}");
    assert!(
        answered > 100 && failed.is_empty(),
        "{answered}: {failed:?}"
    );

    // Another manager goes on with the same catalogue: nobody sees a copy go, or an index fall.
    let before = watch.lines().len();
    offered.cluster.kill_manager().await;
    offered.cluster.start_manager(&[]).await;
    wait("the new manager answers", 20, async || {
        let all = offered.known("/v1/catalog/services").await?;
        all.get(SERVICE).map(drop)
    })
    .await;
    let fourth = offered.launch().await;
    shows(&watch, 3).await;
    routes(&traefik, 3).await;
    let indexes = watch.indexes();
    assert!(indexes.is_sorted(), "{indexes:?}");
    let since = watch.lines().split_off(before);
    let fewer = |(_, words): &(Instant, Vec<String>)| words[0] != "error" && words.len() < 3;
    assert!(!since.iter().any(fewer), "{since:?}");

    for name in [&first, &second, &fourth] {
        offered
            .cluster
            .api
            .quit(name, true)
            .await
            .expect("it quits");
    }
    shows(&watch, 0).await;
    let nodes = dig(
        offered.dns,
        &["+noall", "+comments", &format!("{SERVICE}.service.micado")],
    );
    assert!(
        nodes.contains("status: NOERROR") || nodes.contains("NXDOMAIN"),
        "{nodes}"
    );
}

fn check_dns(dns: SocketAddr, copies: usize) {
    let name = format!("{SERVICE}.service.micado");
    let dashed = "acme-micado-web.service.micado";
    for (name, more) in [
        (name.as_str(), "+notcp"),
        (&name, "+tcp"),
        (dashed, "+notcp"),
    ] {
        let addresses = dig(dns, &["+short", more, name]);
        assert_eq!(addresses.lines().count(), 2, "{addresses}");
    }
    let servers = dig(
        dns,
        &["+short", &format!("_{SERVICE}._tcp.service.micado"), "SRV"],
    );
    println!("{servers}");
    assert_eq!(servers.lines().count(), copies, "{servers}");
    let target = servers.split_whitespace().nth(3).expect("a target");
    let address = dig(dns, &["+short", target]);
    assert_eq!(address.lines().count(), 1, "{address}");
    let node = dig(dns, &["+short", "application01.node.micado"]);
    assert_eq!(node.lines().count(), 1, "{node}");
    let status = |arguments: &[&str]| {
        let all = [&["+noall", "+comments"], arguments].concat();
        dig(dns, &all)
    };
    assert!(status(&["none.service.micado"]).contains("NXDOMAIN"));
    assert!(status(&[&name, "AAAA"]).contains("NOERROR"));
    assert!(status(&["example.org"]).contains("REFUSED"));
    assert!(status(&[&name]).contains("flags: qr aa rd;"));
}

const REGISTER: &str = "
import consul, sys
client = consul.Consul(host='127.0.0.1', port=int(sys.argv[1]), token=sys.argv[2])
try:
    print(client.agent.service.register('cache', service_id='cache-1', address='10.9.9.9', port=6379, tags=['redis']))
except consul.ConsulException as error:
    print(type(error).__name__)
";

#[tokio::test(flavor = "multi_thread")]
async fn entries_made_by_hand_are_found_like_others() {
    let mut offered = Offered::start(&[]).await;
    let line = [
        "service", "register", "-n", "db", "-a", "10.9.9.8", "-p", "5432", "--tag", "primary",
        "--meta", "rack=7",
    ];
    let said = offered.cluster.micado(&line).await.ok();
    println!("{}", said.stdout);
    let port = offered.consul.port().to_string();
    // The token for readers registers nothing.
    let refused = py_consul(REGISTER, &[&port, &offered.token]);
    assert!(refused.contains("ACLPermissionDenied"), "{refused}");
    let all = std::fs::read_to_string(offered.cluster.file("token")).expect("a token");
    let registered = py_consul(REGISTER, &[&port, all.trim()]);
    assert_eq!(registered.trim(), "True");

    // They outlive the manager.
    offered.cluster.kill_manager().await;
    offered.cluster.start_manager(&[]).await;
    let entries = wait("the new manager knows them", 20, async || {
        let services = offered.known("/v1/catalog/services").await?;
        (services.as_object()?.len() == 2).then_some(services)
    })
    .await;
    assert_eq!(entries["cache"][0], "redis", "{entries}");
    let db = offered.consul("/v1/health/service/db?passing").await;
    let service = &db[0]["Service"];
    assert_eq!(
        (service["Address"].as_str(), service["Port"].as_u64()),
        (Some("10.9.9.8"), Some(5432))
    );
    assert_eq!(service["Meta"]["rack"], "7");
    let records = dig(offered.dns, &["+short", "primary.db.service.micado", "SRV"]);
    assert_eq!(records.trim(), "1 1 5432 0a090908.addr.micado.");

    for line in [
        ["info", "-s", "db"].as_slice(),
        &["info", "-a"],
        &["service", "list"],
    ] {
        let said = offered.cluster.micado(line).await.ok().stdout;
        println!("$ micado {}\n{said}", line.join(" "));
        assert!(
            said.contains("10.9.9.8") && said.contains("primary"),
            "{said}"
        );
    }
    let gone = ["service", "deregister", "db"];
    offered.cluster.micado(&gone).await.ok();
    offered
        .cluster
        .micado(&gone)
        .await
        .refused(1, &["no entry `db`"]);
    wait("it is gone", 5, async || {
        let services = offered.consul("/v1/catalog/services").await;
        services.get("db").is_none().then_some(())
    })
    .await;
}
