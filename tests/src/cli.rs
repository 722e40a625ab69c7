//! The command line under test: what it is told, prints, and ends with.

use crate::{Cluster, micado};
use serde_json::Value;
use tokio::process::Command;

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed for programs.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

impl Outcome {
    /// A command that did what it was told.
    ///
    /// # Panics
    /// With all it said, when it did not.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// What was printed, as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the command was refused with this exit code, and that these words are in what it says.
    ///
    /// # Panics
    /// With all it said, when not.
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// Runs `micado` with these arguments.
///
/// # Panics
/// When it cannot be started.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let output = Command::new(micado()).args(arguments).envs(environment.iter().copied()).kill_on_drop(true).output().await.expect("micado");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Cluster {
    /// Runs `micado` against this cluster's manager.
    pub async fn micado(&self, arguments: &[&str]) -> Outcome {
        run(arguments, &[("MICADO_MANAGER", &self.address())]).await
    }
}
