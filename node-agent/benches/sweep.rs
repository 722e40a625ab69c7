//! Cost of 100 containers: CPU time of one sweep beside the engine's own calls, CPU and memory of
//! the agent during a minute of reports, and delay of events. Needs the engine and its images
//! `micado-web` and `micado-node`.

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
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONTAINERS: usize = 100;
const SWEEPS: u32 = 300;
const CALLS: usize = 10;
const LIVES: usize = 15;
const EXECS: usize = 21;
const MEASURED: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    with_agent(2000, async |bed, agent| {
        let memory = 64 << 20;
        let make = |_| async {
            bed.container(
                json!({ "Image": "micado-web:latest", "HostConfig": { "Memory": memory } }),
            )
            .await
        };
        let make = futures_util::stream::iter(0..CONTAINERS)
            .map(make)
            .buffer_unordered(4)
            .collect::<Vec<String>>();
        // Meanwhile keep reading: the agent would take a silent manager for dead.
        let ids = tokio::select! {
            ids = make => ids,
            never = listen(agent) => match never {},
        };
        let in_turns = async {
            sweep(bed, &ids).await;
            engines_own(bed, &ids).await;
        };
        tokio::select! {
            () = in_turns => {}
            never = listen(agent) => match never {},
        }
        minute(bed, agent).await;
        events(bed, agent).await;
        exec(bed, agent).await;
    })
    .await;
}

async fn listen(agent: &mut Agent) -> std::convert::Infallible {
    loop {
        let batch = agent.batch().await;
        agent.acknowledge(batch.sequence).await;
    }
}

fn cpu_now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("a time"),
        u32::try_from(time.tv_nsec).expect("a time"),
    )
}

/// CPU time used by a process.
fn cpu_of(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .flatten();
    let times =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    Duration::from_nanos(
        times
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum(),
    )
}

async fn sweep(bed: &Bed, ids: &[String]) {
    let mut sampler = Sampler::new(Kernel::below(Path::new("/"))).expect("cgroups");
    let start = cpu_now();
    for id in ids {
        let pid = bed.inspect(id).await["State"]["Pid"]
            .as_u64()
            .expect("a pid");
        assert!(sampler.started(id, None, None, u32::try_from(pid).expect("a pid")));
    }
    println!(
        "finding {} containers, with the engine's answers: {:?} of CPU",
        ids.len(),
        cpu_now() - start
    );
    let mut once = || {
        let start = cpu_now();
        assert_eq!(black_box(sampler.sweep()).1.len(), CONTAINERS);
        cpu_now() - start
    };
    let idle: Vec<Duration> = (0..SWEEPS).map(|_| once()).collect();
    tell("that do nothing", idle);
    let mut addresses = Vec::new();
    for id in ids {
        addresses.push(
            bed.inspect(id).await["NetworkSettings"]["IPAddress"]
                .as_str()
                .expect("an address")
                .to_owned(),
        );
    }
    let mut busy = Vec::new();
    for _ in 0..SWEEPS / 10 {
        for address in &addresses {
            let mut stream = tokio::net::TcpStream::connect((address.as_str(), 8080))
                .await
                .expect("the web server listens");
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\n\r\n")
                .await
                .expect("asked");
            stream.read_to_end(&mut Vec::new()).await.expect("answered");
        }
        busy.push(once());
    }
    tell("that have all run since", busy);
}

fn tell(which: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "one sweep of {CONTAINERS} containers {which}: {:?} of CPU in the middle, {:?} at 95 %",
        times[times.len() / 2],
        times[times.len() * 95 / 100]
    );
}

async fn minute(bed: &Bed, agent: &mut Agent) {
    // Batches from the time of their start.
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

/// The engine's own stats call for some containers, one after the other: each may take a second.
async fn engines_own(bed: &Bed, ids: &[String]) {
    let stream = tokio::net::UnixStream::connect(bed::socket())
        .await
        .expect("the engine's socket");
    let engine = u32::try_from(
        stream
            .peer_cred()
            .ok()
            .and_then(|peer| peer.pid())
            .expect("the engine's process"),
    )
    .expect("a process");
    let (start, cpu) = (Instant::now(), cpu_of(engine));
    for id in &ids[..CALLS] {
        let stats: Value = bed
            .engine
            .get(&format!(
                "/containers/{id}/stats?stream=false&one-shot=true"
            ))
            .await
            .expect("the engine's figures");
        assert!(stats["cpu_stats"].is_object());
    }
    let calls = u32::try_from(CALLS).expect("a few");
    println!(
        "the engine's stats call for each of {CALLS} of them: {:?} of the engine's CPU and {:?} of time",
        (cpu_of(engine) - cpu) / calls,
        start.elapsed() / calls
    );
}

/// Delay from the engine's report of an event until the manager has it.
async fn events(bed: &Bed, agent: &mut Agent) {
    let mut late = Vec::new();
    for _ in 0..LIVES {
        let life = json!({ "Image": "micado-web:latest", "Env": ["EXIT_AFTER_MS=50"] });
        let id = bed.container(life).await;
        for _ in ["started", "died"] {
            late.push(loop {
                match agent.next().await.0 {
                    FromAgent::Event(event) if event.id == id => {
                        let now = SystemTime::now()
                            .duration_since(UNIX_EPOCH)
                            .expect("a clock");
                        break now.saturating_sub(Duration::from_millis(event.at.0));
                    }
                    FromAgent::Samples(batch) => agent.acknowledge(batch.sequence).await,
                    _ => {}
                }
            });
        }
    }
    late.sort();
    println!(
        "an event of the engine is with the manager after {:?} in the middle, {:?} at most",
        late[late.len() / 2],
        late[late.len() - 1]
    );
}

/// Delay from the manager's request until the manager has the exit code.
async fn exec(bed: &Bed, agent: &mut Agent) {
    let container = bed.shell().await;
    let (mut through_us, mut by_docker) = (Vec::new(), Vec::new());
    // Alternate, so that other load of the machine affects both.
    for _ in 0..EXECS {
        let start = Instant::now();
        let work = SessionWork::Exec {
            container: container.clone(),
            command: vec!["true".to_owned()],
            terminal: false,
            environment: Vec::new(),
        };
        let mut session = bed.manager.session(agent, work).await;
        session.note(&SessionNote::End).await;
        assert_eq!(
            session.outcome().await.last,
            Some(SessionNote::Exit { code: 0 })
        );
        through_us.push(start.elapsed());
        let start = Instant::now();
        let done = tokio::process::Command::new("docker")
            .args(["exec", &container, "true"])
            .status()
            .await;
        assert!(done.expect("the docker command").success());
        by_docker.push(start.elapsed());
    }
    through_us.sort();
    by_docker.sort();
    println!(
        "exec of `true`: {:?} in the middle; by `docker exec`: {:?}",
        through_us[EXECS / 2],
        by_docker[EXECS / 2]
    );
}
