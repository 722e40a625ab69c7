//! What agents measure: nothing is lost while the store is silent, nothing counts twice, and nobody
//! speaks for others.

use super::*;
use crate::{
    api::tests::core_of,
    clock,
    control::{Core, Event, Request, runtime::Ticker},
    metrics::Resolution,
    model::{Container, Copy, Health, Instance, Phase, Service},
    store::Record,
};
use micado_api::{
    ContainerName, HistoryQuery, InstanceState, MemoryBytes, NanoCpus, Origin, Resources,
    ServiceSpec, Timestamp,
    agent::{ContainerEvent, ContainerHappening, ContainerSample, MachineSample, SampleBatch},
};
use std::{
    collections::HashSet,
    sync::{LazyLock, atomic::Ordering},
};

/// The batch of this sequence: one every two seconds, half a core in use.
pub(super) fn batch(sequence: u64, containers: Vec<ContainerSample>) -> FromAgent {
    let cpu_ns = sequence * 1_000_000_000;
    let machine = MachineSample {
        memory_total: MemoryBytes::mib(512),
        memory_left: MemoryBytes::mib(300),
        cpu_ns,
        cores: 1_000_000_000,
        ..MachineSample::default()
    };
    FromAgent::Samples(SampleBatch {
        sequence,
        at: at(sequence),
        late: false,
        machine,
        containers,
    })
}

/// A minute ago, and so much later.
pub(super) fn at(sequence: u64) -> Timestamp {
    static BEGAN: LazyLock<u64> = LazyLock::new(|| clock::now().0 - 60_000);
    Timestamp(*BEGAN + sequence * 2000)
}

pub(super) fn of_service(service: &str, memory: u64, sequence: u64) -> ContainerSample {
    let service = Some(service.to_owned());
    ContainerSample {
        id: "e1".to_owned(),
        service,
        working_set: MemoryBytes::mib(memory),
        cpu_ns: sequence * 500_000_000,
        ..ContainerSample::default()
    }
}

/// Rings for two turns of the refresh: when the second begins, the first is over.
pub(super) async fn turn(manager: &Manager, ticker: &Ticker) {
    let mut asked = manager.history.asked.subscribe();
    for _ in 0..2 {
        ticker.tick();
        asked.changed().await.expect("it is asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_silent_nothing_is_acknowledged_and_nothing_lost_or_counted_twice() {
    let (manager, instance) = renting(0);
    let ticker = manager.refreshing();
    manager.history.silent.store(true, Ordering::SeqCst);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    for sequence in 1..=5 {
        agent.say(&batch(sequence, Vec::new())).await;
    }
    assert_eq!(agent.heard().await, []);
    turn(&manager, &ticker).await;
    assert_eq!(agent.heard().await, [], "nothing is durable yet");

    // The connection breaks: what was not acknowledged is sent again, and more.
    drop(agent);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    for sequence in 1..=8 {
        agent.say(&batch(sequence, Vec::new())).await;
    }
    assert_eq!(agent.heard().await, []);
    turn(&manager, &ticker).await;
    manager.history.silent.store(false, Ordering::SeqCst);
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 8 });
    let times: Vec<u64> = (1..=8).map(|sequence| at(sequence).0).collect();
    assert_eq!(manager.history.times(Resolution::Sample), times);
    assert_eq!(
        manager.history.again.load(Ordering::SeqCst),
        0,
        "none was written twice"
    );
    let measured: u64 = manager
        .history
        .all()
        .iter()
        .map(|it| it.machine.cpu_ns)
        .sum();
    assert_eq!(
        measured, 7_000_000_000,
        "seven differences of a second each"
    );

    // The acknowledgement was lost with the connection: it is said again for what is sent again,
    // and no more.
    drop(agent);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    assert_eq!(agent.heard().await, [], "it has not said yet what it has");
    agent.say(&batch(7, Vec::new())).await;
    agent.say(&batch(8, Vec::new())).await;
    assert_eq!(
        agent.heard().await,
        [7, 8].map(|sequence| ToAgent::Ack { sequence })
    );
    // Another run of the agent begins anew.
    drop(agent);
    let mut agent = Agent::of(&manager, &instance, "b").await;
    agent.say(&batch(9, Vec::new())).await;
    assert_eq!(agent.heard().await, []);
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 9 });
    assert_eq!(manager.history.again.load(Ordering::SeqCst), 0);
}

/// A manager with two machines, and a container on the first; its Swarm service.
pub(super) fn placed() -> (Manager, [InstanceId; 2], String) {
    let (core, ids, service) = placed_core();
    (Manager::on(core), ids, service)
}

