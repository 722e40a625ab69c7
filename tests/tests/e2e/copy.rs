//! `micado cp` beside the real `docker cp`, on two equal containers of one engine: a table of
//! sources, targets and ends of paths, in both directions; and where micado differs on purpose.

mod differences;
mod table;

use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Request, Setup, micado, tools};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};
use tokio::process::Command;

/// Time of the last modification of all sources, in seconds since the Unix epoch.
const OLD: i64 = 1_000_000_000;

/// Two equal containers on one machine, and a third that cannot write to its root.
struct Bed {
    cluster: Cluster,
    docker: Side,
    ours: Side,
    read_only: Side,
    /// The `DOCKER_HOST` of the machine's engine.
    engine: String,
}

/// A container, and the program that copies to it and from it.
struct Side {
    /// Name for micado.
    name: String,
    /// Name for the engine.
    id: String,
    root: PathBuf,
}

impl Bed {
    async fn make() -> Self {
        let cluster = Cluster::start(Options {
            setup: Setup::small(),
            ..Options::default()
        })
        .await;
        cluster.load_tools().await;
        let mut read_only = tools("fixed").volume("data", "/data");
        read_only.spec.run.read_only = true;
        let requests = [
            tools("docker").volume("volume", "/volume"),
            tools("ours").volume("volume", "/volume"),
            read_only,
        ];
        let mut names = Vec::new();
        for request in requests {
            let container = cluster.launch(&request.memory_mib(128)).await;
            names.push(container.name.to_string());
        }
        for name in &names {
            let running = ContainerState::Running;
            cluster.until_container(name, running, 60).await;
        }
        cluster.until_reached(&names[0], 60).await;
        let view = cluster.look().await.expect("a view");
        let tag = view.place_of(&names[0]).expect("a place");
        assert_eq!(view.instances.len(), 1);
        let mut sides = Vec::new();
        for (name, host) in names.into_iter().zip(["docker", "ours", "fixed"]) {
            let host = format!("{host}-micado-tools-1");
            let (id, root) = cluster.container_root(&tag, &host).await;
            sides.push(Side { name, id, root });
        }
        let [docker, ours, read_only] = <[Side; 3]>::try_from(sides).ok().expect("three");
        let socket = cluster.machine_root(&tag).await.join("run/docker.sock");
        Self {
            engine: format!("unix://{}", socket.display()),
            cluster,
            docker,
            ours,
            read_only,
        }
    }

    /// `docker` with the machine's engine.
    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", &self.engine);
        command
    }

    fn micado(&self) -> Command {
        let mut command = Command::new(micado());
        command.env("MICADO_MANAGER", self.cluster.address());
        command
    }
}

/// Runs a script of `bash` in a folder.
async fn script(folder: &Path, script: &str) {
    let mut bash = Command::new("bash");
    bash.args(["-euc", script]).current_dir(folder);
    let output = bash.stdin(Stdio::null()).output().await.expect("bash");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_to_b7_cp_copies_as_docker_does() {
    let bed = Bed::make().await;
    let begin = Instant::now();
    table::compare(&bed).await;
    micado_tests::measured("the table of copies, by both programs", begin.elapsed());
    let begin = Instant::now();
    differences::check(&bed).await;
    micado_tests::measured("copies where micado differs", begin.elapsed());
}
