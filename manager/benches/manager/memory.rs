//! The manager's memory with 1,000 machines, whose agents are connected and report, and 10,000
//! containers.

use crate::{
    agents,
    fake::{FakeEngine, instance_id},
    rig::{MACHINES, Rig, launch},
};
use micado_api::ContainerName;
use micado_manager::{
    clock,
    control::{Reply, Request},
    engine::{Engine, swarm_name},
    model::{Container, Copy, Phase, Service},
};
use std::{fmt::Write, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::sleep,
};

/// Clients with a service each, and the containers of each service.
const SERVICES: usize = 1000;
const EACH: usize = 10;
/// Time to come to rest: the core's full pass and the whole observation of the engine are made
/// every minute.
const REST: Duration = Duration::from_secs(75);

/// The word for the process that holds the fake engine alone.
pub const FAKE: &str = "fake-engine";

pub async fn run() {
    let fake = output(&[FAKE]).await;
    let fake: u64 = fake.trim().parse().expect("a number");
    let before = status("RssAnon");
    let rig = Rig::start(None).await;
    let empty = status("RssAnon");
    fill(&rig).await;
    let containers = status("RssAnon");
    let agents = connect_agents(&rig).await;
    sleep(REST).await;
    let settled = status("RssAnon");
    let resident = status("VmRSS");
    let of = format!("{MACHINES} machines, {} containers", SERVICES * EACH);
    println!(
        "{of}: the manager's memory {} MiB resident ({} MiB with {} MiB of the fake engine; at most {} MiB before)",
        mib(resident - fake),
        mib(resident),
        mib(fake),
        mib(status("VmHWM"))
    );
    println!(
        "{of}: its heap has grown by {} MiB (with the machines by {}, with the containers by {}, with the agents by {})",
        mib(settled.saturating_sub(before + fake)),
        mib(empty.saturating_sub(before)),
        mib(containers.saturating_sub(empty + fake)),
        mib(settled.saturating_sub(containers)),
    );
    drop(agents);
    rig.stop().await;
}

/// Launches all containers and waits until they run; returns their number.
pub async fn fill(rig: &Rig) -> usize {
    for number in 0..SERVICES {
        let request = launch(
            &format!("client{number}"),
            &format!("request{number}"),
            EACH,
        );
        let facts = rig.engine.image(&request.spec.image, None).await;
        let request = Request::Launch(Box::new(request), facts.expect("an image"));
        rig.handle
            .request::<Reply>(request)
            .await
            .expect("launched");
    }
    rig.until_running(SERVICES * EACH).await;
    SERVICES * EACH
}

pub fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// A figure of this process, in KiB.
pub fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Prints the memory of a fake engine with as many services, in KiB.
pub async fn fake_alone() {
    let before = status("RssAnon");
    let engine = FakeEngine::new(MACHINES);
    for number in 0..SERVICES * EACH {
        create(&engine, number).await;
    }
    println!("{}", status("RssAnon") - before);
}

async fn create(engine: &Arc<FakeEngine>, number: usize) {
    let client = format!("client{}", number / EACH);
    let request = launch(&client, &format!("request{}", number / EACH), EACH);
    let pull = engine
        .image(&request.spec.image, None)
        .await
        .expect("an image")
        .pull;
    let name = micado_manager::model::service_name(&client, &request.spec.image);
    let service = Service::new(name.expect("a name"), request.spec, pull, clock::now());
    let container = ContainerName::trusted(format!("{}.{}", service.name, number % EACH + 1));
    let instance = instance_id(number % MACHINES);
    let copy = Copy {
        generation: 1,
        swarm_name: swarm_name(&micado_api::ClusterId::trusted("bench"), &container, 1),
        instance: instance.clone(),
        spec: 1,
        reservation: service.spec.reservation,
        phase: Phase::Starting,
        ports: Box::default(),
        last_end: None,
        health: None,
    };
    let record = Container {
        copies: vec![copy.clone()],
        request: request.request,
        ..Container::new(container, service.name.clone(), clock::now())
    };
    let node = format!("node-{instance}");
    let created = engine.create(&service, &record, &copy, &node).await;
    created.expect("a service");
}

/// Starts the agents of all machines in a process of their own, and waits until they are connected.
pub async fn connect_agents(rig: &Rig) -> Child {
    let copies = rig.handle.read(|core| core.placed_copies()).await;
    let mut placed = String::new();
    for copy in copies.expect("a core") {
        writeln!(placed, "{} {}", copy.instance, copy.swarm_service).expect("written");
    }
    std::fs::write(rig.state().join(agents::PLACED), placed).expect("written");
    let state = rig.state().display().to_string();
    let mut child = own(&[agents::PART, &rig.address.to_string(), &state])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the agents");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut said)
        .await
        .expect("it speaks");
    assert_eq!(said, "connected\n");
    child
}

/// This program with other arguments.
pub fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments);
    command
}

async fn output(arguments: &[&str]) -> String {
    let output = own(arguments).output().await.expect("a process");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
