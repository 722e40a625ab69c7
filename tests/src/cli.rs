//! The command line under test: arguments, output and exit code.

use crate::{Cluster, micado, wait};
use serde_json::Value;
use std::{
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

/// Result of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub code: Option<i32>,
    /// Output for programs.
    pub stdout: String,
    /// Output for people.
    pub stderr: String,
}

impl Outcome {
    /// Returns a successful result.
    ///
    /// # Panics
    /// With its output, if it is not successful.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Returns the output as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the command was refused with this exit code, and that its output contains these
    /// words.
    ///
    /// # Panics
    /// With its output, if not.
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Runs `micado` with these arguments.
///
/// # Panics
/// If it cannot be started.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    Command::new(micado())
        .args(arguments)
        .envs(environment.iter().copied())
        .kill_on_drop(true)
        .output()
        .await
        .expect("micado")
        .into()
}

/// A running command with an open pipe as input.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Waits until it has printed this much, and returns it.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn printed<const SIZE: usize>(&mut self) -> [u8; SIZE] {
        let mut piece = [0; SIZE];
        self.0
            .stdout
            .as_mut()
            .expect("a pipe")
            .read_exact(&mut piece)
            .await
            .expect("it prints");
        piece
    }

    /// Waits until it has printed these words to standard output.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn until_printed(&mut self, words: &str) {
        let mut text = Vec::new();
        while !text.ends_with(words.as_bytes()) {
            text.extend(self.printed::<1>().await);
        }
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id().expect("it runs")
    }

    /// Returns the number of bytes that it has written so far, to any file.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn wrote(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid())).expect("it runs");
        io.lines()
            .find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
            .expect("the kernel's count")
    }

    /// Sends it a signal, such as `-INT`.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn kill(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.pid().to_string()])
                .status()
                .await
                .expect("kill")
                .success()
        );
    }

    /// Returns true if it has ended.
    ///
    /// # Panics
    /// On an error of the system.
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_some()
    }

    /// Writes this input and closes it, then waits for the end of the command.
    ///
    /// # Panics
    /// If it does not end within this many seconds.
    pub async fn end(mut self, input: &[u8], seconds: u64) -> Outcome {
        let stdin = self.0.stdin.take();
        let input = input.to_owned();
        // It may end before it has read everything.
        let feeding = tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                drop(stdin.write_all(&input).await);
            }
        });
        let output = timeout(Duration::from_secs(seconds), self.0.wait_with_output()).await;
        feeding.abort();
        output
            .unwrap_or_else(|_| panic!("micado hangs for {seconds} s"))
            .expect("its end")
            .into()
    }
}

impl Cluster {
    /// Runs `micado` against this cluster's manager.
    pub async fn micado(&self, arguments: &[&str]) -> Outcome {
        run(arguments, &[("MICADO_MANAGER", &self.address())]).await
    }

    /// Starts `micado` against this cluster's manager.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_micado(&self, arguments: &[&str]) -> Running {
        self.spawn(Command::new(micado()).args(arguments))
    }

    /// As [`Self::start_micado`], with standard output and standard error in one pipe.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_micado_joined(&self, arguments: &[&str]) -> Running {
        self.spawn(
            Command::new("sh")
                .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
                .arg(micado())
                .args(arguments),
        )
    }

    fn spawn(&self, command: &mut Command) -> Running {
        command
            .env("MICADO_MANAGER", self.address())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running(command.kill_on_drop(true).spawn().expect("micado"))
    }

    /// Runs a command in a container with this input, for a minute at most.
    pub async fn execute(&self, name: &str, command: &[&str], input: &[u8]) -> Outcome {
        self.start_micado(&[&["execute", "-n", name, "-c"], command].concat())
            .end(input, 60)
            .await
    }

    /// Waits until the agent of a container's machine is connected, so that a command in the
    /// container works.
    pub async fn until_reached(&self, name: &str, seconds: u64) {
        let reached =
            async || (self.execute(name, &["true"], b"").await.code == Some(0)).then_some(());
        wait(
            &format!("the agent of the machine of {name} is connected"),
            seconds,
            reached,
        )
        .await;
    }
}
