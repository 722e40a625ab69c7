//! Metrics and events of real containers, compared with the engine's own.

use crate::{
    bed::{Bed, socket, with_agent},
    manager::Agent,
};
use micado_api::{
    MemoryBytes, Timestamp,
    agent::{ContainerEvent, ContainerHappening, ContainerSample, FromAgent},
};
use micado_node_agent::{
    engine::Engine,
    sampler::{Sampler, files::Kernel},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MIB: u64 = 1 << 20;

fn web(settings: Value, memory: u64) -> Value {
    json!({ "Image": "micado-web:latest", "Env": settings, "HostConfig": { "Memory": memory } })
}

/// Asks the web server in a container; an empty reply if it is killed meanwhile.
async fn ask(bed: &Bed, id: &str, target: &str) -> String {
    let address = bed.inspect(id).await["NetworkSettings"]["IPAddress"]
        .as_str()
        .expect("an address")
        .to_owned();
    let mut stream = TcpStream::connect((address, 8080))
        .await
        .expect("the web server listens");
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes())
        .await
        .expect("asked");
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    answer
}

/// Waits until the web server listens.
async fn up(bed: &Bed, id: &str) {
    let address = bed.inspect(id).await["NetworkSettings"]["IPAddress"]
        .as_str()
        .expect("an address")
        .to_owned();
    let start = std::time::Instant::now();
    while TcpStream::connect((address.as_str(), 8080)).await.is_err() {
        assert!(
            start.elapsed() < crate::manager::PATIENCE,
            "the web server listens"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn number(stats: &Value, path: &str) -> u64 {
    stats
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("the engine says no {path}: {stats}"))
}

async fn engines_own(engine: &Engine, id: &str) -> Value {
    engine
        .get(&format!(
            "/containers/{id}/stats?stream=false&one-shot=true"
        ))
        .await
        .expect("the engine's figures")
}

#[tokio::test]
async fn figures_are_the_engines_own() {
    with_agent(1000, async |bed, _| {
        let id = bed.container(web(json!([]), 256 * MIB)).await;
        up(bed, &id).await;
        assert!(ask(bed, &id, "/burn?ms=300").await.contains("burnt"));
        assert!(ask(bed, &id, "/alloc?mib=40").await.contains("holds"));
        let mut sampler = Sampler::new(Kernel::below(Path::new("/"))).expect("cgroups");
        let pid = bed.inspect(&id).await["State"]["Pid"]
            .as_u64()
            .expect("a pid");
        assert!(sampler.started(&id, None, None, u32::try_from(pid).expect("a pid")));
        let mut look = || sampler.sweep().1.remove(0);
        let before = look();
        let engine = engines_own(&bed.engine, &id).await;
        let after = look();

        let cpu = number(&engine, "/cpu_stats/cpu_usage/total_usage");
        assert!(
            (before.cpu_ns..=after.cpu_ns).contains(&cpu),
            "CPU: {} <= {cpu} <= {}",
            before.cpu_ns,
            after.cpu_ns
        );
        assert!(
            cpu > 30_000_000,
            "300 ms of wanting a core, on a machine that may be full"
        );
        let inactive = engine
            .pointer("/memory_stats/stats/total_inactive_file")
            .or_else(|| engine.pointer("/memory_stats/stats/inactive_file"));
        let set = number(&engine, "/memory_stats/usage")
            - inactive.and_then(Value::as_u64).expect("inactive_file");
        assert!(
            set.abs_diff(after.working_set.0) <= MIB && set > 40 * MIB,
            "working set: {set} and {:?}",
            after.working_set
        );
        assert_eq!(
            after.memory_limit,
            Some(MemoryBytes(number(&engine, "/memory_stats/limit")))
        );
        assert_eq!(
            (after.received, after.sent),
            (
                number(&engine, "/networks/eth0/rx_bytes"),
                number(&engine, "/networks/eth0/tx_bytes")
            )
        );
        assert!(after.received > 0 && after.sent > 0);

        assert!(ask(bed, &id, "/alloc?mib=120").await.contains("holds"));
        assert!(ask(bed, &id, "/alloc?mib=0").await.contains("holds"));
        let low = look();
        assert!(
            low.working_set_peak >= MemoryBytes::mib(120) && low.working_set < MemoryBytes::mib(40),
            "a peak between two looks is seen: {low:?}"
        );
        assert!(
            look().working_set_peak < MemoryBytes::mib(40),
            "and told once"
        );
    })
    .await;
}

/// The next event of this container.
async fn event(agent: &mut Agent, id: &str) -> (ContainerEvent, Duration) {
    loop {
        if let (FromAgent::Event(event), _) = agent.next().await
            && event.id == id
        {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("a clock");
            let after = Timestamp(u64::try_from(now.as_millis()).expect("a time")).since(event.at);
            return (event, after);
        }
    }
}

/// The next sample of this container that matches.
async fn sample(
    agent: &mut Agent,
    id: &str,
    wanted: impl Fn(&ContainerSample) -> bool,
) -> ContainerSample {
    loop {
        if let Some(sample) = agent
            .batch()
            .await
            .containers
            .into_iter()
            .find(|sample| sample.id == id && wanted(sample))
        {
            return sample;
        }
    }
}

#[tokio::test]
async fn a_short_life_leaves_a_record() {
    with_agent(2000, async |bed, agent| {
        let mut late = Vec::new();
        for round in 0..3 {
            let id = bed
                .container(web(json!(["EXIT_AFTER_MS=100", "EXIT_CODE=3"]), 0))
                .await;
            let (started, after) = event(agent, &id).await;
            assert_eq!(
                (started.what, started.service.as_deref()),
                (ContainerHappening::Started, Some(bed.service.as_str()))
            );
            late.push(after);
            let (died, after) = event(agent, &id).await;
            assert_eq!(
                died.what,
                ContainerHappening::Died {
                    exit_code: 3,
                    oom: false
                }
            );
            assert!(died.at >= started.at);
            late.push(after);
            let last = sample(agent, &id, |_| true).await;
            assert!(
                last.ended && last.cpu_ns > 0 && last.working_set.0 > 0,
                "round {round}: {last:?}"
            );
        }
        late.sort();
        assert!(
            late[late.len() / 2] <= Duration::from_millis(100),
            "told after {late:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn one_that_wants_too_much_memory_dies_of_it() {
    with_agent(200, async |bed, agent| {
        let id = bed.container(web(json!([]), 48 * MIB)).await;
        up(bed, &id).await;
        let running = sample(agent, &id, |sample| sample.working_set.0 > 0).await;
        assert_eq!(
            (
                running.memory_limit,
                running.service.as_deref(),
                running.oom_kills
            ),
            (Some(MemoryBytes::mib(48)), Some(bed.service.as_str()), 0)
        );
        ask(bed, &id, "/alloc?mib=200").await;
        loop {
            if let ContainerHappening::Died { exit_code, oom } = event(agent, &id).await.0.what {
                assert_eq!((exit_code, oom), (137, true));
                break;
            }
        }
        assert!(sample(agent, &id, |sample| sample.ended).await.cpu_ns > 0);
    })
    .await;
}

#[tokio::test]
async fn an_oom_kill_of_one_process_is_counted() {
    with_agent(200, async |bed, agent| {
        let image = std::env::var("MICADO_NODE_IMAGE").unwrap_or_else(|_| "micado-node:latest".to_owned());
        // The shell survives when its child is killed.
        let hungry = "tail /dev/zero; sleep infinity";
        let id = bed.container(json!({ "Image": image, "Entrypoint": ["bash", "-c", hungry], "HostConfig": { "Init": true, "Memory": 32 * MIB } })).await;
        let killed = sample(agent, &id, |sample| sample.oom_kills > 0).await;
        assert!(!killed.ended && killed.oom_kills == 1 && killed.working_set_peak > killed.working_set, "{killed:?}");
    })
    .await;
}

#[tokio::test]
async fn throttling_health_and_new_limits_are_seen() {
    with_agent(200, async |bed, agent| {
        let image = std::env::var("MICADO_NODE_IMAGE").unwrap_or_else(|_| "micado-node:latest".to_owned());
        let body = json!({
            "Image": image, "Entrypoint": ["bash", "-c", "while [[ ! -e /stop ]]; do :; done; sleep infinity"],
            "Healthcheck": { "Test": ["CMD", "test", "-e", "/healthy"], "Interval": 100_000_000, "Retries": 1 },
            "HostConfig": { "Init": true, "NanoCpus": 100_000_000, "Memory": 64 * MIB, "MemorySwap": 256 * MIB },
        });
        let id = bed.container(body).await;
        assert_eq!(event(agent, &id).await.0.what, ContainerHappening::Started);
        assert_eq!(event(agent, &id).await.0.what, ContainerHappening::Unhealthy);
        let throttled = sample(agent, &id, |sample| sample.cpu_throttled_ns > 100_000_000).await;
        assert!(throttled.cpu_ns > 0);
        let update: Value =
            bed.engine.post(&format!("/containers/{id}/update"), &json!({ "Memory": 96 * MIB, "MemorySwap": 256 * MIB })).await.expect("updated");
        assert_eq!(update["Warnings"], Value::Null);
        sample(agent, &id, |sample| sample.memory_limit == Some(MemoryBytes::mib(96))).await;
    })
    .await;
}

#[tokio::test]
async fn what_runs_already_is_found() {
    let engine = Engine::at(socket());
    with_agent(100, async |bed, agent| {
        let id = bed.shell().await;
        sample(agent, &id, |_| true).await;
        // Another agent finds it in the list, without an event.
        let another = Bed::make(100, crate::authority::Span::LONG).await;
        let mut another = another;
        let mut agent = another.manager.agent().await;
        let first = agent.batch().await;
        another.clear().await;
        let sample = first
            .containers
            .iter()
            .find(|sample| sample.id == id)
            .unwrap_or_else(|| panic!("in the first batch: {first:?}"));
        assert_eq!(sample.service.as_deref(), Some(bed.service.as_str()));
        assert!(
            sample.started_at.is_some_and(
                |began| began < first.at && first.at.since(began) < Duration::from_secs(600)
            ),
            "{sample:?} at {:?}",
            first.at
        );
        assert!(
            engine
                .running()
                .await
                .expect("a list")
                .iter()
                .any(|container| container.id == id)
        );
    })
    .await;
}
