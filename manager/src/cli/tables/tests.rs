//! Rendered tables, from views with every field set.

use super::{super::events::Happening, *};
use micado_api::{
    CloudName, ClusterId, ContainerName, ContainerUsage, Critical, DecisionView, EventView,
    FlavourName, ForeignNodeView, HeadroomView, History, HistoryPoint, Hundredths, ImageView,
    InstanceId, InstanceState, Location, MachineUsage, MemoryBytes, NanoCpus, Origin, PortMapping,
    PricePerHour, Protocol, RemovalView, RemovedImage, ReturnView, RevisionView, ServiceName,
    ServiceSpec, Space, Tag, VerdictView, VolumeMount, agent::ContainerHappening,
};

pub(in crate::cli) const NOW: Timestamp = Timestamp(1_793_700_000_000);

fn earlier(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1000)
}

pub(in crate::cli) fn instance(tag: &str, state: InstanceState) -> InstanceView {
    InstanceView {
        id: InstanceId::trusted(format!("i-{tag}")),
        tag: Tag::trusted(tag),
        cloud: CloudName::trusted("local"),
        application: "Node".to_owned(),
        flavour: FlavourName::trusted("small"),
        location: Location::default(),
        state,
        reason: None,
        origin: Origin::Planner,
        address: Some("172.20.0.3".to_owned()),
        node: Some("k3v9tq0x2m7c5w8z1y4b6n0ab".to_owned()),
        capacity: Resources::new(MemoryBytes::mib(896), NanoCpus::cores(1)),
        reserved: Resources::new(MemoryBytes::mib(512), NanoCpus::millis(500)),
        memory_left: MemoryBytes::mib(384),
        containers: 2,
        price: PricePerHour(50_000),
        created_at: earlier(200),
        state_since: earlier(120),
        released: false,
        joined_after_ms: Some(3100),
        returns: None,
        usage: None,
    }
}

pub(in crate::cli) fn container(name: &str, state: ContainerState) -> ContainerView {
    ContainerView {
        name: ContainerName::trusted(name),
        service: ServiceName::trusted("acme_web"),
        image: "web:2".to_owned(),
        state,
        reason: None,
        exit_code: None,
        instance: Some(Tag::trusted("application01")),
        protected: false,
        health: None,
        location: Location::default(),
        address: Some("172.20.0.3".to_owned()),
        ports: vec![
            PortMapping {
                host: Some(8080),
                container: 80,
                protocol: Protocol::Tcp,
            },
            PortMapping {
                host: None,
                container: 53,
                protocol: Protocol::Udp,
            },
        ],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: earlier(7300),
        usage: None,
    }
}

/// Usage of a container, in MiB and thousandths of a core.
pub(in crate::cli) fn measured(mib: u64, millis: u64) -> ContainerUsage {
    ContainerUsage {
        at: NOW,
        memory: MemoryBytes::mib(mib),
        memory_peak: MemoryBytes::mib(mib + 20),
        cpu: Some(NanoCpus::millis(millis)),
        cpu_peak: NanoCpus::millis(millis * 2),
        oom_kills: 0,
        memory_pressure: None,
        cpu_pressure: None,
        throttled: None,
        received: 1500,
        sent: 300,
        read: 0,
        written: 5 << 20,
    }
}

/// Usage of a machine: thousandths of a core, and MiB of available memory.
pub(in crate::cli) fn measured_machine(millis: u64, left: u64) -> MachineUsage {
    MachineUsage {
        at: NOW,
        memory_total: MemoryBytes::mib(1024),
        memory_left: MemoryBytes::mib(left),
        memory_least_left: MemoryBytes::mib(left / 2),
        cpu: Some(NanoCpus::millis(millis)),
        cpu_peak: NanoCpus::millis(1000),
        cores: NanoCpus::cores(1),
        load: Some(Hundredths(125)),
        disk_left: 13 << 30,
        disk_total: 20 << 30,
    }
}

fn waiting() -> ContainerView {
    let reason = Some(
        "application01 has 210 MiB left and it needs 256 MiB; 1 of 1 instances are in use"
            .to_owned(),
    );
    ContainerView {
        reason,
        instance: None,
        address: None,
        created_at: earlier(5),
        ..container("acme_web.2", ContainerState::Waiting)
    }
}

