//! Valid content of a launch and a start, and messages about the rest.

use super::*;
use micado_api::{Location, Protocol, Resources};

pub(super) fn good() -> LaunchRequest {
    let port = PortMapping {
        host: Some(8080),
        container: 80,
        protocol: Protocol::Tcp,
    };
    LaunchRequest {
        spec: ServiceSpec {
            image: "registry.example:5000/team/web:2".to_owned(),
            client: "acme".to_owned(),
            location: Location::default(),
            entrypoint: Some("/bin/web".to_owned()),
            arguments: vec!["-v".to_owned()],
            environment: vec!["A=1".to_owned(), "B=".to_owned(), "C=a=b".to_owned()],
            ports: vec![
                port,
                PortMapping {
                    protocol: Protocol::Udp,
                    ..port
                },
                PortMapping {
                    host: Some(8081),
                    container: 81,
                    ..port
                },
            ],
            domain: Some("shop.example".to_owned()),
            tags: Vec::new(),
            reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
            volumes: vec![VolumeMount {
                name: "data".to_owned(),
                path: "/var/lib/data".to_owned(),
                shared: false,
            }],
            restart: micado_api::RestartPolicy::default(),
            anti_affinity: micado_api::AntiAffinity::default(),
            run: Box::default(),
        },
        publish_all: false,
        request: Some("once".to_owned()),
        unnamed: micado_api::Unnamed::default(),
        copies: std::num::NonZeroU32::MIN,
    }
}

/// The message after one change.
fn said(change: impl FnOnce(&mut LaunchRequest)) -> String {
    let mut request = good();
    change(&mut request);
    match launch(&request) {
        Ok(service) => format!("good: {service}"),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::BadRequest);
            error.message
        }
    }
}

#[test]
fn a_good_launch_is_named() {
    assert_eq!(said(|_| {}), "good: acme_web");
    assert_eq!(
        said(|it| (it.publish_all, it.spec.ports) = (true, vec![])),
        "good: acme_web"
    );
}

#[test]
fn names_and_images_are_checked() {
    assert_eq!(
        said(|it| it.spec.image = String::new()),
        "image `` is empty"
    );
    assert_eq!(
        said(|it| it.spec.image = "-web".to_owned()),
        "image `-web` must begin with a letter or a digit"
    );
    assert_eq!(
        said(|it| it.spec.image = "my web".to_owned()),
        "image `my web` may hold only letters, digits and `-_./:@`"
    );
    assert_eq!(
        said(|it| it.spec.image = "w".repeat(256)),
        format!("image `{}` is too long", "w".repeat(256))
    );
    assert_eq!(
        said(|it| it.spec.client = String::new()),
        "client `` is empty"
    );
    assert_eq!(
        said(|it| it.spec.client = "a/b".to_owned()),
        "service `a/b_web` may hold only letters, digits, `-`, `_` and `.`"
    );
    assert_eq!(
        said(|it| it.request = Some(String::new())),
        "the request's own name must have 1 to 128 characters"
    );
    assert_eq!(
        said(|it| it.spec.domain = Some("a_b.example".to_owned())),
        "domain `a_b.example` is no host name"
    );
    assert_eq!(
        said(|it| it.spec.domain = Some("example.".to_owned())),
        "domain `example.` is no host name"
    );
}

#[test]
fn sizes_are_checked_against_the_engine_floor() {
    assert_eq!(
        said(|it| it.spec.reservation.memory = MEMORY_MIN),
        "good: acme_web"
    );
    assert_eq!(
        said(|it| it.spec.reservation.memory = MemoryBytes::mib(5)),
        "memory of 5 MiB is too little: the engine takes 6 MiB at least"
    );
    assert_eq!(
        said(|it| it.spec.reservation.memory = MemoryBytes(0)),
        "memory of 0 B is too little: the engine takes 6 MiB at least"
    );
    assert_eq!(
        said(|it| it.spec.reservation.cpu = NanoCpus(999_999)),
        "cpu is too little: the engine takes 0.001 cores at least"
    );
}

