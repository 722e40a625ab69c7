//! MongoDB servers for tests and benchmarks, run by `scripts/mongod`. They end with the process
//! that asked for them, however it ends.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

/// URL of a server shared by all tests of a run.
const SHARED: &str = "MICADO_TEST_MONGODB";
/// Additional flags for the servers of `scripts/mongod`.
const FLAGS: &str = "MONGOD_FLAGS";

/// URL of a database on the shared server, if there is one.
#[must_use]
pub fn shared(database: &str) -> Option<String> {
    std::env::var(SHARED)
        .ok()
        .map(|url| url.replacen("/?", &format!("/{database}?"), 1))
}

/// A replica set of one or several members, on loopback.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    ports: Vec<u16>,
    runner: Child,
    // Closing it tells the runner to stop.
    open: Option<ChildStdin>,
}

impl Server {
    /// Starts a set; returns once it takes writes.
    ///
    /// # Panics
    /// If it does not within half a minute.
    #[must_use]
    pub fn start(members: usize) -> Self {
        Self::start_with(members, &[])
    }

    /// The same with additional flags.
    ///
    /// # Panics
    /// If it does not take writes within half a minute.
    #[must_use]
    pub fn start_with(members: usize, flags: &[String]) -> Self {
        let ports: Vec<u16> = (0..members).map(|_| free_port()).collect();
        let name = format!(
            "micado-mongod-{}-{}",
            std::process::id(),
            ports.first().copied().unwrap_or_default()
        );
        // Removed by the runner.
        let folder = std::env::temp_dir().join(name);
        let mut runner = script("run", &folder, &ports)
            .env(FLAGS, flags.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/mongod runs");
        let open = runner.stdin.take();
        let mut said = String::new();
        BufReader::new(runner.stdout.take().expect("its output"))
            .read_line(&mut said)
            .expect("it speaks");
        assert_eq!(said, "ready\n", "scripts/mongod: see what it says above");
        Self {
            folder,
            ports,
            runner,
            open,
        }
    }

    /// The ports of its members.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// A URL of a database of this set.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let hosts: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("mongodb://{}/{database}?replicaSet=rs0", hosts.join(","))
    }

    /// Sends a signal, such as `-KILL`, to the member on a port.
    ///
    /// # Panics
    /// If there is none.
    pub fn signal(&self, port: u16, signal: &str) {
        let pid =
            std::fs::read_to_string(self.folder.join(format!("{port}.pid"))).expect("its pid");
        let pid = pid.split_whitespace().next().expect("a pid");
        assert!(
            Command::new("kill")
                .args([signal, pid])
                .status()
                .expect("kill runs")
                .success()
        );
    }

    /// Starts the members that do not run, on their existing data.
    ///
    /// # Panics
    /// If the set does not take writes within half a minute.
    pub fn restart(&self) {
        assert!(
            script("start", &self.folder, &self.ports)
                .status()
                .expect("scripts/mongod runs")
                .success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Err(error) = self.runner.wait() {
            eprintln!("scripts/mongod on {}: {error}", self.folder.display());
        }
    }
}

/// A port outside the range of outgoing connections, which could take it while a killed server is
/// away. Test processes start at different ones.
///
/// # Panics
/// Never: it searches until it finds one.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1000).unwrap_or_default() * 15;
    let mut candidates =
        std::iter::repeat_with(|| 15_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 15_000);
    candidates
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("it goes on for ever")
}

fn script(verb: &str, folder: &Path, ports: &[u16]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/mongod"));
    command
        .arg(verb)
        .arg(folder)
        .args(ports.iter().map(u16::to_string));
    command
}
