//! `micado top`.

use super::*;

fn measured() -> ContainerView {
    let usage = ContainerUsage {
        at: Timestamp(1),
        memory: MemoryBytes::mib(105),
        memory_peak: MemoryBytes::mib(130),
        cpu: Some(NanoCpus::millis(120)),
        cpu_peak: NanoCpus::millis(700),
        oom_kills: 0,
        memory_pressure: None,
        cpu_pressure: None,
        throttled: None,
        received: 1500,
        sent: 300,
        read: 0,
        written: 0,
    };
    ContainerView {
        usage: Some(usage),
        ..container(ContainerState::Running)
    }
}

/// A manager with one container, which answers this many queries of `top`.
fn busy(looks: u32) -> Rote {
    let left = Arc::new(AtomicU32::new(looks));
    let status = async move || match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    }) {
        Ok(_) => Ok(Json(StatusView {
            cluster: ClusterId::trusted("k3v9"),
            version: "1".to_owned(),
            blind: None,
            registry: None,
            cloud_errors: Default::default(),
            instances: Default::default(),
            containers: Default::default(),
            capacity: Resources::default(),
            reserved: Resources::default(),
            price: PricePerHour(50_000),
            max_instances: None,
            max_price: None,
            locations: Vec::new(),
            foreign_nodes: vec![],
            blind_instances: vec![],
        })),
        Err(_) => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            Json(ErrorBody::new(
                ErrorCode::Unavailable,
                "the store does not answer",
            )),
        )),
    };
    let routes = Router::new()
        .route(
            "/v1/instances",
            get(async || Json(Vec::<InstanceView>::new())),
        )
        .route("/v1/status", get(status));
    Rote::new(routes.route("/v1/containers", get(async || Json(vec![measured()]))))
}

#[tokio::test(flavor = "multi_thread")]
async fn top_without_a_terminal_is_one_table_or_one_document() {
    let ended = busy(1).run("top").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let (first, rest) = ended.out.split_once('\n').expect("lines");
    assert!(
        first.starts_with("micado k3v9: 0 machines, 1 container, 0.0500 per hour, "),
        "{first}"
    );
    insta::assert_snapshot!(rest, @r"
    cpu 0 of 0 cores used, 0 left; memory 0 B of 0 B used, 0 B left

    TAG  STATE  CPU  MEMORY  DISK LEFT  LOAD  CONTAINERS  PRICE

    NAME        STATE    INSTANCE       CPU   MEMORY / PEAK / LIMIT              NET IN/OUT PER S  BLOCK IN/OUT PER S
    acme_web.1  running  application01  0.12  105 MiB / 130 MiB / 256 MiB (41%)  1 KiB / 300 B     0 B / 0 B
    ");
    let json = busy(1).run("top --output json").await;
    let seen: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(
        (
            &seen["status"]["cluster"],
            &seen["containers"][0]["usage"]["cpu"]
        ),
        (&"k3v9".into(), &120_000_000.into())
    );
    let silent = busy(0).run("top --once").await;
    assert_eq!(
        (silent.code, silent.err.as_str()),
        (Some(1), "error: the store does not answer\n")
    );
}

/// `script` gives its child a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn top_draws_on_a_screen_of_its_own_goes_on_without_an_answer_and_leaves_the_terminal_as_it_was()
 {
    for key in ["q", "\u{3}"] {
        let rote = busy(1);
        let line = format!(
            "stty rows 30 cols 150; {} top --interval 1; echo ended with $?; stty -a",
            env!("CARGO_BIN_EXE_micado")
        );
        let mut script = Command::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .env("MICADO_MANAGER", rote.manager())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = script.spawn().expect("it runs");
        let (mut keys, mut shown) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
        );
        let mut text = String::new();
        while !text.contains("the manager does not answer since") {
            let mut piece = [0; 4096];
            let length = shown.read(&mut piece).await.expect("readable");
            assert_ne!(length, 0, "it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        keys.write_all(key.as_bytes()).await.expect("typed");
        let mut rest = String::new();
        shown.read_to_string(&mut rest).await.expect("readable");
        assert!(child.wait().await.expect("it ends").success());
        let (drawn, after) = (text.clone() + &rest)
            .split_once("\u{1b}[?1049l")
            .map(|(drawn, after)| (drawn.to_owned(), after.to_owned()))
            .expect("it left its screen");
        assert!(
            drawn.contains("\u{1b}[?1049h")
                && drawn.contains("105 MiB / 130 MiB / 256 MiB (41%)")
                && drawn.contains("the store does not answer"),
            "{drawn}"
        );
        assert!(
            after.contains("ended with 0")
                && !["-isig", "-icanon", "-echo ", "-opost"]
                    .iter()
                    .any(|mode| after.contains(mode)),
            "{after}"
        );
    }
}
