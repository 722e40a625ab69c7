//! Cost of one event for the control core when nothing changes: a list of machines, an observation
//! of the engine, a tick, reported use of containers, a frame of loads.
//!
//! `cargo bench -p micado-core --bench control`

use micado_api::{
    CloudName, ClusterId, ContainerName, FlavourName, InstanceId, LaunchRequest, Location,
    MemoryBytes, NanoCpus, Resources, ServiceName, ServiceSpec, Tag, Timestamp, Unnamed,
    agent::{ContainerSample, MachineSample, SampleBatch},
};
use micado_cloudsetup::{CloudSetup, Machine, MachineState};
use micado_core::{
    control::{Action, Answer, CallKey, Config, Core, Event, Request, ServiceLoad},
    engine::{
        Delta, ImageFacts, Observation, SwarmNode, SwarmService, SwarmTask, TaskState, swarm_name,
    },
    metrics::{Meter, Placed, Summing, Used},
    model::{Container, Copy, Phase, Service},
    scaling::{Frame, Policies},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    num::NonZeroU32,
    time::{Duration, Instant},
};

const RUNS: usize = 21;
const SETUP: &str = "<s><clouds><c><name>far</name><broker>local</broker><flavours>
    <f><size>large</size><id>l</id><memory>16G</memory><cores>8</cores><price>0.04</price></f>
  </flavours></c></clouds><applications><a><name>Node</name><sname>n</sname><executable>e</executable></a></applications></s>";

fn main() {
    // Built as a test target too (`cargo test --benches`): nothing is measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if std::env::args().any(|argument| argument == "batch") {
        return batch();
    }
    let sizes = [(10, 100), (100, 1000), (1000, 10_000), (10_000, 100_000)];
    for (machines, containers) in sizes {
        let mut cluster = Cluster::settled(machines, containers, false);
        let name = format!("{machines} machines, {containers} containers");
        let listed = cluster.listed();
        cluster.measure(&format!("{name}: a launch"), |number| {
            Event::Request(number, Request::Launch(Box::new(launch(number)), facts()))
        });
        cluster.measure(&format!("{name}: a tick"), |_| Event::Tick);
        let observed = cluster.observation.clone();
        cluster.measure(&format!("{name}: a whole observation"), |_| {
            Event::Observed(observed.clone())
        });
        cluster.measure(
            &format!("{name}: an observation of one service"),
            |number| {
                let restarted = number.is_multiple_of(2);
                Event::Changed(one_task(&observed, restarted))
            },
        );
        cluster.measure(&format!("{name}: a list of all machines"), |_| {
            listed.clone()
        });
        let used = cluster.used();
        cluster.measure(&format!("{name}: usage of all containers"), |_| {
            Event::Request(0, Request::Learn(used.clone()))
        });
        cluster.measure_list(&name);
        cluster.measure_loads(&name);
        let mut cluster = Cluster::settled(machines, containers, true);
        cluster.step = Duration::from_secs(31);
        cluster.measure(&format!("{name}: a tick with a check for returns"), |_| {
            Event::Tick
        });
    }
}

/// One launch of many copies, on machines without containers.
fn batch() {
    let (machines, copies) = (1000, 10_000);
    let cluster = Cluster::settled(machines, 0, false);
    let launch = LaunchRequest {
        copies: NonZeroU32::new(copies).expect("some"),
        ..launch(0)
    };
    let event = Event::Request(0, Request::Launch(Box::new(launch), facts()));
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let (mut core, event) = (cluster.core.clone(), event.clone());
            let begin = Instant::now();
            black_box(core.handle(cluster.now, event));
            begin.elapsed()
        })
        .collect();
    report(
        &format!("{machines} machines: a launch of {copies} copies"),
        &mut times,
    );
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    println!(
        "{what}: median {:.2} ms (max {:.2})",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3
    );
}

/// A launch of a new client's service.
fn launch(number: u64) -> LaunchRequest {
    let (service, _) = container(0, &InstanceId::trusted("00000000"));
    let json = service.records.expect("made here");
    let (service, _): (Service, Container) = serde_json::from_str(&json).expect("made here");
    LaunchRequest {
        spec: ServiceSpec {
            client: format!("new{number}"),
            ..service.spec
        },
        publish_all: false,
        request: Some(format!("request-{number}")),
        unnamed: Unnamed::default(),
        copies: NonZeroU32::MIN,
    }
}

fn facts() -> ImageFacts {
    ImageFacts {
        pull: Some("registry:2/web@sha256:0".to_owned()),
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    }
}

