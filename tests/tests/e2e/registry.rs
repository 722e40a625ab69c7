//! The registry is kept, its images are managed, and its disk is watched.

use micado_api::{ContainerState, LaunchRequest, PruneQuery, Space};
use micado_tests::{Cluster, Options, Request, Setup, measured, tools, wait, web};
use std::time::Instant;
use tokio::process::Command;

/// Upper bound for the registry to be back after a change by hand.
const SOON: u64 = 20;

/// Ids of both containers of the registry, as words of a shell.
const OURS: &str = "$(docker ps -aq --filter label=micado.config)";

async fn cluster() -> Cluster {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    cluster
}

/// Waits until both containers run under their names and answer.
async fn until_kept(cluster: &Cluster, after: &str) {
    let begin = Instant::now();
    wait(after, SOON, async || {
        let shown = "docker ps --filter label=micado.config --format '{{.Names}} {{.Status}}'";
        let shown = cluster.on_engine(shown).await;
        let run = shown.lines().filter(|line| {
            let (name, status) = line.split_once(' ').unwrap_or_default();
            let named = name.ends_with("-registry") || name.ends_with("-registry-push");
            named && status.starts_with("Up") && !status.contains("Paused")
        });
        let status = cluster.api.status().await.ok()?;
        (run.count() == 2 && status.registry.is_none()).then_some(())
    })
    .await;
    measured(&format!("the registry is kept, {after}"), begin.elapsed());
}

/// Launches, and waits until the container runs.
async fn launched(cluster: &Cluster, request: &LaunchRequest) -> String {
    let name = cluster.launch(request).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    name
}

/// Removes the registry's containers and its volume. The manager is stopped meanwhile: it would
/// make the containers again before the volume is gone.
async fn lose_images(cluster: &Cluster) {
    signal(cluster, "-STOP").await;
    let volume = "$(docker volume ls -q --filter label=micado.cluster | grep registry)";
    cluster
        .on_engine(&format!("docker rm -f {OURS} && docker volume rm {volume}"))
        .await;
    signal(cluster, "-CONT").await;
}

/// Runs a command on the registry's containers, once more while it meets one that the manager makes
/// anew at that moment.
async fn by_hand(cluster: &Cluster, command: &str) {
    let again = "n=$((n+1)); [ $n -lt 20 ] || exit 1; sleep 0.5";
    let script = format!("n=0; until {command}; do {again}; done");
    cluster.on_engine(&script).await;
}

