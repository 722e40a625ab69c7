//! The API over a real unix socket and real HTTPS, with the real core behind it and a fake engine.

use super::*;
use crate::{clock, pki::Pki};
use bytes::Bytes;
use futures_util::StreamExt;
use micado_api::{
    BuildRequest, Client, ClientError, ConnectOptions, ContainerState, Critical, ErrorCode,
    HistoryQuery, ImageView, ImportQuery, LaunchRequest, LogQuery, MemoryBytes, NanoCpus,
    PruneQuery, ScaleRequest, ServiceName, SetImageRequest, Settled, StartRequest,
};
use micado_core::scaling::Policies;
use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    sync::atomic::Ordering,
};

pub(crate) use rig::{FakeEngine, core, effects, launched};
pub(super) use rig::{Manager, core_of};
use rig::{bind, launch, refusal};

mod listeners;
mod logins;
mod monitoring;
pub(in crate::api) mod rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_recorded_once_and_shown() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let launched = client.launch(&launch("web")).await.expect("launched");
    let launched = &launched[0];
    assert_eq!(
        (launched.name.as_str(), launched.state),
        ("acme_web.1", ContainerState::Waiting)
    );
    let ports: Vec<String> = launched.ports.iter().map(ToString::to_string).collect();
    assert_eq!(
        ports,
        ["80/tcp", "443/tcp"],
        "all exposed ports, each at a port of the engine's choice"
    );
    assert_eq!(
        client.launch(&launch("web")).await.expect("the same")[0].name,
        launched.name
    );
    assert_eq!(client.containers(false).await.expect("a list").len(), 1);
    assert_eq!(
        client.services().await.expect("a list")[0].name.as_str(),
        "acme_web"
    );
    assert_eq!(
        client
            .service("acme_web.1")
            .await
            .expect("a service")
            .containers
            .len(),
        1
    );
    assert_eq!(
        client.explain("acme_web").await.expect("an explanation")[0].name,
        "acme_web.1"
    );
    assert_eq!(client.instances(true).await.expect("a list"), []);
    assert_eq!(
        client.status().await.expect("a status").containers[&ContainerState::Waiting],
        1
    );
    let log = client.logs("acme_web", &LogQuery::default()).await;
    let (containers, log) = log.expect("a log");
    let log: Vec<_> = log.collect().await;
    assert!(containers == 1 && log.is_empty(), "{log:?}");
    let not_ready = refusal(client.ready().await);
    assert_eq!(
        (not_ready.code, not_ready.message.as_str()),
        (
            ErrorCode::Unavailable,
            "the engine is not seen: the engine has not been seen yet"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_protected_until_that_is_ended() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let now = async |protected| {
        let explained = client.protect("acme_web", protected).await;
        explained.expect("it is known")[0].now.clone()
    };
    assert!(now(true).await.ends_with("; protected"));
    assert!(!now(false).await.contains("protected"));
    let unknown = refusal(client.protect("nobody", true).await);
    assert_eq!(unknown.code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_its_image_on_the_engine_only_once() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let more = || LaunchRequest {
        request: None,
        ..launch("pruned")
    };
    let first = client.launch(&more()).await.expect("launched");
    let second = client
        .launch(&more())
        .await
        .expect("the service knows what nodes pull");
    assert_eq!(
        (second[0].name.as_str(), &second[0].ports),
        ("acme_pruned.2", &first[0].ports)
    );
    let mut other = more();
    other.spec.image = "elsewhere/pruned".to_owned();
    assert_eq!(
        refusal(client.launch(&other).await).code,
        ErrorCode::NotFound,
        "the same service's name, another image"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let unknown = refusal(client.launch(&launch("nothing")).await);
    assert_eq!(
        (unknown.code, unknown.message.as_str()),
        (ErrorCode::NotFound, "image `nothing`: no such image")
    );
    assert_eq!(
        refusal(client.launch(&launch("lost")).await).code,
        ErrorCode::Unavailable
    );
    assert_eq!(
        refusal(client.launch(&launch("-")).await).code,
        ErrorCode::BadRequest
    );
    assert_eq!(
        refusal(client.quit("nobody", false).await).message,
        "no container or service `nobody`"
    );
    assert_eq!(
        refusal(client.remove("nobody").await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.service("nobody").await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.explain("a/b").await).message,
        "no container, service or instance `a/b`"
    );
    assert_eq!(
        refusal(client.stop("a b", false).await).code,
        ErrorCode::BadRequest
    );
    assert_eq!(
        refusal(client.stop("nobody", false).await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.progress("nobody").await.map(drop)).message,
        "no container or instance `nobody`"
    );
    assert_eq!(
        refusal(client.logs("nobody", &LogQuery::default()).await.map(drop)).code,
        ErrorCode::NotFound
    );
    let start = StartRequest {
        cloud: micado_api::CloudName::trusted("mars"),
        application: "Node".to_owned(),
        flavour: micado_api::FlavourName::trusted("small"),
        tag: micado_api::Tag::trusted("one"),
        location: micado_api::Location::default(),
        first: false,
        files: [].into(),
    };
    assert_eq!(
        refusal(client.start(&start).await).code,
        ErrorCode::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_critical_usage_of_an_image_is_set_once_it_was_launched() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let critical = |mib, millis| Critical {
        memory: Some(MemoryBytes::mib(mib)),
        cpu: Some(NanoCpus::millis(millis)),
    };
    let set = |critical| SetImageRequest {
        image: "web".to_owned(),
        critical,
    };
    assert_eq!(
        refusal(client.set_image(&set(critical(400, 500))).await).code,
        ErrorCode::NotFound
    );
    assert_eq!(client.images().await.expect("a list"), []);
    client.launch(&launch("web")).await.expect("launched");
    assert_eq!(
        refusal(client.set_image(&set(critical(0, 500))).await).code,
        ErrorCode::BadRequest
    );
    let view = client
        .set_image(&set(critical(400, 500)))
        .await
        .expect("set");
    assert_eq!(
        (view.image.as_str(), view.critical),
        ("web", critical(400, 500))
    );
    let listed = ImageView {
        services: vec![ServiceName::trusted("acme_web")],
        ..view
    };
    assert_eq!(client.images().await.expect("a list"), [listed]);
    assert_eq!(
        client
            .set_image(&set(Critical::default()))
            .await
            .expect("cleared")
            .critical,
        Critical::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_not_the_managers_to_manage_are_refused() {
    let manager = Manager::start();
    let client = manager.by_socket();
    for image in [
        "micado-node",
        "micado-registry:latest",
        "docker.io/library/micado-node:7",
        "../info",
    ] {
        let refused = refusal(client.remove_image(image).await);
        assert_eq!(refused.code, ErrorCode::BadRequest, "{image}: {refused}");
        let refused = refusal(client.tag_image("web", image).await);
        assert_eq!(refused.code, ErrorCode::BadRequest, "{image}: {refused}");
        let refused = refusal(client.export_image(image).await.map(drop));
        assert_eq!(refused.code, ErrorCode::BadRequest, "{image}: {refused}");
        let query = ImportQuery {
            name: Some(image.to_owned()),
            force: true,
        };
        let archive = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::new())]);
        let refused = refusal(client.import_images(&query, archive).await.map(drop));
        assert_eq!(refused.code, ErrorCode::BadRequest, "{image}: {refused}");
    }
    let digest = format!("web@sha256:{:064}", 1);
    let refused = refusal(client.tag_image("web", &digest).await);
    assert_eq!(refused.code, ErrorCode::BadRequest, "{refused}");
    let refused = refusal(client.prune_images(PruneQuery::default()).await);
    assert_eq!(refused.code, ErrorCode::Unsatisfiable, "{refused}");
    assert!(refused.message.contains("not run by this manager"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_set_shown_and_removed_and_a_count_is_kept_within_it() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let policies = Policies {
        min: 2,
        ..Policies::standard(4)
    };
    let unknown = refusal(client.set_policy("acme_web", &policies).await);
    assert_eq!(unknown.code, ErrorCode::NotFound);
    client.launch(&launch("web")).await.expect("launched");
    let none = refusal(client.policy::<Policies>("acme_web").await);
    assert_eq!(none.code, ErrorCode::NotFound);
    let view = client.set_policy("acme_web", &policies).await;
    assert_eq!(view.expect("set").count, 2, "the minimum");
    assert_eq!(client.policy("acme_web").await, Ok(policies.clone()));
    assert_eq!(client.check_policy("acme_web", &policies).await, Ok(None));
    let to = |count| ScaleRequest {
        count: Some(count),
        ..ScaleRequest::default()
    };
    let outside = refusal(client.scale("acme_web", &to(5)).await);
    assert_eq!(
        (outside.code, outside.hint.as_deref()),
        (
            ErrorCode::Conflict,
            Some("`micado policy set acme_web --max 5` first")
        )
    );
    let scaled = client.scale("acme_web", &to(3)).await.expect("scaled");
    assert_eq!(scaled.manual.map(|manual| manual.floor), Some(3));
    assert_eq!(client.scaling("acme_web").await.expect("a view").count, 3);
    let bad = serde_json::json!({"maximum": 3});
    let refused = refusal(client.set_policy("acme_web", &bad).await);
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let removed = client.remove_policy("acme_web").await.expect("removed");
    assert_eq!((removed.policy, removed.count), (None, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn past_figures_are_of_what_is_or_was_there() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let asked = |from, until, resolution| HistoryQuery {
        from,
        until,
        resolution,
    };
    let unknown = refusal(client.history("acme_web.1", &HistoryQuery::default()).await);
    assert_eq!(
        (unknown.code, unknown.message.as_str()),
        (
            ErrorCode::NotFound,
            "no container, service or instance `acme_web.1`"
        )
    );
    client.launch(&launch("web")).await.expect("launched");
    let nothing = client
        .history("acme_web.1", &HistoryQuery::default())
        .await
        .expect("it waits, and nothing was measured");
    assert_eq!(
        (
            nothing.name.as_str(),
            nothing.resolution,
            nothing.points.len()
        ),
        ("acme_web.1", 2, 0)
    );
    let of_service = client
        .history("acme_web", &HistoryQuery::default())
        .await
        .expect("the sum of its containers");
    assert_eq!(of_service.name, "acme_web");
    let hour_ago = clock::now().0 / 1000 * 1000 - 3_600_000;
    assert_eq!(
        client
            .history("acme_web.1", &asked(Some(hour_ago), None, None))
            .await
            .expect("a history")
            .resolution,
        2,
        "as `micado history` asks"
    );
    assert_eq!(
        client
            .history("acme_web.1", &asked(Some(0), None, None))
            .await
            .expect("a history")
            .resolution,
        600
    );
    assert_eq!(
        refusal(
            client
                .history("acme_web.1", &asked(Some(7), Some(7), None))
                .await
        )
        .code,
        ErrorCode::BadRequest
    );
    let coarse = refusal(
        client
            .history("acme_web.1", &asked(None, None, Some(7)))
            .await,
    );
    assert_eq!(
        (coarse.code, coarse.message.as_str()),
        (
            ErrorCode::BadRequest,
            "there is no resolution of 7 s: figures are kept by 2, 60 and 600 s"
        )
    );
    let (status, body) = manager.raw("GET /v1/history/acme_web.1?from=yesterday", "");
    assert_eq!((status, body.code), (400, ErrorCode::BadRequest));
    client
        .launch(&LaunchRequest {
            request: None,
            ..launch("web")
        })
        .await
        .expect("another of the service");
    let two = client
        .history("acme_web", &HistoryQuery::default())
        .await
        .expect("the sum of both");
    assert_eq!(two.name, "acme_web");
    manager.history.silent.store(true, Ordering::SeqCst);
    let silent = refusal(client.history("acme_web.1", &HistoryQuery::default()).await);
    assert_eq!(
        (silent.code, silent.message.as_str()),
        (
            ErrorCode::Unavailable,
            "past figures cannot be read: it does not answer"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_library_refuses_is_refused_in_our_form() {
    let manager = Manager::start();
    let refused = |head: &str, body: &str| {
        let (status, body) = manager.raw(head, body);
        (status, body.code)
    };
    assert_eq!(
        refused("POST /v1/containers", "{"),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("POST /v1/containers", r#"{"spec": 1}"#),
        (400, ErrorCode::BadRequest)
    );
    let start = r#"{"cloud": "local", "application": "Node", "flavour": "small", "tag": "a b", "location": "application"}"#;
    let (status, body) = manager.raw("POST /v1/instances", start);
    assert_eq!((status, body.code), (400, ErrorCode::BadRequest));
    let words = "tag: tag `a b` may hold only letters, digits, `-`, `_` and `.`";
    assert!(body.message.contains(words), "{}", body.message);
    assert_eq!(
        refused("GET /v1/containers?all=maybe", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v1/containers?any=true", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v1/services/%ff", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v2/containers", ""),
        (404, ErrorCode::NotFound)
    );
    assert_eq!(
        refused("PUT /v1/containers", ""),
        (405, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("POST /v1/containers", &" ".repeat(BODY_MAX + 1)),
        (413, ErrorCode::BadRequest)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_checked_before_its_context_and_needs_the_engine() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let build = async |name: &str| {
        let request = BuildRequest {
            name: name.to_owned(),
            ..BuildRequest::default()
        };
        // A context without end.
        let zeros = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(vec![0; 4096].into()));
        client.build(&request, zeros).await.err()
    };
    let Some(ClientError::Refused(refusal)) = build("web").await else {
        panic!("a name without its prefix")
    };
    assert_eq!(refusal.code, ErrorCode::BadRequest);
    assert!(refusal.hint.is_some_and(|hint| hint.contains("--any-name")));
    let Some(ClientError::Refused(refusal)) = build("container-web").await else {
        panic!("there is no engine")
    };
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    let builders = client.builders().await.expect_err("there is no engine");
    assert_eq!(builders.code(), ErrorCode::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_until_it_settles() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let mut steps = Box::pin(client.progress("acme_web.1").await.expect("a stream"));
    let first = steps.next().await.expect("a step").expect("readable");
    assert_eq!(
        (first.text.as_str(), first.settled),
        ("waiting: the engine has not been seen yet", None)
    );
    client.quit("acme_web.1", false).await.expect("recorded");
    let last = steps.next().await.expect("a step").expect("readable");
    assert_eq!(
        (last.text.as_str(), last.settled),
        ("stopped", Some(Settled::Done))
    );
    assert!(steps.next().await.is_none(), "it ends with what settles it");
}
