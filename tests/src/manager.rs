//! The manager under test, as a process of its own: a debug build of `micado`, which has the fault
//! points.

use std::{
    fs::{self, File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::{Child, Command};

/// File with the process id of a manager, for a later sweep.
const PID: &str = "manager.pid";
/// File with the output of all managers of a cluster, one after another.
const LOG: &str = "manager.log";

/// A running manager.
#[derive(Debug)]
pub(crate) struct Manager {
    child: Child,
}

impl Manager {
    /// Starts `micado manager` on this state folder, with these settings in its environment.
    pub(crate) fn start(folder: &Path, arguments: &[String], environment: &[(&str, &str)]) -> Self {
        let log = log_file(folder);
        let mut command = Command::new(micado());
        command
            .arg("manager")
            .arg("--state")
            .arg(folder)
            .args(arguments)
            .envs(environment.iter().copied())
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", micado().display()));
        fs::write(folder.join(PID), child.id().unwrap_or_default().to_string())
            .expect("the manager's number");
        Self { child }
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("kill -9 of the manager");
    }

    /// Waits until it ends by itself.
    pub(crate) async fn gone(&mut self) {
        self.child.wait().await.expect("the manager's end");
    }

    /// Process id, until its end was noted.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it without waiting.
    pub(crate) fn end(&mut self) {
        let _ = self.child.start_kill();
    }
}

fn log_file(folder: &Path) -> File {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join(LOG))
        .expect("the manager's log")
}

/// Last lines of the log in this folder.
pub(crate) fn log_tail(folder: &Path, lines: usize) -> String {
    let text = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Ends the orphaned manager of a killed test: only a process that was started on this folder.
pub(crate) fn end_orphan(folder: &Path) {
    let Ok(pid) = fs::read_to_string(folder.join(PID)) else {
        return;
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = command
        .split(|byte| *byte == 0)
        .any(|argument| argument == folder.as_os_str().as_encoded_bytes());
    if ours
        && let Err(error) = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status()
    {
        eprintln!("manager {pid} stays behind: {error}");
    }
}

/// Path of the `micado` under test: `MICADO_BIN`, else the one beside the test's own program.
///
/// # Panics
/// If it does not exist.
#[must_use]
pub fn micado() -> PathBuf {
    let beside = || {
        std::env::current_exe()
            .ok()?
            .parent()?
            .parent()
            .map(|folder| folder.join("micado"))
    };
    let path = std::env::var_os("MICADO_BIN")
        .map(PathBuf::from)
        .or_else(beside)
        .expect("the test's own path");
    assert!(
        path.is_file(),
        "{} is missing: cargo build -p micado-manager, or set MICADO_BIN",
        path.display()
    );
    path
}

/// A free port.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
