//! The `micado` binary on its command line, against a scripted manager on a real unix socket.

#[path = "cli/archive.rs"]
mod archive;
#[path = "cli/build.rs"]
mod build;
#[path = "cli/execute.rs"]
mod execute;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/registry.rs"]
mod registry;
#[path = "cli/rote.rs"]
mod rote;
#[path = "cli/scaling.rs"]
mod scaling;
#[path = "cli/service.rs"]
mod service;
#[path = "cli/simulate.rs"]
mod simulate;
#[path = "cli/top.rs"]
mod top;

use axum::{
    Json, Router,
    extract::{Path, RawQuery},
    http::StatusCode,
    routing::{delete, get, post},
};
use futures_util::stream;
use micado_api::{
    ClusterId, ContainerName, ContainerState, ContainerUsage, ContainerView, Critical, ErrorBody,
    ErrorCode, EventView, History, ImageView, InstanceView, LaunchRequest, Location, MemoryBytes,
    NanoCpus, PortMapping, PricePerHour, Progress, Protocol, RegistrationView, Resources,
    ServiceName, ServiceView, SetImageRequest, Settled, StatusView, Tag, Timestamp,
    agent::ContainerHappening,
};
use rote::{Ended, Rote, micado};
use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

fn container(state: ContainerState) -> ContainerView {
    let three_hours_ago = Timestamp(micado_manager::clock::now().0 - (3 * 3600 + 60) * 1000);
    ContainerView {
        name: ContainerName::trusted("acme_web.1"),
        service: ServiceName::trusted("acme_web"),
        image: "web".to_owned(),
        state,
        reason: None,
        exit_code: None,
        instance: Some(Tag::trusted("application01")),
        protected: false,
        health: None,
        location: Location::default(),
        address: Some("172.20.0.3".to_owned()),
        ports: vec![PortMapping {
            host: Some(8080),
            container: 80,
            protocol: Protocol::Tcp,
        }],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: three_hours_ago,
        usage: None,
    }
}

fn line(text: &str, settled: Option<Settled>) -> String {
    let step = Progress {
        subject: "acme_web.1".to_owned(),
        at: Timestamp(1),
        text: text.to_owned(),
        settled,
    };
    serde_json::to_string(&step).expect("JSON") + "\n"
}

