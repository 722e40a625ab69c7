//! Images built by `micado build` on the manager's engine, and run on rented machines.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use micado_api::{BuildEvent, BuildRequest, Builder, ContainerState, LaunchRequest};
use micado_tests::{Cluster, Options, Request, Running, Setup, measured, tools, wait};
use std::{io, path::Path, time::Instant};

/// Upper bound for the growth of the manager's memory by a build, in MiB, whatever its context's
/// size.
const PASSING_ON: u64 = 48;

/// Builders of the test engines, the default one first.
const BUILDERS: [Builder; 2] = [Builder::Buildkit, Builder::Classic];

/// A cluster with the base image `micado-tools`.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    cluster
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    folder
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A tarball as the original took it: one folder with the image's name.
fn tarball(name: &str, note: &str) -> (tempfile::TempDir, String) {
    let files = folder(&[
        (
            "Dockerfile",
            "FROM micado-tools\nCOPY note /data/note\nRUN cat /data/note > /data/copied\nCMD [\"sleep\", \"1000000\"]\n",
        ),
        ("note", note),
    ]);
    let path = files.path().join("context.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&path).expect("made"));
    for file in ["Dockerfile", "note"] {
        tar.append_path_with_name(files.path().join(file), format!("{name}/{file}"))
            .expect("packed");
    }
    tar.finish().expect("packed");
    let path = text(&path);
    (files, path)
}

fn of_image(client: &str, image: &str) -> LaunchRequest {
    let mut request = tools(client).memory_mib(64);
    request.spec.image = image.to_owned();
    request.spec.arguments = Vec::new();
    request
}

/// The file that the build copied, as a running container has it.
async fn copied(cluster: &Cluster, name: &str) -> String {
    let outcome = cluster.execute(name, &["cat", "/data/copied"], b"").await;
    outcome.ok().stdout
}

/// Launches, and waits until a command can be run in the container.
async fn launched(cluster: &Cluster, request: &LaunchRequest) -> String {
    let name = cluster.launch(request).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    cluster.until_reached(&name, 60).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tarball_of_the_original_runs_and_a_rebuild_changes_nothing_that_runs() {
    let cluster = cluster().await;
    let build = async |note: &str, builder: Builder| {
        let (_files, path) = tarball("container-note", note);
        let (begin, builder) = (Instant::now(), builder.to_string());
        let line = ["build", "-n", "container-note", "-f", &path];
        let line = [&line[..], &["--builder", &builder]].concat();
        let built = cluster.micado(&line).await.ok();
        measured(
            &format!("a small image by `{builder}`, from `build` to the registry"),
            begin.elapsed(),
        );
        assert!(built.stderr.contains("COPY note /data/note"), "{built:?}");
        let tag = built.stdout.trim().to_owned();
        let (name, content) = tag.split_once(':').expect("a tag");
        assert_eq!(name, "container-note");
        assert!(content.len() == 12 && content.chars().all(|c| c.is_ascii_hexdigit()));
        tag
    };
    let first = build("one", Builder::Buildkit).await;
    let images = cluster.api.images().await.expect("images");
    assert_eq!(images.len(), 1, "{images:?}");
    let digest = images[0].digest.clone().expect("it is in the registry");

    let running = launched(&cluster, &of_image("acme", "container-note")).await;
    assert_eq!(copied(&cluster, &running).await, "one");
    let service = cluster.api.service("acme_container-note").await;
    let service = service.expect("a service");
    let pull = service.pull.clone().expect("it is pulled");
    assert!(pull.ends_with(&digest), "{pull} is by {digest}");
    let tasks = cluster.running_tasks().await;

    let second = build("two", Builder::Classic).await;
    assert_ne!(first, second);
    let now = cluster.api.service("acme_container-note").await;
    assert_eq!(now.expect("a service").pull, Some(pull));
    // A further container of the service is what its others are.
    let more = launched(&cluster, &of_image("acme", "container-note")).await;
    assert_eq!(copied(&cluster, &more).await, "one");
    let new = launched(&cluster, &of_image("other", "container-note")).await;
    assert_eq!(copied(&cluster, &new).await, "two");
    let old = launched(&cluster, &of_image("third", &first)).await;
    assert_eq!(copied(&cluster, &old).await, "one");
    let after = cluster.running_tasks().await;
    for (task, container) in &tasks {
        assert_eq!(after.get(task), Some(container), "it runs as before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_built_without_what_it_ignores_and_a_failing_step_is_shown() {
    let cluster = cluster().await;
    for builder in BUILDERS {
        ignored_files_are_not_sent(&cluster, &builder.to_string()).await;
        a_failing_step_is_shown(&cluster, &builder.to_string()).await;
    }
    a_need_for_buildkit_is_found_first(&cluster).await;
    a_stage_of_a_tarball_on_standard_input_is_built(&cluster).await;
}

async fn ignored_files_are_not_sent(cluster: &Cluster, builder: &str) {
    let files = folder(&[
        (".dockerignore", "*\n!kept\n!**/deep.txt\n"),
        (
            "Dockerfile",
            "FROM micado-tools\nARG WORD\nCOPY . /data/\nRUN cd /data && for f in .* * */* ; do test -f $f && cat $f ; done ; test \"$WORD\" = word\n",
        ),
        ("kept", "kept\n"),
        ("left", "left\n"),
        ("sub/deep.txt", "deep\n"),
        ("sub/left", "left\n"),
    ]);
    let (name, path) = (format!("container-folder-{builder}"), text(files.path()));
    let line = ["build", "-n", &name, "--builder", builder, &path];
    let line = [&line[..], &["--build-arg", "WORD=word"]].concat();
    let built = cluster.micado(&line).await.ok();
    let printed: Vec<&str> = built
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" | ").map(|(_, text)| text))
        .collect();
    for kept in ["kept", "deep"] {
        assert!(printed.contains(&kept), "{built:?}");
    }
    assert!(!printed.contains(&"left"), "{built:?}");

    // For programs: one event a line, and the result.
    let again = [&["--output", "json"][..], &line].concat();
    let again = cluster.micado(&again).await.ok();
    assert_eq!(again.json()["tag"], built.stdout.trim());
    let events: Vec<BuildEvent> = again
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    let cached = |event: &BuildEvent| matches!(event, BuildEvent::Cached { .. });
    assert!(events.iter().any(cached), "{events:?}");
}

async fn a_failing_step_is_shown(cluster: &Cluster, builder: &str) {
    let files = folder(&[(
        "Dockerfile",
        "FROM micado-tools\nRUN true\nRUN i=0; while test $i -lt 30; do i=$((i+1)); echo line $i; done; cat /nowhere\n",
    )]);
    let path = text(files.path());
    let line = ["build", "-q", "-n", "container-failing", &path];
    let line = [&line[..], &["--builder", builder]].concat();
    let failed = cluster.micado(&line).await;
    let words = ["failed: ", "RUN i=0", "| line 30\n", "/nowhere", "error: "];
    failed.refused(1, &words);
    assert!(!failed.stderr.contains("| line 10\n"), "{failed:?}");
    assert_eq!(failed.stdout, "");
    let images = cluster.api.images().await.expect("images");
    let made = images
        .iter()
        .any(|image| image.image == "container-failing");
    assert!(!made, "{images:?}");
}

async fn a_need_for_buildkit_is_found_first(cluster: &Cluster) {
    let files = folder(&[
        (
            "Dockerfile",
            "FROM micado-tools\nRUN --mount=type=bind,source=note,target=/note cat /note\n",
        ),
        ("note", "mounted\n"),
    ]);
    let path = text(files.path());
    let line = ["build", "-n", "container-mount", &path];
    let classic = [&line[..], &["--builder", "classic"]].concat();
    let words = ["Dockerfile line 2", "`RUN --mount`", "engine 20.10"];
    cluster.micado(&classic).await.refused(1, &words);
    let built = cluster.micado(&line).await.ok();
    assert!(built.stderr.contains("| mounted\n"), "{built:?}");
}

async fn a_stage_of_a_tarball_on_standard_input_is_built(cluster: &Cluster) {
    let files = folder(&[(
        "docker/Stages",
        "FROM micado-tools AS first\nRUN echo first stage\nFROM first\nRUN echo second stage\n",
    )]);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", files.path()).expect("packed");
    let context = tar.into_inner().expect("packed");
    for builder in BUILDERS.map(|builder| builder.to_string()) {
        let line = ["build", "-n", "container-stage", "-f", "-", "--no-cache"];
        let more = ["--dockerfile", "docker/Stages", "--target", "first"];
        let line = [&line[..], &more, &["--builder", &builder]].concat();
        for _ in 0..2 {
            let build = cluster.start_micado(&line);
            let built = build.end(&context, 60).await.ok();
            assert!(built.stderr.contains("| first stage\n"), "{built:?}");
            assert!(!built.stderr.contains("second stage"), "{built:?}");
        }
    }
}

/// A tar with this entry after its Dockerfile, under a name that no tool would write.
fn hostile(name: &str, kind: tar::EntryType, target: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let dockerfile = "FROM micado-tools\nCOPY . /data/\n";
    for (name, kind, target, content) in [
        ("Dockerfile", tar::EntryType::Regular, "", dockerfile),
        (name, kind, target, ""),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len().try_into().expect("a size"));
        let fields = header.as_gnu_mut().expect("a GNU header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_bytes()).expect("packed");
    }
    tar.into_inner().expect("packed")
}

/// Open sockets of the manager.
fn sockets(cluster: &Cluster) -> usize {
    let folder = format!("/proc/{}/fd", cluster.manager_pid());
    let files = std::fs::read_dir(folder).expect("the manager runs");
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_contexts_are_refused_and_large_ones_are_passed_on() {
    let cluster = cluster().await;
    let file = tar::EntryType::Regular;
    let hostile = [
        (hostile("../../etc/cron.d/x", file, ""), "`..`"),
        (hostile("/etc/cron.d/x", file, ""), "absolute"),
        (
            hostile("x", tar::EntryType::Symlink, "../../etc"),
            "leads out",
        ),
        (
            hostile("x", tar::EntryType::Link, "/etc/shadow"),
            "leads out",
        ),
        (hostile("x", tar::EntryType::Block, ""), "device"),
        (hostile("x", tar::EntryType::Fifo, ""), "FIFO"),
        (hostile("./Dockerfile", file, ""), "twice"),
    ];
    for (number, (context, word)) in hostile.into_iter().enumerate() {
        let request = BuildRequest {
            name: "container-hostile".to_owned(),
            builder: Some(BUILDERS[number % 2]),
            ..BuildRequest::default()
        };
        let pieces = context.chunks(300).map(Bytes::copy_from_slice);
        let pieces: Vec<_> = pieces.map(Ok::<_, io::Error>).collect();
        let events = cluster.api.build(&request, stream::iter(pieces)).await;
        let events: Vec<_> = events.expect("events").collect().await;
        let Some(Ok(BuildEvent::Failed { error, .. })) = events.last() else {
            panic!("{word}: {events:?}")
        };
        assert!(error.message.contains(word), "{error}");
        let step = |event: &Result<BuildEvent, _>| matches!(event, Ok(BuildEvent::Step { .. }));
        assert!(!events.iter().any(step), "{events:?}");
    }

    let files = folder(&[("Dockerfile", "FROM micado-tools\nCOPY large /data/\n")]);
    let sockets = sockets(&cluster);
    let large = std::fs::File::create(files.path().join("large")).expect("made");
    large.set_len(200 << 20).expect("set");
    let before = cluster.manager_peak();
    let path = text(files.path());
    for builder in BUILDERS.map(|builder| builder.to_string()) {
        let begin = Instant::now();
        let line = ["build", "-q", "-n", "container-large", "--builder"];
        let line = [&line[..], &[builder.as_str(), &path]].concat();
        cluster.micado(&line).await.ok();
        let what = format!("a context of 200 MiB by `{builder}`, built and pushed");
        measured(&what, begin.elapsed());
    }
    let grown = cluster.manager_peak().saturating_sub(before);
    assert!(grown < PASSING_ON, "the manager grew by {grown} MiB");
    wait("every connection of the builds is closed", 10, async || {
        (self::sockets(&cluster) <= sockets).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_queue_and_a_client_that_goes_away_cancels_its_own() {
    let cluster = cluster().await;
    for builder in BUILDERS.map(|builder| builder.to_string()) {
        let slow = "FROM micado-tools\nRUN echo begun; sleep 1000\n";
        let slow = folder(&[("Dockerfile", slow)]);
        let path = text(slow.path());
        let line = [
            "build",
            "-n",
            "container-slow",
            "--builder",
            &builder,
            &path,
        ];
        let mut first = cluster.start_micado_joined(&line);
        until_printed(&mut first, "| begun").await;

        let quick = folder(&[("Dockerfile", "FROM micado-tools\nRUN true\n")]);
        let path = text(quick.path());
        let line = [
            "build",
            "-n",
            "container-quick",
            "--builder",
            &builder,
            &path,
        ];
        let mut second = cluster.start_micado_joined(&line);
        until_printed(&mut second, "waiting: 1 build before it").await;
        assert_eq!(builds(&cluster).await, 2);

        first.kill("-KILL").await;
        let begin = Instant::now();
        second.end(b"", 60).await.ok();
        let what = format!("a build by `{builder}` behind one that was cancelled");
        measured(&what, begin.elapsed());
        wait("no build is left", 5, async || {
            (builds(&cluster).await == 0).then_some(())
        })
        .await;
    }
}

async fn until_printed(build: &mut Running, word: &str) {
    let mut printed = Vec::new();
    while !String::from_utf8_lossy(&printed).contains(word) {
        printed.extend(build.printed::<1>().await);
    }
}

async fn builds(cluster: &Cluster) -> usize {
    cluster.api.builders().await.expect("builders").builds
}
