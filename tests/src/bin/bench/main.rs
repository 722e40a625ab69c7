//! End-to-end measurements on real engines, compared with the engine alone: medians of repeated
//! runs. `scripts/bench` runs it on a release build. `bench local`, `bench cloudbroker` or `bench
//! agent` runs a part of it; `bench crowd`, `bench scaling` and `bench services` run only by name.

mod crowd;
mod scaling;
mod services;

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{
        EndpointPortConfig, EndpointPortConfigPublishModeEnum, EndpointSpec, EndpointSpecModeEnum,
        NetworkAttachmentConfig, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated, TaskSpec,
        TaskSpecContainerSpec, TaskSpecPlacement, TaskState,
    },
    query_parameters::ListTasksOptions,
};
use futures_util::TryStreamExt;
use micado_api::{ContainerState, InstanceState, LaunchRequest, NanoCpus};
use micado_cloudbroker::{JobStatus, Pace};
use micado_tests::{Cluster, Fault, Options, Rented, Request, Setup, tools, wait, web};
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};
use tokio::{process::Command, time::sleep};

const PAIRS: usize = 15;
const ARRIVALS: usize = 7;
const MACHINES: usize = 5;
const CONTAINERS: usize = 50;
const EXECS: usize = 31;

#[tokio::main]
async fn main() {
    let part = std::env::args().nth(1);
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("local") {
        local().await;
    }
    if wanted("cloudbroker") {
        cloudbroker().await;
    }
    if wanted("agent") {
        agent().await;
    }
    match part.as_deref() {
        Some("crowd") => crowd::crowd().await,
        Some("scaling") => scaling::scaling().await,
        Some("services") => services::services().await,
        _ => {}
    }
}

/// On the `local` cloud.
async fn local() {
    let setup = Setup {
        flavours: vec![("small", "1152M", "2", "0.05")],
        ..Setup::default()
    };
    let cluster = Cluster::start(Options {
        setup,
        faulty: true,
        ..Options::default()
    })
    .await;
    order(&cluster).await;
    launch_with_room(&cluster).await;
    cluster.empty().await;
    arrival(&cluster).await;
    cluster.empty().await;
    memory(&cluster).await;
}

fn report(what: &str, mut times: Vec<Duration>) -> f64 {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.0} ms (min {:.0}, max {:.0}, n {})",
        ms(times.len() / 2),
        ms(0),
        ms(times.len() - 1),
        times.len()
    );
    ms(times.len() / 2)
}

/// From a launch that finds no room until the order of the machine reaches the cloud's socket. The
/// order fails there, so no machine is made.
async fn order(cluster: &Cluster) {
    let mut times = Vec::new();
    for round in 0..ARRIVALS {
        let before = cluster.broker().happened();
        cluster
            .broker()
            .fail(Fault::Answer(500), "/containers/create", 1);
        cluster.launch(&web(&format!("order{round}"))).await;
        let accepted = Instant::now();
        while cluster.broker().happened() == before {
            sleep(Duration::from_micros(500)).await;
        }
        times.push(accepted.elapsed());
        cluster.broker().mend();
        cluster
            .until_container(
                &format!("order{round}_micado-web.1"),
                ContainerState::Running,
                60,
            )
            .await;
        cluster.empty().await;
    }
    report(
        "launch accepted without room -> the order is at the cloud",
        times,
    );
}

