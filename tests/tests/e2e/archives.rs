//! Images leave as archives and come back; archives that are not to be trusted change nothing.

use futures_util::TryStreamExt;
use micado_api::{ContainerState, LaunchRequest};
use micado_tests::{Cluster, Options, Outcome, Request, Setup, measured, tools};
use serde_json::{Value, json};
use std::{io::Read, time::Instant};

async fn cluster() -> Cluster {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    let dockerfile =
        "FROM micado-tools\\nRUN echo hello > /data/note\\nCMD [\\\"sleep\\\", \\\"1000000\\\"]\\n";
    cluster
        .on_engine(&format!(
            "printf \"{dockerfile}\" | docker build -q -t noted:1 -"
        ))
        .await;
    cluster
}

/// Names and ids of the engine's images.
async fn images(cluster: &Cluster) -> String {
    let list = "docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' | sort";
    cluster.on_engine(list).await
}

async fn exported(cluster: &Cluster, image: &str) -> Vec<u8> {
    let pieces = cluster.api.export_image(image).await.expect("an archive");
    let pieces: Vec<_> = pieces.try_collect().await.expect("all of it");
    pieces.concat()
}

async fn import(cluster: &Cluster, archive: &[u8], flags: &[&str]) -> Outcome {
    let line = [&["image", "import"][..], flags].concat();
    cluster.start_micado(&line).end(archive, 60).await
}

/// The archive with another content of some files; none leaves one out.
fn changed(archive: &[u8], change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let (mut header, mut content) = (entry.header().clone(), Vec::new());
        entry.read_to_end(&mut content).expect("content");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(content) = change(&name, content) else {
            continue;
        };
        header.set_size(content.len().try_into().expect("a size"));
        header.set_cksum();
        tar.append(&header, content.as_slice()).expect("packed");
    }
    tar.into_inner().expect("packed")
}

/// The archive with its image under these names.
fn named(archive: &[u8], names: &[&str]) -> Vec<u8> {
    changed(archive, |file, content| {
        if file != "manifest.json" {
            return Some(content);
        }
        let mut list: Value = serde_json::from_slice(&content).expect("JSON");
        list[0]["RepoTags"] = json!(names);
        Some(list.to_string().into_bytes())
    })
}

