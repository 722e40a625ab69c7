//! `micado logs`: its query, and blocked readers.

use super::{Ended, Rote};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::RawQuery,
    routing::get,
};
use futures_util::{StreamExt, stream};
use std::{convert::Infallible, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::Notify,
    time::timeout,
};

/// A manager with this log of its containers, which expects this query.
fn manager(query: &'static str, log: impl Fn() -> Body + Clone + Send + Sync + 'static) -> Rote {
    let logs = async move |RawQuery(asked): RawQuery| {
        assert_eq!(asked.as_deref(), Some(query));
        log()
    };
    Rote::new(Router::new().route("/v1/containers/{name}/logs", get(logs)))
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_as_they_are() {
    let log = || Body::from("one\n\u{1b}[31mtwo");
    let whole = Ended {
        code: Some(0),
        out: "one\n\u{1b}[31mtwo".to_owned(),
        err: String::new(),
    };
    let rote = manager("follow=true&timestamps=false&tail=5&since=77", log);
    assert_eq!(
        rote.run("logs -n acme_web.1 --follow --tail 5 --since 77")
            .await,
        whole
    );
    let rote = manager("follow=false&timestamps=true&previous=true", log);
    assert_eq!(
        rote.run("logs -n acme_web.1 --previous --timestamps").await,
        whole
    );
}

/// The CLI during an endless log of which a little was read.
async fn without_end() -> (Rote, Child) {
    let log = || {
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, Infallible>(Bytes::from_static(&[b'y'; 32 << 10]))
        }))
    };
    let rote = manager("follow=false&timestamps=false", log);
    let mut child = rote
        .command("logs -n acme_web.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut [0])
        .await
        .expect("output");
    (rote, child)
}

async fn ended(child: Child) -> Ended {
    timeout(Duration::from_secs(10), child.wait_with_output())
        .await
        .expect("it ends")
        .expect("readable")
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_ends_it_without_a_word() {
    let (_rote, mut child) = without_end().await;
    drop(child.stdout.take());
    assert_eq!(
        ended(child).await,
        Ended {
            code: Some(0),
            out: String::new(),
            err: String::new()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_keeps_nobody() {
    let (_rote, mut child) = without_end().await;
    let unread = child.stdout.take();
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().expect("it runs").to_string()])
            .status()
            .await
            .expect("kill")
            .success()
    );
    assert_eq!(ended(child).await.code, None, "the signal ends it");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_ends_in_the_middle_is_named() {
    let end = Arc::new(Notify::new());
    let ends = end.clone();
    let log = move || {
        let ends = ends.clone();
        let cut = async move {
            ends.notified().await;
            Err("the end")
        };
        Body::from_stream(stream::iter([Ok("one\n")]).chain(stream::once(cut)))
    };
    let rote = manager("follow=true&timestamps=false", log);
    let mut child = rote
        .command("logs -n acme_web.1 --follow")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut one = [0; 4];
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut one)
        .await
        .expect("output");
    assert_eq!(&one, b"one\n");
    end.notify_one();
    let ended = ended(child).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("broke off")
            && ended
                .err
                .contains("\nhint: the session is lost; run it again once `micado status`"),
        "{}",
        ended.err
    );
}
