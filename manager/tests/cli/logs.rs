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

/// A log in JSON lines: two of standard output, one of standard error, and one without its end.
const LOG: &str = concat!(
    r#"{"container":"acme_web.1","at":"2026-11-30T01:02:03.000000000Z","stream":"stdout","text":"one"}"#,
    "\n",
    r#"{"container":"acme_web.2","at":"2026-11-30T01:02:04.000000000Z","stream":"stderr","text":"wrong"}"#,
    "\n",
    r#"{"container":"acme_web.1","stream":"stdout","text":"?","raw":"/g=="}"#,
    "\n",
    r#"{"container":"acme_web.1","stream":"stdout","text":"\u001b[31mtwo","unended":true}"#,
    "\n",
);

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_where_the_container_wrote_them_byte_for_byte() {
    let rote = manager("lines=true&follow=true&tail=5&since=77", || Body::from(LOG));
    let whole = rote
        .command("logs -n acme_web.1 --follow --tail 5 --since 77")
        .output();
    let whole = whole.await.expect("it runs");
    assert_eq!(whole.stdout, b"one\n\xfe\n\x1b[31mtwo");
    assert_eq!(whole.stderr, b"wrong\n");
    assert!(whole.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_several_containers_name_theirs_and_json_is_passed_on() {
    let logs = async || ([("micado-containers", "2")], LOG);
    let rote = Rote::new(Router::new().route("/v1/containers/{name}/logs", get(logs)));
    let whole = rote.command("logs acme_web --timestamps").output().await;
    let whole = whole.expect("it runs");
    assert_eq!(
        whole.stdout,
        b"acme_web.1 | 2026-11-30T01:02:03.000000000Z one\nacme_web.1 | \xfe\nacme_web.1 | \x1b[31mtwo\n"
    );
    assert_eq!(
        whole.stderr,
        b"acme_web.2 | 2026-11-30T01:02:04.000000000Z wrong\n"
    );
    let json = rote.run("logs acme_web --output json").await;
    assert_eq!((json.out.as_str(), json.err.as_str()), (LOG, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_run_is_asked_for() {
    let rote = manager("lines=true&timestamps=true&previous=true", || {
        Body::from(LOG)
    });
    let mut asked = rote.command("logs -n acme_web.1 --previous --timestamps");
    assert!(asked.output().await.expect("it runs").status.success());
}

/// The CLI during an endless log of which a little was read.
async fn without_end() -> (Rote, Child) {
    let log = || {
        let line = LOG
            .lines()
            .next()
            .map(|line| Bytes::from(format!("{line}\n").repeat(100)));
        let line = line.expect("a line");
        Body::from_stream(stream::repeat_with(move || {
            Ok::<_, Infallible>(line.clone())
        }))
    };
    let rote = manager("lines=true", log);
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
        let one = LOG.lines().next().map(|line| Ok(format!("{line}\n")));
        Body::from_stream(stream::iter(one).chain(stream::once(cut)))
    };
    let rote = manager("lines=true&follow=true", log);
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
