use super::*;
use flate2::{Compression, write::GzEncoder};
use std::{collections::BTreeMap, os::unix::fs::symlink};
use tar::{EntryType, Header};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    folder
}

/// A tarball of these files, in this order.
fn tarball(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_uid(5);
        tar.append_data(&mut header, name, content.as_bytes())
            .expect("an entry");
    }
    written(&tar.into_inner().expect("an archive"))
}

fn written(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("context.tar");
    std::fs::write(&path, content).expect("written");
    (folder, path)
}

/// Sent entries: content, or target of a link, by name.
async fn sent(context: Context) -> BTreeMap<String, String> {
    let (mut pieces, sending) = context.send();
    let mut packed = Vec::new();
    while let Some(piece) = pieces.recv().await {
        packed.extend_from_slice(&piece.expect("complete"));
    }
    sending.await.expect("no panic").expect("sent");
    let mut archive = tar::Archive::new(packed.as_slice());
    let entries = archive.entries().expect("entries");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("text");
            if let Some(target) = entry.link_name_bytes() {
                content = String::from_utf8_lossy(&target).into_owned();
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            (name, content)
        })
        .collect()
}

fn open(path: &Path, dockerfile: &str) -> Result<Context> {
    Context::open(path, dockerfile, "container-web")
}

async fn names(path: &Path) -> Vec<String> {
    let context = open(path, "Dockerfile").expect("good");
    sent(context).await.into_keys().collect()
}

const FILES: [(&str, &str); 6] = [
    (".dockerignore", "*\n!src\nsrc/**/*.o\n"),
    ("Dockerfile", "FROM scratch\n"),
    ("notes.txt", "none"),
    ("src/a.c", "int a;"),
    ("src/deep/a.o", "object"),
    ("src/deep/b.c", "int b;"),
];

#[tokio::test]
async fn a_folder_and_its_tarballs_make_the_same_context() {
    let expected = [
        ".dockerignore",
        "Dockerfile",
        "src",
        "src/a.c",
        "src/deep",
        "src/deep/b.c",
    ];
    let folder = folder(&FILES);
    assert_eq!(names(folder.path()).await, expected);

    let files: Vec<&str> = expected
        .into_iter()
        .filter(|name| !["src", "src/deep"].contains(name))
        .collect();
    let (_folder, plain) = tarball(&FILES);
    assert_eq!(names(&plain).await, files);
    let inner = FILES.map(|(name, text)| (format!("./container-web/{name}"), text));
    let inner: Vec<_> = inner
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let (_folder, original) = tarball(&inner);
    assert_eq!(names(&original).await, files);

    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&std::fs::read(&original).expect("read"))
        .expect("written");
    let (_folder, compressed) = written(&gzip.finish().expect("compressed"));
    assert_eq!(names(&compressed).await, files);
    let size = |path: &Path| open(path, "Dockerfile").expect("good").size;
    assert_eq!(size(&plain), size(folder.path()));
    assert_eq!(size(&plain), size(&compressed));
}

#[tokio::test]
async fn links_of_a_tarball_keep_their_targets() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, target: &str| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        let added = match target {
            "" => tar.append_data(&mut header, name, io::empty()),
            target => tar.append_link(&mut header, name, target),
        };
        added.expect("an entry");
    };
    add(EntryType::Regular, "container-web/Dockerfile", "");
    add(EntryType::Regular, "container-web/a/file", "");
    add(
        EntryType::Link,
        "container-web/hard",
        "container-web/a/file",
    );
    add(EntryType::Symlink, "container-web/soft", "a/file");
    let (_folder, path) = written(&tar.into_inner().expect("an archive"));
    let sent = sent(open(&path, "Dockerfile").expect("good")).await;
    assert_eq!(sent["hard"], "a/file");
    assert_eq!(sent["soft"], "a/file");
}

