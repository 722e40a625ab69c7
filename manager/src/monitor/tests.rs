//! The text of a scrape: its content, escaping, and a missing core.

mod names;

use super::{process::ProcessReading, *};
use crate::{
    control::{Answer, Call, Event, Handle, MonitoredContainer, Overview, ScaledState},
    metrics::{Backlog, DeathCount, MachineReading, Metrics, Placed},
};
use micado_api::{
    CloudName, ClusterId, ContainerName, ContainerState, ContainerView, FlavourName, HeadroomView,
    InstanceId, InstanceState, InstanceView, Location, LocationView, MemoryBytes, NanoCpus, Origin,
    PricePerHour, Resources, ServiceName, Tag, Timestamp,
    agent::{ContainerSample, MachineSample},
};
use micado_cloudsetup::BrokerError;
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A container of the service that its name says, such as `acme_web.1`.
pub(crate) fn container(name: &str, state: ContainerState) -> MonitoredContainer {
    let service = name.rsplit_once('.').expect("a number").0;
    let (client, image) = service.split_once('_').expect("a client");
    MonitoredContainer {
        view: ContainerView {
            name: ContainerName::trusted(name),
            service: ServiceName::trusted(service),
            image: image.to_owned(),
            state,
            reason: None,
            exit_code: None,
            instance: Some(Tag::trusted("application01")),
            location: Location::default(),
            address: None,
            ports: Vec::new(),
            reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
            protected: false,
            health: None,
            created_at: Timestamp(0),
            usage: None,
        },
        client: client.to_owned(),
        domain: None,
    }
}

fn instance(id: &str, tag: &str, state: InstanceState) -> InstanceView {
    InstanceView {
        id: InstanceId::trusted(id),
        tag: Tag::trusted(tag),
        cloud: CloudName::trusted("far"),
        application: "node".to_owned(),
        flavour: FlavourName::trusted("small"),
        location: Location::default(),
        state,
        reason: None,
        origin: Origin::Planner,
        address: None,
        node: None,
        capacity: Resources::new(MemoryBytes::mib(1024), NanoCpus::cores(2)),
        reserved: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        memory_left: MemoryBytes::mib(768),
        containers: 1,
        price: PricePerHour(50_000),
        created_at: Timestamp(0),
        state_since: Timestamp(0),
        released: false,
        joined_after_ms: None,
        returns: None,
        usage: None,
    }
}

fn overview() -> Overview {
    Overview {
        cluster: ClusterId::trusted("0123abcd"),
        sees_engine: true,
        clouds: BTreeMap::from([
            (CloudName::trusted("far"), true),
            (CloudName::trusted("near"), false),
        ]),
        max_instances: Some(10),
        max_price: Some(PricePerHour(1_500_000)),
        locations: vec![LocationView {
            location: Location::default(),
            machines: 2,
            min_machines: 1,
            max_machines: Some(5),
            price: PricePerHour(100_000),
            max_price: Some(PricePerHour(500_000)),
            headroom: Some(HeadroomView {
                asked: "2".to_owned(),
                ready: 1,
                coming: 0,
                missing: 1,
                reason: None,
            }),
        }],
        foreign_nodes: 1,
    }
}

fn reading() -> MachineReading {
    let placed = Placed {
        swarm_service: "c-web".to_owned(),
        container: ContainerName::trusted("acme_web.1"),
        service: ServiceName::trusted("acme_web"),
        image: "web".to_owned(),
        instance: InstanceId::trusted("i1"),
        tag: Tag::trusted("application01"),
    };
    let sample = ContainerSample {
        started_at: Some(Timestamp(1_700_000_000_500)),
        cpu_ns: 1_500_000_000,
        cpu_throttled_ns: 250_000_000,
        working_set: MemoryBytes::mib(64),
        memory_limit: Some(MemoryBytes::mib(256)),
        oom_kills: 1,
        memory_pressure: Some(0.0),
        cpu_pressure: Some(12.34),
        received: 1000,
        sent: 2000,
        read: 3000,
        written: 4000,
        ..ContainerSample::default()
    };
    MachineReading {
        instance: InstanceId::trusted("i1"),
        machine: MachineSample {
            memory_total: MemoryBytes::mib(2048),
            memory_left: MemoryBytes::mib(1024),
            cpu_ns: 60_000_000_000,
            cores: 2_000_000_000,
            load: Some(0.25),
            disk_left: 10 << 30,
            disk_total: 20 << 30,
            ..MachineSample::default()
        },
        containers: vec![(Arc::new(placed), sample)],
    }
}

/// A scrape with a value of every family.
fn scrape() -> Scrape {
    Scrape {
        cluster: Some(Scraped {
            overview: overview(),
            instances: vec![
                instance("i1", "application01", InstanceState::Active),
                instance("i2", "application02", InstanceState::Active),
                instance("i3", "application03", InstanceState::Booting),
            ],
            containers: vec![
                container("acme_web.1", ContainerState::Running),
                container("acme_web.2", ContainerState::Waiting),
                container("acme_web.3", ContainerState::Stopped),
            ],
            scaled: vec![ScaledState {
                service: ServiceName::trusted("acme_web"),
                min: 1,
                max: 5,
                is_pinned: false,
                cause: Some("rung".to_owned()),
                held: Some("maximum".to_owned()),
            }],
        }),
        machines: vec![reading()],
        deaths: vec![(
            ServiceName::trusted("acme_web"),
            DeathCount { deaths: 3, oom: 1 },
        )],
        backlog: Backlog {
            points: 7,
            events: 2,
            bytes: 4096,
            most_bytes: 1 << 20,
        },
        agents: 1,
        lease: Some(LeaseReading {
            term: 3,
            left: Duration::from_millis(12_500),
        }),
        process: ProcessReading {
            cpu: Some(Duration::from_millis(1500)),
            resident: Some(32 << 20),
            open_files: Some(40),
            started: Some(1_700_000_000.25),
        },
        each_container: true,
    }
}

