//! A record of each kind with every field set.

use super::Record;
use crate::model::{
    BegunBy, Container, Copy, CopyTimes, Desired, Drain, End, Health, HeldVolume, Image, Instance,
    Learned, Login, Outcome, Phase, Registration, Secret, Service, ServicePolicy, SpecVersion,
    Trade, Window,
};
use micado_api::{
    CloudName, ContainerName, Critical, FlavourName, HealthState, InstanceId, InstanceState,
    Location, MemoryBytes, NanoCpus, Origin, Platform, PortMapping, PricePerHour, Protocol,
    Resources, ServiceName, ServiceSpec, Tag, Timestamp, VolumeMount,
};
use micado_core::scaling::{Band, Manual, Policies, Policy, Span, Step, Target};
use std::collections::BTreeMap;

/// A policy with every limit set, and one policy of each kind that has numbers.
pub fn policy() -> Record {
    let policies = Policies {
        min: 2,
        step_up: Some(Step {
            percent: 12.5,
            per: Span::seconds(15),
        }),
        stop_when_quiet: true,
        policies: vec![
            Policy::Target(Target::default()),
            Policy::Band(Band::default()),
        ],
        ..Policies::default()
    };
    Record::ServicePolicy(ServicePolicy {
        manual: Some(Manual {
            floor: 3,
            until: Timestamp(1_700_000_000_000),
        }),
        is_pinned: true,
        ..ServicePolicy::new(ServiceName::trusted("alice_web"), policies, Timestamp(7))
    })
}

/// An instance with every field set.
pub fn instance() -> Record {
    Record::Instance(Instance {
        id: InstanceId::trusted("k3x9"),
        tag: Tag::trusted("application01"),
        cloud: CloudName::trusted("local"),
        application: "Node".into(),
        flavour: FlavourName::trusted("small"),
        location: Location::default(),
        size: Resources::new(MemoryBytes::mib(1024), NanoCpus::cores(1)),
        platform: Some(Platform::new("linux", "arm64")),
        price: PricePerHour(50_000),
        state: InstanceState::Active,
        origin: Origin::Planner,
        files: [("data.bin".to_owned(), vec![0, 1, 254, 255])].into(),
        reason: Some("the broker's own words".into()),
        released: false,
        address: Some("10.1.0.3".into()),
        broker_id: Some("job-17".into()),
        node: Some("n1".into()),
        force: true,
        drain: Some(Drain {
            why: "drained: others had room".into(),
            since: Timestamp(7),
            deadline: Some(Timestamp(8)),
            begun_by: BegunBy::Manager,
        }),
        replaces: vec![InstanceId::trusted("k3x8"), InstanceId::trusted("k3x9")],
        protected: true,
        worked: true,
        volumes: BTreeMap::from([(
            "micado-test-acme_db-data-0011223344556677".to_owned(),
            HeldVolume {
                name: "data".to_owned(),
                container: ContainerName::trusted("acme_db.1"),
            },
        )]),
        created_at: Timestamp(1),
        state_since: Timestamp(2),
        joined_at: Some(Timestamp(u64::MAX)),
        joining: Some(Trade {
            key: "0123abcd".into(),
            at: Timestamp(6),
        }),
    })
}

/// An entry of the catalogue made by hand, with every field set.
pub fn registration() -> Record {
    Record::Registration(Registration {
        id: "db:1".into(),
        service: "db".into(),
        address: "10.0.0.9".into(),
        port: 5432,
        tags: vec!["primary".into(), "a=b".into()],
        meta: [("rack".to_owned(), "7".to_owned())].into(),
        since: Timestamp(7),
    })
}

/// A login with every field set.
pub fn login() -> Record {
    Record::Login(Login {
        host: "r.example.org:5000".into(),
        user: "alice".into(),
        secret: Secret::Password("s3cret-of-a-login".into()),
        since: Timestamp(7),
    })
}

/// A service with every field set.
pub fn service() -> Record {
    let spec = ServiceSpec {
        image: "micado-web:latest".into(),
        client: "alice".into(),
        location: Location::default(),
        entrypoint: Some("/web".into()),
        arguments: vec!["-v".into(), "a b".into()],
        environment: vec!["PORT=8080".into(), "EMPTY=".into()],
        ports: vec![PortMapping {
            host: Some(8080),
            container: 80,
            protocol: Protocol::Tcp,
        }],
        domain: Some("web.example.org".into()),
        tags: vec!["traefik.enable=true".into()],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![VolumeMount {
            name: "data".into(),
            path: "/data".into(),
            shared: false,
        }],
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    };
    let pull = Some("registry:5000/micado-web".to_owned());
    Record::Service(Service {
        name: ServiceName::trusted("alice_web"),
        version: 2,
        older: vec![SpecVersion {
            version: 1,
            spec: spec.clone(),
            pull: pull.clone(),
            image_id: Some("sha256:11".to_owned()),
        }],
        spec,
        pull,
        image_id: Some("sha256:22".to_owned()),
        platforms: [Platform::new("linux", "amd64")].into(),
        next_number: 2,
        created_at: Timestamp(3),
        alias: Some("alice-web".to_owned()),
    })
}

fn copy(generation: u32, instance: &str, phase: Phase) -> Copy {
    Copy {
        generation,
        instance: InstanceId::trusted(instance),
        swarm_name: format!("alice-web-1-{generation}"),
        spec: generation,
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        phase,
        ports: Box::new([25_000]),
        last_end: Some(End {
            exit_code: 137,
            oom: true,
            at: Timestamp(9),
        }),
        health: Some(Box::new(Health {
            state: HealthState::Unhealthy,
            since: Timestamp(8),
            failure: Some("port 80: connection refused".to_owned()),
        })),
    }
}

/// A container with every field set.
pub fn container() -> Record {
    Record::Container(Container {
        name: ContainerName::trusted("alice_web.1"),
        service: ServiceName::trusted("alice_web"),
        desired: Desired::Running,
        removed_at: None,
        copies: vec![
            copy(
                1,
                "k3x8",
                Phase::Retiring {
                    since: Timestamp(6),
                },
            ),
            copy(2, "k3x9", Phase::Serving),
        ],
        next_generation: 3,
        bound_to: Some(InstanceId::trusted("k3x9")),
        outcome: Some(Outcome {
            exit_code: -1,
            at: Timestamp(4),
        }),
        reason: Some("waits for application02".into()),
        request: Some("r-1".into()),
        log_tail: Some("line 1\nline 2\n".into()),
        protected: true,
        created_at: Timestamp(5),
    })
}

/// An image with every field set.
pub fn image() -> Record {
    let window = Window {
        at: Timestamp(7),
        memory: MemoryBytes::mib(90),
        cpu: NanoCpus::millis(120),
    };
    Record::Image(Image {
        name: "registry:5000/team/micado-web:latest".into(),
        digest: Some("sha256:0123".into()),
        critical: Critical {
            memory: Some(MemoryBytes::mib(400)),
            cpu: None,
        },
        learned: vec![Learned {
            times: CopyTimes::default(),
            digest: "sha256:0123".into(),
            measured_ms: u64::MAX,
            windows: vec![window],
        }],
        seen_at: Timestamp(8),
    })
}
