//! `micado image export` and `micado image import` against a scripted manager.

use super::Rote;
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::RawQuery,
    http::StatusCode,
    routing::{get, post},
};
use futures_util::stream;
use micado_api::{ErrorBody, ErrorCode, ImportEvent, ImportedView};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

const ARCHIVE: &[u8] = &[7; 200_000];

/// A manager with an image `web`, another whose archive breaks off, and none else.
fn exporting() -> Rote {
    let good = || async { ARCHIVE };
    let broken = || async {
        let pieces = [
            Ok(Bytes::from_static(ARCHIVE)),
            Err(io::Error::other("gone")),
        ];
        Body::from_stream(stream::iter(pieces))
    };
    let none = || async {
        let body = ErrorBody::new(ErrorCode::NotFound, "the manager's engine has no image `x`");
        (StatusCode::NOT_FOUND, Json(body.hint("look")))
    };
    let routes = Router::new()
        .route("/v1/images/web/archive", get(good))
        .route("/v1/images/broken/archive", get(broken))
        .route("/v1/images/x/archive", get(none));
    Rote::new(routes)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_a_whole_file_or_none() {
    let (rote, folder) = (exporting(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("web.tar");
    let line = format!("image export web -o {}", path.display());
    let ended = rote.run(&line).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.err.starts_with("exported `web` to "), "{ended:?}");
    assert_eq!(std::fs::read(&path).expect("written"), ARCHIVE);

    std::fs::write(&path, "mine").expect("written");
    let refused = rote.run(&line).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("hint: `--force` replaces it"));
    let cut = line.replace("web -o", "broken --force -o");
    let failed = rote.run(&cut).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let unknown = rote.run(&line.replace("web -o", "x --force -o")).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("no image `x`"), "{unknown:?}");
    assert_eq!(std::fs::read(&path).expect("there"), b"mine");
    let json = rote.run(&format!("{line} --force --output json")).await;
    let view: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&view["bytes"], json.err.as_str()), (&200_000.into(), ""));
    assert_eq!(std::fs::read(&path).expect("written"), ARCHIVE);
    assert_eq!(names(folder.path()), ["web.tar"]);

    let folder = rote.run("image export web -o /dev/null --force").await;
    assert!(folder.err.contains("`/dev/null` exists and is no file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_goes_into_a_pipe() {
    let rote = exporting();
    for line in ["image export web", "image export web -o -"] {
        let output = rote.command(line).output().await.expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(output.stdout, ARCHIVE);
        assert_eq!(output.stderr, b"");
    }
}

/// Query and body of each import.
type Sent = Arc<Mutex<Vec<(String, usize)>>>;

fn importing(events: &[ImportEvent]) -> (Rote, Sent) {
    let lines = events
        .iter()
        .map(|event| serde_json::to_string(event).expect("JSON") + "\n");
    let lines: String = lines.collect();
    let sent = Sent::default();
    let seen = sent.clone();
    let import = async move |RawQuery(query): RawQuery, archive: Body| {
        let archive = to_bytes(archive, 1 << 24).await.expect("an archive");
        let query = query.unwrap_or_default();
        seen.lock().expect("no panic").push((query, archive.len()));
        lines
    };
    (
        Rote::new(Router::new().route("/v1/archives", post(import))),
        sent,
    )
}

fn imported(unchanged: bool) -> ImportedView {
    ImportedView {
        image: "web:1".to_owned(),
        tag: "web:0123456789ab".to_owned(),
        id: "sha256:0123456789ab".to_owned(),
        pull: "10.0.0.1:5000/web@sha256:77".to_owned(),
        unchanged,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_prints_the_image_and_its_steps() {
    let pushing = ImportEvent::Pushing {
        image: "web:0123456789ab".to_owned(),
    };
    let images = vec![imported(false)];
    let events = [
        ImportEvent::Queued { ahead: 1 },
        ImportEvent::Queued { ahead: 1 },
        ImportEvent::Loading,
        pushing,
        ImportEvent::Imported { images },
    ];
    let (rote, sent) = importing(&events);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), ARCHIVE).expect("written");
    let line = format!("image import -f {} -n web:1 --force", file.path().display());
    let ended = rote.run(&line).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "web:0123456789ab\n");
    insta::assert_snapshot!(ended.err, @r"
    waiting: 1 build before it
    the engine loads the archive
    pushing `web:0123456789ab`
    imported `web:1`; `micado launch -i web:1 -n CLIENT` runs it
    ");
    let json = rote.run(&format!("{line} --output json")).await;
    let views: Vec<ImportedView> = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(
        (views, json.err.lines().count()),
        (vec![imported(false)], 5)
    );
    let query = "force=true&name=web%3A1".to_owned();
    let sent = sent.lock().expect("no panic").clone();
    assert_eq!(sent, [(query.clone(), 200_000), (query, 200_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_from_standard_input_may_change_nothing() {
    let images = vec![imported(true)];
    let (rote, sent) = importing(&[ImportEvent::Imported { images }]);
    let ended = rote.run("image import").await;
    assert_eq!(ended.out, "web:0123456789ab\n", "{ended:?}");
    assert_eq!(ended.err, "unchanged: `web:1`\n");
    assert_eq!(
        *sent.lock().expect("no panic"),
        [("force=false".to_owned(), 0)]
    );

    let error = ErrorBody::new(ErrorCode::Conflict, "another image has the name `web:1`");
    let (rote, _) = importing(&[ImportEvent::Failed { error }]);
    let ended = rote.run("image import -f -").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, "error: another image has the name `web:1`\n");
    let absent = rote.run("image import -f /nowhere").await;
    assert_eq!(absent.code, Some(1));
    assert!(absent.err.contains("cannot read `/nowhere`"), "{absent:?}");
    let folder = rote.run("image import -f /").await;
    assert!(folder.err.contains("cannot read `/`"), "{folder:?}");
    let two = rote.run("image import a.tar").await;
    assert_eq!(two.code, Some(2), "{two:?}");
}
