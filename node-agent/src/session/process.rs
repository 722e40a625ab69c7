//! The process of an exec: its state, and signals to it, for which the engine has no call.

use crate::engine::{Engine, EngineError};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use std::time::Duration;

/// The engine tells of an exec's end by an event stream that may miss one, or when asked: so it is
/// asked, more rarely each time.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What the engine knows of an exec.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exec {
    /// Whether it runs.
    pub running: bool,
    /// Nothing until it ended.
    pub exit_code: Option<i64>,
    /// 0 until it runs.
    pub pid: i32,
}

impl Exec {
    /// Asks the engine.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn inspect(engine: &Engine, id: &str) -> Result<Self, EngineError> {
        engine.get(&format!("/exec/{id}/json")).await
    }

    /// Waits for its end, and gives its exit code.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn ended(engine: &Engine, id: &str) -> Result<i64, EngineError> {
        let exec = Self::wait(engine, id, |exec| !exec.running && exec.exit_code.is_some()).await?;
        Ok(exec.exit_code.unwrap_or_default())
    }

    /// Waits until it runs, or has ended.
    ///
    /// # Errors
    /// When the engine does not say.
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

    /// Sends a signal to its process and all in its group, as a terminal would. One that has ended
    /// gets none.
    pub fn signal(&self, signal: Signal) -> Result<(), rustix::io::Errno> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.running) else {
            return Ok(());
        };
        // It fails once the process is gone, so the group is not somebody else's.
        let _alive = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process_group(pid, signal)
    }
}

/// The signal of this name, such as `INT`.
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
