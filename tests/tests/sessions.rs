//! Sessions on containers of rented machines: commands and copies, by way of the machine's agent.

use futures_util::future::join_all;
use micado_api::{ContainerState, LaunchRequest, MemoryBytes};
use micado_tests::{Cluster, Options, Outcome, Setup, measured, micado, wait, web};
use std::{process::Stdio, time::Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// What is copied, in bytes.
const SIZE: usize = 100 << 20;

/// A container that has a shell and its tools.
fn tools(client: &str) -> LaunchRequest {
    let mut request = web(client);
    request.spec.image = "micado-tools".to_owned();
    request.spec.arguments = ["sleep", "1000000"].map(str::to_owned).to_vec();
    request.spec.reservation.memory = MemoryBytes::mib(256);
    request
}

async fn running() -> (Cluster, String) {
    let cluster = Cluster::start(Options { setup: Setup::small(), ..Options::default() }).await;
    cluster.load_tools().await;
    let name = cluster.launch(&tools("acme")).await.name.to_string();
    cluster.until_container(&name, ContainerState::Running, 60).await;
    until_reached(&cluster, &name).await;
    (cluster, name)
}

/// Waits until its machine's agent is connected.
async fn until_reached(cluster: &Cluster, name: &str) {
    let reached = async || (cluster.micado(&["execute", "-n", name, "-c", "true"]).await.code == Some(0)).then_some(());
    wait("the machine's agent is connected", 60, reached).await;
}

/// Runs `execute` with this input.
async fn execute(cluster: &Cluster, name: &str, command: &[&str], input: &[u8]) -> Outcome {
    let arguments = [&["execute", "-n", name, "-c"], command].concat();
    let mut child = Command::new(micado())
        .args(arguments)
        .env("MICADO_MANAGER", cluster.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("micado");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let feeding = tokio::spawn(async move { stdin.write_all(&input).await });
    let output = child.wait_with_output().await.expect("its end");
    drop(feeding.await);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_copies_reach_containers_through_a_cut() {
    let (cluster, name) = running().await;
    commands(&cluster, &name).await;
    copies(&cluster, &name).await;

    let tag = cluster.look().await.expect("a view").place_of(&name).expect("a place");
    let agent = "pidof micado-node";
    let before = cluster.on_machine(&tag, agent).await;
    cluster.on_machine(&tag, &format!("kill -9 {before}")).await;
    let begin = Instant::now();
    until_reached(&cluster, &name).await;
    measured("from the agent's end to the next command", begin.elapsed());
    assert_ne!(cluster.on_machine(&tag, agent).await, before, "it was started again");
}

async fn commands(cluster: &Cluster, name: &str) {
    let piped = execute(cluster, name, &["cat"], b"x\n").await.ok();
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("x\n", ""));
    let both = execute(cluster, name, &["sh", "-c", "echo out; echo err >&2; exit 7"], b"").await;
    assert_eq!((both.code, both.stdout.as_str(), both.stderr.as_str()), (Some(7), "out\n", "err\n"));
    cluster.micado(&["execute", "-n", "nobody", "-c", "true"]).await.refused(1, &["no container or service `nobody`"]);

    with_a_terminal(cluster, name).await;
    interrupted(cluster, name).await;

    let begin = Instant::now();
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let all = join_all(numbers.iter().map(|number| execute(cluster, name, &["cat"], number.as_bytes()))).await;
    let answers: Vec<String> = all.into_iter().map(|outcome| outcome.ok().stdout).collect();
    assert_eq!(answers, numbers);
    measured("20 commands at once", begin.elapsed());
}

/// `script` gives its child a terminal, and ends as the child does.
async fn with_a_terminal(cluster: &Cluster, name: &str) {
    // The engine sets a terminal's size only once the command runs.
    let command = "test -t 0 || exit 4; for i in 1 2 3 4 5; do size=$(stty size 2>/dev/null); test \"$size\" && echo $size && exit 3; sleep 1; done";
    let line = format!("stty cols 91 rows 33; {} execute -n {name} -c sh -c '{command}'", micado().display());
    let mut child = Command::new("script");
    child.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("MICADO_MANAGER", cluster.address()).kill_on_drop(true);
    let output = child.stdin(Stdio::null()).output().await.expect("script");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("33 91"), "{said}");
}

async fn interrupted(cluster: &Cluster, name: &str) {
    let mut child = Command::new(micado())
        .args(["execute", "-n", name, "-c", "sh", "-c", "echo up; exec sleep 1000"])
        .env("MICADO_MANAGER", cluster.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("micado");
    let mut up = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut up).await.expect("it runs");
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.expect("kill").success());
    assert_eq!(child.wait().await.expect("its end").code(), Some(130), "the command ended by the signal, and we as it did");
}

async fn copies(cluster: &Cluster, name: &str) {
    let (there, back) = (cluster.file("there.bin"), cluster.file("back.bin"));
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()
    });
    let content: Vec<u8> = noise.take(SIZE / 8).flatten().collect();
    std::fs::write(&there, &content).expect("written");

    let begin = Instant::now();
    cluster.micado(&["copy", "-f", &there.display().to_string(), "-p", "/data/", "-c", name, "-w", "to"]).await.ok();
    measured("100 MiB copied to a container", begin.elapsed());
    let begin = Instant::now();
    cluster.micado(&["cp", &format!("{name}:/data/there.bin"), &back.display().to_string()]).await.ok();
    measured("100 MiB copied from a container", begin.elapsed());
    assert!(std::fs::read(&back).expect("copied") == content, "it came back as it went");

    // Under another name, and into a folder that is there.
    std::fs::write(&there, "short").expect("written");
    for target in ["/data/other", "/data"] {
        cluster.micado(&["cp", &there.display().to_string(), &format!("{name}:{target}")]).await.ok();
    }
    assert_eq!(execute(cluster, name, &["cat", "/data/other", "/data/there.bin"], b"").await.ok().stdout, "shortshort");
    cluster.micado(&["cp", &format!("{name}:/nowhere"), &back.display().to_string()]).await.refused(1, &["/nowhere"]);
}