#[tokio::test]
async fn a_folder_is_sent_as_it_is_and_belongs_to_root() {
    let folder = folder(&[("Dockerfile", "FROM scratch"), ("a/b", "x")]);
    symlink("b", folder.path().join("a/link")).expect("linked");
    let (mut pieces, sending) = open(folder.path(), "Dockerfile").expect("good").send();
    let mut packed = Vec::new();
    while let Some(piece) = pieces.recv().await {
        packed.extend_from_slice(&piece.expect("complete"));
    }
    sending.await.expect("no panic").expect("sent");
    let mut archive = tar::Archive::new(packed.as_slice());
    for entry in archive.entries().expect("entries") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.header().uid().ok(), Some(0));
        if entry.path_bytes().ends_with(b"link") {
            assert_eq!(entry.link_name_bytes().as_deref(), Some(&b"b"[..]));
        }
    }
}

#[tokio::test]
async fn the_dockerfile_may_be_elsewhere_with_patterns_of_its_own() {
    let folder = folder(&[
        (".dockerignore", "kept"),
        ("docker/Dockerfile", "FROM a"),
        ("docker/Dockerfile.dockerignore", "docker\nleft"),
        ("kept", "x"),
        ("left", "x"),
    ]);
    let context = open(folder.path(), "./docker/Dockerfile").expect("good");
    assert_eq!(context.text, "FROM a");
    let names: Vec<_> = sent(context).await.into_keys().collect();
    let expected = [
        ".dockerignore",
        "docker/Dockerfile",
        "docker/Dockerfile.dockerignore",
        "kept",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_is_no_context_is_refused_with_the_next_step() {
    let refused = |path: &Path, dockerfile: &str| {
        let error = open(path, dockerfile).expect_err("no context");
        let path = path.display().to_string();
        let hint = error.hint().unwrap_or_default();
        (error.to_string().replace(&path, "PATH"), hint)
    };
    let (_other, other) = tarball(&[("container-x/Dockerfile", "FROM scratch")]);
    let (message, hint) = refused(&other, "Dockerfile");
    assert_eq!(
        message,
        "the folder in `PATH` is `container-x`, and the image is to be `container-web`"
    );
    assert!(hint.contains("-n container-x"), "{hint}");

    let (_none, none) = tarball(&[("a", ""), ("b/Dockerfile", "FROM scratch")]);
    let (message, hint) = refused(&none, "Dockerfile");
    assert_eq!(message, "`PATH` has no `Dockerfile`");
    assert!(hint.contains("--dockerfile"), "{hint}");

    let (_bzip2, bzip2) = written(b"BZh91AY&SY");
    let (message, hint) = refused(&bzip2, "Dockerfile");
    assert!(message.contains("compressed with bzip2"), "{message}");
    assert!(hint.contains("bzip2 -dc"), "{hint}");

    let (_text, text) = written(&[b'F'; 600]);
    let (message, _) = refused(&text, "Dockerfile");
    assert!(message.contains("no valid tar"), "{message}");

    let bad = folder(&[("Dockerfile", "FROM a"), (".dockerignore", "ok\n[")]);
    let (message, _) = refused(bad.path(), "Dockerfile");
    assert_eq!(message, "`.dockerignore`: line 2: `[` is no pattern");

    let long = folder(&[("Dockerfile", &"#".repeat((1 << 20) + 1))]);
    let (message, _) = refused(long.path(), "Dockerfile");
    assert_eq!(message, "`Dockerfile` is larger than 1 MiB");

    let (message, _) = refused(Path::new("/nowhere"), "Dockerfile");
    assert!(message.starts_with("cannot read `PATH`"), "{message}");
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_breaks_the_stream() {
    let folder = folder(&[("Dockerfile", "FROM scratch"), ("a", "x")]);
    let context = open(folder.path(), "Dockerfile").expect("good");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a FIFO");
    let (mut pieces, sending) = context.send();
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece.is_ok());
    }
    assert_eq!(last, Some(false));
    let error = sending.await.expect("no panic").expect_err("a FIFO");
    assert_eq!(
        error.to_string(),
        "`fifo` is neither a file, a folder nor a link"
    );
}
