//! Private images of an external registry: the manager's engine alone has the login, and what runs
//! needs none.

use micado_tests::{Cluster, Options, Outcome, Setup, measured};
use std::{path::Path, time::Instant};

/// A registry that every engine takes for an insecure one, because it is on loopback.
const HOST: &str = "127.0.0.1:5000";
const USER: &str = "alice";
const FIRST: &str = "the-f1rst~password";
const SECOND: &str = "the-sec0nd~password";
/// Repositories in the registry, each with the image `micado-web`.
const REPOSITORIES: [&str; 4] = ["web", "other", "buildkit", "classic"];
/// Upper bound for a command, in seconds.
const SOON: u64 = 60;

/// Lets one user in with this password only. The registry reads a changed file anew.
async fn set_password(cluster: &Cluster, password: &str) {
    let hash = "perl -e 'print crypt(shift, q($2b$05$abcdefghijklmnopqrstuu))'";
    let write = format!(
        "mkdir -p /outside && echo \"{USER}:$({hash} '{password}')\" > /outside/new && mv /outside/new /outside/htpasswd"
    );
    cluster.on_engine(&write).await;
}

/// Runs a registry beside the manager's engine, and fills it.
async fn start_registry(cluster: &Cluster) {
    set_password(cluster, FIRST).await;
    let config = serde_json::json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
        "http": {"addr": ":5000"},
        "auth": {"htpasswd": {"realm": "outside", "path": "/outside/htpasswd"}},
    });
    let run = format!(
        "echo '{config}' > /outside/config.json && docker run -d --name outside -p {HOST}:5000 -v /outside:/outside micado-registry /outside/config.json"
    );
    cluster.on_engine(&run).await;
    let mut fill = format!(
        "n=0; until echo '{FIRST}' | docker login -u {USER} --password-stdin {HOST}; do n=$((n+1)); [ $n -lt 20 ] || exit 1; sleep 0.5; done"
    );
    for repository in REPOSITORIES {
        let name = image(repository);
        fill.push_str(&format!(
            " && docker tag micado-web {name} && docker push {name} && docker rmi {name}"
        ));
    }
    fill.push_str(&format!(" && docker logout {HOST}"));
    cluster.on_engine(&fill).await;
}

fn image(repository: &str) -> String {
    format!("{HOST}/acme/{repository}:1")
}

async fn log_in(cluster: &Cluster, password: &str) -> Outcome {
    let line = ["registry", "login", HOST, "-u", USER, "--password-stdin"];
    let login = cluster.start_micado(&line);
    login.end(password.as_bytes(), SOON).await
}

/// Launches copies of an image for a client, and waits until they run.
async fn launch(cluster: &Cluster, client: &str, repository: &str, copies: &str) -> Outcome {
    let image = image(repository);
    let line = ["launch", "-i", &image, "-n", client, "--memory", "64M"];
    let line = [&line[..], &["--copies", copies]].concat();
    cluster.micado(&line).await
}

/// Files below a folder that hold this text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let entries = entries.filter_map(Result::ok).flat_map(|entry| {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        if kind.is_dir() {
            return files_with(&path, text);
        }
        let content = kind.is_file().then(|| std::fs::read(&path).expect("read"));
        let holds = content.is_some_and(|content| {
            let mut parts = content.windows(text.len());
            parts.any(|part| part == text.as_bytes())
        });
        holds
            .then(|| path.display().to_string())
            .into_iter()
            .collect()
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn private_images_outlive_their_login_which_stands_nowhere() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    start_registry(&cluster).await;
    let way = format!("micado registry login {HOST}");
    let without = launch(&cluster, "acme", "web", "1").await;
    without.refused(1, &["no basic auth credentials", &way]);
    log_in(&cluster, SECOND).await.refused(1, &["401"]);
    let made = log_in(&cluster, FIRST).await.ok();
    assert!(
        made.stdout.contains(HOST) && made.stdout.contains(USER),
        "{made:?}"
    );

    let begin = Instant::now();
    launch(&cluster, "acme", "web", "3").await.ok();
    measured("3 copies of a private image run", begin.elapsed());
    let before = cluster.running_tasks().await;
    assert_eq!(before.len(), 3, "{before:?}");

    set_password(&cluster, SECOND).await;
    let begin = Instant::now();
    launch(&cluster, "acme", "web", "1").await.ok();
    measured("one more copy runs, its login expired", begin.elapsed());
    let stale = launch(&cluster, "acme", "other", "1").await;
    stale.refused(1, &["unauthorized", USER, &way]);
    builds_are_refused(&cluster).await;
    log_in(&cluster, SECOND).await.ok();
    launch(&cluster, "acme", "other", "1").await.ok();
    for builder in ["buildkit", "classic"] {
        build(&cluster, builder).await.ok();
    }
    // A container that is started anew has another id.
    let after = cluster.running_tasks().await;
    assert_eq!(after.len(), 5, "{after:?}");
    for task in &before {
        assert!(after.iter().any(|now| now == task), "{task:?}: {after:?}");
    }
    nothing_tells(&cluster).await;
}

/// Builds an image on a base image of the registry.
async fn build(cluster: &Cluster, builder: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let dockerfile = format!("FROM {}\nCOPY Dockerfile /\n", image(builder));
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("written");
    let (name, path) = (
        format!("container-{builder}"),
        folder.path().display().to_string(),
    );
    let line = ["build", "-q", "-n", &name, "--builder", builder, &path];
    cluster.micado(&line).await
}

async fn builds_are_refused(cluster: &Cluster) {
    for builder in ["buildkit", "classic"] {
        let refused = build(cluster, builder).await;
        refused.refused(1, &["micado registry login"]);
    }
}

/// Neither password is in a Swarm service, in the manager's log or in its state folder.
async fn nothing_tells(cluster: &Cluster) {
    let services = "docker service inspect $(docker service ls -q)";
    let services = cluster.on_engine(services).await;
    assert!(services.contains("acme_web.1"), "{services}");
    for password in [FIRST, SECOND] {
        assert!(!services.contains(password), "{services}");
        assert_eq!(files_with(cluster.folder(), password), Vec::<String>::new());
    }
    // The log is one of those files.
    assert_eq!(
        files_with(cluster.folder(), "a login to a registry").len(),
        1
    );
}