#[test]
fn ports_are_published_once() {
    let port = PortMapping {
        host: Some(80),
        container: 80,
        protocol: Protocol::Tcp,
    };
    assert_eq!(
        said(|it| it.spec.ports = vec![
            port,
            PortMapping {
                container: 81,
                ..port
            }
        ]),
        "port 80/tcp is published twice"
    );
    assert_eq!(
        said(|it| it.spec.ports = vec![PortMapping {
            container: 0,
            ..port
        }]),
        "port 0 is no port"
    );
    assert_eq!(
        said(|it| it.spec.ports = vec![
            PortMapping { host: None, ..port },
            PortMapping {
                host: None,
                container: 81,
                ..port
            }
        ]),
        "good: acme_web"
    );
    assert!(said(|it| it.publish_all = true).starts_with("all ports and certain ports"));
}

#[test]
fn texts_are_checked() {
    assert_eq!(
        said(|it| it.spec.environment = vec!["A".to_owned()]),
        "environment `A` is not `KEY=VALUE`"
    );
    assert_eq!(
        said(|it| it.spec.environment = vec!["=1".to_owned()]),
        "environment `=1` is not `KEY=VALUE`"
    );
    assert_eq!(
        said(|it| it.spec.environment = vec!["A=1".to_owned(), "A=2".to_owned()]),
        "environment variable `A` is set twice"
    );
    assert_eq!(
        said(|it| it.spec.environment = vec!["A B=1".to_owned()]),
        "environment variable `A B` holds a space or a zero byte"
    );
    assert_eq!(
        said(|it| it.spec.entrypoint = Some(String::new())),
        "the entry point is empty"
    );
    assert_eq!(
        said(|it| it.spec.arguments = vec!["\0".to_owned()]),
        "the entry point or an argument holds a zero byte"
    );
}

#[test]
fn volumes_need_a_name_and_an_absolute_path() {
    let volume = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        path: path.to_owned(),
        shared: false,
    };
    for path in ["data", "", "/", "//", "/a/../b"] {
        assert_eq!(
            said(|it| it.spec.volumes = vec![volume("data", path)]),
            format!(
                "volume `data` needs an absolute path below `/` in the container, not `{path}`"
            )
        );
    }
    assert!(
        said(|it| it.spec.volumes = vec![volume("/host", "/data")])
            .starts_with("volume `/host` is no name")
    );
    assert!(
        said(|it| it.spec.volumes = vec![volume("d", "/data")])
            .starts_with("volume `d` is no name")
    );
    assert_eq!(
        said(|it| it.spec.volumes = vec![volume("one", "/data"), volume("two", "/data/")]),
        "two volumes at `/data/`"
    );
}

#[test]
fn a_start_is_checked() {
    let good = StartRequest {
        cloud: micado_api::CloudName::trusted("local"),
        application: "Node".to_owned(),
        flavour: micado_api::FlavourName::trusted("small"),
        tag: micado_api::Tag::trusted("application01"),
        location: Location::default(),
        first: false,
        files: [("motd".to_owned(), vec![1])].into(),
    };
    assert_eq!(start(&good), Ok(()));
    let said = |request: StartRequest| {
        start(&request).map_or_else(|error| error.message, |()| "good".to_owned())
    };
    assert_eq!(
        said(StartRequest {
            application: " ".to_owned(),
            ..good.clone()
        }),
        "application is empty"
    );
    assert_eq!(
        said(StartRequest {
            files: [("../x".to_owned(), vec![])].into(),
            ..good
        }),
        "file `../x` is not a plain file name"
    );
}

#[test]
fn a_moment_that_no_clock_shows_is_refused() {
    assert_eq!(moment("since", None), Ok(()));
    assert_eq!(moment("since", Some(LAST_MOMENT)), Ok(()));
    let refused = moment("since", Some(LAST_MOMENT + 1)).expect_err("too late");
    assert!(refused.message.contains("`since`"), "{refused:?}");
}

