//! Options of `docker run`, as a container on a rented machine has them, and what `launch` says of a
//! container that does not start.

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, measured, micado, wait};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// A cluster with an image of tools.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    cluster.load_tools().await;
    cluster
}

/// `launch` of an image of tools for a client, with these flags.
fn launch<'a>(client: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "launch",
        "-i",
        "micado-tools",
        "-n",
        client,
        "--memory",
        "64M",
    ];
    base.into_iter().chain(flags.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_b14_b15_a_container_has_the_options_that_it_was_launched_with() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("env");
    std::fs::write(&file, "# of the file\nA=1\nB=2\n").expect("written");
    let file = file.display().to_string();
    let flags = [
        "--entrypoint",
        "sh -c 'trap \"exit 0\" USR1; while :; do sleep 0.1; done'",
        "--env-file",
        &file,
        "-e",
        "B=3",
        "-e",
        "OWN",
        "--user",
        "1000:1001",
        "--workdir",
        "/bin",
        "--hostname",
        "db",
        "--label",
        "team=a",
        "--no-init",
        "--stop-signal",
        "SIGUSR1",
        "--read-only",
        "--tmpfs",
        "/scratch:size=4M",
        "--shm-size",
        "32M",
        "--cap-drop",
        "ALL",
        "--ulimit",
        "nofile=100:200",
        "--pids",
        "50",
    ];
    let mut command = Command::new(micado());
    command
        .args(launch("acme", &flags))
        .env("MICADO_MANAGER", cluster.address())
        .env("OWN", "mine");
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let name = "acme_micado-tools.1";
    cluster.until_reached(name, 60).await;

    let shell = async |script: &str| {
        let outcome = cluster.execute(name, &["sh", "-c", script], b"").await;
        outcome.ok().stdout.trim().to_owned()
    };
    assert_eq!(shell("echo $A $B $OWN").await, "1 3 mine");
    assert_eq!(
        shell("id -u; id -g; pwd; hostname").await,
        "1000\n1001\n/bin\ndb"
    );
    assert_eq!(shell("cat /proc/1/comm").await, "sh");
    assert_eq!(shell("ulimit -Sn; ulimit -Hn").await, "100\n200");
    let size = "df -k /scratch /dev/shm | awk 'NR > 1 { print $2 }'";
    assert_eq!(shell(size).await, "4096\n32768");
    assert_eq!(
        shell("touch /scratch/x && ! touch /x 2>/dev/null && echo kept").await,
        "kept"
    );
    let caps = "awk '/^CapBnd/ { print $2 }' /proc/1/status";
    assert_eq!(shell(caps).await, "0000000000000000");
    let most = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    assert_eq!(shell(most).await, "50");

    let absent = cluster.execute(name, &["nosuch"], b"").await;
    assert_eq!((absent.code, absent.stdout.as_str()), (Some(127), ""));
    assert!(absent.stderr.contains("nosuch"), "{absent:?}");

    let info = cluster
        .micado(&["info", "acme_micado-tools"])
        .await
        .ok()
        .stdout;
    for line in [
        "acme-micado-tools, acme-micado-tools-",
        "no-init",
        "team=a",
        "nofile=100:200",
        "/scratch (4 MiB)",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
    // Its signal ends it at once; any other would take the ten seconds of the grace.
    let begin = Instant::now();
    cluster.micado(&["quit", name]).await.ok();
    let time = begin.elapsed();
    assert!(time < Duration::from_secs(9), "{time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b08_launch_waits_until_a_container_has_started_and_says_why_it_has_not() {
    let cluster = cluster().await;
    let outcome = cluster
        .micado(&launch("gone", &["-s", "/no/such/program"]))
        .await;
    println!("{}", outcome.stderr);
    outcome.refused(
        1,
        &[
            "gone_micado-tools.1: failing",
            "127",
            "last lines of",
            "/no/such/program",
        ],
    );
    // It dies again and again, and is listed as what it is each time.
    for _ in 0..20 {
        let view = cluster.look().await.expect("a view");
        let state = view.container("gone_micado-tools.1").expect("there").state;
        assert_eq!(state, ContainerState::Failing);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let again = async || {
        let view = cluster.look().await.ok()?;
        let reason = view.container("gone_micado-tools.1")?.reason.clone()?;
        reason.contains("it died").then_some(())
    };
    wait("the number of deaths is told", 30, again).await;

    let job = "sh -c 'echo broken by design >&2; exit 3'";
    let flags = ["--restart", "no", "--entrypoint", job];
    let outcome = cluster.micado(&launch("job", &flags)).await;
    outcome.refused(1, &["broken by design", "its process ended with 3"]);
    let outcome = cluster
        .micado(&launch("good", &["--restart", "no", "-s", "true"]))
        .await;
    outcome.ok();

    let slow = "sh -c 'sleep 5; touch /ready; sleep 1000000'";
    let check = "test -e /ready";
    let flags = [
        "--entrypoint",
        slow,
        "--health-cmd",
        check,
        "--health-interval",
        "1s",
    ];
    let flags = [&flags[..], &["--health-retries", "30"]].concat();
    let begin = Instant::now();
    cluster.micado(&launch("slow", &flags)).await.ok();
    let time = begin.elapsed();
    assert!(
        time >= Duration::from_secs(5),
        "it was not healthy before: {time:?}"
    );

    cluster
        .micado(&launch(
            "slow",
            &[&flags[..], &["--stop-grace", "30s"]].concat(),
        ))
        .await
        .refused(1, &["stop-grace is default, not 30 s"]);
    for (flags, words) in [
        (["--privileged", "--detach"], "would own its machine"),
        (["--cap-add", "sys_admin"], "acts on the whole machine"),
        (["-e", "MICADO_TEST_NOWHERE"], "has no value here"),
    ] {
        let outcome = cluster.micado(&launch("bad", &flags)).await;
        outcome.refused(2, &[words]);
    }
}

/// A database needs 17 s to end; it was killed after 10.
#[tokio::test(flavor = "multi_thread")]
async fn b14_a_process_has_its_own_time_to_end() {
    let cluster = cluster().await;
    let slow =
        "sh -c 'trap \"sleep 17; echo ended well; exit 0\" TERM; while :; do sleep 0.1; done'";
    let flags = ["--entrypoint", slow, "--stop-grace", "30"];
    cluster.micado(&launch("acme", &flags)).await.ok();
    // B16: others reach it by its plain name.
    let name = "acme_micado-tools.1";
    cluster.until_reached(name, 60).await;
    let looked_up = cluster
        .execute(name, &["nslookup", "acme-micado-tools"], b"")
        .await;
    assert!(looked_up.ok().stdout.contains("acme-micado-tools"));
    let begin = Instant::now();
    cluster.micado(&["quit", "acme_micado-tools.1"]).await.ok();
    let time = begin.elapsed();
    assert!((17..29).contains(&time.as_secs()), "{time:?}");
    let kept = async || {
        let log = cluster.micado(&["logs", name]).await.ok().stdout;
        log.contains("ended well").then_some(())
    };
    let begin = Instant::now();
    wait("what it wrote at its end is kept", 30, kept).await;
    measured(
        "from the end of a process to its last words",
        begin.elapsed(),
    );
}
