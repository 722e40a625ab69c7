//! Lives of containers: they run, end, fail, are stopped, inspected and removed.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{Cluster, Options, Request, Setup, View, job, tools, wait, web};
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_stopped_with_their_logs_kept_and_forgotten() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    copies_with_a_fixed_port_are_on_different_machines(&cluster).await;

    let log = "micado-web on";
    assert!(
        cluster
            .micado(&["logs", "-n", "fixed_micado-web.1"])
            .await
            .ok()
            .stdout
            .contains(log)
    );
    let both = cluster
        .micado(&["logs", "-n", "fixed_micado-web"])
        .await
        .ok()
        .stdout;
    assert!(
        both.contains("fixed_micado-web.1 | ") && both.contains("fixed_micado-web.2 | "),
        "{both}"
    );
    cluster
        .micado(&["remove", "-n", "fixed_micado-web.1"])
        .await
        .refused(1, &["is not stopped"]);

    cluster
        .micado(&["quit", "-n", "fixed_micado-web.1"])
        .await
        .ok();
    cluster
        .until_container("fixed_micado-web.1", ContainerState::Stopped, 20)
        .await;
    assert!(
        cluster
            .micado(&["logs", "-n", "fixed_micado-web.1"])
            .await
            .ok()
            .stdout
            .contains(log),
        "the end of its log is kept"
    );
    assert_eq!(
        cluster
            .micado(&["list", "-c", "--output", "json"])
            .await
            .ok()
            .json()["containers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert!(
        cluster
            .micado(&["list", "-c", "-a"])
            .await
            .ok()
            .stdout
            .contains("stopped")
    );
    cluster
        .micado(&["remove", "-n", "fixed_micado-web.1"])
        .await
        .ok();
    cluster
        .until("it is forgotten", 20, |view| {
            view.container("fixed_micado-web.1").is_none().then_some(())
        })
        .await;
    cluster
        .micado(&["logs", "-n", "fixed_micado-web.1"])
        .await
        .refused(1, &["fixed_micado-web.1"]);

    cluster
        .micado(&["quit", "-n", "fixed_micado-web", "-rm"])
        .await
        .ok();
    cluster
        .until("the service is forgotten", 20, |view| {
            view.containers.is_empty().then_some(())
        })
        .await;
    wait("its Swarm services are gone", 20, async || {
        cluster.swarm_services().await.is_empty().then_some(())
    })
    .await;
    ends_by_themselves(&cluster).await;
    last_words_are_kept(&cluster).await;
}

async fn copies_with_a_fixed_port_are_on_different_machines(cluster: &Cluster) {
    let request = web("fixed").memory_mib(64).host_port(18080);
    for number in 1..=2 {
        assert_eq!(
            cluster.launch(&request).await.name.as_str(),
            format!("fixed_micado-web.{number}")
        );
    }
    let run = |view: &View| {
        view.containers
            .iter()
            .all(|it| it.state == ContainerState::Running)
            .then(|| view.clone())
    };
    let view = cluster.until("both run", 60, run).await;
    let tags: Vec<_> = view
        .in_use()
        .iter()
        .map(|it| (it.tag.to_string(), it.state, it.containers))
        .collect();
    let expected =
        ["application01", "application02"].map(|tag| (tag.to_owned(), InstanceState::Active, 1));
    assert_eq!(
        tags, expected,
        "they would fit on one machine, but for the port"
    );
    let answers = (
        cluster.ask("fixed_micado-web.1", "/").await,
        cluster.ask("fixed_micado-web.2", "/").await,
    );
    assert_ne!(
        answers.0.split(':').next(),
        answers.1.split(':').next(),
        "each answers for itself"
    );
}

