//! The engine and the registry on real Docker Engines. Needs root, a Docker Engine and the image
//! that `scripts/node-image/build` makes.

#[path = "swarm/images.rs"]
mod images;
#[path = "swarm/joining.rs"]
mod joining;
mod support;

use futures_util::{StreamExt, TryStreamExt};
use images::{images_are_the_managers_own, strangers_are_turned_away};
use micado_api::{
    ClusterId, ContainerName, InstanceId, Location, MemoryBytes, NanoCpus, PortMapping, Protocol,
    Resources, RestartPolicy, ServiceName, ServiceSpec, Timestamp, VolumeMount,
};
use micado_manager::{
    engine::{
        Engine, EngineError, EngineEvent, LogLine, LogOptions, SwarmTask, TaskState,
        swarm::{Swarm, SwarmConfig},
        swarm_name, volume_name,
    },
    model::{Container, Copy, Phase, Service},
    pki::Pki,
    registry::{OwnRegistry, Registry},
};
use std::{sync::Arc, time::Duration};
use support::{Lab, Node, PATIENCE};

const CLUSTER: &str = "labcluster";

async fn connect(node: &Node) -> Swarm {
    let config = SwarmConfig {
        endpoint: node.endpoint.clone(),
        ..SwarmConfig::new(ClusterId::trusted(CLUSTER))
    };
    Swarm::connect(&config).await.expect("a Swarm")
}

/// A service that runs a shell script.
fn service(image: &str, script: &str) -> Service {
    Service {
        name: ServiceName::trusted("acme_web"),
        version: 1,
        older: Vec::new(),
        spec: ServiceSpec {
            image: image.to_owned(),
            client: "acme".to_owned(),
            location: Location::default(),
            entrypoint: Some("/bin/sh".to_owned()),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec!["GREETING=hello".to_owned()],
            ports: Vec::new(),
            domain: None,
            tags: Vec::new(),
            reservation: Resources {
                memory: MemoryBytes::mib(32),
                cpu: NanoCpus::millis(50),
            },
            volumes: Vec::new(),
            restart: micado_api::RestartPolicy::default(),
            anti_affinity: micado_api::AntiAffinity::default(),
            run: Box::default(),
        },
        pull: Some(image.to_owned()),
        image_id: None,
        platforms: std::collections::BTreeSet::new(),
        next_number: 2,
        created_at: Timestamp(1),
        alias: None,
    }
}

fn container(number: u32, instance: &str) -> (Container, Copy) {
    let name = ContainerName::trusted(format!("acme_web.{number}"));
    let copy = Copy {
        generation: 1,
        instance: InstanceId::trusted(instance),
        swarm_name: swarm_name(&ClusterId::trusted(CLUSTER), &name, 1),
        spec: 1,
        reservation: Resources::default(),
        phase: Phase::Starting,
        ports: Box::default(),
        last_end: None,
        health: None,
    };
    let container = Container {
        copies: vec![copy.clone()],
        next_generation: 2,
        ..Container::new(name, ServiceName::trusted("acme_web"), Timestamp(2))
    };
    (container, copy)
}

/// The Swarm id of the node that claims to be this instance.
async fn node_id(swarm: &Swarm, instance: &InstanceId) -> String {
    let seen = swarm.observe().await.expect("an observation");
    let mut nodes = seen.nodes.into_iter();
    let node = nodes.find(|node| node.instance.as_ref() == Some(instance));
    node.expect("its node is in the Swarm").id
}

async fn create(swarm: &Swarm, service: &Service, container: &Container, copy: &Copy) {
    let node = node_id(swarm, &copy.instance).await;
    let made = swarm.create(service, container, copy, &node).await;
    made.expect("created");
}

/// Polls the tasks of a service until one is as wanted. Tasks have no events.
async fn until(swarm: &Swarm, name: &str, wanted: impl Fn(&SwarmTask) -> bool) -> SwarmTask {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            seen = swarm.tasks(&[name.to_owned()]).await.expect("tasks");
            if let Some(task) = seen.iter().find(|task| wanted(task)) {
                return task.clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("no task of {name} is as wanted: {seen:?}"))
}

