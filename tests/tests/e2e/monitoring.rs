//! A real Prometheus scrapes the manager over TLS with its token, and finds the containers by HTTP
//! service discovery, while the cluster grows and shrinks.

use micado_api::{ContainerState, DiscoveryQuery, MetricsQuery};
use micado_tests::{Cluster, Options, Prometheus, Setup, measured, wait, web};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const SERVICE: &str = "acme_micado-web";

/// A Prometheus that is pointed at this cluster as docs/monitoring.md says, and once without the
/// token.
fn prometheus(cluster: &Cluster) -> Prometheus {
    let port = cluster.https_port();
    let token = cluster.file("token");
    let trust = format!("{{ca_file: {}}}", cluster.file("ca.crt").display());
    let token = format!("{{type: Bearer, credentials_file: {}}}", token.display());
    Prometheus::configured(&format!(
        "rule_files: ['{rules}']
scrape_configs:
- job_name: micado
  scheme: https
  authorization: {token}
  tls_config: {trust}
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
- job_name: stranger
  scheme: https
  metrics_path: /metrics
  tls_config: {trust}
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
- job_name: web
  http_sd_configs:
  - url: https://127.0.0.1:{port}/v1/discovery/prometheus?service={SERVICE}
    authorization: {token}
    tls_config: {trust}
    refresh_interval: 1s
  relabel_configs:
  - {{source_labels: [__meta_micado_container], target_label: container}}
  - {{source_labels: [__meta_micado_instance], target_label: tag}}
",
        rules = docs("alerts.yml").display(),
    ))
}

fn docs(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    folder.canonicalize().expect("the folder").join(name)
}

/// Waits until an expression gives this value.
async fn is(prometheus: &Prometheus, expression: &str, value: f64, seconds: u64) {
    let mut last = None;
    let reached = async {
        while last != Some(value) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = prometheus.value(expression).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(seconds), reached)
        .await
        .is_err()
    {
        let targets = prometheus.api("targets", &[]).await;
        println!("{targets:#?}\n{}", prometheus.log());
        panic!("not within {seconds} s: {expression} is {value}; it is {last:?}");
    }
}