/// `micado launch` until the container has started, and until it returns; the engine's own
/// service-create until running. In turns on one machine.
async fn launch_with_room(cluster: &Cluster) {
    cluster.launch(&web("first")).await;
    cluster
        .until_container("first_micado-web.1", ContainerState::Running, 60)
        .await;
    let engine = engine_of(cluster);
    let service = cluster
        .api
        .service("first_micado-web")
        .await
        .expect("the service");
    let image = service.pull.expect("its image");
    let (mut ours, mut whole, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..PAIRS {
        bare.push(bare_create(cluster, &engine, &image, round).await);
        let client = format!("with{round}");
        let begin = Instant::now();
        let mut command = cluster.start_micado_joined(&[
            "launch",
            "-i",
            "micado-web",
            "-n",
            &client,
            "--memory",
            "64M",
            "--cpu",
            "0.01",
        ]);
        command.until_printed("started on ").await;
        ours.push(begin.elapsed());
        command.end(b"", 60).await.ok();
        whole.push(begin.elapsed());
        let name = format!("{client}_micado-web.1");
        cluster.micado(&["quit", "--rm", "-n", &name]).await.ok();
    }
    let (bare, ours) = (
        report("service-create -> running, by the engine's API alone", bare),
        report("micado launch -> started, as a command", ours),
    );
    report("micado launch -> it has run for 2 s", whole);
    println!("ratio: {:.2}", ours / bare);
}

/// The manager's engine.
fn engine_of(cluster: &Cluster) -> Docker {
    let socket = cluster.file("engine/docker.sock").display().to_string();
    Docker::connect_with_unix(&socket, 60, API_DEFAULT_VERSION).expect("the manager's engine")
}

/// A service without the manager, on the machines and the network of the cluster.
fn bare_spec(cluster: &Cluster, image: &str, name: &str, replicas: i64) -> ServiceSpec {
    let id = std::fs::read_to_string(cluster.file("cluster-id")).expect("the cluster's id");
    let network = NetworkAttachmentConfig {
        target: Some(format!("micado-{}", id.trim())),
        ..Default::default()
    };
    let port = EndpointPortConfig {
        target_port: Some(8080),
        publish_mode: Some(EndpointPortConfigPublishModeEnum::HOST),
        ..Default::default()
    };
    ServiceSpec {
        name: Some(name.to_owned()),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated {
                replicas: Some(replicas),
            }),
            ..Default::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: Some(vec![port]),
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(image.to_owned()),
                init: Some(true),
                ..Default::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(vec!["node.role==worker".to_owned()]),
                ..Default::default()
            }),
            networks: Some(vec![network]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn bare_create(cluster: &Cluster, engine: &Docker, image: &str, round: usize) -> Duration {
    let name = format!("bare{round}");
    let spec = bare_spec(cluster, image, &name, 1);
    let begin = Instant::now();
    engine.create_service(spec, None).await.expect("a service");
    let filters = HashMap::from([("service".to_owned(), vec![name.clone()])]);
    loop {
        let tasks = engine
            .list_tasks(Some(ListTasksOptions {
                filters: Some(filters.clone()),
            }))
            .await
            .expect("tasks");
        if tasks.iter().any(|task| {
            task.status
                .as_ref()
                .is_some_and(|status| status.state == Some(TaskState::RUNNING))
        }) {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let time = begin.elapsed();
    engine.delete_service(&name).await.expect("it goes");
    wait("its task is gone", 30, async || {
        let tasks = engine
            .list_tasks(None::<ListTasksOptions>)
            .await
            .expect("tasks");
        (!tasks
            .iter()
            .any(|task| task.name.as_deref().is_some_and(|it| it.starts_with(&name))))
        .then_some(())
    })
    .await;
    time
}

/// From a machine's joining until the container that waited for it runs, including the pull of its
/// image (1.4 MB); and the whole time since the launch.
async fn arrival(cluster: &Cluster) {
    let (mut joined_to_running, mut whole) = (Vec::new(), Vec::new());
    for round in 0..ARRIVALS {
        let request: LaunchRequest = web(&format!("arrive{round}")).memory_mib(1024);
        let begin = Instant::now();
        let name = cluster.launch(&request).await.name.to_string();
        let mut steps = Box::pin(cluster.api.progress(&name).await.expect("progress"));
        let mut joined = None;
        while let Some(step) = steps.try_next().await.expect("progress") {
            if step.text.contains("joined after") {
                joined = Some(step.at);
            }
            if step.settled.is_some() {
                joined_to_running.push(step.at.since(joined.expect("it joined before it ran")));
                whole.push(begin.elapsed());
            }
        }
    }
    report(
        "machine joined -> the waiting container runs, its image pulled",
        joined_to_running,
    );
    report(
        "launch without room -> running, machine rented and booted",
        whole,
    );
}

/// The manager's memory with its machines and containers.
async fn memory(cluster: &Cluster) {
    for number in 0..CONTAINERS {
        let mut request = web(&format!("m{number}")).memory_mib(100);
        request.spec.reservation.cpu = NanoCpus::millis(100);
        cluster.launch(&request).await;
    }
    let view = cluster
        .until("all run", 600, |view| {
            view.containers
                .iter()
                .all(|it| it.state == ContainerState::Running)
                .then(|| view.in_use().len())
        })
        .await;
    sleep(Duration::from_secs(10)).await;
    let pid = std::fs::read_to_string(cluster.file("manager.pid")).expect("the manager's number");
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))
        .expect("the manager's status");
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map_or("?", str::trim)
            .to_owned()
    };
    println!(
        "the manager's memory with {view} machines (of {MACHINES} wanted) and {CONTAINERS} containers: {} resident, {} at its peak",
        line("VmRSS:"),
        line("VmHWM:")
    );
}

