//! Logs of earlier runs, and of containers that have ended.

use super::*;

/// Runs until it is asked to end, each time with another line in its log, and fails.
const FAILS: &str = "echo run $(cat /proc/sys/kernel/random/uuid); while ! test -e /data/end; do sleep 0.1; done; exit 3";

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_earlier_runs() {
    let mut fails = tools("fails");
    fails.spec.arguments = ["sh", "-c", FAILS].map(str::to_owned).to_vec();
    let (cluster, names, tag) = launched(Store::Embedded, &[fails]).await;
    let name = names[0].as_str();
    let (logs, previous) = (
        async || cluster.micado(&["logs", "-n", name]).await,
        async || cluster.micado(&["logs", "-n", name, "--previous"]).await,
    );
    let line = async || Some(logs().await.ok().stdout).filter(|log| log.ends_with('\n'));
    let first = wait("it has said which run it is", 30, line).await;
    assert!(
        first.starts_with("run ") && first.lines().count() == 1,
        "{first}"
    );
    previous()
        .await
        .refused(1, &["no earlier run", name, "micado logs"]);
    cluster
        .micado(&["logs", "-n", name, "--previous", "--follow"])
        .await
        .refused(2, &["--follow"]);

    // The command itself may be ended with the container.
    cluster
        .execute(name, &["sh", "-c", ": >/data/end"], b"")
        .await;
    let is_first = async || (previous().await.stdout == first).then_some(());
    wait("the log of the run that ended is shown", 30, is_first).await;
    let second = async || {
        logs()
            .await
            .stdout
            .lines()
            .find(|line| line.starts_with("run ") && *line != first.trim())
            .map(str::to_owned)
    };
    let second = wait("it runs anew", 30, second).await;
    assert_eq!(
        previous().await.ok().stdout,
        first,
        "not that of the present run"
    );
    assert_eq!(
        cluster
            .micado(&["logs", "-n", name, "--previous", "--tail", "0"])
            .await
            .ok()
            .stdout,
        ""
    );

    cluster.cut_agent(&tag).await;
    previous().await.refused(1, &["agent", &tag]);
    assert!(
        logs().await.ok().stdout.contains(&second),
        "what comes by Swarm needs no agent"
    );
    cluster.mend_agent(&tag).await;
    wait(
        "the log of the run that ended is shown again",
        NOTICED,
        is_first,
    )
    .await;
    assert!(logs().await.ok().stdout.contains(&second));

    over(&cluster, name, &second).await;
}

/// Logs of ended containers: the end is saved for a stopped one, a completed one still exists.
async fn over(cluster: &Cluster, name: &str, second: &str) {
    cluster.micado(&["quit", "-n", name]).await.ok();
    cluster
        .until_container(name, ContainerState::Stopped, 30)
        .await;
    let mut completes = job(tools("completes")).memory_mib(128);
    completes.spec.arguments = ["sh", "-c", "echo whole"].map(str::to_owned).to_vec();
    let completes = cluster.launch(&completes).await.name.to_string();
    cluster
        .until_container(&completes, ContainerState::Completed, 60)
        .await;
    for flags in [&[][..], &["--previous"]] {
        let logs = async |name: &str| {
            cluster
                .micado(&[&["logs", "-n", name], flags].concat())
                .await
                .ok()
                .stdout
        };
        assert!(logs(name).await.contains(second), "{flags:?}");
        assert_eq!(logs(&completes).await, "whole\n", "{flags:?}");
    }
}

/// Says a line on both outputs, and fails. The engine starts it anew after a while.
const DIES: &str = "echo runs; echo fails >&2; sleep 0.5; echo ends; exit 3";

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_all_runs_and_containers_are_in_order_of_time() {
    let mut dies = tools("dies").memory_mib(64);
    dies.spec.arguments = ["sh", "-c", DIES].map(str::to_owned).to_vec();
    dies.copies = std::num::NonZeroU32::new(2).expect("two");
    let cluster = Cluster::start(Options::default()).await;
    cluster.load_tools().await;
    let service = cluster.launch(&dies).await.service.to_string();
    let logs = async |flags: &[&str]| {
        let flags = [&["logs", &service, "--timestamps"], flags].concat();
        cluster.micado(&flags).await.ok()
    };
    // CONTAINER | TIME TEXT
    let parts = |line: &str| {
        let mut parts = line.splitn(4, ' ').map(str::to_owned);
        let container = parts.next().expect("a container");
        let (at, text) = (parts.nth(1).expect("a time"), parts.next().expect("text"));
        (at, container, text)
    };
    let lines = |text: &str| text.lines().map(parts).collect::<Vec<_>>();
    let whole = wait("both have run three times", 90, async || {
        let whole = logs(&[]).await;
        let out = lines(&whole.stdout);
        let ends = |number: u8| {
            let container = format!("{service}.{number}");
            let its = out.iter().filter(|(_, name, _)| *name == container);
            its.filter(|(_, _, text)| text == "ends").count()
        };
        (ends(1) >= 3 && ends(2) >= 3).then_some(whole)
    })
    .await;
    let (out, err) = (lines(&whole.stdout), lines(&whole.stderr));
    assert!(out.is_sorted_by_key(|(at, ..)| at), "{out:?}");
    assert!(err.is_sorted_by_key(|(at, ..)| at), "{err:?}");
    assert!(err.len() >= 6 && err.iter().all(|(.., text)| text == "fails"));
    for number in [1, 2] {
        let container = format!("{service}.{number}");
        let its = out.iter().filter(|(_, name, _)| *name == container);
        let its: Vec<&str> = its.map(|(.., text)| text.as_str()).collect();
        let runs = its
            .chunks(2)
            .all(|run| run[0] == "runs" && run.get(1) != Some(&"runs"));
        assert!(runs, "{its:?}");
    }

    let last = logs(&["--tail", "3", "--output", "json"]).await.stdout;
    let last: Vec<micado_api::LogEntry> = last
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect();
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last.is_sorted_by_key(|entry| &entry.at), "{last:?}");
}
