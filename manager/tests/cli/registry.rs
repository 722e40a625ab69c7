//! `micado registry`: logins to external registries.

use super::Rote;
use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    routing::{get, put},
};
use micado_api::{ErrorBody, ErrorCode, LoginRequest, LoginView};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

fn view(host: &str) -> LoginView {
    LoginView {
        host: host.to_owned(),
        user: "alice".to_owned(),
        since: micado_manager::clock::now(),
    }
}

fn rote() -> Rote {
    let log_in = async |Path(host): Path<String>, Json(request): Json<LoginRequest>| {
        assert_eq!((&*request.user, &*request.password), ("alice", "two words"));
        assert_eq!(request.check, host != "r.example.org:5000");
        Json(vec![view("ghcr.io"), view(&host)])
    };
    let log_out = async |Path(host): Path<String>| match host.as_str() {
        "ghcr.io" => Ok(Json(Vec::<LoginView>::new())),
        _ => {
            let body = ErrorBody::new(ErrorCode::NotFound, "there is no login");
            Err((StatusCode::NOT_FOUND, Json(body)))
        }
    };
    Rote::new(
        Router::new()
            .route("/v1/registries", get(async || Json(vec![view("ghcr.io")])))
            .route("/v1/registries/{host}", put(log_in).delete(log_out)),
    )
}

/// Runs a line with this input.
async fn run(rote: &Rote, line: &str, input: &str) -> super::Ended {
    let mut command = rote.command(line);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may end before it has read everything.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    child.wait_with_output().await.expect("it ends").into()
}

#[tokio::test]
async fn logins_are_kept_shown_and_removed() {
    let rote = rote();
    let login = "registry login docker.io -u alice --password-stdin";
    let made = run(&rote, login, "two words\n").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let shown = |out: &str| {
        let last = out.lines().last().unwrap_or_default();
        let words = last.split_whitespace().take(2);
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&made.out), "docker.io alice");
    assert!(!format!("{made:?}").contains("two words"), "{made:?}");
    let unchecked = "registry login r.example.org:5000 -u alice --no-check --password-stdin";
    assert_eq!(run(&rote, unchecked, "two words").await.code, Some(0));
    assert_eq!(shown(&rote.run("registry list").await.out), "ghcr.io alice");
    let json = rote.run("registry list --output json").await.out;
    let listed: Vec<LoginView> = serde_json::from_str(&json).expect("a list");
    assert_eq!(listed[0].host, "ghcr.io");
    let gone = rote.run("registry logout ghcr.io").await;
    assert_eq!((gone.code, &*gone.out), (Some(0), ""), "{gone:?}");
    assert_eq!(rote.run("registry logout other.io").await.code, Some(1));
}

#[tokio::test]
async fn what_is_no_login_is_refused_before_it_is_sent() {
    let rote = rote();
    for (line, input, words) in [
        ("docker.io -u alice", "x", "--password-stdin"),
        (
            "docker.io -u alice --password-stdin",
            "\n",
            "the password is not",
        ),
        ("acme -u alice --password-stdin", "x", "no registry"),
        ("docker.io --password-stdin", "x", "--user <USER>"),
        ("docker.io -u alice --password x", "", "unexpected argument"),
    ] {
        let ended = run(&rote, &format!("registry login {line}"), input).await;
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.err.contains(words), "{line}: {ended:?}");
    }
}