/// Through CloudBroker's API, on the simulator: from a job's `running` until the container runs,
/// and calls in an idle minute.
async fn cloudbroker() {
    let rented = Rented {
        pace: Pace::every(Duration::from_millis(100)),
        ..Rented::default()
    };
    let cluster = Cluster::start(Options {
        rented: Some(rented),
        tick: 10,
        ..Options::default()
    })
    .await;
    let (mut from_running, mut whole) = (Vec::new(), Vec::new());
    for round in 0..ARRIVALS {
        let begin = Instant::now();
        let name = cluster
            .launch(&web(&format!("arrive{round}")).memory_mib(500))
            .await
            .name
            .to_string();
        let running = cluster
            .until_container(&name, ContainerState::Running, 120)
            .await;
        let now = SystemTime::now();
        whole.push(begin.elapsed());
        let tag = running.instance.expect("where it runs").to_string();
        from_running.push(
            now.duration_since(running_since(&cluster))
                .unwrap_or_default(),
        );
        cluster.api.quit(&name, true).await.expect("quit");
        cluster.api.stop(&tag, true).await.expect("stop");
        cluster.until_instance(&tag, InstanceState::Gone, 60).await;
    }
    report(
        "CloudBroker: job `running` -> the waiting container runs",
        from_running,
    );
    report("CloudBroker: launch without room -> running", whole);

    idle_minute(&cluster, "jobs").await;
    drop(cluster);

    let rented = Rented {
        rent: "instances",
        pace: Pace::every(Duration::from_millis(100)),
        ..Rented::default()
    };
    idle_minute(
        &Cluster::start(Options {
            rented: Some(rented),
            tick: 10,
            ..Options::default()
        })
        .await,
        "instances",
    )
    .await;
}

/// Number of calls to the broker while nothing happens on one machine.
async fn idle_minute(cluster: &Cluster, rent: &str) {
    cluster.launch(&web("idle")).await;
    cluster
        .until_container("idle_micado-web.1", ContainerState::Running, 120)
        .await;
    sleep(Duration::from_secs(15)).await;
    let before = cluster.simulator().calls().len();
    sleep(Duration::from_secs(60)).await;
    println!(
        "CloudBroker: calls in an idle minute with one of its {rent}: {}",
        cluster.simulator().calls().len() - before
    );
}

/// `micado execute -c true` compared with `docker exec` on the engine of the same machine,
/// alternating; both as processes.
async fn agent() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    let name = cluster.launch(&tools("agent")).await.name.to_string();
    let tag = cluster
        .until_container(&name, ContainerState::Running, 120)
        .await
        .instance
        .expect("where it runs")
        .to_string();
    let ours = ["execute", "-n", &name, "-c", "true"];
    wait("the machine's agent is connected", 60, async || {
        (cluster.micado(&ours).await.code == Some(0)).then_some(())
    })
    .await;

    let machine = docker(&[
        "inspect",
        "--format",
        "{{.State.Pid}}",
        &cluster.machine(&tag).await.id,
    ])
    .await;
    let engine = format!("unix:///proc/{machine}/root/run/docker.sock");
    let container = docker(&[
        "--host",
        &engine,
        "ps",
        "--quiet",
        "--filter",
        "label=com.docker.swarm.service.name",
    ])
    .await;
    let (mut executes, mut execs) = (Vec::new(), Vec::new());
    for _ in 0..EXECS {
        let begin = Instant::now();
        cluster.micado(&ours).await.ok();
        executes.push(begin.elapsed());
        let begin = Instant::now();
        docker(&["--host", &engine, "exec", &container, "true"]).await;
        execs.push(begin.elapsed());
    }
    let (execs, executes) = (
        report("docker exec CONTAINER true, as a command", execs),
        report("micado execute -c true, as a command", executes),
    );
    println!("ratio: {:.2}", executes / execs);
}

/// Output of the docker command.
async fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .await
        .expect("the docker command");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Time at which the newest job became `running`.
fn running_since(cluster: &Cluster) -> SystemTime {
    let job = cluster.simulator().jobs().pop().expect("a job");
    let (_, at) = job
        .history
        .iter()
        .find(|(status, _)| *status == JobStatus::Running)
        .expect("it runs");
    SystemTime::from(*at)
}