fn a_service() -> ServiceView {
    let spec = ServiceSpec {
        image: "web:2".to_owned(),
        client: "acme".to_owned(),
        location: Location::default(),
        entrypoint: Some("/bin/web".to_owned()),
        arguments: vec!["-v".to_owned(), "serve".to_owned()],
        environment: vec!["MODE=live".to_owned()],
        ports: vec![PortMapping {
            host: Some(8080),
            container: 80,
            protocol: Protocol::Tcp,
        }],
        domain: Some("shop.example".to_owned()),
        tags: Vec::new(),
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![VolumeMount {
            name: "data".to_owned(),
            path: "/data".to_owned(),
            shared: false,
        }],
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    };
    let containers = vec![container("acme_web.1", ContainerState::Running), waiting()];
    ServiceView {
        name: ServiceName::trusted("acme_web"),
        spec,
        pull: None,
        containers,
        created_at: earlier(7300),
        aliases: vec!["acme-web".to_owned(), "acme-web-0a1b2c".to_owned()],
        learned: None,
    }
}

fn shown(table: Table) -> String {
    Page::default().with(table).text(false)
}

#[test]
fn machines_that_nothing_needs_say_why_they_stay() {
    let kept = |tag: &str, kind: &str, text: &str| InstanceView {
        returns: Some(ReturnView {
            text: text.to_owned(),
            detail: serde_json::json!({ "kept": kind }),
        }),
        ..instance(tag, InstanceState::Active)
    };
    let held = kept("application02", "held", "not needed, held until 12:00");
    let needed = kept("application01", "needed", "others have no room");
    let table = shown(instances(&[needed.clone(), held], NOW));
    assert!(table.contains("not returned: not needed, held"), "{table}");
    assert!(!table.contains("others have no room"), "{table}");
    let table = shown(instances(&[needed], NOW));
    assert!(!table.contains("REASON"), "{table}");
}

#[test]
fn machines() {
    let never = InstanceView {
        address: None,
        node: None,
        containers: 0,
        released: true,
        ..instance("application02", InstanceState::Failed)
    };
    let never = InstanceView {
        reason: Some("zrh refused: Quota of 3 instances reached".to_owned()),
        ..never
    };
    let gone = InstanceView {
        reason: Some("given back: `stop`".to_owned()),
        containers: 0,
        released: true,
        ..instance("application03", InstanceState::Gone)
    };
    let kept = InstanceView {
        reason: Some("its node has not answered for 30 s".to_owned()),
        ..instance("db01", InstanceState::Failed)
    };
    insta::assert_snapshot!(
        "machines",
        shown(instances(
            &[
                instance("application01", InstanceState::Active),
                never,
                gone,
                kept
            ],
            NOW
        ))
    );
    insta::assert_snapshot!(
        "machines_without_reasons",
        shown(instances(
            &[InstanceView {
                node: None,
                ..instance("db01", InstanceState::Booting)
            }],
            NOW
        ))
    );
}

#[test]
fn running_and_waiting_containers() {
    insta::assert_snapshot!(
        "containers",
        shown(containers(
            &[container("acme_web.1", ContainerState::Running), waiting()],
            NOW
        ))
    );
    insta::assert_snapshot!(
        "containers_without_reasons",
        shown(containers(
            &[container("acme_web.1", ContainerState::Running)],
            NOW
        ))
    );
}

#[test]
fn many_ports_are_shortened() {
    let ports = (1..=500).map(|number| PortMapping {
        host: Some(number),
        container: number,
        protocol: Protocol::Udp,
    });
    let view = ContainerView {
        ports: ports.collect(),
        ..container("acme_turn.1", ContainerState::Running)
    };
    let table = shown(containers(&[view], NOW));
    assert!(table.contains(":5->5/udp and 495 more  "), "{table}");
    assert!(!table.contains(":6->6/udp"), "{table}");
}

#[test]
fn services_in_short_and_in_full() {
    insta::assert_snapshot!("services", shown(services(&[a_service()], NOW)));
    insta::assert_snapshot!("service", service(&a_service(), NOW).text(false));
}

