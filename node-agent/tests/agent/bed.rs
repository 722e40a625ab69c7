//! A test bed: an agent as a process of its own, a manager, and containers on the engine that are
//! removed at the end.

use crate::{
    authority::{Authority, Span, lay_out},
    manager::{Agent, Manager},
};
use http_body_util::BodyExt;
use hyper::Method;
use micado_node_agent::engine::{Engine, empty, encoded, request};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A test's environment.
pub struct Bed {
    pub authority: Arc<Authority>,
    pub manager: Manager,
    pub etc: tempfile::TempDir,
    pub engine: Engine,
    /// Swarm service of its containers.
    pub service: String,
    program: Child,
    containers: Mutex<Vec<String>>,
}

/// Runs a test with a connected agent, and removes everything afterwards.
pub async fn with_agent(interval_ms: u64, test: impl AsyncFnOnce(&mut Bed, &mut Agent)) {
    let mut bed = Bed::make(interval_ms, Span::LONG).await;
    let outcome = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(async {
        let mut agent = bed.manager.agent().await;
        test(&mut bed, &mut agent).await;
    }))
    .await;
    bed.clear().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The engine's socket.
pub fn socket() -> PathBuf {
    let host =
        std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    host.strip_prefix("unix://")
        .unwrap_or_else(|| {
            panic!("DOCKER_HOST={host}: these tests need an engine on a unix socket")
        })
        .into()
}

/// Label of our containers; `scripts/test` removes those left over from its run.
pub fn label() -> String {
    std::env::var("MICADO_TEST_RUN").unwrap_or_else(|_| "node-agent".to_owned())
}

impl Bed {
    pub async fn make(interval_ms: u64, span: Span) -> Self {
        let authority = Arc::new(Authority::new());
        let manager = Manager::start(&authority).await;
        let etc = tempfile::tempdir().expect("a folder");
        lay_out(
            etc.path(),
            &authority,
            &authority.client(span),
            manager.port,
        );
        let program = start(&etc, interval_ms);
        Self {
            authority,
            manager,
            etc,
            engine: Engine::at(socket()),
            service: format!("tested-{:016x}", rand::random::<u64>()),
            program,
            containers: Mutex::default(),
        }
    }

    /// A value of the agent's process, such as `VmHWM`, in KiB.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let value = status.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        });
        value.expect("the figure")
    }

    pub fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Number of files that the agent has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("it runs")
            .count()
    }

    /// A running container of the node image, which has a shell.
    pub async fn shell(&self) -> String {
        let image =
            std::env::var("MICADO_NODE_IMAGE").unwrap_or_else(|_| "micado-node:latest".to_owned());
        self.container(json!({ "Image": image, "Entrypoint": ["sleep", "infinity"], "HostConfig": { "Init": true } })).await
    }

    /// A running container.
    pub async fn container(&self, body: Value) -> String {
        let id = self.created(body).await;
        self.begin(&id).await;
        id
    }

    /// A created container that does not run yet.
    pub async fn created(&self, mut body: Value) -> String {
        body["Labels"] =
            json!({ "micado.test": label(), "com.docker.swarm.service.name": self.service });
        let made: Value = self
            .engine
            .post("/containers/create", &body)
            .await
            .unwrap_or_else(|error| {
                panic!("{error}: run scripts/node-image/build and scripts/web-image/build")
            });
        let id = made["Id"].as_str().expect("an id").to_owned();
        self.containers.lock().expect("lock").push(id.clone());
        id
    }

    pub async fn begin(&self, id: &str) {
        self.call(Method::POST, &format!("/containers/{id}/start"))
            .await;
    }

    pub async fn call(&self, method: Method, path: &str) {
        self.engine
            .send(request(method, path, empty()).expect("a path"))
            .await
            .expect("the engine does it")
            .into_body()
            .collect()
            .await
            .expect("an answer");
    }

    pub async fn inspect(&self, id: &str) -> Value {
        self.engine
            .get(&format!("/containers/{}/json", encoded(id)))
            .await
            .expect("an answer")
    }

    pub async fn clear(mut self) {
        self.program.kill().expect("killed");
        self.program.wait().expect("ended");
        let containers = std::mem::take(&mut *self.containers.lock().expect("lock"));
        for id in containers {
            let path = format!("/containers/{id}?force=1&v=1");
            let removal = request(Method::DELETE, &path, empty()).expect("a path");
            drop(self.engine.send(removal).await);
        }
    }
}

fn start(etc: &tempfile::TempDir, interval_ms: u64) -> Child {
    // `MICADO_NODE_BIN` measures another build, such as the static one.
    Command::new(
        std::env::var("MICADO_NODE_BIN")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_micado-node").to_owned()),
    )
    .arg("--etc")
    .arg(etc.path())
    .arg("--docker-socket")
    .arg(socket())
    .arg("--registries")
    .arg(etc.path().join("registries"))
    .args(["--interval-ms", &interval_ms.to_string(), "--log", "debug"])
    .stdin(Stdio::null())
    .spawn()
    .expect("the agent starts")
}
