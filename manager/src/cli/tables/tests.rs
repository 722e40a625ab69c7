//! The tables as people see them, from views that have something of everything.

use super::*;
use micado_api::{
    CloudName, ClusterId, ContainerName, DecisionView, FlavourName, ForeignNodeView, InstanceId, InstanceState, Location, MemoryBytes, NanoCpus, Origin,
    PortMapping, PricePerHour, Protocol, ServiceName, ServiceSpec, Tag, VolumeMount,
};

const NOW: Timestamp = Timestamp(1_793_700_000_000);

fn earlier(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1000)
}

fn instance(tag: &str, state: InstanceState) -> InstanceView {
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
        usage: None,
    }
}

fn container(name: &str, state: ContainerState) -> ContainerView {
    ContainerView {
        name: ContainerName::trusted(name),
        service: ServiceName::trusted("acme_web"),
        image: "web:2".to_owned(),
        state,
        reason: None,
        exit_code: None,
        instance: Some(Tag::trusted("application01")),
        location: Location::default(),
        address: Some("172.20.0.3".to_owned()),
        ports: vec![
            PortMapping { host: Some(8080), container: 80, protocol: Protocol::Tcp },
            PortMapping { host: None, container: 53, protocol: Protocol::Udp },
        ],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: earlier(7300),
        usage: None,
    }
}

fn waiting() -> ContainerView {
    let reason = Some("application01 has 210 MiB left and it needs 256 MiB; 1 of 1 instances are in use".to_owned());
    ContainerView { reason, instance: None, address: None, created_at: earlier(5), ..container("acme_web.2", ContainerState::Waiting) }
}

fn a_service() -> ServiceView {
    let spec = ServiceSpec {
        image: "web:2".to_owned(),
        client: "acme".to_owned(),
        location: Location::default(),
        entrypoint: Some("/bin/web".to_owned()),
        arguments: vec!["-v".to_owned(), "serve".to_owned()],
        environment: vec!["MODE=live".to_owned()],
        ports: vec![PortMapping { host: Some(8080), container: 80, protocol: Protocol::Tcp }],
        domain: Some("shop.example".to_owned()),
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![VolumeMount { name: "data".to_owned(), path: "/data".to_owned() }],
    };
    let containers = vec![container("acme_web.1", ContainerState::Running), waiting()];
    ServiceView { name: ServiceName::trusted("acme_web"), spec, pull: None, containers, created_at: earlier(7300), learned: None }
}

fn shown(table: Table) -> String {
    Page::default().with(table).text(false)
}

#[test]
fn machines() {
    let never = InstanceView { address: None, node: None, containers: 0, released: true, ..instance("application02", InstanceState::Failed) };
    let never = InstanceView { reason: Some("zrh refused: Quota of 3 instances reached".to_owned()), ..never };
    let gone = InstanceView { reason: Some("given back: `stop`".to_owned()), containers: 0, released: true, ..instance("application03", InstanceState::Gone) };
    let kept = InstanceView { reason: Some("its node has not answered for 30 s".to_owned()), ..instance("db01", InstanceState::Failed) };
    insta::assert_snapshot!("machines", shown(instances(&[instance("application01", InstanceState::Active), never, gone, kept], NOW)));
    insta::assert_snapshot!("machines_without_reasons", shown(instances(&[InstanceView { node: None, ..instance("db01", InstanceState::Booting) }], NOW)));
}

#[test]
fn running_and_waiting_containers() {
    insta::assert_snapshot!("containers", shown(containers(&[container("acme_web.1", ContainerState::Running), waiting()], NOW)));
    insta::assert_snapshot!("containers_without_reasons", shown(containers(&[container("acme_web.1", ContainerState::Running)], NOW)));
}

#[test]
fn services_in_short_and_in_full() {
    insta::assert_snapshot!("services", shown(services(&[a_service()], NOW)));
    insta::assert_snapshot!("service", service(&a_service(), NOW).text(false));
}

#[test]
fn the_cluster_on_one_screen() {
    let view = StatusView {
        cluster: ClusterId::trusted("k3v9"),
        version: "0.1.0".to_owned(),
        blind: None,
        cloud_errors: [(CloudName::trusted("zrh"), "connection refused".to_owned())].into(),
        instances: [(InstanceState::Active, 2), (InstanceState::Booting, 1)].into(),
        containers: [(ContainerState::Running, 5), (ContainerState::Waiting, 1)].into(),
        capacity: Resources::new(MemoryBytes::mib(1792), NanoCpus::cores(2)),
        reserved: Resources::new(MemoryBytes::mib(1280), NanoCpus::millis(1250)),
        price: PricePerHour(150_000),
        max_instances: Some(10),
        max_price: Some(PricePerHour(1_000_000)),
        foreign_nodes: vec![ForeignNodeView { node: "n1".to_owned(), hostname: "head".to_owned(), manager: true, ready: true }],
    };
    insta::assert_snapshot!("status", shown(status(&view)));
    let blind = Some("connection refused".to_owned());
    let nothing = StatusView { blind, cloud_errors: BTreeMap::new(), instances: BTreeMap::new(), containers: BTreeMap::new(), foreign_nodes: vec![], ..view };
    insta::assert_snapshot!("status_blind", shown(status(&StatusView { max_instances: None, max_price: None, ..nothing })));
}

#[test]
fn why_things_are_as_they_are() {
    let decision = |seconds, text: &str| DecisionView { at: earlier(seconds), text: text.to_owned() };
    let decisions = vec![decision(60, "no node has room: renting small on local"), decision(57, "application02 joined after 3.1 s")];
    let one = Explanation { name: "acme_web.1".to_owned(), now: "running on application02".to_owned(), decisions };
    let other = Explanation { name: "acme_web.2".to_owned(), now: "waiting: it is being planned".to_owned(), decisions: vec![] };
    insta::assert_snapshot!("explanations", explanations(&[one, other]).text(false));
}
