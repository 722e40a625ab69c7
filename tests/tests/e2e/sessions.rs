//! Sessions on containers of rented machines: commands, copies and logs of earlier runs, through
//! the machine's agent; during cuts and the manager's death too, and many at once.

mod logs;

use futures_util::future::join_all;
use micado_api::{ContainerState, LaunchRequest};
use micado_tests::{
    Cluster, Options, Request, Running, Setup, Store, is_full, job, measured, micado, tools, wait,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Size of a copy, in MiB, and of the second one except in a full run: the store is not involved,
/// so a little suffices the second time.
const SIZE: u64 = 100;
const FULL_SIZE: u64 = 1024;
const SMALL_SIZE: u64 = 10;
/// Capacity of a pipe, in bytes.
const PIPE: u64 = 64 << 10;
/// Time without a write after which an endless writer counts as blocked.
const STUCK: Duration = Duration::from_secs(1);
/// Upper bound for the growth of memory of a process that forwards a copy, in MiB, whatever the
/// copy's size.
const PASSING_ON: u64 = 48;
/// Upper bounds for a session to end after its machine was cut off, and for machines to be
/// reachable again, in seconds.
const NOTICED: u64 = 45;

/// A cluster with this many containers on one machine with a connected agent, their names, and the
/// machine's tag.
async fn running(store: Store, count: usize) -> (Cluster, Vec<String>, String) {
    launched(store, &vec![tools("acme"); count]).await
}

async fn launched(store: Store, requests: &[LaunchRequest]) -> (Cluster, Vec<String>, String) {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        store,
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    let mut names = Vec::new();
    for request in requests {
        names.push(
            cluster
                .launch(&request.clone().memory_mib(128))
                .await
                .name
                .to_string(),
        );
    }
    for name in &names {
        cluster
            .until_container(name, ContainerState::Running, 60)
            .await;
        cluster.until_reached(name, 60).await;
    }
    let view = cluster.look().await.expect("a view");
    let tag = view.place_of(&names[0]).expect("a place");
    assert_eq!(view.instances.len(), 1);
    (cluster, names, tag)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_copies_reach_containers_with_a_file() {
    let size = if is_full() { FULL_SIZE } else { SIZE };
    commands_and_copies(Store::Embedded, size).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_copies_reach_containers_with_a_mongodb() {
    commands_and_copies(Store::MongoDb, SMALL_SIZE).await;
}

async fn commands_and_copies(store: Store, size: u64) {
    let (cluster, names, tag) = running(store, 1).await;
    commands(&cluster, &names[0]).await;
    readers_that_stop(&cluster, &names[0]).await;
    copies(&cluster, &names[0], &tag, size).await;
}

async fn commands(cluster: &Cluster, name: &str) {
    let piped = cluster.execute(name, &["cat"], b"x\n").await.ok();
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("x\n", ""));
    let both = cluster
        .execute(name, &["sh", "-c", "echo out; echo err >&2; exit 7"], b"")
        .await;
    assert_eq!(
        (both.code, both.stdout.as_str(), both.stderr.as_str()),
        (Some(7), "out\n", "err\n")
    );
    cluster
        .micado(&["execute", "-n", "nobody", "-c", "true"])
        .await
        .refused(1, &["no container or service `nobody`"]);

    with_a_terminal(cluster, name).await;
    interrupted(cluster, name).await;

    let begin = Instant::now();
    let numbers: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let all = join_all(
        numbers
            .iter()
            .map(|number| cluster.execute(name, &["cat"], number.as_bytes())),
    )
    .await;
    let answers: Vec<String> = all.into_iter().map(|outcome| outcome.ok().stdout).collect();
    assert_eq!(answers, numbers);
    measured("50 commands at once", begin.elapsed());
}

/// `script` gives its child a terminal, and ends as the child does.
async fn with_a_terminal(cluster: &Cluster, name: &str) {
    // The engine sets a terminal's size only once the command runs.
    let command = "test -t 0 || exit 4; for i in 1 2 3 4 5; do size=$(stty size 2>/dev/null); test \"$size\" && echo $size && exit 3; sleep 1; done";
    let line = format!(
        "stty cols 91 rows 33; {} execute -n {name} -c sh -c '{command}'",
        micado().display()
    );
    let mut child = Command::new("script");
    child
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("MICADO_MANAGER", cluster.address())
        .kill_on_drop(true);
    let output = child.stdin(Stdio::null()).output().await.expect("script");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("33 91"), "{said}");
}

async fn interrupted(cluster: &Cluster, name: &str) {
    let mut session = cluster.start_micado(&[
        "execute",
        "-n",
        name,
        "-c",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    assert_eq!(&session.printed().await, b"up\n");
    session.kill("-INT").await;
    assert_eq!(
        session.end(b"", 30).await.code,
        Some(130),
        "the command ended by the signal, and we as it did"
    );
}

/// A blocked reader keeps neither `micado` nor the command from ending.
async fn readers_that_stop(cluster: &Cluster, name: &str) {
    let begin = Instant::now();
    let piped = async |verb: &str| {
        let script = format!(
            "{} {verb} | head -n 1; echo ${{PIPESTATUS[0]}}",
            micado().display()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("MICADO_MANAGER", cluster.address())
            .kill_on_drop(true)
            .output()
            .await
            .expect("bash");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(
        piped(&format!("execute -n {name} -c yes")).await,
        ("y\n141\n".to_owned(), String::new()),
        "as a command here that SIGPIPE ends"
    );
    none_left(cluster, name, "yes").await;
    measured("`yes | head -n 1` and the end of both", begin.elapsed());

    // Its final message goes to the blocked pipe, too.
    let mut unread = cluster.start_micado_joined(&["execute", "-n", name, "-c", "yes"]);
    // A write that the full pipe accepts only in part is not counted.
    let mut seen = (0, Instant::now());
    let is_stuck = async || {
        let wrote = unread.wrote();
        if wrote != seen.0 {
            seen = (wrote, Instant::now());
        }
        (wrote >= PIPE / 4 && seen.1.elapsed() >= STUCK).then_some(())
    };
    wait("the pipe is full", 30, is_stuck).await;
    unread.kill("-INT").await;
    wait(
        "it ends, though nobody reads what it says",
        15,
        async || unread.ended().then_some(()),
    )
    .await;
    assert_eq!(unread.end(b"", 5).await.code, Some(130));
    none_left(cluster, name, "yes").await;
}

/// Waits until no program of this name runs in a container.
async fn none_left(cluster: &Cluster, name: &str, program: &str) {
    let gone = async || {
        cluster
            .execute(name, &["pidof", program], b"")
            .await
            .stdout
            .is_empty()
            .then_some(())
    };
    wait(&format!("no `{program}` is left in {name}"), 30, gone).await;
}

async fn copies(cluster: &Cluster, name: &str, tag: &str, size: u64) {
    let (there, back) = (cluster.file("there.bin"), cluster.file("back.bin"));
    write_noise(&there, size);
    let before = (cluster.manager_peak(), cluster.agent_peak(tag).await);

    let begin = Instant::now();
    cluster
        .micado(&[
            "copy",
            "-f",
            &there.display().to_string(),
            "-p",
            "/data/",
            "-c",
            name,
            "-w",
            "to",
        ])
        .await
        .ok();
    measured(
        &format!("{size} MiB copied to a container"),
        begin.elapsed(),
    );
    let begin = Instant::now();
    cluster
        .micado(&[
            "cp",
            &format!("{name}:/data/there.bin"),
            &back.display().to_string(),
        ])
        .await
        .ok();
    measured(
        &format!("{size} MiB copied from a container"),
        begin.elapsed(),
    );
    assert!(
        Command::new("cmp")
            .args([&there, &back])
            .status()
            .await
            .expect("cmp")
            .success(),
        "it came back as it went"
    );
    // The kernel's peak is a little off: without growth it may fall below what was read before.
    let (manager, agent) = (
        cluster.manager_peak().saturating_sub(before.0),
        cluster.agent_peak(tag).await.saturating_sub(before.1),
    );
    println!(
        "measured: the manager grew by {manager} MiB from {} MiB, the agent by {agent} MiB from {} MiB",
        before.0, before.1
    );
    assert!(
        manager <= PASSING_ON && agent <= PASSING_ON,
        "they hold what they pass on"
    );

    // Under another name, and into an existing folder.
    std::fs::write(&there, "short").expect("written");
    for target in ["/data/other", "/data"] {
        cluster
            .micado(&[
                "cp",
                &there.display().to_string(),
                &format!("{name}:{target}"),
            ])
            .await
            .ok();
    }
    assert_eq!(
        cluster
            .execute(name, &["cat", "/data/other", "/data/there.bin"], b"")
            .await
            .ok()
            .stdout,
        "shortshort"
    );
    cluster
        .micado(&[
            "cp",
            &format!("{name}:/nowhere"),
            &back.display().to_string(),
        ])
        .await
        .refused(1, &["/nowhere"]);
}

/// Fills a file with this many unique MiB.
fn write_noise(path: &Path, mib: u64) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let mut state = 1_u64;
    for _ in 0..(mib << 20) / 8 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        file.write_all(&state.to_le_bytes()).expect("written");
    }
    file.flush().expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_through_a_cut_end_with_clear_words_and_the_next_ones_work() {
    // One container for each session: the engine locks a container while it copies.
    let (cluster, names, tag) = running(Store::Embedded, 3).await;
    let [name, to_name, from_name] = [0, 1, 2].map(|number: usize| names[number].as_str());
    // More than can be copied until the cut, and little of it on a disk.
    let many = cluster.file("many");
    write_huge(&many);
    cluster
        .execute(
            from_name,
            &[
                "sh",
                "-c",
                "mkdir /data/out && dd of=/data/out/huge bs=1 seek=64G count=0",
            ],
            b"",
        )
        .await
        .ok();
    let (out, back) = (
        format!("{from_name}:/data/out/huge"),
        cluster.file("back").display().to_string(),
    );

    let mut command = cluster.start_micado(&[
        "execute",
        "-n",
        name,
        "-c",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    assert_eq!(&command.printed().await, b"up\n");
    let mut to = cluster.start_micado(&[
        "cp",
        &many.display().to_string(),
        &format!("{to_name}:/data/"),
    ]);
    let arrives = async || {
        (!cluster
            .on_machine(
                &tag,
                "find /var/lib/docker/overlay2/*/diff/data/many -type f 2>/dev/null | head -n 1",
            )
            .await
            .is_empty())
        .then_some(())
    };
    wait("a copy to the container is under way", 30, arrives).await;
    let mut from = copy_under_way(&cluster, &out, &back).await;
    assert!(
        !command.ended() && !to.ended() && !from.ended(),
        "all are under way"
    );

    cluster.cut_agent(&tag).await;
    let begin = Instant::now();
    for (what, session) in [
        ("a command", command),
        ("a copy to it", to),
        ("a copy from it", from),
    ] {
        let end = session.end(b"", NOTICED).await;
        measured(
            &format!("from the cut to the end of {what}"),
            begin.elapsed(),
        );
        end.refused(1, &["the connection to the machine broke", "micado list"]);
    }
    assert!(
        !Path::new(&back).exists() && !asides(cluster.folder()),
        "a copy that broke off leaves nothing"
    );
    cluster
        .execute(name, &["true"], b"")
        .await
        .refused(1, &["agent", &tag]);
    // Logs come from the Swarm, not from the agent.
    cluster.micado(&["logs", "-n", name]).await.ok();

    cluster.mend_agent(&tag).await;
    let begin = Instant::now();
    cluster.until_reached(name, NOTICED).await;
    measured(
        "from the end of the cut to the next command",
        begin.elapsed(),
    );
    assert_eq!(
        cluster.execute(name, &["cat"], b"again").await.ok().stdout,
        "again"
    );
    let short = cluster.file("short");
    std::fs::write(&short, "short").expect("written");
    for name in [to_name, from_name] {
        cluster
            .micado(&[
                "cp",
                &short.display().to_string(),
                &format!("{name}:/data/short"),
            ])
            .await
            .ok();
        cluster
            .micado(&["cp", &format!("{name}:/data/short"), &back])
            .await
            .ok();
        assert_eq!(std::fs::read_to_string(&back).expect("copied"), "short");
    }
    let alone = async || {
        (cluster
            .execute(name, &["pidof", "sleep"], b"")
            .await
            .ok()
            .stdout
            .split_whitespace()
            .count()
            == 1)
            .then_some(())
    };
    wait(
        "of the commands of sessions that broke none is left",
        30,
        alone,
    )
    .await;
}

/// Starts a copy out of a container.
async fn copy_under_way(cluster: &Cluster, out: &str, back: &str) -> Running {
    let copy = cluster.start_micado(&["cp", out, back]);
    wait("a copy from the container is under way", 30, async || {
        asides(cluster.folder()).then_some(())
    })
    .await;
    copy
}

/// A folder with a file of 100 GiB that takes no room here.
fn write_huge(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder");
    File::create(folder.join("0"))
        .and_then(|file| file.set_len(SIZE << 30))
        .expect("made");
}

/// Returns true if a temporary folder of a copy exists beside its destination.
fn asides(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .expect("the folder")
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(".micado"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_killed_ends_sessions_with_clear_words() {
    let (mut cluster, names, tag) = running(Store::Embedded, 2).await;
    let [name, from_name] = [0, 1].map(|number: usize| names[number].as_str());
    cluster
        .execute(
            from_name,
            &["dd", "of=/data/huge", "bs=1", "seek=64G", "count=0"],
            b"",
        )
        .await
        .ok();
    let programs = "pidof sleep | wc -w";
    let before = cluster.on_machine(&tag, programs).await;

    let mut command = cluster.start_micado(&[
        "execute",
        "-n",
        name,
        "-c",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    assert_eq!(&command.printed().await, b"up\n");
    // A line for the log: only its arrival shows that the stream of the log runs.
    cluster
        .execute(name, &["sh", "-c", "echo up >/proc/1/fd/1"], b"")
        .await
        .ok();
    let mut logs = cluster.start_micado(&["logs", "-n", name, "--follow"]);
    assert_eq!(&logs.printed().await, b"up\n");
    let back = cluster.file("back").display().to_string();
    let copy = copy_under_way(&cluster, &format!("{from_name}:/data/huge"), &back).await;
    cluster.kill_manager().await;
    let begin = Instant::now();
    for (what, session) in [("a command", command), ("a log", logs), ("a copy", copy)] {
        session.end(b"", 10).await.refused(
            1,
            &[
                "broke",
                "the session is lost; run it again once `micado status` answers",
            ],
        );
        measured(
            &format!("from the manager's death to the end of {what}"),
            begin.elapsed(),
        );
    }
    assert!(
        !Path::new(&back).exists() && !asides(cluster.folder()),
        "a copy that broke off leaves nothing"
    );
    wait("the command in the container is ended", 30, async || {
        (cluster.on_machine(&tag, programs).await == before).then_some(())
    })
    .await;
    measured(
        "from the manager's death to the end of the command in the container",
        begin.elapsed(),
    );

    cluster
        .micado(&["execute", "-n", name, "-c", "true"])
        .await
        .refused(1, &["no manager answers", "is it running?"]);
    cluster.start_manager(&[]).await;
    cluster.until_reached(name, NOTICED).await;
    measured(
        "from the manager's death to the next command",
        begin.elapsed(),
    );
}