/// The core of such a manager.
pub(super) fn placed_core() -> (Core, [InstanceId; 2], String) {
    placed_with(micado_api::RunOptions::default())
}

/// The same with these options of the container.
pub(super) fn placed_with(run: micado_api::RunOptions) -> (Core, [InstanceId; 2], String) {
    let ids = ["i1", "i2"].map(InstanceId::trusted);
    let now = clock::now();
    let instance = |id: &InstanceId| {
        let names = (
            "local".parse().expect("a name"),
            "small".parse().expect("a name"),
        );
        let fresh = Instance::new(
            id.clone(),
            id.as_str().parse().expect("a tag"),
            names.0,
            names.1,
            Origin::User,
            now,
        );
        Record::Instance(Instance {
            state: InstanceState::Active,
            ..fresh
        })
    };
    let spec = ServiceSpec {
        image: "web".to_owned(),
        client: "acme".to_owned(),
        location: Default::default(),
        entrypoint: None,
        arguments: vec![],
        environment: vec![],
        ports: vec![],
        domain: None,
        tags: Vec::new(),
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![],
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::new(run),
    };
    let name: micado_api::ServiceName = "acme_web".parse().expect("a name");
    let service = Service {
        next_number: 2,
        ..Service::new(name.clone(), spec, Some("web".to_owned()), now)
    };
    let copy = Copy {
        generation: 1,
        instance: ids[0].clone(),
        swarm_name: "c-acme-web-1".to_owned(),
        spec: 1,
        reservation: service.spec.reservation,
        phase: Phase::Serving,
        ports: Box::default(),
        last_end: None,
        health: Health::of_new(&service.spec, now),
    };
    let container = Container {
        copies: vec![copy],
        next_generation: 2,
        ..Container::new(ContainerName::trusted("acme_web.1"), name, now)
    };
    let core = core_of(vec![
        instance(&ids[0]),
        instance(&ids[1]),
        Record::Service(service),
        Record::Container(container),
    ]);
    let swarm_service = core.placed_copies()[0].swarm_service.clone();
    (core, ids, swarm_service)
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_shown_and_kept_and_an_agent_speaks_for_its_own_instance_only() {
    let (manager, [own, other], service) = placed();
    let (ticker, client) = (manager.refreshing(), manager.by_socket());
    assert_eq!(
        client
            .status()
            .await
            .expect("a status")
            .blind_instances
            .len(),
        2
    );
    let (mut honest, mut liar) = (
        Agent::of(&manager, &own, "a").await,
        Agent::of(&manager, &other, "a").await,
    );
    for sequence in 1..=2 {
        honest
            .say(&batch(sequence, vec![of_service(&service, 100, sequence)]))
            .await;
        liar.say(&batch(
            sequence,
            vec![
                of_service(&service, 999, sequence),
                of_service("c-of-nobody", 999, sequence),
            ],
        ))
        .await;
    }
    let died = |exit_code| ContainerHappening::Died {
        exit_code,
        oom: false,
    };
    let event = |exit_code| {
        FromAgent::Event(ContainerEvent {
            id: "e1".to_owned(),
            service: Some(service.clone()),
            at: at(2),
            what: died(exit_code),
        })
    };
    liar.say(&event(9)).await;
    liar.heard().await;
    honest.say(&event(3)).await;
    honest.heard().await;
    // What was told before this question the core has heard.
    manager.handle.read(|_| ()).await.expect("it answers");
    let happened = |told: &Event, of: &InstanceId, code| matches!(told, Event::Happened(instance, event) if instance == of && event.what == died(code));
    let mut told = manager.told.lock().expect("nobody panicked").clone();
    told.retain(|event| !matches!(event, Event::Agent { .. }));
    assert!(
        matches!(told.as_slice(), [lie, truth] if happened(lie, &other, 9) && happened(truth, &own, 3)),
        "each as its certificate says: {told:?}"
    );

    let containers = client.containers(false).await.expect("a list");
    let usage = containers[0].usage.clone().expect("measured");
    assert_eq!(
        (usage.memory, usage.memory_peak, usage.cpu),
        (
            MemoryBytes::mib(100),
            MemoryBytes::mib(100),
            Some(NanoCpus::millis(250))
        )
    );
    assert_eq!(
        client
            .service("acme_web")
            .await
            .expect("a service")
            .containers[0]
            .usage,
        Some(usage)
    );
    let machines = client.instances(false).await.expect("a list");
    assert_eq!(
        machines[0]
            .usage
            .as_ref()
            .map(|it| (it.memory_left, it.cpu)),
        Some((MemoryBytes::mib(300), Some(NanoCpus::millis(500))))
    );
    assert!(
        client
            .status()
            .await
            .expect("a status")
            .blind_instances
            .is_empty()
    );

    ticker.tick();
    assert_eq!(liar.answer().await, ToAgent::Ack { sequence: 2 });
    let all = HistoryQuery {
        from: Some(0),
        until: None,
        resolution: Some(2),
    };
    let history = client.history("acme_web.1", &all).await.expect("a history");
    let shown: Vec<_> = history
        .points
        .iter()
        .map(|it| (it.at, it.memory, it.cpu))
        .collect();
    assert_eq!(
        shown,
        [
            (at(1), MemoryBytes::mib(100), NanoCpus(0)),
            (at(2), MemoryBytes::mib(100), NanoCpus::millis(250))
        ]
    );
    let machine = client.history("i2", &all).await.expect("a history");
    assert_eq!(
        (
            machine.resolution,
            machine.points.len(),
            machine.points[1].memory
        ),
        (2, 2, MemoryBytes::mib(212))
    );
    assert!(
        manager
            .history
            .all()
            .iter()
            .all(|it| it.instance == own || it.containers.is_empty()),
        "what the other said is left out"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_is_told_that_an_agent_came_and_went_but_not_that_another_took_its_place() {
    let (manager, [own, _], _) = placed();
    let told = async |count| {
        loop {
            manager.handle.read(|_| ()).await.expect("it answers");
            let told = manager.told.lock().expect("nobody panicked").clone();
            let agents: Vec<_> = told
                .iter()
                .filter_map(|event| {
                    if let Event::Agent {
                        instance,
                        connected,
                    } = event
                    {
                        Some((instance, *connected))
                    } else {
                        None
                    }
                })
                .collect();
            if agents.len() >= count {
                assert!(
                    agents.iter().all(|(instance, _)| **instance == own),
                    "{agents:?}"
                );
                return agents
                    .into_iter()
                    .map(|(_, connected)| connected)
                    .collect::<Vec<_>>();
            }
            tokio::task::yield_now().await;
        }
    };
    let mut first = Agent::of(&manager, &own, "a").await;
    first.heard().await;
    let mut second = Agent::of(&manager, &own, "b").await;
    second.heard().await;
    // The first one's connection is ended for the second's, and so the agent is there all the time.
    while first.0.next().await.is_some_and(|message| message.is_ok()) {}
    drop(second);
    let told = told(4).await;
    assert!(
        told.starts_with(&[true, true]) && told.ends_with(&[false]),
        "{told:?}"
    );
    assert_eq!(
        told.iter().filter(|connected| !**connected).count(),
        1,
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_used_is_told_to_the_core_once() {
    let (manager, [own, _], service) = placed();
    let ticker = manager.refreshing();
    let mut agent = Agent::of(&manager, &own, "a").await;
    for sequence in 1..=2 {
        agent
            .say(&batch(sequence, vec![of_service(&service, 100, sequence)]))
            .await;
    }
    agent.heard().await;
    for sequence in [2, 3] {
        ticker.tick();
        assert_eq!(agent.answer().await, ToAgent::Ack { sequence });
        // The next turn begins when this one is over.
        agent.say(&batch(sequence + 1, Vec::new())).await;
        agent.heard().await;
    }
    let told = manager.told.lock().expect("nobody panicked");
    let used: Vec<_> = told
        .iter()
        .filter_map(|event| {
            if let Event::Request(_, Request::Learn(used)) = event {
                Some(used)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    assert_eq!(
        used.iter()
            .map(|it| (&*it.service, it.memory_peak))
            .collect::<Vec<_>>(),
        [(service.as_str(), MemoryBytes::mib(100))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_stays_with_the_agent_until_the_store_answers() {
    let (manager, instance) = renting(0);
    let ticker = manager.refreshing();
    manager.history.silent.store(true, Ordering::SeqCst);
    let of = |sequence| match batch(sequence, Vec::new()) {
        FromAgent::Samples(batch) => SampleBatch {
            at: Timestamp(at(0).0 + sequence),
            ..batch
        },
        _ => unreachable!("a batch is samples"),
    };
    let mut sequence = 1;
    while manager.metrics.take(&instance, "a", of(sequence)).is_ok() {
        sequence += 1;
    }
    let mut agent = Agent::of(&manager, &instance, "a").await;
    agent.say(&FromAgent::Samples(of(sequence))).await;
    let end = agent.0.next().await.expect("a word").expect("readable");
    assert!(
        matches!(&end, tungstenite::Message::Close(Some(end)) if end.reason.as_str() == "no room for more figures and events until the store answers"),
        "{end:?}"
    );
    turn(&manager, &ticker).await;
    let mut agent = Agent::of(&manager, &instance, "a").await;
    agent.say(&FromAgent::Samples(of(sequence))).await;
    assert!(
        matches!(
            agent.0.next().await,
            Some(Ok(tungstenite::Message::Close(_)))
        ),
        "a turn that failed makes no room"
    );

    let mut turns = manager.metrics.turns();
    manager.history.silent.store(false, Ordering::SeqCst);
    ticker.tick();
    turns.changed().await.expect("it is recorded");
    let mut agent = Agent::of(&manager, &instance, "a").await;
    agent.say(&FromAgent::Samples(of(sequence))).await;
    assert_eq!(
        agent.heard().await,
        [ToAgent::Ack {
            sequence: sequence - 1
        }]
    );
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence });
    let all = manager.history.all();
    assert_eq!(
        (
            all.len() as u64,
            manager.history.again.load(Ordering::SeqCst)
        ),
        (sequence, 0),
        "none is lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_by_a_wrong_clock_is_shown_and_not_kept() {
    let (manager, [own, _], _) = placed();
    let (ticker, client) = (manager.refreshing(), manager.by_socket());
    let mut agent = Agent::of(&manager, &own, "a").await;
    let FromAgent::Samples(of) = batch(1, Vec::new()) else {
        unreachable!("a batch is samples")
    };
    agent
        .say(&FromAgent::Samples(SampleBatch {
            at: Timestamp(at(1).0 + 86_400_000),
            ..of
        }))
        .await;
    agent.heard().await;
    assert!(
        client.instances(false).await.expect("a list")[0]
            .usage
            .is_some()
    );
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 1 });
    assert_eq!(manager.history.all(), [], "tomorrow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_policied_copy_is_asked_to_sweep_each_second() {
    let (manager, instance) = renting(0);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    assert_eq!(agent.heard().await, [], "its own interval holds");
    manager.metrics.pace([instance.clone()].into());
    let pace = |interval_ms| ToAgent::Pace { interval_ms };
    assert_eq!(agent.answer().await, pace(Some(1_000)));
    manager.metrics.pace([instance.clone()].into());
    assert_eq!(agent.heard().await, [], "nothing is said twice");

    // A new connection begins with the agent's own interval.
    drop(agent);
    let mut agent = Agent::of(&manager, &instance, "a").await;
    assert_eq!(agent.answer().await, pace(Some(1_000)));
    manager.metrics.pace(HashSet::new());
    assert_eq!(agent.answer().await, pace(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_are_exposed_to_prometheus() {
    let (manager, [own, _], service) = placed();
    let mut agent = Agent::of(&manager, &own, "a").await;
    let text = async || {
        let all = micado_api::MetricsQuery::default();
        manager.by_socket().metrics(&all).await.expect("a text")
    };
    assert!(!text().await.contains("micado_container_cpu_seconds_total{"));
    agent
        .say(&batch(1, vec![of_service(&service, 40, 3)]))
        .await;
    agent
        .say(&batch(2, vec![of_service(&service, 50, 4)]))
        .await;
    assert_eq!(agent.heard().await, []);
    let measured = text().await;
    let value = |name: &str| {
        let head = format!("{name}{{");
        let line = measured.lines().find(|line| line.starts_with(&head));
        let line = line.unwrap_or_else(|| panic!("{name} is missing: {measured}"));
        line.rsplit_once(' ').expect("a value").1.to_owned()
    };
    assert_eq!(value("micado_container_cpu_seconds_total"), "2.0");
    assert_eq!(value("micado_container_memory_bytes"), "52428800.0");
    assert_eq!(value("micado_instance_cpu_seconds_total"), "2.0");
    let up = measured
        .lines()
        .filter(|line| line.starts_with("micado_instance_up{"));
    let mut up: Vec<_> = up.filter_map(|line| line.rsplit(' ').next()).collect();
    up.sort_unstable();
    assert_eq!(up, ["0.0", "1.0"], "the other machine is blind");
    assert!(
        measured.contains("\nmicado_agents_connected 1.0\n"),
        "{measured}"
    );
    assert!(
        measured.contains("\nmicado_waiting_items{kind=\"points\"} 2.0\n"),
        "{measured}"
    );
}