/// A cluster with every kind of entry.
pub(in crate::cli) fn status_view() -> StatusView {
    StatusView {
        cluster: ClusterId::trusted("k3v9"),
        version: "0.1.0".to_owned(),
        blind: None,
        registry: Some("the registry at `10.0.0.1:5443` does not answer".to_owned()),
        cloud_errors: [(CloudName::trusted("zrh"), "connection refused".to_owned())].into(),
        instances: [(InstanceState::Active, 2), (InstanceState::Booting, 1)].into(),
        containers: [(ContainerState::Running, 5), (ContainerState::Waiting, 1)].into(),
        capacity: Resources::new(MemoryBytes::mib(1792), NanoCpus::cores(2)),
        reserved: Resources::new(MemoryBytes::mib(1280), NanoCpus::millis(1250)),
        price: PricePerHour(150_000),
        max_instances: Some(10),
        max_price: Some(PricePerHour(1_000_000)),
        locations: vec![
            LocationView {
                location: Location::default(),
                machines: 3,
                min_machines: 2,
                max_machines: Some(8),
                price: PricePerHour(150_000),
                max_price: Some(PricePerHour(500_000)),
                headroom: Some(HeadroomView {
                    asked: "2 copies of acme_web".to_owned(),
                    ready: 1,
                    coming: 1,
                    missing: 0,
                    reason: None,
                }),
            },
            LocationView {
                location: Location::trusted("database"),
                machines: 1,
                min_machines: 0,
                max_machines: Some(1),
                price: PricePerHour(0),
                max_price: None,
                headroom: Some(HeadroomView {
                    asked: "1 machine".to_owned(),
                    ready: 0,
                    coming: 0,
                    missing: 1,
                    reason: Some("1 of 1 instances for location database are in use".to_owned()),
                }),
            },
        ],
        foreign_nodes: vec![ForeignNodeView {
            node: "n1".to_owned(),
            hostname: "head".to_owned(),
            manager: true,
            ready: true,
        }],
        blind_instances: vec![Tag::trusted("application02")],
    }
}

#[test]
fn the_cluster_on_one_screen() {
    let view = status_view();
    insta::assert_snapshot!("status", shown(status(&view)));
    let blind = Some("connection refused".to_owned());
    let nothing = StatusView {
        blind,
        registry: None,
        cloud_errors: BTreeMap::new(),
        instances: BTreeMap::new(),
        containers: BTreeMap::new(),
        locations: vec![],
        foreign_nodes: vec![],
        blind_instances: vec![],
        ..view
    };
    insta::assert_snapshot!(
        "status_blind",
        shown(status(&StatusView {
            max_instances: None,
            max_price: None,
            ..nothing
        }))
    );
}

#[test]
fn why_things_are_as_they_are() {
    let decision = |seconds, text: &str| DecisionView {
        at: earlier(seconds),
        text: text.to_owned(),
    };
    let decisions = vec![
        decision(60, "no node has room: renting small on local"),
        decision(57, "application02 joined after 3.1 s"),
    ];
    let one = Explanation {
        views: Vec::new(),
        name: "acme_web.1".to_owned(),
        now: "running on application02".to_owned(),
        decisions,
        verdicts: vec![],
    };
    let other = Explanation {
        views: Vec::new(),
        name: "acme_web.2".to_owned(),
        now: "waiting: it is being planned".to_owned(),
        decisions: vec![],
        verdicts: vec![],
    };
    insta::assert_snapshot!("explanations", explanations(&[one, other]).text(false));
}

#[test]
fn what_is_used_stands_beside_what_is_promised() {
    let machine = InstanceView {
        usage: Some(measured_machine(250, 600)),
        ..instance("application01", InstanceState::Active)
    };
    let booting = InstanceView {
        node: None,
        ..instance("application03", InstanceState::Booting)
    };
    insta::assert_snapshot!(
        "machines_measured",
        shown(instances(
            &[
                machine,
                instance("application02", InstanceState::Active),
                booting
            ],
            NOW
        ))
    );
    let used = ContainerView {
        usage: Some(measured(105, 120)),
        ..container("acme_web.1", ContainerState::Running)
    };
    insta::assert_snapshot!(
        "containers_measured",
        shown(containers(
            &[
                used.clone(),
                container("acme_web.2", ContainerState::Running)
            ],
            NOW
        ))
    );
    let view = ServiceView {
        containers: vec![used, waiting()],
        learned: Some(image()),
        ..a_service()
    };
    insta::assert_snapshot!("service_measured", service(&view, NOW).text(false));
}

fn image() -> ImageView {
    ImageView {
        image: "web:2".to_owned(),
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        critical: Critical {
            memory: Some(MemoryBytes::mib(400)),
            cpu: None,
        },
        suggested: Some(Critical {
            memory: Some(MemoryBytes::mib(150)),
            cpu: Some(NanoCpus::millis(300)),
        }),
        footprint: Some(Resources::new(MemoryBytes::mib(180), NanoCpus::millis(350))),
        measured_ms: 6 * 3_600_000,
        services: Vec::new(),
        revisions: Vec::new(),
    }
}