/// Expressions of the dashboard's panels, with its variables filled in.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(docs("grafana.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| target["expr"].as_str().expect("an expression"));
    let filled = expressions.map(|expression| {
        expression
            .replace("$__rate_interval", "10s")
            .replace("$service", ".*")
            .replace("$tag", ".*")
    });
    filled.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_follows_the_cluster() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let first = cluster.launch(&web("acme")).await.name.to_string();
    let second = cluster.launch(&web("acme")).await.name.to_string();
    for name in [&first, &second] {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
    }
    let prometheus = prometheus(&cluster);
    is(&prometheus, "up{job='micado'}", 1.0, 20).await;
    is(&prometheus, "count(up{job='web'} == 1)", 2.0, 20).await;
    let running = format!("micado_containers{{service='{SERVICE}',state='running'}}");
    is(&prometheus, &running, 2.0, 10).await;
    is(
        &prometheus,
        "sum(micado_instances{state='active'})",
        1.0,
        10,
    )
    .await;
    is(
        &prometheus,
        "micado_leader * micado_engine_up * micado_store_up",
        1.0,
        10,
    )
    .await;

    // Without the token nothing is told.
    is(&prometheus, "up{job='stranger'}", 0.0, 10).await;
    let targets = prometheus.api("targets", &[]).await.expect("targets");
    let targets = targets["activeTargets"].as_array().expect("a list").iter();
    let mut strangers = targets.filter(|target| target["labels"]["job"] == "stranger");
    let error = strangers.next().expect("it is there")["lastError"].to_string();
    assert!(error.contains("401"), "{error}");
    let told = "count({job='stranger',__name__!~'up|scrape_.*'})";
    assert_eq!(prometheus.query(told).await.expect("an answer"), []);

    // Another copy, which needs another machine.
    let growth = Instant::now();
    let third = cluster.launch(&web("acme")).await.name.to_string();
    is(&prometheus, "count(up{job='web'} == 1)", 3.0, 60).await;
    measured("from a launch to its target being up", growth.elapsed());
    is(&prometheus, &running, 3.0, 10).await;
    is(
        &prometheus,
        "sum(micado_instances{state='active'})",
        2.0,
        10,
    )
    .await;
    is(&prometheus, "sum(micado_agents_connected)", 2.0, 10).await;
    is(&prometheus, "count(micado_container_memory_bytes)", 3.0, 20).await;
    // The web servers' own metrics have the container's name by relabelling.
    let own = format!("sum(web_requests_total{{container='{third}'}}) > bool 0");
    is(&prometheus, &own, 1.0, 10).await;

    // 0.15 cores, as the kernel counts them, within a fifth.
    cluster.ask(&first, "/load?millicores=150").await;
    let cpu = format!("rate(micado_container_cpu_seconds_total{{container='{first}'}}[10s])");
    let cores = wait("the load is measured", 60, async || {
        let cores = prometheus.value(&cpu).await?;
        (0.12..0.18).contains(&cores).then_some(cores)
    })
    .await;
    println!("{cpu}: {cores}");
    let tag = cluster.look().await.expect("a view").place_of(&first);
    let labels = [
        ("service", SERVICE),
        ("client", "acme"),
        ("location", "application"),
        ("tag", tag.as_deref().expect("it is placed")),
    ];
    let (found, _) = prometheus.query(&cpu).await.expect("an answer").remove(0);
    for (label, value) in labels {
        assert_eq!(found[label], value, "{label}");
    }

    for expression in dashboard() {
        let answer = prometheus.query(&expression).await;
        println!(
            "{expression}: {} series",
            answer.as_ref().map_or(0, Vec::len)
        );
        answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
    }

    let quit = Instant::now();
    cluster.api.quit(&third, true).await.expect("it quits");
    is(&prometheus, "count(up{job='web'} == 1)", 2.0, 30).await;
    measured("from a quit to two targets", quit.elapsed());
    is(&prometheus, &running, 2.0, 30).await;
    is(&prometheus, "count(micado_container_memory_bytes)", 2.0, 30).await;

    let policy = [
        "policy", "set", SERVICE, "--cpu", "70%", "--min", "1", "--max", "4",
    ];
    cluster.micado(&policy).await.ok();
    let of = |name: &str| format!("{name}{{service='{SERVICE}'}}");
    let most = of("micado_service_max_containers");
    is(&prometheus, &most, 4.0, 10).await;
    let wanted = of("micado_service_wanted_containers");
    is(&prometheus, &wanted, 2.0, 10).await;
    let verdict = format!("count({})", of("micado_service_verdict_info"));
    is(&prometheus, &verdict, 1.0, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_tools_accept_the_metrics_and_the_rules() {
    let rules = docs("alerts.yml").display().to_string();
    let checked = Prometheus::promtool(&["check", "rules", &rules], "");
    println!("{}", checked.said);
    assert_eq!(checked.code, Some(0), "{checked:?}");

    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    let text = wait("the container is measured", 20, async || {
        let text = cluster.api.metrics(&MetricsQuery::default()).await.ok()?;
        text.contains("micado_container_cpu_seconds_total{")
            .then_some(text)
    })
    .await;
    println!("{text}");
    let checked = Prometheus::promtool(&["check", "metrics"], &text);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let targets = cluster.api.targets(&DiscoveryQuery::default()).await;
    let targets = targets.expect("a list");
    println!("{}", serde_json::to_string_pretty(&targets).expect("JSON"));
    assert_eq!(targets.len(), 1);

    // The rules on a server: a dead engine is noticed, and evaluates to an alert.
    let prometheus = prometheus(&cluster);
    is(&prometheus, "micado_engine_up", 1.0, 20).await;
    cluster.kill_engine().await;
    let pending = "ALERTS{alertname='MicadoEngineDown'}";
    is(&prometheus, pending, 1.0, 60).await;
    let groups = prometheus.api("rules", &[]).await.expect("rules");
    let groups = groups["groups"].as_array().expect("groups").iter();
    let rules: Vec<&Value> = groups
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .collect();
    assert!(rules.len() >= 15, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    cluster.revive_engine().await;
    is(&prometheus, "micado_engine_up", 1.0, 60).await;
}
