//! Builds on a fake engine.

use super::*;
use crate::{
    control::Input,
    pki::Pki,
    registry::{ExternalRegistry, Registry},
};
use axum::{
    Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::{
    future::{IntoFuture, ready},
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// Contexts that the fake engine received, complete or not.
#[derive(Debug, Default)]
struct Seen {
    contexts: Mutex<Vec<Result<usize, String>>>,
    /// Requests that were dropped before their answer.
    cancelled: AtomicUsize,
    /// Lets a build end.
    go_on: Notify,
}

struct Unanswered(Arc<Seen>, bool);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(State(seen): State<Arc<Seen>>, request: HttpRequest) -> Response {
    if request.uri().path().ends_with("/version") {
        return r#"{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux"}"#.into_response();
    }
    let context = axum::body::to_bytes(request.into_body(), 1 << 24).await;
    let complete = context.is_ok();
    let context = context
        .map(|body| body.len())
        .map_err(|error| error.to_string());
    seen.contexts.lock().expect("no panic").push(context);
    if complete {
        let mut unanswered = Unanswered(seen.clone(), true);
        seen.go_on.notified().await;
        unanswered.1 = false;
    }
    let lines = [
        r#"{"stream":"Step 1/2 : FROM scratch\n"}"#,
        r#"{"stream":"Step 2/2 : RUN make\n"}"#,
        r#"{"stream":"no rule\n"}"#,
        r#"{"errorDetail":{"code":1,"message":"it returned a non-zero code: 1"},"error":"x"}"#,
    ];
    Body::from(lines.join("\r\n") + "\r\n").into_response()
}

struct Bed {
    builds: Builds,
    seen: Arc<Seen>,
    handle: Handle,
    _folder: tempfile::TempDir,
}

/// Size of a context that is a Dockerfile alone.
const SMALL: usize = 512 + 5_120 + 1_024;

type Told = Pin<Box<dyn Stream<Item = BuildEvent> + Send>>;

impl Bed {
    async fn new() -> Self {
        let seen = Arc::new(Seen::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let routes = Router::new().fallback(answer).with_state(seen.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        let docker = Docker::connect_with_http(&address, 20, bollard::API_DEFAULT_VERSION)
            .expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::open(&folder.path().join("pki")).expect("an authority");
        let external = ExternalRegistry {
            host: "images.example.org:5000".to_owned(),
            authority: pki.authority().to_owned(),
            client: pki.client_certificate("manager").expect("a certificate"),
            certs_dir: folder.path().join("certs.d"),
        };
        let registry = Registry::external(docker.clone(), &external).expect("usable");
        let (handle, mut inputs, _) = Handle::new();
        let core = crate::api::tests::core();
        tokio::spawn(async move {
            while let Some(input) = inputs.recv().await {
                if let Input::Read(read) = input {
                    read(Ok(&core));
                }
            }
        });
        Self {
            builds: Builds::new(docker, Arc::new(registry), folder.path().to_owned()),
            seen,
            handle,
            _folder: folder,
        }
    }

    async fn start(&self, context: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Told {
        let request = BuildRequest {
            name: "container-web".to_owned(),
            builder: Some(Builder::Classic),
            ..BuildRequest::default()
        };
        let admitted = self.builds.admit(request, self.handle.clone()).await;
        Box::pin(admitted.expect("a place").start(context))
    }

    /// Sizes of the complete contexts that the engine has seen, once there are this many.
    async fn contexts(&self, count: usize) -> Vec<usize> {
        for _ in 0..500 {
            let seen = self.seen.contexts.lock().expect("no panic").clone();
            let complete: Vec<usize> = seen.into_iter().filter_map(Result::ok).collect();
            if complete.len() >= count {
                return complete;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the engine has not seen {count} contexts")
    }

    /// Lets a good build run after others, of which the engine may have seen no complete context.
    async fn only_a_good_one_arrives(&self) {
        let good = self.start(context(&["Dockerfile"])).await;
        self.seen.go_on.notify_one();
        good.for_each(|_| ready(())).await;
        assert_eq!(self.contexts(1).await, [SMALL]);
    }
}

/// A tar of these names, each with some content, in pieces.
fn context(names: &[&str]) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(5_000);
        header.set_mode(0o644);
        header.as_gnu_mut().expect("GNU").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, [7; 5_000].as_slice()).expect("packed");
    }
    let packed = tar.into_inner().expect("an archive");
    let pieces: Vec<_> = packed
        .chunks(700)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    stream::iter(pieces)
}

async fn next(told: &mut Told) -> BuildEvent {
    timeout(Duration::from_secs(10), told.next())
        .await
        .expect("an event in time")
        .expect("an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_the_last_event_with_its_output() {
    let bed = Bed::new().await;
    let mut told = bed.start(context(&["Dockerfile"])).await;
    bed.seen.go_on.notify_one();
    let mut last = next(&mut told).await;
    assert!(
        matches!(&last, BuildEvent::Started { engine, .. } if engine == "20.10.24"),
        "{last:?}"
    );
    while let Some(event) = told.next().await {
        last = event;
    }
    let BuildEvent::Failed {
        error,
        step,
        output,
    } = last
    else {
        panic!("it failed: {last:?}")
    };
    assert_eq!(
        error.message,
        "the build of `container-web` failed: it returned a non-zero code: 1"
    );
    assert_eq!(step.as_deref(), Some("RUN make"));
    assert_eq!(output, ["no rule"]);
    assert_eq!(bed.contexts(1).await, [SMALL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_never_gets_a_refused_context_whole() {
    let bed = Bed::new().await;
    for (hostile, word) in [
        (context(&["Dockerfile", "../x", "y"]), "`../x` has `..`"),
        (context(&["other"]), "no `Dockerfile`"),
    ] {
        let told = bed.start(hostile).await;
        let events: Vec<_> = told.collect().await;
        let Some(BuildEvent::Failed { error, step, .. }) = events.last() else {
            panic!("refused: {events:?}")
        };
        assert!(error.message.contains(word), "{error}");
        assert_eq!(*step, None);
    }
    bed.only_a_good_one_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_makes_no_image() {
    let bed = Bed::new().await;
    let begin = context(&["Dockerfile", "a"]).take(5);
    let broken = stream::iter([Err(io::Error::other("reset by peer"))]);
    let events: Vec<_> = bed.start(begin.chain(broken)).await.collect().await;
    let Some(BuildEvent::Failed { error, .. }) = events.last() else {
        panic!("broken: {events:?}")
    };
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("reset by peer"), "{error}");
    bed.only_a_good_one_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_waits_for_the_one_before_and_runs_when_that_is_cancelled() {
    let bed = Bed::new().await;
    let mut first = bed.start(context(&["Dockerfile"])).await;
    assert!(matches!(next(&mut first).await, BuildEvent::Started { .. }));
    let mut second = bed.start(context(&["Dockerfile"])).await;
    assert_eq!(next(&mut second).await, BuildEvent::Queued { ahead: 1 });
    assert_eq!(bed.contexts(1).await.len(), 1, "the second is not sent yet");
    assert_eq!(bed.builds.view().await.expect("a view").builds, 2);

    drop(first);
    let mut event = next(&mut second).await;
    while matches!(event, BuildEvent::Queued { .. }) {
        event = next(&mut second).await;
    }
    assert!(matches!(event, BuildEvent::Started { .. }), "{event:?}");
    bed.contexts(2).await;
    assert_eq!(bed.seen.cancelled.load(Ordering::SeqCst), 1);
    drop(second);
}