#[test]
fn a_container_port_is_published_once_a_protocol() {
    let port = |host, container, protocol| PortMapping {
        host,
        container,
        protocol,
    };
    for hosts in [(Some(8080), Some(8081)), (Some(8080), None), (None, None)] {
        assert_eq!(
            said(|it| it.spec.ports = vec![
                port(hosts.0, 80, Protocol::Tcp),
                port(hosts.1, 80, Protocol::Tcp)
            ]),
            "container port 80/tcp is published by two ports: one of them would not answer"
        );
    }
    let both = vec![
        port(Some(53), 53, Protocol::Tcp),
        port(Some(53), 53, Protocol::Udp),
    ];
    assert_eq!(said(|it| it.spec.ports = both), "good: acme_web");
}

#[test]
fn few_exposed_ports_are_published_unasked() {
    let exposed = |count: u16| -> Vec<_> {
        (0..count)
            .map(|number| PortMapping {
                host: Some(1),
                container: 10_000 + number,
                protocol: Protocol::Udp,
            })
            .collect()
    };
    let published = publish_exposed("web", &exposed(20)).expect("few");
    assert!(published.len() == 20 && published.iter().all(|port| port.host.is_none()));
    let refused = publish_exposed("turn:4", &exposed(21)).expect_err("many");
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            ErrorCode::BadRequest,
            "image `turn:4` exposes 21 ports, and at most 20 are published unasked"
        )
    );
    assert!(
        refused
            .hint
            .is_some_and(|hint| hint.contains("-p HOST:CONTAINER"))
    );
}

#[test]
fn a_check_without_a_port_is_refused() {
    let port = |container, protocol| PortMapping {
        host: None,
        container,
        protocol,
    };
    let mut spec = good().spec;
    spec.ports.clear();
    let mut resolve = |exposed: &[PortMapping]| {
        spec.run.health = Some(micado_api::HealthCheck {
            probe: Some(micado_api::Probe::Tcp { port: None }),
            ..Default::default()
        });
        let resolved = resolve_probe(&mut spec, exposed);
        let health = spec.run.health.as_ref().and_then(|it| it.probe.as_ref());
        resolved.map(|()| health.and_then(micado_api::Probe::port))
    };
    assert_eq!(resolve(&[port(81, Protocol::Tcp)]), Ok(Some(81)));
    let refused = resolve(&[port(53, Protocol::Udp)]).expect_err("no TCP port");
    assert!(
        refused.message.contains("names no port, and image"),
        "{}",
        refused.message
    );
    assert!(
        refused
            .hint
            .is_some_and(|hint| hint.contains("--health-tcp PORT"))
    );
}

#[test]
fn builds_are_checked_before_their_context() {
    let named = |name: &str| BuildRequest {
        name: name.to_owned(),
        any_name: true,
        ..BuildRequest::default()
    };
    let refusal = |request: &BuildRequest| build(request).expect_err("malformed").message;
    assert_eq!(build(&named("container-web")), Ok(()));
    assert!(refusal(&named("micado-registry")).contains("micado's own"));
    assert!(refusal(&named("container-web.2")).contains("a dot and a number"));
    for path in ["", "/Dockerfile", "../Dockerfile", "a/../b", "a\0"] {
        let request = BuildRequest {
            dockerfile: Some(path.to_owned()),
            ..named("web")
        };
        assert!(
            refusal(&request).contains("no path of a Dockerfile"),
            "{path}"
        );
    }
    for argument in ["A", "=1", ""] {
        let request = BuildRequest {
            arguments: vec!["GOOD=".to_owned(), argument.to_owned()],
            ..named("web")
        };
        assert!(refusal(&request).contains("`KEY=VALUE`"), "{argument}");
    }
    let request = BuildRequest {
        arguments: vec!["A=1".to_owned(); BUILD_VALUES + 1],
        ..named("web")
    };
    assert!(refusal(&request).contains("at most 256"));
    let request = BuildRequest {
        target: Some("a b".to_owned()),
        ..named("web")
    };
    assert!(refusal(&request).contains("white space"));
}