/// Sends the manager a signal.
async fn signal(cluster: &Cluster, signal: &str) {
    let pid = cluster.manager_pid().to_string();
    let mut kill = tokio::process::Command::new("kill");
    let sent = kill.args([signal, &pid]).status().await.expect("kill");
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_a_registry_changed_by_hand_is_kept_and_new_images_run() {
    let cluster = cluster().await;
    launched(&cluster, &web("acme").memory_mib(64)).await;
    by_hand(&cluster, &format!("docker rm -f {OURS}")).await;
    let begin = Instant::now();
    launched(&cluster, &tools("acme").memory_mib(64)).await;
    measured(
        "a new image runs, its registry just removed",
        begin.elapsed(),
    );
    for (after, change) in [
        ("removed", "docker rm -f"),
        ("stopped", "docker stop -t 1"),
        ("killed", "docker kill"),
        ("paused", "docker pause"),
        ("told not to restart", "docker update --restart no"),
    ] {
        by_hand(&cluster, &format!("{change} {OURS}")).await;
        until_kept(&cluster, after).await;
    }
    let restart = "docker inspect --format '{{.HostConfig.RestartPolicy.Name}}'";
    wait("it restarts by itself again", SOON, async || {
        // One may be made again just now.
        let shown = format!("{restart} {OURS} 2>/dev/null || true");
        let shown = cluster.on_engine(&shown).await;
        (shown == "always\nalways").then_some(())
    })
    .await;
    let rename = format!("for id in {OURS}; do docker rename $id moved-$id; done");
    cluster.on_engine(&rename).await;
    until_kept(&cluster, "renamed").await;

    // Without its image it cannot be made: the status tells so until the image is back.
    let image = "micado-registry:latest";
    cluster
        .on_engine(&format!("docker tag {image} kept:1 && docker rmi {image}"))
        .await;
    by_hand(&cluster, &format!("docker rm -f {OURS}")).await;
    wait("the status names the trouble", SOON, async || {
        let status = cluster.api.status().await.ok()?;
        let words = status.registry?;
        words.contains("scripts/registry-image/build").then_some(())
    })
    .await;
    let shown = cluster.micado(&["status"]).await.ok();
    assert!(shown.stdout.contains("new images cannot run"), "{shown:?}");
    cluster
        .on_engine(&format!("docker tag kept:1 {image}"))
        .await;
    until_kept(&cluster, "its image was back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_lost_images_are_pushed_again_and_those_that_are_gone_are_named() {
    let cluster = cluster().await;
    let name = launched(&cluster, &web("acme")).await;
    // The name is another image's now: the service keeps the one that it was launched with.
    let service = cluster.api.service("acme_micado-web").await;
    let pull = service.expect("a service").pull;
    cluster
        .on_engine("docker tag micado-web first:1 && docker tag micado-tools micado-web")
        .await;
    lose_images(&cluster).await;
    let begin = Instant::now();
    moved(&cluster, &name, "application01").await;
    measured("a container moved, its image pushed again", begin.elapsed());
    assert!(cluster.ask(&name, "/").await.starts_with("micado-web "));
    let service = cluster.api.service("acme_micado-web").await;
    assert_eq!(service.expect("a service").pull, pull);

    let lost = "docker save first:1 -o /var/tmp/first.tar && docker rmi first:1";
    cluster.on_engine(lost).await;
    lose_images(&cluster).await;
    let place = cluster.look().await.expect("a view").place_of(&name);
    let place = place.expect("a place");
    cluster.api.stop(&place, false).await.expect("it drains");
    let reason = wait("the lost image is named", 60, async || {
        let told = cluster.api.explain(&name).await.ok()?;
        let text = format!("{told:?}");
        text.contains("has lost image").then_some(text)
    })
    .await;
    assert!(reason.contains("no longer has it"), "{reason}");
    assert!(reason.contains("micado-web"), "{reason}");
    // Its copy on the draining machine goes on meanwhile.
    assert!(cluster.ask(&name, "/").await.starts_with("micado-web "));
    cluster
        .on_engine("docker load -i /var/tmp/first.tar && rm /var/tmp/first.tar")
        .await;
    wait("it has moved once the image is there", 90, async || {
        let view = cluster.look().await.ok()?;
        let container = view.container_in(&name, ContainerState::Running)?;
        let now = container.instance.as_ref()?.to_string();
        (now != place).then_some(())
    })
    .await;
    assert!(cluster.ask(&name, "/").await.starts_with("micado-web "));
}

/// Drains a machine, and waits until its container runs on another.
async fn moved(cluster: &Cluster, name: &str, from: &str) {
    cluster.micado(&["stop", "-t", from]).await.ok();
    wait("it runs on another machine", 90, async || {
        let view = cluster.look().await.ok()?;
        let container = view.container_in(name, ContainerState::Running)?;
        let place = container.instance.as_ref()?.to_string();
        (place != from).then_some(())
    })
    .await;
}

/// Builds `container-note` with this content. Returns its name by content.
async fn built(cluster: &Cluster, note: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let dockerfile = "FROM micado-tools\nCOPY note /data/note\nCMD [\"sleep\", \"1000000\"]\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("written");
    std::fs::write(folder.path().join("note"), note).expect("written");
    let path = folder.path().display().to_string();
    let line = ["build", "-q", "-n", "container-note", &path];
    let built = cluster.micado(&line).await.ok();
    built.stdout.trim().to_owned()
}

/// A request for a container of this image.
fn of_image(client: &str, image: &str) -> LaunchRequest {
    let mut request = tools(client).memory_mib(64);
    request.spec.image = image.to_owned();
    request
}

/// Number of layers and manifests in the registry.
async fn blobs(cluster: &Cluster) -> usize {
    let files = "find /var/lib/docker/volumes/*registry*/_data -path '*/blobs/*' -name data";
    cluster.on_engine(files).await.lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_named_removed_and_pruned() {
    let cluster = cluster().await;
    let first = built(&cluster, &"one".repeat(10_000)).await;
    let running = launched(&cluster, &of_image("acme", "container-note")).await;
    let second = built(&cluster, &"two".repeat(20_000)).await;
    let tag = ["image", "tag", &second, "container-note:stable"];
    let tagged = cluster.micado(&tag).await.ok();
    assert_eq!(tagged.stdout, "container-note:stable\n");
    built(&cluster, "three").await;
    people_read_and_do_not_write(&cluster).await;

    let images = cluster.api.images().await.expect("images");
    let [image] = &images[..] else {
        panic!("{images:?}")
    };
    let used: Vec<_> = image.revisions.iter().map(|it| it.services.len()).collect();
    assert_eq!(image.revisions.len(), 3, "{image:?}");
    assert_eq!(used.iter().sum::<usize>(), 1, "{image:?}");
    assert_eq!(image.services[0].as_str(), "acme_container-note");
    let listed = cluster.micado(&["image", "list"]).await.ok();
    assert!(listed.stdout.contains("3, 1 pinned"), "{listed:?}");
    let shown = cluster.micado(&["image", "show", "container-note"]).await;
    let shown = shown.ok().stdout;
    for word in ["container-note:stable", "acme_container-note", &first] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    needed_images_stay(&cluster, &first).await;
    let fourth = an_unneeded_image_is_pruned(&cluster).await;

    // Another machine still pulls what runs, and the latest build.
    moved(&cluster, &running, "application01").await;
    launched(&cluster, &of_image("other", &fourth)).await;
    until_kept(&cluster, "garbage collected").await;

    an_image_goes_with_its_names(&cluster).await;
}

/// docker and skopeo read the registry with a certificate for people, and cannot push with it.
async fn people_read_and_do_not_write(cluster: &Cluster) {
    let images = cluster.api.images().await.expect("images");
    let digest = images[0].digest.as_deref().expect("it is pushed");
    let certs = tempfile::tempdir().expect("a folder");
    let certs = certs.path().display().to_string();
    let line = ["registry", "login", "--certs-dir", &certs];
    let login = cluster.micado(&line).await.ok();
    let host = login.stdout.trim().to_owned();
    let name = format!("{host}/container-note");
    let engines = format!("/etc/docker/certs.d/{host}");
    let folder = format!("{certs}/{host}");
    let script = format!(
        "skopeo inspect --cert-dir {folder} docker://{name}@{digest} && ! skopeo inspect --tls-verify=false docker://{name}@{digest} && \
         mkdir -p /etc/docker/certs.d && cp -r {folder} {engines} && docker pull -q {name}@{digest} && docker tag {name}@{digest} {name}:mine && \
         ! docker push -q {name}:mine; code=$?; docker rmi {name}:mine {name}@{digest}; rm -r {engines}; exit $code"
    );
    let ran = Command::new("sh").args(["-c", &script]).output().await;
    let ran = ran.expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let shown = String::from_utf8_lossy(&ran.stdout);
    assert!(
        shown.contains(&format!("\"Digest\": \"{digest}\"")),
        "{shown}"
    );
}

/// Removal is refused of what a service runs, of micado's own images and of unknown ones.
async fn needed_images_stay(cluster: &Cluster, first: &str) {
    for name in [first, "container-note"] {
        let line = ["image", "remove", name];
        let refused = cluster.micado(&line).await;
        refused.refused(1, &["acme_container-note", "quit"]);
    }
    let line = ["image", "remove", "micado-registry"];
    cluster.micado(&line).await.refused(2, &["micado's own"]);
    let line = ["image", "remove", "container-none"];
    cluster.micado(&line).await.refused(1, &["no image"]);
    let dry = cluster.micado(&["image", "prune", "--dry-run"]).await.ok();
    assert!(dry.stderr.contains("0 to remove"), "{dry:?}");
}

/// Removes one image, builds a fourth one, and prunes the third. Returns the fourth one's name.
async fn an_unneeded_image_is_pruned(cluster: &Cluster) -> String {
    let line = ["image", "remove", "container-note:stable"];
    let removed = cluster.micado(&line).await.ok();
    assert!(removed.stderr.contains("1 removed"), "{removed:?}");
    let before = blobs(cluster).await;
    let fourth = built(cluster, "four").await;
    let dry = cluster.micado(&["image", "prune", "--dry-run"]).await.ok();
    assert!(dry.stderr.contains("1 to remove"), "{dry:?}");
    let begin = Instant::now();
    let prune = ["--output", "json", "image", "prune"];
    let pruned = cluster.micado(&prune).await.ok().json();
    measured("images pruned, garbage collected", begin.elapsed());
    assert_eq!(pruned["space"], "free", "{pruned}");
    assert_eq!(pruned["images"].as_array().map(Vec::len), Some(1));
    // Each had a layer, a configuration and a manifest of its own; the fourth came.
    assert_eq!(blobs(cluster).await, before - 3, "two went, one came");
    let images = cluster.api.images().await.expect("images");
    assert_eq!(images[0].revisions.len(), 2, "{images:?}");
    fourth
}

/// Without services, all revisions of a name go, with their names and the record.
async fn an_image_goes_with_its_names(cluster: &Cluster) {
    cluster
        .api
        .quit("acme_container-note", true)
        .await
        .expect("quit");
    cluster
        .api
        .quit("other_container-note", true)
        .await
        .expect("quit");
    cluster
        .until("no container is left", 60, |view| {
            view.containers.is_empty().then_some(())
        })
        .await;
    let line = ["image", "remove", "container-note"];
    let removed = cluster.micado(&line).await.ok();
    assert!(removed.stderr.contains("2 removed"), "{removed:?}");
    assert_eq!(cluster.api.images().await.expect("images"), []);
    let names = cluster.on_engine("docker images container-note -q").await;
    assert_eq!(names, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_images_run_while_garbage_is_collected() {
    let cluster = cluster().await;
    const IMAGES: usize = 6;
    let make = format!(
        "for i in $(seq {IMAGES}); do printf \"FROM micado-tools\\nRUN echo $i > /data/$i\\n\" | docker build -q -t fresh$i - ; done"
    );
    cluster.on_engine(&make).await;
    let query = PruneQuery {
        all: true,
        dry_run: false,
    };
    let pruning = async {
        for _ in 0..IMAGES {
            let pruned = cluster.api.prune_images(query).await.expect("pruned");
            assert_eq!(pruned.space, Space::Free);
        }
    };
    let launching = async {
        for number in 1..=IMAGES {
            let image = format!("fresh{number}");
            launched(&cluster, &of_image("acme", &image).memory_mib(32)).await;
        }
    };
    let begin = Instant::now();
    tokio::join!(pruning, launching);
    measured("6 new images run beside 6 collections", begin.elapsed());
    let images = cluster.api.images().await.expect("images");
    let stored = images.iter().filter(|image| image.revisions.len() == 1);
    assert_eq!(stored.count(), IMAGES, "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_killed_while_garbage_is_collected_leaves_a_registry_to_write_to() {
    let mut cluster = cluster().await;
    launched(&cluster, &of_image("acme", "micado-tools")).await;
    let api = cluster.api.clone();
    let pruning = tokio::spawn(async move { api.prune_images(PruneQuery::default()).await });
    let script = "for i in $(seq 500); do docker ps -aq --filter name=-registry-gc | grep . && exit 0; done; exit 1";
    cluster.on_engine(script).await;
    signal(&cluster, "-STOP").await;
    let writers = "docker ps --format '{{.Names}}' | grep -c -- '-registry-push$' || true";
    assert_eq!(cluster.on_engine(writers).await, "0", "no push beside it");
    cluster.kill_manager().await;
    drop(pruning.await);
    cluster.start_manager(&[]).await;
    until_kept(&cluster, "the manager killed").await;
    let collectors = cluster
        .on_engine("docker ps -aq --filter name=-registry-gc")
        .await;
    assert_eq!(collectors, "", "the collector is gone");
    launched(&cluster, &web("acme").memory_mib(64)).await;
    let pruned = cluster.api.prune_images(PruneQuery::default()).await;
    assert_eq!(pruned.expect("pruned").space, Space::Free);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_images_are_refused_before_the_disk_is_full() {
    let cluster = cluster().await;
    launched(&cluster, &web("acme").memory_mib(64)).await;
    // The same registry on a disk of 40 MiB.
    signal(&cluster, "-STOP").await;
    let volume = "$(docker volume ls -q --filter label=micado.cluster | grep registry)";
    let small = "-d local -o type=tmpfs -o device=tmpfs -o o=size=40m";
    cluster
        .on_engine(&format!(
            "v={volume}; docker rm -f {OURS} && docker volume rm $v && docker volume create {small} $v"
        ))
        .await;
    signal(&cluster, "-CONT").await;
    until_kept(&cluster, "moved to another disk").await;
    launched(&cluster, &web("first").memory_mib(64)).await;
    let fill = "$(echo /var/lib/docker/volumes/*registry/_data)/fill";
    let most = format!(
        "f={fill}; free=$(df --output=avail -k $(dirname $f) | tail -1); dd if=/dev/zero of=$f bs=1K count=$((free - 2000))"
    );
    cluster.on_engine(&most).await;

    let line = [
        "launch",
        "-i",
        "micado-tools",
        "-n",
        "new",
        "--memory",
        "64M",
    ];
    let words = ["micado-tools", "free", "10 %", "micado image prune"];
    cluster.micado(&line).await.refused(1, &words);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    std::fs::write(folder.path().join("Dockerfile"), "FROM micado-tools\n").expect("written");
    let line = ["build", "-n", "container-full", &path];
    cluster.micado(&line).await.refused(1, &words[1..]);
    // One that is there needs no room.
    launched(&cluster, &web("second").memory_mib(64)).await;
    cluster.on_engine(&format!("rm {fill}")).await;
    launched(&cluster, &of_image("new", "micado-tools")).await;
}