/// Tasks of one service: running, or failed with a successor that is starting.
fn one_task(observed: &Observation, died: bool) -> Delta {
    let mut task = observed.tasks[0].clone();
    if died {
        task.state = TaskState::Failed;
        task.exit_code = Some(1);
    }
    Delta {
        tasks: vec![(task.service.clone(), vec![task])],
        ..Delta::default()
    }
}

struct Cluster {
    core: Core,
    now: Timestamp,
    machines: Vec<Machine>,
    observation: Observation,
    /// Time between two events.
    step: Duration,
}

impl Cluster {
    /// A core that has adopted all of these, as after a lost store, and is settled. With `returns`,
    /// it looks for machines that nothing needs, and holds them for longer than it is measured.
    fn settled(machines: usize, containers: usize, returns: bool) -> Self {
        let config = Config {
            max_instances: None,
            return_machines: returns,
            hold: Duration::from_secs(24 * 3600),
            ..Config::new(
                ClusterId::trusted("bench"),
                CloudSetup::parse(SETUP, "bench").expect("a good file"),
            )
        };
        let instances: Vec<InstanceId> = (0..machines)
            .map(|number| InstanceId::trusted(format!("{number:08x}")))
            .collect();
        let mut observation = Observation {
            nodes: instances.iter().map(node).collect(),
            ..Observation::default()
        };
        for number in 0..containers {
            let (service, task) = container(number, &instances[number % machines]);
            observation.services.push(service);
            observation.tasks.push(task);
        }
        let mut cluster = Self {
            core: Core::new(config, Vec::new(), 1),
            now: Timestamp(1_000_000),
            machines: instances.iter().map(machine).collect(),
            observation,
            step: Duration::from_secs(10),
        };
        for event in [
            Event::Tick,
            cluster.listed(),
            cluster.listed(),
            Event::Observed(cluster.observation.clone()),
            Event::Wake,
        ] {
            cluster.handle(event);
        }
        let left = cluster.handle(Event::Observed(cluster.observation.clone()));
        assert!(
            left.is_empty(),
            "the cluster is not at rest: {:?}",
            left.first()
        );
        cluster
    }

    fn listed(&self) -> Event {
        Event::Answered(
            CallKey::List(CloudName::trusted("far")),
            Answer::Listed(Ok(self.machines.clone())),
        )
    }

    /// Use of every container in ten seconds.
    fn used(&self) -> Vec<Used> {
        let used = |placed: Placed| Used {
            service: placed.swarm_service.into(),
            measured_ms: 10_000,
            memory_peak: MemoryBytes::mib(100),
            cpu_peak: NanoCpus::millis(100),
            killed_at: None,
        };
        self.core.placed_copies().into_iter().map(used).collect()
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        self.now = self.now.plus(self.step);
        self.core.handle(self.now, event)
    }

    /// A frame of all services, each with a policy: summed from the agents' samples, and checked.
    fn measure_loads(&mut self, name: &str) {
        let placed = self.core.placed_copies();
        let services: BTreeSet<String> =
            placed.iter().map(|copy| copy.service.to_string()).collect();
        let policies = Box::new(Policies::standard(1_000));
        let before = resident();
        for (number, service) in (0..).zip(&services) {
            let request = Request::SetPolicy {
                service: service.clone(),
                policies: policies.clone(),
            };
            self.handle(Event::Request(number, request));
        }
        // The first frame makes the state.
        let empty = services.iter().map(|service| {
            let frame = Frame {
                at: self.now,
                interval_ms: 1_000,
                ..Frame::default()
            };
            let load = ServiceLoad {
                frame,
                ..ServiceLoad::default()
            };
            (ServiceName::trusted(service.as_str()), load)
        });
        let empty = Event::Load(empty.collect());
        self.handle(empty);
        println!(
            "{name}: memory of a service with a policy: {} bytes",
            resident().saturating_sub(before) / services.len()
        );
        let mut meter = Meter::default();
        let mut summing = Summing::default();
        let changes = self.core.scaled_since(None).expect("it sees the engine");
        summing.follow(changes);
        let (mut sums, mut checks) = (Vec::new(), Vec::new());
        for round in 1..=RUNS as u64 {
            self.now = self.now.plus(Duration::from_secs(1));
            sample(&mut meter, self.now, round, &placed);
            let begin = Instant::now();
            let second = Duration::from_secs(1);
            let loads = summing.sum(self.now, second, |machine| meter.on(self.now, machine));
            sums.push(begin.elapsed());
            let begin = Instant::now();
            let actions = self.core.handle(self.now, Event::Load(loads));
            checks.push(begin.elapsed());
            assert!(actions.is_empty(), "{:?}", actions.first());
        }
        report(&format!("{name}: the sums of a frame"), &mut sums);
        report(&format!("{name}: the check of a frame"), &mut checks);
    }