#[test]
fn images_with_what_was_learned() {
    let nothing = ImageView {
        image: "new".to_owned(),
        digest: None,
        critical: Critical::default(),
        suggested: None,
        footprint: None,
        measured_ms: 4000,
        services: Vec::new(),
        revisions: Vec::new(),
    };
    insta::assert_snapshot!("images", shown(images(&[image(), nothing.clone()])));
    assert_eq!(
        usage::footprint(&nothing),
        "not known yet, after 4s of figures"
    );
}

/// A verdict that was repeated for nine seconds.
fn span() -> VerdictSpan {
    let view = |seconds| VerdictView {
        at: earlier(seconds),
        since: earlier(50),
        text: "kept 4: the load fits; wants 3, held: copies are saturated".to_owned(),
        detail: serde_json::Value::Null,
    };
    VerdictSpan {
        service: ServiceName::trusted("acme_web"),
        first: view(50),
        last: view(41),
        times: 10,
    }
}

#[test]
fn verdicts_at_a_moment() {
    let one = Explanation {
        views: Vec::new(),
        name: "acme_web".to_owned(),
        now: "kept 4: the load fits".to_owned(),
        decisions: vec![],
        verdicts: vec![VerdictSpan { times: 1, ..span() }, span()],
    };
    insta::assert_snapshot!("explained_at", explanations(&[one]).text(false));
}

#[test]
fn what_happened() {
    let event = |seconds, what| EventView {
        at: earlier(seconds),
        container: ContainerName::trusted("acme_web.1"),
        instance: Tag::trusted("application01"),
        image: "web:2".to_owned(),
        id: "0123abcd".to_owned(),
        what,
    };
    let died = |exit_code, oom| ContainerHappening::Died { exit_code, oom };
    let all = [
        ContainerHappening::Started,
        ContainerHappening::Unhealthy,
        died(3, false),
        died(137, true),
        died(-1, false),
    ];
    let mut all: Vec<_> = all
        .into_iter()
        .zip(0..)
        .map(|(what, number)| Happening::Event(event(60 - number, what)))
        .collect();
    all.push(Happening::Verdict(span()));
    insta::assert_snapshot!("events", shown(happenings(&all)));
}

#[test]
fn images_of_the_registry() {
    let revision = |digit: &str, names: &[&str], services: &[&str]| RevisionView {
        digest: format!("sha256:{}", digit.repeat(64)),
        id: format!("sha256:{}", "f".repeat(64)),
        size: MemoryBytes::mib(12),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        services: services
            .iter()
            .map(|it| ServiceName::trusted(*it))
            .collect(),
    };
    let view = ImageView {
        digest: Some(format!("sha256:{}", "b".repeat(64))),
        services: vec![ServiceName::trusted("acme_web")],
        revisions: vec![
            revision("a", &["web:0123456789ab"], &["acme_web"]),
            revision("b", &["web:latest"], &[]),
        ],
        ..image()
    };
    let unused = ImageView {
        image: "old".to_owned(),
        services: Vec::new(),
        revisions: vec![revision("c", &[], &[])],
        ..image()
    };
    let removal = RemovalView {
        images: vec![RemovedImage {
            image: "old".to_owned(),
            digest: unused.revisions[0].digest.clone(),
            size: MemoryBytes::mib(12),
        }],
        names: Vec::new(),
        freed: MemoryBytes::mib(3),
        space: Space::Free,
    };
    let page = super::image(&view).text(false);
    let listed = shown(images(&[view, unused]));
    let removed = shown(removed_images(&removal));
    insta::assert_snapshot!("images-stored", format!("{listed}\n{page}\n{removed}"));
}

#[test]
fn what_was_used() {
    let point = |minutes: u64, received| HistoryPoint {
        at: earlier(minutes * 60),
        measured_ms: 60_000,
        memory: MemoryBytes::mib(100 + minutes),
        memory_peak: MemoryBytes::mib(130),
        cpu: NanoCpus::millis(120),
        cpu_peak: NanoCpus::millis(700),
        oom_kills: 0,
        received,
        sent: received / 2,
        read: 0,
        written: 0,
    };
    let of = |points| History {
        name: "acme_web.1".to_owned(),
        resolution: 60,
        points,
    };
    insta::assert_snapshot!(
        "history",
        shown(history(&of(vec![point(2, 5 << 20), point(1, 100)])))
    );
    insta::assert_snapshot!(
        "history_of_a_machine",
        shown(history(&of(vec![point(1, 0)])))
    );
}