fn is_running(task: &SwarmTask) -> bool {
    task.state == TaskState::Running && task.wanted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_from_creation_to_removal() {
    let mut lab = Lab::new("life").await;
    let node = lab
        .node(&[
            ("micado.cluster", CLUSTER),
            ("micado.instance", "i1"),
            ("micado.location", "application"),
        ])
        .await;
    node.make_image("sample:1");
    let swarm = connect(&node).await;

    // A second manager finds the same cluster, and one of another cluster is refused.
    assert_eq!(connect(&node).await.cluster(), swarm.cluster());
    let other = SwarmConfig {
        endpoint: node.endpoint.clone(),
        wanted: Some(ClusterId::trusted("other")),
        ..SwarmConfig::new(ClusterId::trusted("x"))
    };
    assert!(
        matches!(Swarm::connect(&other).await, Err(EngineError::Refused(text)) if text.contains("`labcluster`, not `other`"))
    );

    let facts = swarm.image("sample:1", None).await.expect("the image");
    let exposed = |container, protocol| PortMapping {
        host: None,
        container,
        protocol,
    };
    assert_eq!(
        (facts.pull, facts.exposed),
        (
            None,
            vec![exposed(53, Protocol::Udp), exposed(8080, Protocol::Tcp)]
        )
    );
    let unknown = swarm.image("nope", None).await.expect_err("no such image");
    assert!(
        matches!(&unknown, EngineError::NotFound(text) if text.contains("`nope` is neither on the manager's engine nor in a registry")),
        "{unknown:?}"
    );

    // Created twice, it exists once and runs once.
    let mut web = service("sample:1", "echo $GREETING; exec sleep 1000");
    web.spec.ports = vec![
        exposed(8080, Protocol::Tcp),
        PortMapping {
            host: Some(9000),
            container: 9000,
            protocol: Protocol::Tcp,
        },
    ];
    let (first, copy) = container(1, "i1");
    let name = swarm_name(swarm.cluster(), &first.name, 1);
    web.spec.volumes = vec![VolumeMount {
        name: "theirs".to_owned(),
        path: "/data".to_owned(),
        shared: false,
    }];
    create(&swarm, &web, &first, &copy).await;
    let task = until(&swarm, &name, is_running).await;
    assert_eq!(
        node.shell("docker volume ls --quiet --filter label=micado.service=acme_web --filter label=micado.volume=theirs")
            .trim(),
        volume_name(swarm.cluster(), &web.name, &web.spec.volumes[0])
    );
    create(&swarm, &web, &first, &copy).await;
    let seen = swarm.observe().await.expect("an observation");
    let [view] = seen.services.as_slice() else {
        panic!("one service: {seen:?}")
    };
    assert_eq!(
        (&view.name, &view.container, &view.instance, view.generation),
        (&name, &first.name, &copy.instance, 1)
    );
    assert_eq!(view.node, Some(node_id(&swarm, &copy.instance).await));
    let records = view.records.as_deref().expect("records");
    let read: (Service, Container) = serde_json::from_str(records).expect("readable");
    assert_eq!(read, (web.clone(), first.clone()));
    let found = swarm.services(std::slice::from_ref(&name)).await;
    assert_eq!(found.as_deref(), Ok(std::slice::from_ref(view)));
    let [same] = seen.tasks.as_slice() else {
        panic!("one task: {seen:?}")
    };
    let on = swarm.tasks_on(&node_id(&swarm, &copy.instance).await).await;
    assert_eq!(on.as_deref(), Ok(std::slice::from_ref(same)));
    assert_eq!(swarm.tasks_on("nosuchnode").await, Ok(Vec::new()));
    assert_eq!(
        (&same.id, same.state, &same.service),
        (&task.id, TaskState::Running, &view.id)
    );
    assert_eq!(same.reservation, web.spec.reservation);
    let [machine] = seen.nodes.as_slice() else {
        panic!("one node: {seen:?}")
    };
    assert_eq!(machine.instance, Some(InstanceId::trusted("i1")));
    assert!(
        machine.ready
            && machine.active
            && machine.manager
            && machine.size.memory > MemoryBytes::mib(64),
        "{machine:?}"
    );
    assert_eq!(
        (same.node.as_ref(), machine.address.as_ref()),
        (Some(&machine.id), Some(&node.address))
    );
    let [fixed, free] = task.ports.as_slice() else {
        panic!("two ports: {task:?}")
    };
    assert_eq!(*fixed, web.spec.ports[1]);
    assert!(
        free.host.is_some_and(|port| port > 1024) && free.container == 8080,
        "{free:?}"
    );

    let log: Vec<LogLine> = swarm
        .logs(&name, &LogOptions::default())
        .try_collect()
        .await
        .expect("the log");
    let [line] = log.as_slice() else {
        panic!("one line: {log:?}")
    };
    let at = line.at.as_deref().expect("a time");
    assert!(at.starts_with("20") && at.ends_with('Z'), "{line:?}");
    assert_eq!((line.text.as_ref(), line.stderr), (&b"hello\n"[..], false));

    let mut following = swarm.follow(&name, None, None);
    assert_eq!(following.next().await, Some(Ok(line.clone())));
    let none: Vec<_> = swarm
        .logs("c-not-there-00", &LogOptions::default())
        .collect()
        .await;
    assert!(
        matches!(none.as_slice(), [Err(EngineError::NotFound(_))]),
        "{none:?}"
    );

    // A service restarts a failed process, but not a successful one.
    let (second, copy) = container(2, "i1");
    let dying = swarm_name(swarm.cluster(), &second.name, 1);
    create(&swarm, &service("sample:1", "exit 3"), &second, &copy).await;
    let dead = until(&swarm, &dying, |task| task.state == TaskState::Failed).await;
    assert_eq!(
        (dead.exit_code, dead.message.as_deref(), dead.ports.len()),
        (Some(3), Some("task: non-zero exit (3)"), 0)
    );
    let next = until(&swarm, &dying, |task| task.id != dead.id).await;
    assert!(
        next.version > dead.version,
        "{next:?} is later than {dead:?}"
    );
    let (third, copy) = container(3, "i1");
    let ending = swarm_name(swarm.cluster(), &third.name, 1);
    let mut job = service("sample:1", "exit 0");
    job.spec.restart = RestartPolicy::OnFailure(None);
    create(&swarm, &job, &third, &copy).await;
    // The orchestrator gives the task up a moment after its end is known.
    let done = until(&swarm, &ending, |task| {
        task.state == TaskState::Complete && !task.wanted
    })
    .await;
    assert_eq!(done.exit_code, Some(0));
    // This policy restarts whatever the exit code.
    let (fourth, copy) = container(4, "i1");
    let kept = swarm_name(swarm.cluster(), &fourth.name, 1);
    create(&swarm, &service("sample:1", "exit 0"), &fourth, &copy).await;
    let done = until(&swarm, &kept, |task| task.state == TaskState::Complete).await;
    until(&swarm, &kept, |task| task.id != done.id).await;
    for name in [&dying, &ending, &kept] {
        swarm.remove(name).await.expect("removed");
    }

    swarm.remove(&name).await.expect("removed");
    swarm.remove(&name).await.expect("removed already");
    assert_eq!(swarm.observe().await.expect("an observation").services, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_there_before_its_machine() {
    let mut lab = Lab::new("join").await;
    let manager = lab.node(&[]).await;
    manager.make_image("acme/sample:1");
    let swarm = connect(&manager).await;
    let address = swarm.address().await.expect("an address");
    assert_eq!(address, manager.address);

    // The registry: started twice, it exists once; an image is pushed once, and leaves no tag
    // behind.
    let keys = tempfile::tempdir().expect("a folder");
    let pki = Arc::new(Pki::open(keys.path()).expect("an authority"));
    manager.load_image("micado-registry:latest");
    let own = OwnRegistry {
        certs_dir: manager.certs_dir.clone(),
        ..OwnRegistry::new(swarm.cluster().clone(), address.clone())
    };
    let registry = Registry::run(swarm.docker().clone(), &pki, &own)
        .await
        .expect("a registry");
    registry.ready().await.expect("a registry that answers");
    let made = manager.shell("docker ps --no-trunc --quiet");
    Registry::run(swarm.docker().clone(), &pki, &own)
        .await
        .expect("the same registry");
    assert_eq!(manager.shell("docker ps --no-trunc --quiet"), made);
    let pushed = registry.push("acme/sample:1", None).await.expect("pushed");
    let pull = pushed.reference.clone();
    assert!(
        pull.starts_with(&format!("{address}:5443/acme/sample@sha256:")),
        "{pull}"
    );
    assert_eq!(
        registry.push("acme/sample:1", None).await.as_ref(),
        Ok(&pushed)
    );
    assert!(
        !manager.shell("docker images").contains(&address),
        "a name of the push stays behind"
    );
    assert!(matches!(
        registry.push("nope", None).await,
        Err(EngineError::NotFound(_))
    ));
    strangers_are_turned_away(&address, &pki).await;
    images_are_the_managers_own(&manager, &registry, &pki, &pull).await;

    // Pinned to a missing node, it waits; pinned to the node of its machine, it runs.
    let web = Service {
        pull: Some(pull),
        ..service("acme/sample:1", "exec sleep 1000")
    };
    let (first, copy) = container(1, "i7");
    let name = swarm_name(swarm.cluster(), &first.name, 1);
    let made = swarm.create(&web, &first, &copy, "no-such-node").await;
    made.expect("created");
    let waiting = until(&swarm, &name, |task| {
        task.message
            .as_ref()
            .is_some_and(|message| message.contains("no suitable node"))
    })
    .await;
    assert_eq!((waiting.state, waiting.node), (TaskState::Pending, None));
    swarm.remove(&name).await.expect("removed");

    let labels = [
        ("micado.cluster", CLUSTER),
        ("micado.instance", "i7"),
        ("micado.tag", "application01"),
    ];
    let worker = lab.node(&labels).await;
    let own = pki.client_certificate("i7").expect("a certificate");
    worker.install_certificates(&registry.access(&own.certificate), &own.key);
    worker
        .join(&swarm.join_facts().await.expect("how to join"))
        .await
        .expect("in the Swarm");
    create(&swarm, &web, &first, &copy).await;
    let task = until(&swarm, &name, is_running).await;
    let node = task.node.clone().expect("a node");
    let seen = swarm.observe().await.expect("an observation");
    let machine = seen
        .nodes
        .iter()
        .find(|machine| machine.id == node)
        .expect("its node");
    assert_eq!(
        (machine.instance.as_ref(), machine.manager),
        (Some(&copy.instance), false)
    );
    assert_eq!(
        machine.labels,
        [("tag".to_owned(), "application01".to_owned())].into()
    );

    let refused = Swarm::connect(&SwarmConfig {
        endpoint: worker.endpoint.clone(),
        ..SwarmConfig::new(ClusterId::trusted("x"))
    })
    .await;
    assert!(
        matches!(&refused, Err(EngineError::Refused(text)) if text.contains("worker")),
        "{refused:?}"
    );

    // Foreign services take up room too, but are not listed as ours.
    foreign_service(&manager).await;
    let foreign = until(&swarm, "foreign", |task| task.node.is_some()).await;
    assert_eq!(foreign.reservation.memory, MemoryBytes::mib(48));
    let seen = swarm.observe().await.expect("an observation");
    assert!(seen.tasks.iter().any(|task| task.id == foreign.id) && seen.services.len() == 1);

    // A closed node keeps running tasks and accepts no more until it is opened.
    swarm.set_active(&node, false).await.expect("closed");
    swarm
        .set_active(&node, false)
        .await
        .expect("closed already");
    let (second, copy) = container(2, "i7");
    let second_name = swarm_name(swarm.cluster(), &second.name, 1);
    create(&swarm, &web, &second, &copy).await;
    until(&swarm, &second_name, |task| {
        task.state == TaskState::Pending && task.message.is_some()
    })
    .await;
    assert_eq!(until(&swarm, &name, is_running).await.id, task.id);
    let closed = swarm
        .observe()
        .await
        .expect("an observation")
        .nodes
        .into_iter()
        .find(|machine| machine.id == node)
        .expect("the node");
    assert!(closed.ready && !closed.active);
    swarm.set_active(&node, true).await.expect("open");
    until(&swarm, &second_name, is_running).await;

    let both = swarm
        .tasks(&[name.clone(), second_name, "c-not-there-00".to_owned()])
        .await
        .expect("tasks, though one service is not there");
    assert_eq!(both.len(), 2);
    assert_eq!(swarm.tasks(&[]).await, Ok(Vec::new()));

    swarm.remove_node(&node).await.expect("removed");
    swarm.remove_node(&node).await.expect("removed already");
    assert!(matches!(
        swarm.set_active(&node, true).await,
        Err(EngineError::NotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_in_the_environment_arrive_as_they_were_typed() {
    const TYPED: [&str; 6] = [
        "{{json .Msg}}",
        "{{.Node.Hostname}}",
        "{{.Service.Labels}}",
        "}}",
        "{{",
        "{{{- `x` -}}}",
    ];
    let mut lab = Lab::new("templates").await;
    let node = lab
        .node(&[("micado.cluster", CLUSTER), ("micado.instance", "i1")])
        .await;
    node.make_image("sample:1");
    let swarm = connect(&node).await;
    let script = r#"printf '%s\n' "$T0" "$T1" "$T2" "$T3" "$T4" "$T5"; exec sleep 100"#;
    let mut service = service("sample:1", script);
    service.spec.environment = (0..)
        .zip(TYPED)
        .map(|(number, text)| format!("T{number}={text}"))
        .collect();
    let (container, copy) = container(1, "i1");
    let name = swarm_name(swarm.cluster(), &container.name, copy.generation);
    create(&swarm, &service, &container, &copy).await;
    until(&swarm, &name, is_running).await;
    let mut log = swarm.follow(&name, None, None);
    let mut arrived = String::new();
    while arrived.lines().count() < TYPED.len() {
        let line = tokio::time::timeout(PATIENCE, log.try_next()).await;
        let line = line.expect("in time").expect("the log").expect("a line");
        arrived += std::str::from_utf8(&line.text).expect("text");
    }
    assert_eq!(arrived.lines().collect::<Vec<_>>(), TYPED);
}

async fn foreign_service(manager: &Node) {
    use bollard::models::{
        ResourceObject, ServiceSpec, TaskSpec, TaskSpecContainerSpec, TaskSpecResources,
    };
    let spec = ServiceSpec {
        name: Some("foreign".to_owned()),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some("acme/sample:1".to_owned()),
                ..Default::default()
            }),
            resources: Some(TaskSpecResources {
                reservations: Some(ResourceObject {
                    memory_bytes: Some(48 << 20),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    manager
        .engine
        .create_service(spec, None)
        .await
        .expect("a service of others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_after_the_engine_was_restarted() {
    let mut lab = Lab::new("events").await;
    let node = lab
        .node(&[("micado.cluster", CLUSTER), ("micado.instance", "i1")])
        .await;
    node.make_image("sample:1");
    let swarm = connect(&node).await;
    let mut events = swarm.events();
    let mut next = async || {
        tokio::time::timeout(PATIENCE, events.next())
            .await
            .expect("an event")
            .expect("a stream without an end")
    };
    assert_eq!(next().await, EngineEvent::Connected);

    let (first, copy) = container(1, "i1");
    let name = swarm_name(swarm.cluster(), &first.name, 1);
    create(
        &swarm,
        &service("sample:1", "exec sleep 1000"),
        &first,
        &copy,
    )
    .await;
    assert_eq!(next().await, EngineEvent::Service { name: name.clone() });
    let before = until(&swarm, &name, is_running).await;

    node.restart();
    // Earlier events come first.
    let lost = loop {
        match next().await {
            EngineEvent::Service { .. } | EngineEvent::Node { .. } => {}
            other => break other,
        }
    };
    assert!(
        matches!(&lost, EngineEvent::Lost(words) if !words.is_empty()),
        "{lost:?}"
    );
    assert_eq!(next().await, EngineEvent::Connected);

    let after = until(&swarm, &name, |task| {
        is_running(task) && task.id != before.id
    })
    .await;
    assert!(after.version > before.version);
    swarm.remove(&name).await.expect("removed");
    while next().await != (EngineEvent::Service { name: name.clone() }) {}
}
