//! A manager with scripted answers, and runs of the command line against it.

use axum::Router;
use std::{
    os::unix::net::UnixListener,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::process::Command;

/// A manager with scripted answers, dropped with the test.
pub struct Rote(TempDir);

impl Rote {
    pub fn new(routes: Router) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("s")).expect("bound");
        listener.set_nonblocking(true).expect("set");
        tokio::spawn(
            axum_server::from_unix(listener)
                .expect("a listener")
                .serve(routes.into_make_service()),
        );
        Self(folder)
    }
    pub fn manager(&self) -> String {
        format!("unix://{}", self.0.path().join("s").display())
    }
    pub fn command(&self, line: &str) -> Command {
        micado(&self.manager(), line)
    }
    pub async fn run(&self, line: &str) -> Ended {
        self.command(line).output().await.expect("it runs").into()
    }
}

pub fn micado(manager: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micado"));
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("MICADO_MANAGER", manager)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Exit and output of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
