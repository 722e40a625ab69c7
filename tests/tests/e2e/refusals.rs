//! Bad input: every refusal names the thing and the cause, ends with the right code, and changes
//! nothing.

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, run_micado, wait};

/// Exit code of an invalid request.
const USAGE: i32 = 2;
/// Exit code of a valid request that was refused.
const REFUSED: i32 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_changes_nothing() {
    let cluster = Cluster::start(Options {
        setup: Setup::small(),
        ..Options::default()
    })
    .await;
    assert_eq!(
        cluster
            .micado(&[
                "launch",
                "-i",
                "micado-web",
                "-n",
                "acme",
                "-p",
                "18080:8080"
            ])
            .await
            .ok()
            .stdout,
        "acme_micado-web.1\n"
    );
    let before = cluster.look().await.expect("a view").without_usage();

    let start = |cloud, application, flavour| {
        [
            "start",
            "-c",
            cloud,
            "-a",
            application,
            "-f",
            flavour,
            "-t",
            "web01",
            "-n",
            "application",
        ]
    };
    cluster
        .micado(&start("nowhere", "Node", "small"))
        .await
        .refused(REFUSED, &["nowhere", "local"]);
    cluster
        .micado(&start("local", "Nothing", "small"))
        .await
        .refused(REFUSED, &["Nothing", "Node"]);
    cluster
        .micado(&start("local", "Node", "huge"))
        .await
        .refused(REFUSED, &["huge", "small"]);
    cluster
        .micado(&["stop", "-t", "nobody"])
        .await
        .refused(REFUSED, &["nobody", "micado list"]);
    for verb in [
        ["quit", "-n"],
        ["remove", "-n"],
        ["logs", "-n"],
        ["info", "-s"],
    ] {
        cluster
            .micado(&[verb[0], verb[1], "nobody"])
            .await
            .refused(REFUSED, &["nobody", "micado list"]);
    }
    cluster
        .micado(&["explain", "nobody"])
        .await
        .refused(REFUSED, &["nobody"]);
    cluster
        .micado(&["remove", "-n", "acme_micado-web.1"])
        .await
        .refused(REFUSED, &["is not stopped", "micado quit"]);

    let launch =
        |more: &[&'static str]| [&["launch", "-i", "micado-web", "-n", "bad"], more].concat();
    cluster
        .micado(&["launch", "-i", "localhost:1/none", "-n", "bad"])
        .await
        .refused(REFUSED, &["image `localhost:1/none`"]);
    cluster
        .micado(&["launch", "-n", "bad"])
        .await
        .refused(USAGE, &["--image"]);
    cluster
        .micado(&["frobnicate"])
        .await
        .refused(USAGE, &["frobnicate"]);
    cluster
        .micado(&launch(&["--memory", "0"]))
        .await
        .refused(USAGE, &["memory `0` is zero"]);
    cluster
        .micado(&launch(&["--memory", "-1"]))
        .await
        .refused(USAGE, &["memory `-1` is negative"]);
    cluster
        .micado(&launch(&["--memory", "10X"]))
        .await
        .refused(USAGE, &["memory `10X`"]);
    cluster
        .micado(&launch(&["--memory", "10G"]))
        .await
        .refused(REFUSED, &["largest flavour is small on local"]);
    cluster
        .micado(&launch(&["-p", "8080", "-p", "8080:81"]))
        .await
        .refused(USAGE, &["port 8080/tcp is published twice"]);
    cluster
        .micado(&launch(&["-p", "99999"]))
        .await
        .refused(USAGE, &["99999"]);
    cluster
        .micado(&launch(&["-e", "NO_VALUE"]))
        .await
        .refused(USAGE, &["NO_VALUE"]);
    cluster
        .micado(&launch(&["--volume", "data:relative"]))
        .await
        .refused(USAGE, &["relative"]);

    let after = cluster.look().await.expect("a view").without_usage();
    assert_eq!(after, before, "nothing has changed");
    a_port_that_a_foreign_process_holds(&cluster).await;
}

/// Swarm finds that out when it starts the container, over and over: it is shown as failing with
/// the engine's message, and `launch` reports that.
async fn a_port_that_a_foreign_process_holds(cluster: &Cluster) {
    let holds = "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => 18081, Listen => 1, ReuseAddr => 1) or exit 1; sleep 600' & sleep 0.3; kill -0 $!";
    cluster
        .on_machine("application01", &format!("({holds}) >/dev/null 2>&1"))
        .await;
    let outcome = cluster
        .micado(&[
            "launch",
            "-i",
            "micado-web",
            "-n",
            "other",
            "-p",
            "18081:8080",
            "--memory",
            "64M",
        ])
        .await;
    outcome.refused(REFUSED, &["address already in use"]);
    let failing = cluster
        .until_container("other_micado-web.1", ContainerState::Failing, 20)
        .await;
    assert!(
        failing.reason.as_ref().is_some_and(
            |reason| reason.contains("18081") && reason.contains("address already in use")
        ),
        "{failing:?}"
    );
    cluster
        .micado(&["quit", "-n", "other_micado-web.1", "-rm"])
        .await
        .ok();
    let gone = async || {
        cluster
            .look()
            .await
            .ok()?
            .container("other_micado-web.1")
            .is_none()
            .then_some(())
    };
    wait("the failing container is gone", 20, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_cloudsetup_xml_is_refused_with_line_and_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "<applications><application><name>Node</name><sname>n</sname><executable>e</executable></application></applications></setup>";
    let flavours = "<flavours><flavour>\n<size>s</size><memory>10X</memory><cores>1</cores></flavour></flavours>";
    let cases = [
        (
            "<setup>\n  <clouds>\n    <cloud></clou>\n</setup>".to_owned(),
            ":3:",
            "not well-formed",
        ),
        (
            format!(
                "<setup><clouds><cloud><name>a</name><broker>local</broker>\n{flavours}</cloud></clouds>{rest}"
            ),
            ":3:15",
            "memory `10X`",
        ),
        (
            format!(
                "<setup>\n  <clouds><cloud><name>a</name><broker>moon</broker>{flavours}</cloud></clouds>{rest}"
            ),
            ":2:32",
            "broker `moon`",
        ),
    ];
    for (text, place, words) in cases {
        let file = folder.path().join("cloudsetup.xml");
        std::fs::write(&file, text).expect("a file");
        let (state, file) = (
            folder.path().join("state").display().to_string(),
            file.display().to_string(),
        );
        let arguments = [
            "manager",
            "--state",
            &state,
            "--cloudsetup",
            &file,
            "--engine",
            "unix:///nowhere/docker.sock",
        ];
        let outcome = run_micado(&arguments, &[]).await;
        outcome.refused(REFUSED, &[&format!("cloudsetup.xml{place}"), words]);
    }
}
