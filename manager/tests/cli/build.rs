//! `micado build`: the request, and the events of a scripted manager.

use super::Rote;
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::RawQuery,
    routing::{get, post},
};
use micado_api::{BuildEvent, Builder, BuilderView, BuiltView, ErrorBody, ErrorCode, ImageView};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// Query and names of the entries of each build.
type Sent = Arc<Mutex<Vec<(String, Vec<String>)>>>;

fn manager(events: &[BuildEvent]) -> (Rote, Sent) {
    let lines: String = events
        .iter()
        .map(|event| serde_json::to_string(event).expect("JSON") + "\n")
        .collect();
    let sent = Sent::default();
    let seen = sent.clone();
    let build = async move |RawQuery(query): RawQuery, context: Body| {
        let packed = to_bytes(context, 1 << 24).await.expect("a context");
        let mut archive = tar::Archive::new(&*packed);
        let entries = archive.entries().expect("entries");
        let names = entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                String::from_utf8_lossy(&entry.path_bytes()).into_owned()
            })
            .collect();
        let query = query.unwrap_or_default();
        seen.lock().expect("no panic").push((query, names));
        lines
    };
    let builders = || async {
        Json(BuilderView {
            engine: "20.10.24".to_owned(),
            default: Builder::Classic,
            builders: vec![Builder::Classic],
            builds: 0,
        })
    };
    let images = || async { Json(Vec::<ImageView>::new()) };
    let routes = Router::new()
        .route("/v1/builds", post(build).get(builders))
        .route("/v1/images", get(images));
    (Rote::new(routes), sent)
}

fn built() -> BuildEvent {
    BuildEvent::Built(BuiltView {
        image: "container-web".to_owned(),
        tag: "container-web:0123456789ab".to_owned(),
        id: "sha256:0123456789ab".to_owned(),
        pull: "10.0.0.1:5000/container-web@sha256:77".to_owned(),
        builder: Builder::Classic,
    })
}

fn step() -> BuildEvent {
    BuildEvent::Step {
        step: 1,
        steps: Some(1),
        text: "RUN make".to_owned(),
    }
}

fn context(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    write("Dockerfile", dockerfile);
    write(".dockerignore", "*.o");
    write("a.c", "int a;");
    write("a.o", "object");
    folder
}

fn command(flags: &str, folder: &Path) -> String {
    format!("build -n container-web {flags} {}", folder.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_sent_with_its_settings_and_the_image_is_printed() {
    let (rote, sent) = manager(&[step(), built()]);
    let folder = context("FROM scratch\n");
    let flags = "--build-arg A=1=2 --build-arg B=x --target last --no-cache --cache-from b:1 -f";
    let ended = rote.run(&command(flags, folder.path())).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "container-web:0123456789ab\n");
    assert!(ended.err.starts_with("step 1/1: RUN make\n"), "{ended:?}");
    assert!(ended.err.contains("micado launch -i container-web"));
    let sent = sent.lock().expect("no panic").clone();
    let query = "name=container-web&no_cache=true&target=last&argument=A%3D1%3D2&argument=B%3Dx&cache_from=b%3A1";
    let names = [".dockerignore", "Dockerfile", "a.c"].map(str::to_owned);
    assert_eq!(sent, [(query.to_owned(), names.to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_events_and_a_quiet_build_says_the_image_only() {
    let folder = context("FROM scratch\n");
    let (rote, _) = manager(&[step(), built()]);
    let ended = rote.run(&command("-q", folder.path())).await;
    assert_eq!(ended.out, "container-web:0123456789ab\n");
    assert_eq!(ended.err, "");
    let ended = rote.run(&command("--output json", folder.path())).await;
    let events: Vec<BuildEvent> = ended
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    assert_eq!(events, [step(), built()]);
    let result: BuiltView = serde_json::from_str(&ended.out).expect("the result");
    assert_eq!(BuildEvent::Built(result), built());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_shown_with_its_last_lines() {
    let failed = BuildEvent::Failed {
        error: ErrorBody::new(ErrorCode::Unsatisfiable, "the build of `x` failed: code 1"),
        step: Some("RUN make".to_owned()),
        output: vec!["no rule\u{1b}[2J".to_owned()],
    };
    let (rote, _) = manager(&[step(), failed]);
    let folder = context("FROM scratch\n");
    let ended = rote.run(&command("-q", folder.path())).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(
        ended.err,
        "failed: RUN make\n   | no rule\\u{1b}[2J\nerror: the build of `x` failed: code 1\n"
    );
    let (rote, _) = manager(&[step()]);
    let ended = rote.run(&command("-q", folder.path())).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("ended before the build"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_found_before_anything_is_sent() {
    let (rote, sent) = manager(&[built()]);
    let folder = context("FROM scratch\nRUN --mount=type=cache,target=/x make\n");
    let at = folder.path().display();
    for (line, code, words) in [
        (format!("build -n web {at}"), 2, "container-[a-z0-9]"),
        (
            format!("build -n container-web -f {at} {at}"),
            2,
            "cannot be used",
        ),
        ("build -n container-web".to_owned(), 2, "required"),
        (command("--builder kaniko", folder.path()), 2, "neither"),
        (
            command("--build-arg NOWHERE_SET", folder.path()),
            2,
            "no value",
        ),
        (command("--dockerfile x", folder.path()), 1, "has no `x`"),
        (
            command("", folder.path()),
            1,
            "Dockerfile line 2: `RUN --mount` needs BuildKit, and engine 20.10.24",
        ),
    ] {
        let ended = rote.run(&line).await;
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.err.contains(words), "{line}: {ended:?}");
    }
    assert!(sent.lock().expect("no panic").is_empty());
}