/// Counters with a value of every family. Each has one series: their order is random.
fn counters() -> Counters {
    let counters = Counters::default();
    counters.event(&Event::Tick);
    counters.pass(Duration::from_millis(2));
    counters.commit(Duration::from_millis(4), false);
    counters.store_is(true);
    let call = Call::ListMachines {
        cloud: CloudName::trusted("far"),
    };
    let failed = Answer::Listed(Err(BrokerError::Unknown("no answer".to_owned())));
    counters.call(&CallLabels::from(&call), Duration::from_secs(2), &failed);
    counters.request("/v1/containers/{name}", "DELETE", 404);
    counters.connection_refused();
    counters
}

/// A text without the version of this crate.
fn unversioned(text: &str) -> String {
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn a_scrape_in_prometheus_own_format() {
    let text = scrape().text(&counters(), Format::Prometheus);
    insta::assert_snapshot!(unversioned(&text));
}

#[test]
fn a_scrape_as_openmetrics() {
    let text = scrape().text(&counters(), Format::OpenMetrics);
    insta::assert_snapshot!(unversioned(&text));
}

#[test]
fn the_format_is_the_one_that_is_accepted() {
    let of = |accept| Format::accepted(accept);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4";
    assert_eq!(of(Some(prometheus)), Format::OpenMetrics);
    assert_eq!(
        of(Some("text/plain, Application/OpenMetrics-Text")),
        Format::OpenMetrics
    );
    for other in [
        None,
        Some("*/*"),
        Some("text/html, application/json"),
        Some(""),
    ] {
        assert_eq!(of(other), Format::Prometheus, "{other:?}");
    }
}

#[test]
fn series_of_single_containers_can_be_left_out() {
    let whole = scrape().text(&counters(), Format::Prometheus);
    let short = Scrape {
        each_container: false,
        ..scrape()
    };
    let short = short.text(&counters(), Format::Prometheus);
    assert!(whole.contains("\nmicado_container_memory_bytes{"));
    assert!(!short.contains("\nmicado_container_"), "{short}");
    assert!(short.contains("\nmicado_containers{") && short.contains("\nmicado_instance_up{"));
}

#[tokio::test]
async fn without_a_core_the_managers_own_metrics_are_there() {
    let (handle, inbox, _progress) = Handle::new();
    drop(inbox);
    let metrics = Metrics::new(handle.facts().clone());
    let scrape = Scrape::read(&handle, &metrics).await;
    assert_eq!(scrape.cluster, None);
    let text = scrape.text(&counters(), Format::Prometheus);
    for line in [
        "micado_core_up 0",
        "micado_commit_failures_total 1",
        "micado_store_up 1",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "{line}: {text}"
        );
    }
    assert!(!text.contains("micado_instances"), "{text}");
}

/// Labels and value of a line, read as Prometheus' specification of the format says.
fn parse(line: &str) -> (BTreeMap<String, String>, f64) {
    let (head, value) = line.rsplit_once(' ').expect("a value");
    let labels = head.split_once('{').map_or("", |(_, rest)| rest);
    let mut labels = labels.strip_suffix('}').unwrap_or_default().chars();
    let mut found = BTreeMap::new();
    loop {
        let name: String = labels.by_ref().take_while(|c| *c != '=').collect();
        if name.is_empty() {
            break;
        }
        assert_eq!(labels.next(), Some('"'), "{line}");
        let mut text = String::new();
        loop {
            match labels.next().expect("a quote at the end") {
                '"' => break,
                '\\' => text.push(match labels.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("{other:?} is escaped: {line}"),
                }),
                c => text.push(c),
            }
        }
        found.insert(name.trim_start_matches(',').to_owned(), text);
    }
    (found, value.parse().expect("a number"))
}

proptest! {
    #[test]
    fn hostile_texts_stay_in_their_labels(
        client in any::<String>(),
        image in r#"[ -~\n\\"{}#,=]{0,40}"#,
        tag in r#"[\n\\"]{0,8}"#,
        cloud in any::<String>(),
        is_open in any::<bool>(),
    ) {
        let mut hostile = scrape();
        let cluster = hostile.cluster.as_mut().expect("it is there");
        cluster.containers[0].client = client.clone();
        cluster.containers[0].view.image = image.clone();
        cluster.instances[0].tag = Tag::trusted(tag.as_str());
        cluster.overview.clouds = BTreeMap::from([(CloudName::trusted(cloud.as_str()), true)]);
        let format = if is_open { Format::OpenMetrics } else { Format::Prometheus };
        let plain = scrape().text(&Counters::default(), format);
        let text = hostile.text(&Counters::default(), format);

        let lines = |text: &str| text.split('\n').count();
        // The sample has two clouds.
        prop_assert_eq!(lines(&text), lines(&plain) - 1);
        let line = |name: &str| {
            let head = format!("{name}{{");
            let line = text.split('\n').find(|line| line.starts_with(&head));
            parse(line.expect("a series"))
        };
        let (labels, value) = line("micado_service_info");
        prop_assert_eq!((&labels["client"], &labels["image"], value), (&client, &image, 1.0));
        let (labels, value) = line("micado_instance_memory_bytes");
        prop_assert_eq!((labels["tag"].as_str(), value), (tag.as_str(), f64::from(1_u32 << 31)));
        prop_assert_eq!(&line("micado_cloud_up").0["cloud"], &cloud);
    }
}