    /// A list of all containers, for which the core handles nothing else.
    fn measure_list(&self, name: &str) {
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let begin = Instant::now();
                black_box(self.core.containers(true));
                begin.elapsed()
            })
            .collect();
        report(&format!("{name}: a list of all containers"), &mut times);
    }

    fn measure(&mut self, what: &str, event: impl Fn(u64) -> Event) {
        let mut times: Vec<Duration> = (0..RUNS as u64)
            .map(|number| {
                let event = event(number);
                let begin = Instant::now();
                black_box(self.handle(event));
                begin.elapsed()
            })
            .collect();
        report(what, &mut times);
    }
}

fn machine(instance: &InstanceId) -> Machine {
    Machine {
        name: format!("micado-bench-{instance}"),
        instance: instance.clone(),
        id: instance.to_string(),
        state: MachineState::Running,
        address: Some("10.0.0.1".to_owned()),
        tag: Some(Tag::trusted(format!("t{instance}"))),
        location: Some(Location::default()),
        application: Some("Node".to_owned()),
        flavour: Some(FlavourName::trusted("large")),
        detail: None,
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    const PAGE: usize = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * PAGE
}

/// Samples of all copies, one second after those before.
fn sample(meter: &mut Meter, now: Timestamp, round: u64, placed: &[Placed]) {
    const SECOND: u64 = 1_000_000_000;
    let mut machines: BTreeMap<&InstanceId, Vec<ContainerSample>> = BTreeMap::new();
    for copy in placed {
        let sample = ContainerSample {
            id: copy.swarm_service.clone(),
            service: Some(copy.swarm_service.clone()),
            cpu_ns: round * SECOND / 10,
            working_set: MemoryBytes::mib(100),
            ..ContainerSample::default()
        };
        machines.entry(&copy.instance).or_default().push(sample);
    }
    for (instance, containers) in machines {
        let batch = SampleBatch {
            sequence: round,
            at: now,
            late: false,
            machine: MachineSample {
                steady_ms: Some(round * 1_000),
                cpu_ns: round * SECOND,
                cores: 8 * SECOND,
                ..MachineSample::default()
            },
            containers,
        };
        meter.take(now, instance, "bench", batch);
    }
}

fn node(instance: &InstanceId) -> SwarmNode {
    SwarmNode {
        id: format!("node-{instance}"),
        hostname: instance.to_string(),
        instance: Some(instance.clone()),
        labels: [("location".to_owned(), "application".to_owned())].into(),
        ready: true,
        active: true,
        manager: false,
        size: Resources::new(MemoryBytes::mib(16_384), NanoCpus::cores(8)),
        platform: None,
        address: Some("10.0.0.1".to_owned()),
    }
}

fn container(number: usize, instance: &InstanceId) -> (SwarmService, SwarmTask) {
    let name = ServiceName::trusted(format!("client{}_web", number / 10));
    let reservation = Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250));
    let spec = ServiceSpec {
        image: "web".to_owned(),
        client: format!("client{}", number / 10),
        location: Location::default(),
        entrypoint: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        ports: Vec::new(),
        domain: None,
        tags: Vec::new(),
        reservation,
        volumes: Vec::new(),
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    };
    let container = ContainerName::trusted(format!("{name}.{}", number % 10 + 1));
    let copy = Copy {
        generation: 1,
        instance: instance.clone(),
        swarm_name: swarm_name(&ClusterId::trusted("bench"), &container, 1),
        spec: 1,
        reservation,
        phase: Phase::Serving,
        ports: Box::default(),
        last_end: None,
        health: None,
    };
    let pull = Some("registry:2/web@sha256:0".to_owned());
    let service = Service {
        next_number: 11,
        ..Service::new(name.clone(), spec, pull, Timestamp(0))
    };
    let swarm = copy.swarm_name.clone();
    let record = Container {
        copies: vec![copy],
        next_generation: 2,
        ..Container::new(container.clone(), name, Timestamp(0))
    };
    let id = format!("service-{number}");
    let task = SwarmTask {
        id: format!("task-{number}"),
        service: id.clone(),
        node: Some(format!("node-{instance}")),
        state: TaskState::Running,
        wanted: true,
        version: 1,
        message: None,
        exit_code: None,
        reservation,
        ports: Vec::new(),
    };
    (
        SwarmService {
            id,
            name: swarm,
            container,
            instance: instance.clone(),
            node: Some(format!("node-{instance}")),
            generation: 1,
            edited: false,
            records: serde_json::to_string(&(service, record))
                .ok()
                .map(Into::into),
        },
        task,
    )
}