async fn ends_by_themselves(cluster: &Cluster) {
    let well = cluster
        .launch(
            &job(web("well"))
                .memory_mib(64)
                .environment(&["EXIT_AFTER_MS=300"]),
        )
        .await
        .name
        .to_string();
    let badly = cluster
        .launch(
            &web("badly")
                .memory_mib(64)
                .environment(&["EXIT_AFTER_MS=300", "EXIT_CODE=3"]),
        )
        .await
        .name
        .to_string();
    let completed = cluster
        .until_container(&well, ContainerState::Completed, 60)
        .await;
    assert_eq!(completed.exit_code, Some(0));
    assert!(
        cluster
            .micado(&["logs", "-n", &well])
            .await
            .ok()
            .stdout
            .contains("ending with 0"),
        "the log of what is over can be read"
    );
    let failing = cluster
        .until_container(&badly, ContainerState::Failing, 60)
        .await;
    assert!(
        failing.exit_code == Some(3)
            && failing
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains("exit code 3")),
        "{failing:?}"
    );
    cluster.micado(&["remove", "-n", &well]).await.ok();
    cluster.micado(&["quit", "-n", &badly, "-rm"]).await.ok();
    cluster
        .until("both are forgotten", 20, |view| {
            view.containers.is_empty().then_some(())
        })
        .await;
}

/// Output after the signal to end is part of the log that `quit` keeps.
async fn last_words_are_kept(cluster: &Cluster) {
    cluster.load_tools().await;
    let script = "trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 1; done";
    let mut request = tools("polite").memory_mib(64);
    request.spec.arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
    let name = cluster.launch(&request).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    let log = async || cluster.micado(&["logs", "-n", &name]).await.ok().stdout;
    wait("it is ready to be stopped", 20, async || {
        log().await.contains("ready").then_some(())
    })
    .await;
    cluster.micado(&["quit", "-n", &name]).await.ok();
    wait("its last words are kept", 20, async || {
        log().await.contains("goodbye").then_some(())
    })
    .await;
    assert_eq!(
        log().await.matches("ready").count(),
        1,
        "no line is doubled"
    );
    cluster.micado(&["remove", "-n", &name]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn published_ports_are_the_managers_and_last() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    let name = "acme_micado-web.1";
    cluster.launch(&web("acme")).await;
    // It is chosen with the place, before there is a machine.
    let port = published(&cluster, name).await;
    cluster
        .until_container(name, ContainerState::Running, 60)
        .await;
    let said = cluster.ask(name, "/").await;
    assert_eq!(published(&cluster, name).await, port);

    // A restart in place keeps it.
    let first = "docker ps --no-trunc --quiet | head -1";
    let before = cluster.on_machine("application01", first).await;
    let kill = format!("docker kill {before}");
    cluster.on_machine("application01", &kill).await;
    wait("another process runs", 60, async || {
        let now = cluster.on_machine("application01", first).await;
        (!now.is_empty() && now != before).then_some(())
    })
    .await;
    assert_eq!(cluster.ask(name, "/").await, said);
    assert_eq!(published(&cluster, name).await, port);

    // Another process has all the ports that the search meets first.
    let range = 25;
    let begin = wait("they lie in a row", 60, async || {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since_epoch.expect("a clock").as_secs() % 5000;
        (seconds + range < 5000).then_some(25_000 + seconds)
    })
    .await;
    let image = "$(docker images --quiet | head -1)";
    let (end, last) = (begin + range, 9000 + range);
    let stranger = format!("docker run -d -p {begin}-{end}:9000-{last} {image}");
    cluster.on_machine("application01", &stranger).await;
    let name = "other_micado-web.1";
    cluster.launch(&web("other")).await;
    let taken = published(&cluster, name).await;
    assert!((begin..=end).contains(&u64::from(taken)), "{taken}");
    cluster
        .until_container(name, ContainerState::Running, 60)
        .await;
    cluster.ask(name, "/").await;
    let given = published(&cluster, name).await;
    assert!(!(begin..=end).contains(&u64::from(given)), "{given}");
    let explained = cluster.micado(&["explain", name]).await.ok().stdout;
    assert!(
        explained.contains("a process on application01 has one of the ports chosen for it"),
        "{explained}"
    );
}

/// The machine port of a container's only published port, once it is chosen.
async fn published(cluster: &Cluster, name: &str) -> u16 {
    let port = wait("a port is chosen", 20, async || {
        let view = cluster.look().await.ok()?;
        let [port] = view.container(name)?.ports[..] else {
            panic!("it has one port: {view:?}")
        };
        port.host
    });
    let port = port.await;
    assert!((25_000..30_000).contains(&port), "{port}");
    port
}
