//! The process of an exec: its state, and signals to it, because the engine's API cannot send any.

use crate::engine::{Engine, EngineError};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use std::time::Duration;

/// First pause between two queries of an exec's state; pauses grow. The engine reports the end of
/// an exec by an event stream too, but that may miss one.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// State of an exec in the engine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exec {
    pub running: bool,
    /// `None` until it ended.
    pub exit_code: Option<i64>,
    /// 0 until it runs.
    pub pid: i32,
}

impl Exec {
    /// Queries the engine.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn inspect(engine: &Engine, id: &str) -> Result<Self, EngineError> {
        engine.get(&format!("/exec/{id}/json")).await
    }

    /// Waits for the end and returns the exit code.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn ended(engine: &Engine, id: &str) -> Result<i64, EngineError> {
        let exec = Self::wait(engine, id, |exec| !exec.running && exec.exit_code.is_some()).await?;
        Ok(exec.exit_code.unwrap_or_default())
    }

    /// Waits until the process runs or has ended.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn started(engine: &Engine, id: &str) -> Result<Self, EngineError> {
        Self::wait(engine, id, |exec| {
            exec.exit_code.is_some() || exec.running && exec.pid != 0
        })
        .await
    }

    async fn wait(
        engine: &Engine,
        id: &str,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<Self, EngineError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let exec = Self::inspect(engine, id).await?;
            if enough(&exec) {
                return Ok(exec);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends a signal to the process and its whole group, as a terminal would. Does nothing after
    /// its end.
    pub fn signal(&self, signal: Signal) -> Result<(), rustix::io::Errno> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.running) else {
            return Ok(());
        };
        // Fails once the process is gone, so that a reused group id is not signalled.
        let _alive = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process_group(pid, signal)
    }
}

/// Returns the signal of this name, such as `INT`.
#[must_use]
pub fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "STOP" => Signal::STOP,
        "TSTP" => Signal::TSTP,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}
