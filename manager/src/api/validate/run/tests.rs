//! Options that are taken, and messages about the rest.

use super::super::{launch, tests::good};
use micado_api::{ErrorCode, HealthCheck, MemoryBytes, Probe, RunOptions, Tmpfs, Ulimit};

/// The message about these options.
fn said(change: impl FnOnce(&mut RunOptions)) -> String {
    let mut request = good();
    change(&mut request.spec.run);
    match launch(&request) {
        Ok(service) => format!("good: {service}"),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::BadRequest);
            error.message
        }
    }
}

fn tmpfs(path: &str) -> Tmpfs {
    Tmpfs {
        path: path.to_owned(),
        size: None,
    }
}

fn ulimit(name: &str, soft: i64, hard: i64) -> Ulimit {
    Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    }
}

#[test]
fn options_of_real_images_are_taken() {
    let all = said(|run| {
        *run = RunOptions {
            no_init: true,
            user: Some("postgres:postgres".to_owned()),
            workdir: Some("/srv".to_owned()),
            hostname: Some("db.acme".to_owned()),
            labels: [("team".to_owned(), "a=b".to_owned())].into(),
            stop_signal: Some("SIGRTMIN+3".to_owned()),
            stop_grace_ms: Some(0),
            read_only: true,
            tmpfs: vec![tmpfs("/run"), tmpfs("/tmp")],
            shm_size: Some(MemoryBytes::mib(256)),
            cap_add: vec!["NET_ADMIN".to_owned()],
            cap_drop: vec!["ALL".to_owned()],
            ulimits: vec![ulimit("nofile", 1024, -1), ulimit("memlock", -1, -1)],
            pids: Some(0),
            health: Some(HealthCheck {
                command: Some("pg_isready".to_owned()),
                interval_ms: Some(1_000),
                ..HealthCheck::default()
            }),
        };
    });
    assert_eq!(all, "good: acme_web");
    for signal in ["9", "64", "TERM", "SIGQUIT"] {
        let said = said(|run| run.stop_signal = Some(signal.to_owned()));
        assert_eq!(said, "good: acme_web", "{signal}");
    }
}

#[test]
fn what_no_engine_would_run_is_refused() {
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        said(|run| run.user = text("")),
        "the user is empty or holds a zero byte"
    );
    assert_eq!(
        said(|run| run.workdir = text("srv")),
        "working directory `srv` is not absolute"
    );
    assert_eq!(
        said(|run| run.hostname = text("a_b")),
        "host name `a_b` is none"
    );
    assert!(said(|run| run.stop_signal = text("65")).starts_with("stop signal `65` is neither"));
    assert!(said(|run| run.stop_signal = text("quit")).starts_with("stop signal `quit`"));
    assert_eq!(
        said(|run| run.stop_grace_ms = Some(3_601_000)),
        "a stop grace of 3601 s is more than an hour"
    );
    assert!(said(|run| run.pids = Some(5_000_000)).contains("the kernel has no more"));
    assert_eq!(
        said(|run| run.shm_size = Some(MemoryBytes(0))),
        "a /dev/shm of size 0 holds nothing"
    );
    for path in ["run", "/", "/a/../b"] {
        let said = said(|run| run.tmpfs = vec![tmpfs(path)]);
        assert!(said.starts_with("tmpfs needs an absolute path"), "{said}");
    }
    assert_eq!(
        said(|run| run.tmpfs = vec![tmpfs("/var/lib/data/")]),
        "two mounts at `/var/lib/data/`",
        "a volume is there"
    );
    assert_eq!(
        said(|run| {
            run.shm_size = Some(MemoryBytes::mib(1));
            run.tmpfs = vec![tmpfs("/dev/shm")];
        }),
        "two mounts at `/dev/shm`"
    );
    assert_eq!(
        said(|run| run.ulimits = vec![ulimit("files", 1, 1)]),
        "ulimit `files` is unknown"
    );
    for (soft, hard) in [(2, 1), (-1, 1), (-2, 1), (0, -2)] {
        let said = said(|run| run.ulimits = vec![ulimit("nofile", soft, hard)]);
        assert!(said.contains("at most the hard one"), "{said}");
    }
}

#[test]
fn capabilities_of_the_whole_machine_are_refused() {
    for name in [
        "SYS_ADMIN",
        "SYS_MODULE",
        "DAC_READ_SEARCH",
        "BPF",
        "ALL",
        "net_admin",
    ] {
        let said = said(|run| run.cap_add = vec![name.to_owned()]);
        assert_eq!(
            said,
            format!(
                "capability `{name}` is not given: it is unknown, or acts on the whole machine"
            )
        );
    }
    assert_eq!(
        said(|run| run.cap_drop = vec!["no cap".to_owned()]),
        "`no cap` is no name of a capability"
    );
}