fn of_image(client: &str, image: &str) -> LaunchRequest {
    let mut request = tools(client).memory_mib(64);
    request.spec.image = image.to_owned();
    request.spec.arguments = Vec::new();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_exported_and_removed_runs_once_it_is_imported() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("noted.tar").display().to_string();
    let line = ["image", "export", "noted:1", "-o", &path];
    let begin = Instant::now();
    let out = cluster.micado(&line).await.ok();
    measured("an image exported", begin.elapsed());
    assert!(out.stderr.contains("exported `noted:1`"), "{out:?}");
    cluster.micado(&line).await.refused(1, &["--force"]);
    let unknown = ["image", "export", "noted:2", "-o", "/nowhere/x"];
    let words = ["no image `noted:2`", "micado image list"];
    cluster.micado(&unknown).await.refused(1, &words);
    let own = cluster
        .micado(&["image", "export", "micado-registry"])
        .await;
    own.refused(2, &["micado's own"]);

    cluster.on_engine("docker rmi noted:1").await;
    assert_eq!(cluster.on_engine("docker images -q noted").await, "");
    let line = ["image", "import", "-f", &path];
    let begin = Instant::now();
    let imported = cluster.micado(&line).await.ok();
    measured("an image imported, to the registry", begin.elapsed());
    assert!(imported.stdout.starts_with("noted:"), "{imported:?}");
    assert!(
        imported.stderr.contains("imported `noted:1`"),
        "{imported:?}"
    );

    let name = cluster.launch(&of_image("acme", "noted:1")).await.name;
    let name = name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    cluster.until_reached(&name, 60).await;
    let note = cluster.execute(&name, &["cat", "/data/note"], b"").await;
    assert_eq!(note.ok().stdout, "hello\n");
    let tasks = cluster.running_tasks().await;

    let (before, begin) = (images(&cluster).await, Instant::now());
    let again = cluster.micado(&line).await.ok();
    measured("the same archive imported again", begin.elapsed());
    assert_eq!(again.stdout, imported.stdout);
    assert!(again.stderr.contains("unchanged: `noted:1`"), "{again:?}");
    let json = [&["--output", "json"], &line[..]].concat();
    let json = cluster.micado(&json).await.ok().json();
    let service = cluster.api.service("acme_noted").await.expect("a service");
    assert_eq!(json[0]["unchanged"], true);
    assert_eq!(json[0]["pull"].as_str(), service.pull.as_deref());
    assert_eq!(images(&cluster).await, before);
    assert_eq!(cluster.running_tasks().await, tasks, "it runs as before");

    // By standard input, under a name that the archive has not.
    let archive = std::fs::read(&path).expect("an archive");
    let named = import(&cluster, &archive, &["-n", "team/other"]).await.ok();
    assert!(named.stdout.starts_with("team/other:"), "{named:?}");
    let other = images(&cluster).await;
    assert!(other.contains("team/other:latest "), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_would_replace_images_are_refused_and_change_nothing() {
    let cluster = cluster().await;
    cluster.on_engine("docker tag micado-tools mine:1").await;
    let good = exported(&cluster, "noted:1").await;
    cluster.on_engine("docker rmi noted:1").await;
    let before = images(&cluster).await;
    let files = || {
        let entries = std::fs::read_dir(cluster.folder()).expect("the state folder");
        entries.count()
    };
    let count = files();

    let latest = named(&good, &["noted:1", "micado-node:latest"]);
    let hub = named(&good, &["docker.io/library/micado-registry:latest"]);
    for archive in [&latest, &hub] {
        import(&cluster, archive, &["--force"])
            .await
            .refused(1, &["micado's own", "`-n NAME[:TAG]`"]);
    }
    let taken = named(&good, &["mine:1"]);
    let words = ["another image has the name `mine:1`", "--force"];
    import(&cluster, &taken, &[]).await.refused(1, &words);
    let nameless = named(&good, &[]);
    import(&cluster, &nameless, &[])
        .await
        .refused(1, &["no name", "-n"]);
    let own = import(&cluster, &nameless, &["-n", "micado-node"]).await;
    own.refused(2, &["micado's own"]);
    let oci = changed(&good, |name, content| match name {
        "manifest.json" => None,
        _ => Some(content),
    });
    let mut tar = tar::Builder::new(oci[..oci.len() - 1024].to_vec());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    tar.append_data(&mut header, "index.json", &b"{}"[..])
        .expect("packed");
    let oci = tar.into_inner().expect("packed");
    let words = ["OCI", "skopeo copy oci-archive:FILE docker-archive:FILE2"];
    import(&cluster, &oci, &[]).await.refused(1, &words);
    let cut = &good[..good.len() / 2];
    import(&cluster, cut, &[])
        .await
        .refused(1, &["no valid tar"]);
    assert_eq!(images(&cluster).await, before);
    assert_eq!(files(), count, "no file is left");

    // Names that the engine would read in other lists are not passed on.
    let listed = changed(&good, |name, content| match name {
        "repositories" => {
            let text = String::from_utf8_lossy(&content).replace("noted", "micado-node");
            Some(text.into_bytes())
        }
        _ => Some(content),
    });
    import(&cluster, &listed, &[]).await.ok();
    let node = |list: &str| {
        let lines = list.lines().filter(|line| line.contains("micado-node"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(node(&images(&cluster).await), node(&before));
    // The name of another image is taken by force only.
    let forced = import(&cluster, &taken, &["--force"]).await.ok();
    assert!(forced.stderr.contains("imported `mine:1`"), "{forced:?}");
}
