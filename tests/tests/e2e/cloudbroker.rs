//! Everything through CloudBroker, on a simulator with machines that boot: renting by jobs and by
//! instances, a broker outage, secrets, and invalid input.

use micado_api::{ContainerState, InstanceState};
use micado_tests::{
    Cluster, Options, Outcome, Rented, Request, View, cloudbroker, is_full, measured, run_micado,
    wait, web,
};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

fn rented(rented: Rented) -> Options {
    Options {
        rented: Some(rented),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_rented_as_jobs_and_all_secrets_stay_secret() {
    let cluster = Cluster::start(rented(Rented::default())).await;
    let notes = cluster.file("notes.txt");
    fs::write(&notes, "remember the milk\n").expect("a file to give");
    let notes = notes.display().to_string();
    let arguments = [
        "start",
        "-c",
        "sigma",
        "-a",
        "Node",
        "-f",
        "medium",
        "-t",
        "database01",
        "-n",
        "database",
        notes.as_str(),
    ];
    cluster.micado(&arguments).await.ok();
    cluster
        .until_instance("database01", InstanceState::Active, 60)
        .await;
    assert_eq!(
        cluster
            .on_machine("database01", "cat /etc/micado/files/notes.txt")
            .await,
        "remember the milk"
    );
    let credentials = credentials(&cluster);
    assert_eq!(credentials.len(), 1, "one machine, one credential");

    grows_and_shrinks(&cluster).await;

    // One after another: the first to stop is the last that its container could run on.
    cluster.micado(&["stop", "-t", "database01"]).await.ok();
    cluster
        .until_instance("database01", InstanceState::Gone, 60)
        .await;
    wait("the broker has nothing", 30, async || {
        cluster.simulator().jobs().is_empty().then_some(())
    })
    .await;
    assert_eq!(cluster.simulator().machines_running(), Vec::new());
    let all = cluster.micado(&["list", "-i", "--all"]).await.ok().stdout;
    assert!(all.contains("database01") && all.contains("gone"), "{all}");
    no_secret_is_seen(&cluster, &credentials).await;
}

/// A launch rents the smallest machine that fits; empty ones are returned by hand.
async fn grows_and_shrinks(cluster: &Cluster) {
    let begin = Instant::now();
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let running = cluster
        .until_container(&name, ContainerState::Running, 60)
        .await;
    measured("a launch that rents through CloudBroker", begin.elapsed());
    assert_eq!(
        running.instance.map(|tag| tag.to_string()).as_deref(),
        Some("application01")
    );
    assert!(
        cluster.ask(&name, "/").await.contains("micado-web"),
        "it answers"
    );
    let notes = cluster.file("notes.txt").display().to_string();
    let target = format!("{name}:/notes.txt");
    wait("the machine's agent takes a file", 20, async || {
        (cluster.micado(&["cp", &notes, &target]).await.code == Some(0)).then_some(())
    })
    .await;
    let back = cluster.file("back.txt");
    cluster
        .micado(&["cp", &target, &back.display().to_string()])
        .await
        .ok();
    assert_eq!(
        fs::read_to_string(back).ok().as_deref(),
        Some("remember the milk\n"),
        "and gives it back"
    );
    let table = cluster.micado(&["list", "-i"]).await.ok().stdout;
    for words in [
        "TAG",
        "CLOUD",
        "FLAVOUR",
        "LOCATION",
        "STATE",
        "ADDRESS",
        "NODE",
        "MEMORY LEFT",
        "PRICE",
        "AGE",
        "sigma",
        "small",
        "application01",
    ] {
        assert!(table.contains(words), "{words} is not in {table}");
    }
    cluster.micado(&["quit", "-n", &name, "--rm"]).await.ok();
    cluster.micado(&["stop", "-t", "application01"]).await.ok();
    cluster
        .until_instance("application01", InstanceState::Gone, 60)
        .await;
}

/// The join credentials among the jobs' input files.
fn credentials(cluster: &Cluster) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for job in cluster.simulator().jobs() {
        for file in cluster
            .simulator()
            .files(&job.id)
            .iter()
            .filter(|file| file.name == "micado-join.tar")
        {
            let mut archive = tar::Archive::new(file.content.0.as_slice());
            for entry in archive.entries().expect("a tar") {
                let mut entry = entry.expect("an entry");
                if entry.path().expect("a path").as_ref() == Path::new("credential") {
                    let mut text = String::new();
                    std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
                    found.insert(text.trim().to_owned());
                }
            }
        }
    }
    found
}

/// Neither the password nor a credential is in a log, an answer, or an argument of a process.
async fn no_secret_is_seen(cluster: &Cluster, credentials: &BTreeSet<String>) {
    let mut seen = vec![(
        "the manager's log",
        fs::read_to_string(cluster.file("manager.log")).expect("the log"),
    )];
    for arguments in [
        &["list", "--all", "--output", "json"][..],
        &["status", "--output", "json"],
        &["explain", "application01", "--output", "json"],
    ] {
        seen.push(("an answer", cluster.micado(arguments).await.ok().stdout));
    }
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        seen.push((
            "an argument",
            fs::read(process.path().join("cmdline"))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default(),
        ));
    }
    assert!(seen[0].1.len() > 100, "the log is there");
    for secret in credentials
        .iter()
        .map(String::as_str)
        .chain([cloudbroker::PASSWORD])
    {
        for (place, text) in &seen {
            assert!(!text.contains(secret), "a secret is in {place}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_rented_as_instances_of_a_stock_image_set_up_by_cloud_init() {
    let cluster = Cluster::start(rented(Rented {
        rent: "instances",
        stock: true,
        ..Rented::default()
    }))
    .await;
    let begin = Instant::now();
    let name = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&name, ContainerState::Running, 90)
        .await;
    measured(
        "a launch that rents an instance through CloudBroker",
        begin.elapsed(),
    );
    assert!(
        cluster.ask(&name, "/").await.contains("micado-web"),
        "it answers"
    );
    assert_eq!(
        cluster.simulator().jobs(),
        Vec::new(),
        "no job stands behind it"
    );
    let sees = |view: &View| view.instance("application01")?.usage.as_ref().map(|_| ());
    cluster
        .until(
            "the machine got an agent from the manager, and it measures",
            60,
            sees,
        )
        .await;
    measured("until its agent's figures are seen", begin.elapsed());
    let kept = cluster
        .on_machine(
            "application01",
            "kill -9 $(pidof micado-node); sleep 3; pidof micado-node",
        )
        .await;
    assert!(!kept.trim().is_empty(), "it is started again");
    cluster.micado(&["quit", "-n", &name, "--rm"]).await.ok();
    cluster.micado(&["stop", "-t", "application01"]).await.ok();
    cluster
        .until_instance("application01", InstanceState::Gone, 60)
        .await;
    assert_eq!(cluster.simulator().machines_running(), Vec::new());
}

/// Duration of the broker's outage: minutes with `scripts/test --full`.
fn outage() -> Duration {
    Duration::from_secs(if is_full() { 300 } else { 45 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_for_long_holds_up_nothing_but_renting() {
    let cluster = Cluster::start(rented(Rented {
        call_timeout: 3,
        ..Rented::default()
    }))
    .await;
    let first = cluster.launch(&web("acme")).await.name.to_string();
    cluster
        .until_container(&first, ContainerState::Running, 60)
        .await;
    let tasks = cluster.running_tasks().await;

    cluster.simulator().down().await;
    let begin = Instant::now();
    let waiting = cluster
        .launch(&web("big").memory_mib(500))
        .await
        .name
        .to_string();
    let says = |view: &View| {
        view.container(&waiting)
            .filter(|it| {
                it.reason
                    .as_ref()
                    .is_some_and(|reason| reason.contains("sigma does not answer"))
            })
            .cloned()
    };
    let container = cluster
        .until("the launch waits with the broker's words", 40, says)
        .await;
    assert_eq!(container.state, ContainerState::Waiting, "{container:?}");
    let beside = cluster
        .launch(&web("beside").memory_mib(64))
        .await
        .name
        .to_string();
    cluster
        .until_container(&beside, ContainerState::Running, 20)
        .await;
    let status = cluster.micado(&["status"]).await.ok().stdout;
    assert!(status.contains("sigma"), "{status}");
    tokio::time::sleep(outage().saturating_sub(begin.elapsed())).await;
    let after = cluster.running_tasks().await;
    assert!(
        tasks
            .iter()
            .all(|(task, container)| after.get(task) == Some(container)),
        "running containers are untouched: {tasks:?} {after:?}"
    );
    assert_eq!(cluster.simulator().machines_running().len(), 1);

    cluster.simulator().up().expect("the broker is back");
    cluster
        .until_container(&waiting, ContainerState::Running, 90)
        .await;
    assert_eq!(
        cluster.simulator().machines_running().len(),
        2,
        "one was rented for it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_words_and_hammers_nobody() {
    let mut cluster = Cluster::start(rented(Rented::records())).await;
    let xml = Rented::records().xml(&cluster.simulator().url(), cluster.folder());
    let setup = cluster.file("cloudsetup.xml").display().to_string();
    let check = async || run_micado(&["cloud", "check", "--cloudsetup", &setup], &[]).await;
    check().await.ok();

    cluster.write_setup(
        &xml.replace("CloudSigma Small", "CloudSigma Tiny")
            .replace("execute.sh", "start.sh")
            .replace("CloudSigma Zurich", "CloudSigma Paris"),
    );
    finds(
        &check().await,
        &["CloudSigma Tiny", "start.sh", "CloudSigma Paris"],
    );
    cluster.write_setup(&xml.replace("cbcredentials", "nowhere"));
    finds(&check().await, &["nowhere", "cannot be read"]);
    cluster.write_setup(&xml.replace("</clouds>", "</cloud>"));
    check()
        .await
        .refused(1, &["cloudsetup.xml:", "not well-formed"]);
    // In the original's format, without sizes: `start` can use it, the planner cannot.
    let old = xml.lines().map(|line| {
        line.split("<memory>").next().unwrap_or_default().to_owned()
            + if line.contains("<memory>") {
                "</flavour>\n"
            } else {
                "\n"
            }
    });
    cluster.write_setup(&old.collect::<String>());
    check().await.ok();

    a_wrong_password_hammers_nobody(&mut cluster, &xml).await;
}

/// Checks that a fault was found, and that the table of checks names it.
fn finds(check: &Outcome, words: &[&str]) {
    check.refused(1, &["checks failed"]);
    for word in words {
        assert!(check.stdout.contains(word), "`{word}` is not in {check:?}");
    }
}

async fn a_wrong_password_hammers_nobody(cluster: &mut Cluster, xml: &str) {
    cluster.kill_manager().await;
    cluster.write_setup(xml);
    cloudbroker::write_credentials(cluster.folder(), "wrong");
    let calls = cluster.simulator().calls().len();
    cluster.start_manager(&[]).await;
    let name = cluster.launch(&web("acme")).await.name.to_string();
    let says = |view: &View| {
        view.container(&name)
            .and_then(|it| it.reason.clone())
            .filter(|reason| reason.contains("cbcredentials"))
    };
    let reason = cluster
        .until("the wait names the credentials", 20, says)
        .await;
    assert!(
        !reason.contains("wrong"),
        "the password is not told: {reason}"
    );
    tokio::time::sleep(Duration::from_secs(12)).await;
    let refused = cluster.simulator().calls().len() - calls;
    assert!(
        (1..=3).contains(&refused),
        "{refused} calls in 12 s with a wrong password"
    );

    cloudbroker::write_credentials(cluster.folder(), cloudbroker::PASSWORD);
    cluster
        .until("a machine is rented once the file is right", 60, |view| {
            view.instances
                .iter()
                .any(|it| it.state == InstanceState::Booting)
                .then_some(())
        })
        .await;
}
