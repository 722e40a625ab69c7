//! Many small containers at once, beside the engine's own replicas on the same machines.

use crate::{bare_spec, engine_of, report};
use bollard::{
    Docker,
    models::{Limit, ResourceObject, TaskSpecResources, TaskState},
    query_parameters::ListTasksOptions,
};
use micado_api::{ContainerState, InstanceState, StartRequest};
use micado_tests::{Cluster, Options, Request, Setup, wait, web};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

const COPIES: usize = 300;
const MEMORY: i64 = 8 << 20;
const CPU: i64 = 10_000_000;
const MACHINES: usize = 6;
const RUNS: usize = 3;
/// Upper bound for the start of all. A crowd that takes longer never settles.
const LIMIT: Duration = Duration::from_secs(600);

pub async fn crowd() {
    let setup = Setup {
        flavours: vec![("large", "3G", "2", "0.05")],
        ..Setup::default()
    };
    let cluster = Cluster::start(Options {
        setup,
        ..Options::default()
    })
    .await;
    machines(&cluster).await;
    let engine = engine_of(&cluster);
    let image = image(&cluster).await;
    // Unmeasured: every machine pulls the image.
    replicas(&cluster, &engine, &image, "pull", 2 * MACHINES).await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..RUNS {
        bare.push(replicas(&cluster, &engine, &image, &format!("bare{round}"), COPIES).await);
        println!(
            "run {round}: {COPIES} replicas run after {:.1} s",
            bare[round].as_secs_f64()
        );
        let Some(time) = launch(&cluster, &engine, &format!("crowd{round}")).await else {
            println!(
                "micado launch --copies {COPIES} of 8 MiB: not all run within {} s",
                LIMIT.as_secs()
            );
            return;
        };
        println!(
            "run {round}: {COPIES} copies run after {:.1} s",
            time.as_secs_f64()
        );
        ours.push(time);
    }
    let (bare, ours) = (
        report(
            &format!(
                "service-create with {COPIES} replicas of 8 MiB -> all run, by the engine's API alone, {MACHINES} machines"
            ),
            bare,
        ),
        report(
            &format!(
                "micado launch --copies {COPIES} of 8 MiB -> all run, as a command, {MACHINES} machines"
            ),
            ours,
        ),
    );
    println!("ratio: {:.2}", ours / bare);
}

/// Rents the machines.
async fn machines(cluster: &Cluster) {
    let tags: Vec<String> = (0..MACHINES)
        .map(|number| format!("crowd{number}"))
        .collect();
    for tag in &tags {
        let request = StartRequest {
            cloud: "local".parse().expect("a name"),
            application: "Node".to_owned(),
            flavour: "large".parse().expect("a name"),
            tag: tag.parse().expect("a tag"),
            location: micado_api::Location::default(),
            first: false,
            files: Default::default(),
        };
        cluster.api.start(&request).await.expect("a machine");
    }
    for tag in &tags {
        cluster
            .until_instance(tag, InstanceState::Active, 120)
            .await;
    }
}

/// The reference that machines pull the image by.
async fn image(cluster: &Cluster) -> String {
    cluster.launch(&web("first").memory_mib(8)).await;
    let name = "first_micado-web";
    cluster
        .until_container(&format!("{name}.1"), ContainerState::Running, 60)
        .await;
    let service = cluster.api.service(name).await.expect("the service");
    cluster.api.quit(name, true).await.expect("quit");
    service.pull.expect("its image")
}

/// The time until all of them run, as one command; `None` when that takes too long.
async fn launch(cluster: &Cluster, engine: &Docker, client: &str) -> Option<Duration> {
    let copies = COPIES.to_string();
    let launch = [
        "launch",
        "-i",
        "micado-web",
        "-n",
        client,
        "--copies",
        &copies,
        "--memory",
        "8M",
        "--cpu",
        "0.01",
    ];
    let begin = Instant::now();
    timeout(LIMIT, cluster.micado(&launch)).await.ok()?.ok();
    let time = begin.elapsed();
    let service = format!("{client}_micado-web");
    cluster.micado(&["quit", "--rm", "-n", &service]).await.ok();
    until_gone(engine, &format!("c-{client}-")).await;
    Some(time)
}

/// The time until so many replicas of one service run. The same image, network, port and
/// reservation as `micado launch` asks for.
async fn replicas(
    cluster: &Cluster,
    engine: &Docker,
    image: &str,
    name: &str,
    count: usize,
) -> Duration {
    let mut spec = bare_spec(cluster, image, name, i64::try_from(count).expect("few"));
    let task = spec.task_template.as_mut().expect("it was given one");
    task.resources = Some(TaskSpecResources {
        limits: Some(Limit {
            memory_bytes: Some(MEMORY),
            ..Default::default()
        }),
        reservations: Some(ResourceObject {
            memory_bytes: Some(MEMORY),
            nano_cpus: Some(CPU),
            ..Default::default()
        }),
        ..Default::default()
    });
    let begin = Instant::now();
    engine.create_service(spec, None).await.expect("a service");
    while begin.elapsed() < LIMIT && running(engine, name).await < count {
        sleep(Duration::from_millis(50)).await;
    }
    let time = begin.elapsed();
    engine.delete_service(name).await.expect("it goes");
    until_gone(engine, name).await;
    time
}

async fn running(engine: &Docker, service: &str) -> usize {
    let filters = HashMap::from([("service".to_owned(), vec![service.to_owned()])]);
    let options = ListTasksOptions {
        filters: Some(filters),
    };
    let tasks = engine.list_tasks(Some(options)).await.expect("tasks");
    let running = tasks.iter().filter(|task| {
        let status = task.status.as_ref();
        status.is_some_and(|status| status.state == Some(TaskState::RUNNING))
    });
    running.count()
}

/// Waits until no task has a name that begins so.
async fn until_gone(engine: &Docker, prefix: &str) {
    let filters = HashMap::from([("name".to_owned(), vec![prefix.to_owned()])]);
    wait(&format!("no task of {prefix} is left"), 600, async || {
        let options = ListTasksOptions {
            filters: Some(filters.clone()),
        };
        let tasks = engine.list_tasks(Some(options)).await.expect("tasks");
        tasks.is_empty().then_some(())
    })
    .await;
}