#[test]
fn labels_of_others_are_refused() {
    let label = |key: &str| said(|run| drop(run.labels.insert(key.to_owned(), "x".to_owned())));
    assert_eq!(label("team"), "good: acme_web");
    assert_eq!(label(""), "label `` is not `KEY=VALUE`");
    for key in ["micado.cluster", "com.docker.swarm.task"] {
        assert!(label(key).contains("are not for services"), "{key}");
    }
}

#[test]
fn health_checks_are_checked() {
    let health = |check: HealthCheck| said(|run| run.health = Some(check));
    let plain = HealthCheck::default;
    let off = HealthCheck {
        off: true,
        ..plain()
    };
    assert_eq!(health(off.clone()), "good: acme_web");
    let command = Some("true".to_owned());
    assert_eq!(
        health(HealthCheck { command, ..off }),
        "without a health check, there is nothing to set of it"
    );
    let command = Some(" ".to_owned());
    assert_eq!(
        health(HealthCheck { command, ..plain() }),
        "the health command is empty or holds a zero byte"
    );
    let interval_ms = Some(10);
    assert_eq!(
        health(HealthCheck {
            interval_ms,
            ..plain()
        }),
        "health interval of 10 ms: it may be 1 second to 24 hours"
    );
}

#[test]
fn checks_of_the_agent_are_checked() {
    let said = |change: &dyn Fn(&mut HealthCheck)| {
        said(|run| {
            let mut check = HealthCheck {
                probe: Some(Probe::Tcp { port: None }),
                ..HealthCheck::default()
            };
            change(&mut check);
            run.health = Some(check);
        })
    };
    let http = |path: &str, status| {
        let probe = Probe::Http {
            port: Some(80),
            path: path.to_owned(),
            status,
        };
        said(&move |check| check.probe = Some(probe.clone()))
    };
    let good = "good: acme_web";
    assert_eq!(said(&|_| {}), good);
    assert_eq!(http("/up?a=b", Some(204)), good);
    // The image's own check may be turned off beside it.
    assert_eq!(said(&|check| check.off = true), good);
    assert_eq!(said(&|check| check.start_ms = Some(0)), good);
    let both = said(&|check| check.command = Some("true".to_owned()));
    assert!(
        both.starts_with("`--health-cmd` and `--health-tcp` exclude each other"),
        "{both}"
    );
    for path in [
        "",
        "up",
        "/a b",
        "/\u{1b}[2J",
        "/#top",
        &format!("/{}", "x".repeat(2_000)),
    ] {
        let said = http(path, None);
        assert!(
            said.starts_with("health path `") && said.len() < 300,
            "{said}"
        );
        assert!(!said.contains('\u{1b}'));
    }
    assert_eq!(
        http("/", Some(101)),
        "health status 101 is none that a server ends with: 200 to 599"
    );
    assert_eq!(
        said(&|check| check.interval_ms = Some(100)),
        "health interval of 100 ms: by the agent it may be 250 ms to 1 hour"
    );
    assert_eq!(
        said(&|check| check.timeout_ms = Some(300_000)),
        "health timeout of 300000 ms: by the agent it may be 10 ms to 1 minute"
    );
    assert!(
        said(&|check| check.retries = std::num::NonZeroU64::new(101)).contains("more than 100")
    );
    let port = said(&|check| check.probe = Some(Probe::Tcp { port: Some(0) }));
    assert_eq!(port, "the health check's port is 0, which is no port");
    let alone = said(&|check| (check.probe, check.restart_after_ms) = (None, Some(60_000)));
    assert!(
        alone.starts_with("`--restart-after` is of checks by the agent"),
        "{alone}"
    );
}

/// Eight variables of 100 KB were tried for ever, because no message of the Swarm could hold them.
#[test]
fn b10_sizes_are_refused_at_launch() {
    let sized = |count: usize, size: usize| {
        let mut request = good();
        let pair = |at: usize| format!("V{at}={}", "x".repeat(size));
        request.spec.environment = (0..count).map(pair).collect();
        launch(&request).map_err(|error| error.message)
    };
    assert!(sized(4, 100_000).is_ok());
    let many = sized(8, 100_000).expect_err("too many");
    assert!(many.ends_with("more than 524288"), "{many}");
    let one = sized(1, 140_000).expect_err("too large");
    assert_eq!(
        one,
        "`V0...` has 140003 bytes, more than the kernel's 131071"
    );
}
