//! What 100 containers cost: CPU time of one sweep over them, and CPU and memory of the agent that tells of them for a minute. Needs the engine and its image `micado-web`.

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/agent/authority.rs"]
mod authority;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/agent/bed.rs"]
mod bed;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/agent/manager.rs"]
mod manager;

use bed::{Bed, with_agent};
use futures_util::StreamExt;
use manager::Agent;
use micado_api::agent::{FromAgent, SessionNote, SessionWork};
use micado_node_agent::sampler::{Sampler, files::Kernel};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

const CONTAINERS: usize = 100;
const SWEEPS: u32 = 300;
const EXECS: usize = 21;
const MEASURED: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    with_agent(2000, async |bed, agent| {
        let memory = 64 << 20;
        let make = |_| async { bed.container(json!({ "Image": "micado-web:latest", "HostConfig": { "Memory": memory } })).await };
        let ids: Vec<String> = futures_util::stream::iter(0..CONTAINERS).map(make).buffer_unordered(4).collect().await;
        sweep(bed, &ids).await;
        minute(bed, agent).await;
        engines_own(bed, &ids).await;
        exec(bed, agent).await;
    })
    .await;
}

fn cpu_now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).expect("a time"), u32::try_from(time.tv_nsec).expect("a time"))
}

/// CPU time that a process has used.
fn cpu_of(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let times = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    Duration::from_nanos(times.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

async fn sweep(bed: &Bed, ids: &[String]) {
    let mut sampler = Sampler::new(Kernel::below(Path::new("/"))).expect("cgroups");
    let start = cpu_now();
    for id in ids {
        let pid = bed.inspect(id).await["State"]["Pid"].as_u64().expect("a pid");
        assert!(sampler.started(id, None, u32::try_from(pid).expect("a pid")));
    }
    println!("finding {} containers, with the engine's answers: {:?} of CPU", ids.len(), cpu_now() - start);
    let mut times: Vec<Duration> = (0..SWEEPS)
        .map(|_| {
            let start = cpu_now();
            assert_eq!(black_box(sampler.sweep()).1.len(), CONTAINERS);
            cpu_now() - start
        })
        .collect();
    times.sort();
    println!("one sweep of {CONTAINERS} containers: {:?} of CPU in the middle, {:?} at 95 %", times[times.len() / 2], times[times.len() * 95 / 100]);
}

async fn minute(bed: &Bed, agent: &mut Agent) {
    // What came while they were started.
    while agent.batch().await.containers.len() < CONTAINERS {}
    let (start, cpu, mut bytes, mut batches) = (Instant::now(), cpu_of(bed.pid()), 0, 0_u32);
    while start.elapsed() < MEASURED {
        if let (FromAgent::Samples(batch), text) = agent.next().await {
            agent.acknowledge(batch.sequence).await;
            (bytes, batches) = (text.len(), batches + 1);
        }
    }
    let share = (cpu_of(bed.pid()) - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!(
        "the agent with {CONTAINERS} containers every 2 s: {share:.2} % of a core, {:.1} MiB now and {:.1} MiB at most, {bytes} bytes in each of {batches} batches",
        bed.memory_kib("VmRSS") as f64 / 1024.0,
        bed.memory_kib("VmHWM") as f64 / 1024.0,
    );
}

async fn engines_own(bed: &Bed, ids: &[String]) {
    let start = Instant::now();
    let stats: Value = bed.engine.get(&format!("/containers/{}/stats?stream=false&one-shot=true", ids[0])).await.expect("the engine's figures");
    assert!(stats["cpu_stats"].is_object());
    println!("the engine's own call for one of them: {:?}", start.elapsed());
}

/// From the manager's word to the exit code in the manager's hands.
async fn exec(bed: &Bed, agent: &mut Agent) {
    let container = bed.shell().await;
    let mut times = Vec::new();
    for _ in 0..EXECS {
        let start = Instant::now();
        let work = SessionWork::Exec { container: container.clone(), command: vec!["true".to_owned()], terminal: false, environment: Vec::new() };
        let mut session = bed.manager.session(agent, work).await;
        session.note(&SessionNote::End).await;
        assert_eq!(session.outcome().await.last, Some(SessionNote::Exit { code: 0 }));
        times.push(start.elapsed());
    }
    times.sort();
    let through_us = times[times.len() / 2];
    let mut times = Vec::new();
    for _ in 0..EXECS {
        let start = Instant::now();
        let done = tokio::process::Command::new("docker").args(["exec", &container, "true"]).status().await;
        assert!(done.expect("the docker command").success());
        times.push(start.elapsed());
    }
    times.sort();
    println!("exec of `true`: {through_us:?} in the middle; by `docker exec`: {:?}", times[times.len() / 2]);
}
