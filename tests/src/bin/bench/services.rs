//! How many services one Swarm manager carries. The services are like those of copies; each is
//! pinned to a node that does not exist, so its task is allocated, never scheduled, and nothing
//! runs.

use crate::report;
use bollard::{
    Docker,
    models::{
        EndpointSpec, EndpointSpecModeEnum, Ipam, IpamConfig, NetworkAttachmentConfig,
        NetworkCreateRequest, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated,
        SwarmInitRequest, TaskSpec, TaskSpecContainerSpec, TaskSpecPlacement,
    },
    query_parameters::{ListServicesOptions, ListTasksOptions},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Numbers of services at which lists and memory are measured.
const TOTALS: [usize; 2] = [1000, 3000];
/// Calls at once, each tried with [`TRIED`] services.
const WIDTHS: [usize; 4] = [1, 4, 16, 64];
const TRIED: usize = 100;
/// Calls at once for the rest, as the manager makes them.
const WIDTH: usize = 16;
const LISTS: usize = 7;
const REST: Duration = Duration::from_secs(10);

const NETWORK: &str = "micado-bench";
/// No node has this id.
const NODE: &str = "bench0000000000000000node";
/// Clock ticks of `/proc` in a second.
const TICKS: f64 = 100.0;

pub async fn services() {
    let folder = std::env::var("MICADO_OWN_ENGINE")
        .expect("an engine of its own: scripts/own-engine bench services");
    let pid = std::fs::read_to_string(format!("{folder}/dockerd.pid")).expect("the engine's pid");
    let (pid, engine) = (pid.trim(), swarm().await);
    println!("no service: the engine's memory {} MiB", memory(pid));
    let mut next = 0;
    for width in WIDTHS {
        let rate = create(&engine, next..next + TRIED, width).await;
        next += TRIED;
        println!("{TRIED} services created, {width} at once: {rate:.0}/s");
    }
    for total in TOTALS {
        let rate = create(&engine, next..total, WIDTH).await;
        let of = format!("{total} services");
        println!("{of}: created at {rate:.0}/s from {next} on, {WIDTH} at once");
        next = total;
        lists(&engine, &of).await;
        let before = processor(pid);
        sleep(REST).await;
        println!(
            "{of}: the engine's memory {} MiB; it uses {:.1} % of a core at rest",
            memory(pid),
            (processor(pid) - before) / REST.as_secs_f64() * 100.0
        );
    }
}

/// A Swarm of one manager, with the network of a cluster.
async fn swarm() -> Docker {
    let endpoint = std::env::var("DOCKER_HOST").expect("the engine's address");
    let engine = Docker::connect_with_host(&endpoint).expect("an address");
    let engine = engine.negotiate_version().await.expect("an engine");
    let request = SwarmInitRequest {
        listen_addr: Some("127.0.0.1:2377".to_owned()),
        advertise_addr: Some("127.0.0.1".to_owned()),
        ..Default::default()
    };
    engine.init_swarm(request).await.expect("a Swarm");
    let network = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("overlay".to_owned()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some("10.213.0.0/16".to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    };
    engine.create_network(network).await.expect("a network");
    engine
}

/// Creates services, so many at once; how many in a second.
async fn create(engine: &Docker, numbers: Range<usize>, width: usize) -> f64 {
    let (count, begin) = (numbers.len() as f64, Instant::now());
    stream::iter(numbers.map(spec))
        .map(|spec| engine.create_service(spec, None))
        .buffer_unordered(width)
        .for_each(|created| async { drop(created.expect("a service")) })
        .await;
    count / begin.elapsed().as_secs_f64()
}

/// The lists that the manager reads: everything, and what an event names.
async fn lists(engine: &Docker, of: &str) {
    let label = HashMap::from([("label".to_owned(), vec!["micado.cluster=bench".to_owned()])]);
    let named = HashMap::from([("name".to_owned(), vec![name(7)])]);
    let (mut services, mut tasks, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LISTS {
        services.push(list(engine, &label).await);
        let begin = Instant::now();
        let all = engine.list_tasks(None::<ListTasksOptions>).await;
        drop(all.expect("tasks"));
        tasks.push(begin.elapsed());
        one.push(list(engine, &named).await);
    }
    report(&format!("{of}: list of all services"), services);
    report(&format!("{of}: list of all tasks"), tasks);
    report(&format!("{of}: one service by name"), one);
}

async fn list(engine: &Docker, filters: &HashMap<String, Vec<String>>) -> Duration {
    let options = ListServicesOptions {
        filters: Some(filters.clone()),
        ..Default::default()
    };
    let begin = Instant::now();
    let services = engine.list_services(Some(options)).await;
    drop(services.expect("services"));
    begin.elapsed()
}

fn name(number: usize) -> String {
    format!("c-client{}-web-{}-{number:012x}", number / 10, number % 10)
}

/// The service of a copy, as the manager creates it, with the label that holds its records.
fn spec(number: usize) -> ServiceSpec {
    let labels = [
        ("micado.cluster", "bench".to_owned()),
        (
            "micado.container",
            format!("client{}_web.{}", number / 10, number % 10),
        ),
        ("micado.service", format!("client{}_web", number / 10)),
        ("micado.generation", "1".to_owned()),
        ("micado.instance", format!("{number:08x}")),
        ("micado.node", NODE.to_owned()),
        ("micado.records", records(number)),
    ];
    let networks = vec![NetworkAttachmentConfig {
        target: Some(NETWORK.to_owned()),
        aliases: Some(vec![
            format!("client{}-web", number / 10),
            format!("client{number}"),
        ]),
        ..Default::default()
    }];
    ServiceSpec {
        name: Some(name(number)),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..Default::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: None,
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(format!("registry:5443/web@sha256:{:064}", 0)),
                hostname: Some(format!("client{number}")),
                init: Some(true),
                ..Default::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(vec![format!("node.id=={NODE}")]),
                ..Default::default()
            }),
            networks: Some(networks),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// As long as the manager's records of a container without settings of its own.
fn records(number: usize) -> String {
    format!("{number:01000}")
}

/// Resident memory, in MiB.
fn memory(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = number.and_then(|kib| kib.parse().ok()).expect("a number");
    kib >> 10
}

/// Processor time used, in seconds.
fn processor(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the engine runs");
    // The name in parentheses may hold anything; the times are fields 12 and 13 after it.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let times = rest.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / TICKS
}