/// A manager with a launch that takes these steps.
fn launching(steps: String) -> Rote {
    let accept = |Json(request): Json<LaunchRequest>| async move {
        assert!(
            request.request.is_some(),
            "a launch that is sent twice must be known for the same"
        );
        (
            StatusCode::ACCEPTED,
            Json(vec![container(ContainerState::Waiting)]),
        )
    };
    let routes = Router::new()
        .route(
            "/v1/containers",
            get(async || Json(vec![container(ContainerState::Running)])).post(accept),
        )
        .route(
            "/v1/progress/{subject}",
            get(async move |Path(subject): Path<String>| {
                if subject == "acme_web.1" {
                    Ok(steps)
                } else {
                    Err(StatusCode::GONE)
                }
            }),
        );
    Rote::new(routes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_followed_until_it_runs() {
    let steps = [
        "waiting: renting small on local",
        "application01 joined after 3.1 s",
    ]
    .map(|text| line(text, None))
    .concat();
    let rote = launching(steps + &line("running on application01", Some(Settled::Done)));
    let ended = rote.run("launch -i web -n acme -d shop.example").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "acme_web.1\n"));
    insta::assert_snapshot!(ended.err, @r"
    note: `shop.example` is stored, but nothing serves it yet
    waiting: renting small on local
    application01 joined after 3.1 s
    running on application01
    ");
    let json = rote.run("launch -i web -n acme --output json").await;
    let view: ContainerView = serde_json::from_str(&json.out).expect("one view");
    assert_eq!(
        view.state,
        ContainerState::Running,
        "as it is when it is settled"
    );
    let told: Vec<Progress> = json
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("a step a line"))
        .collect();
    assert_eq!(told.len(), 3);
    let detached = rote.run("launch -i web -n acme --detach").await;
    assert_eq!(
        detached,
        Ended {
            code: Some(0),
            out: "acme_web.1\n".to_owned(),
            err: String::new()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_fails_says_why() {
    let rote = launching(
        line("starting on application01", None)
            + &line(
                "failing on application01: exit code 3",
                Some(Settled::Failed),
            ),
    );
    let ended = rote.run("launch -i web -n acme").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), "acme_web.1\n"));
    insta::assert_snapshot!(ended.err, @r"
    starting on application01
    error: acme_web.1: failing on application01: exit code 3
    hint: `micado explain acme_web.1` says how it came to that
    ");
    let broken = launching(line("starting on application01", None))
        .run("launch -i web -n acme")
        .await;
    assert_eq!(broken.code, Some(1));
    assert!(
        broken.err.ends_with(
            "error: acme_web.1: the manager stopped before it was settled\nhint: it goes on when the manager is back: `micado explain acme_web.1`\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_it_going_on() {
    let endless = || async {
        let steps = stream::iter([Ok::<_, std::io::Error>(line("waiting: no room", None))]);
        axum::body::Body::from_stream(futures_util::StreamExt::chain(steps, stream::pending()))
    };
    let routes = Router::new()
        .route(
            "/v1/containers",
            post(async || Json(vec![container(ContainerState::Waiting)])),
        )
        .route("/v1/progress/{subject}", get(endless));
    let rote = Rote::new(routes);
    let mut child = rote
        .command("launch -i web -n acme")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert_eq!(
        said.next_line().await.expect("readable").as_deref(),
        Some("waiting: no room")
    );
    let interrupt = Command::new("kill")
        .arg("-INT")
        .arg(child.id().expect("it still runs").to_string())
        .status()
        .await;
    assert!(interrupt.expect("kill is there").success());
    let last = said.next_line().await.expect("readable");
    assert_eq!(
        last.as_deref(),
        Some("it goes on in the background: `micado explain acme_web.1` says how it is")
    );
    assert_eq!(child.wait().await.expect("it ends").code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_for_people_and_json_for_programs() {
    let none = async || Json(Vec::<InstanceView>::new());
    let some = async || Json(vec![container(ContainerState::Running)]);
    let rote = Rote::new(
        Router::new()
            .route("/v1/instances", get(none))
            .route("/v1/containers", get(some)),
    );
    let both = rote.run("list").await;
    assert_eq!((both.code, both.err.as_str()), (Some(0), "no instances\n"));
    insta::assert_snapshot!(both.out, @r"
    NAME        STATE    INSTANCE       IMAGE  PORTS                    MEMORY   AGE
    acme_web.1  running  application01  web    172.20.0.3:8080->80/tcp  256 MiB  3h
    ");
    let json = rote.run("list --output json").await;
    let lists: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(
        (
            lists["instances"].as_array().map(Vec::len),
            &lists["containers"][0]["name"]
        ),
        (Some(0), &"acme_web.1".into())
    );
    assert_eq!(json.err, "");
    let one = rote.run("list -i --output=json").await;
    assert_eq!(one.out, "{\n  \"instances\": []\n}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_named_of_a_critical_usage_stays() {
    let image = |critical| ImageView {
        image: "web".to_owned(),
        digest: None,
        critical,
        suggested: None,
        footprint: None,
        measured_ms: 0,
        services: Vec::new(),
        revisions: Vec::new(),
    };
    let known = Critical {
        memory: Some(MemoryBytes::mib(100)),
        cpu: Some(NanoCpus::millis(300)),
    };
    let set = async move |Json(request): Json<SetImageRequest>| {
        assert_eq!(request.image, "web");
        Json(image(request.critical))
    };
    let rote = Rote::new(Router::new().route(
        "/v1/images",
        get(async move || Json(vec![image(known)])).put(set),
    ));
    let listed = rote.run("image list").await;
    insta::assert_snapshot!(listed.out, @r"
    IMAGE  DIGEST  FOOTPRINT  CRITICAL USAGE         MEASURED
    web                       100 MiB and 0.3 cores  0s
    ");
    let ended = rote.run("image set web --critical-memory 400M").await;
    insta::assert_snapshot!(ended.out, @r"
    IMAGE  DIGEST  FOOTPRINT  CRITICAL USAGE         MEASURED
    web                       400 MiB and 0.3 cores  0s
    ");
    let cleared = rote.run("image set web --clear --output json").await;
    let view: ImageView = serde_json::from_str(&cleared.out).expect("one image");
    assert_eq!(
        (cleared.code, view.critical),
        (Some(0), Critical::default())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_asked_for_as_it_is_typed() {
    let history = async |Path(name): Path<String>, RawQuery(query): RawQuery| {
        assert_eq!(
            (name.as_str(), query.as_deref()),
            ("acme_web.1", Some("from=77000&resolution=60"))
        );
        Json(History {
            name,
            resolution: 60,
            points: vec![],
        })
    };
    let rote = Rote::new(
        Router::new()
            .route("/v1/history/{name}", get(history))
            .route(
                "/v1/registrations",
                get(async || Json(Vec::<RegistrationView>::new())),
            )
            .route(
                "/v1/services",
                get(async || Json(Vec::<ServiceView>::new())),
            ),
    );
    let ended = rote
        .run("history -n acme_web.1 --since 77 --resolution 1m")
        .await;
    assert_eq!(
        ended,
        Ended {
            code: Some(0),
            out: String::new(),
            err: "nothing was measured then\n".to_owned()
        }
    );
    let json = rote
        .run("history -n acme_web.1 --since 77 --resolution 1m --output json")
        .await;
    assert_eq!(
        serde_json::from_str::<History>(&json.out)
            .expect("a history")
            .resolution,
        60
    );
    assert_eq!(
        rote.run("info").await.err,
        "no services\n",
        "all services, when none is named"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_asked_for_as_it_is_typed() {
    let all = async |RawQuery(query): RawQuery| {
        let happened = serde_json::json!({ "at": 5000, "container": "acme_web.1", "instance": "application01", "image": "web", "id": "e1",
            "what": "died", "exit_code": 137, "oom": true });
        match query.as_deref() {
            Some("limit=50") => Json(vec![happened]),
            Some("name=acme_web&instance=application01&since=77000&limit=3") => Json(vec![]),
            other => panic!("{other:?}"),
        }
    };
    let verdicts = async || Json::<Vec<()>>(Vec::new());
    let routes = Router::new().route("/v1/events", get(all));
    let rote = Rote::new(routes.route("/v1/verdicts", get(verdicts)));
    let shown = rote.run("events").await;
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(shown.out, @r"
    TIME                  NAME        INSTANCE       EVENT
    1970-01-01 00:00:05Z  acme_web.1  application01  died: exit code 137, OOM-killed
    ");
    let none = rote
        .run("events -n acme_web -t application01 --since 77 --tail 3")
        .await;
    assert_eq!(
        none,
        Ended {
            code: Some(0),
            out: String::new(),
            err: "nothing happened then\n".to_owned()
        }
    );
    let json = rote.run("events --output json").await;
    let events: Vec<EventView> = serde_json::from_str(&json.out).expect("events");
    assert_eq!(
        events[0].what,
        ContainerHappening::Died {
            exit_code: 137,
            oom: true
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_quit_and_removed_may_be_gone_before_we_look() {
    let gone = || async {
        (
            StatusCode::NOT_FOUND,
            Json(ErrorBody::new(ErrorCode::NotFound, "no container")),
        )
    };
    let quit = async |Path(name): Path<String>, RawQuery(query): RawQuery| {
        assert_eq!(
            (name.as_str(), query.as_deref()),
            ("acme_web", Some("remove=true"))
        );
        Json(vec![container(ContainerState::Stopping)])
    };
    let routes = Router::new()
        .route("/v1/containers/{name}/quit", post(quit))
        .route(
            "/v1/containers",
            get(async || Json(Vec::<ContainerView>::new())),
        )
        .route("/v1/progress/{subject}", get(gone));
    let ended = Rote::new(routes).run("quit -n acme_web -rm").await;
    assert_eq!(
        ended,
        Ended {
            code: Some(0),
            out: "acme_web.1\n".to_owned(),
            err: String::new()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_passed_on() {
    let body = ErrorBody::new(ErrorCode::Conflict, "container `acme_web.1` is not stopped")
        .hint("`micado quit -n acme_web.1` first");
    let refuse = move || async move { (StatusCode::CONFLICT, Json(body)) };
    let rote = Rote::new(
        Router::new()
            .route("/v1/containers/{name}", delete(refuse))
            .route("/v1/status", get(async || "hello")),
    );
    let ended = rote.run("remove -n acme_web.1").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    insta::assert_snapshot!(ended.err, @r"
    error: container `acme_web.1` is not stopped
    hint: `micado quit -n acme_web.1` first
    ");
    let json = rote.run("--output json remove -n acme_web.1").await;
    insta::assert_snapshot!(json.err, @r#"{"code":"conflict","message":"container `acme_web.1` is not stopped","hint":"`micado quit -n acme_web.1` first"}"#);
    let other = rote.run("status").await;
    assert_eq!(other.code, Some(1));
    assert!(
        other.err.starts_with("error: the reply cannot be parsed"),
        "{}",
        other.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manager_it_says_so() {
    let ended: Ended = micado("unix:///nowhere/micado.sock", "status")
        .output()
        .await
        .expect("it runs")
        .into();
    assert_eq!(ended.code, Some(1));
    insta::assert_snapshot!(ended.err, @r"
    error: no manager answers at unix:///nowhere/micado.sock
    hint: is it running? start it with `micado manager` or `scripts/up`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_on_the_command_line_asks_nobody() {
    // A query would fail with exit code 1, because no manager answers.
    let run = async |line: &str| -> Ended {
        micado("unix:///nowhere/micado.sock", line)
            .output()
            .await
            .expect("it runs")
            .into()
    };
    let twice = run("launch -i web -n acme -p 80 -p 80:81").await;
    assert_eq!(
        (twice.code, twice.err.as_str()),
        (Some(2), "error: port 80/tcp is published twice\n")
    );
    let memory = run("launch -i web -n acme --memory 5M").await;
    assert_eq!(
        (memory.code, memory.err.as_str()),
        (
            Some(2),
            "error: memory of 5 MiB is too little: the engine takes 6 MiB at least\n"
        )
    );
    let missing = run("start -c local --output json").await;
    assert_eq!(missing.code, Some(2));
    insta::assert_snapshot!(missing.err, @r#"{"code":"bad-request","message":"the following required arguments were not provided: --application <APPLICATION> --flavour <FLAVOUR> --tag <TAG> --name <LOCATION>","hint":"`micado --help`, or `--help` after the verb, lists the flags"}"#);
    let file = run("start -c local -a Node -f small -t t1 -n application nowhere/a.txt").await;
    assert_eq!(
        (file.code, file.err.as_str()),
        (
            Some(2),
            "error: file `nowhere/a.txt` cannot be read: No such file or directory (os error 2)\n"
        )
    );
    let unknown = run("launhc").await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("'launch'"), "{}", unknown.err);
    let address: Ended = micado("http://localhost", "list")
        .output()
        .await
        .expect("it runs")
        .into();
    assert_eq!(
        (address.code, address.err.as_str()),
        (
            Some(2),
            "error: manager address `http://localhost` must begin with `unix://` or `https://`\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_for_every_shell_and_a_closed_pipe_is_no_fault() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended: Ended = micado("", &format!("completions {shell}"))
            .output()
            .await
            .expect("it runs")
            .into();
        assert!(
            ended.code == Some(0) && ended.out.contains("explain"),
            "{shell}: {ended:?}"
        );
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let closed = micado("", "completions bash")
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("it runs");
    assert_eq!((closed.status.code(), closed.stderr), (Some(0), Vec::new()));
}
