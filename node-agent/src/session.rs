//! Sessions: exec, copy and log requests of the manager, each on a connection of its own that the
//! agent opens.

mod caller;
mod copy;
mod exec;
mod logs;
mod mounts;
mod process;
mod sockets;
mod stat;

use crate::{
    dialer::Dialer,
    engine::{Engine, EngineError},
};
use caller::{Caller, Cut, Pace};
use micado_api::agent::{INPUT_AHEAD, INPUT_FRAME, SessionNote, SessionWork};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, TryAcquireError};

/// Upper bound for concurrent sessions.
pub const MOST: usize = 50;
/// Upper bound for concurrent commands with a larger flow-control window.
const FAST_INPUTS: usize = 8;
/// The same values as for the agent's own connection.
const PACE: Pace = Pace {
    ping: Duration::from_secs(6),
    dead: Duration::from_secs(18),
};

/// Opens sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    engine: Engine,
    dialer: Arc<Dialer>,
    places: Arc<Semaphore>,
    fast_inputs: Arc<Semaphore>,
}

/// Reason for which a session ended without a result.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the caller is gone")]
    Cut(#[from] Cut),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "`{path}` lies on `{mount}`, a mount ({kind}) of the running container that no copy can see: use `execute` to read or write it"
    )]
    Hidden {
        path: String,
        mount: String,
        kind: String,
    },
    #[error("{MOST} sessions are open on this machine: end one of them, or try again later")]
    Full,
    #[error("of input at most {INPUT_AHEAD} frames of {} KiB may be sent before the command takes them: wait for a frame on channel 0, which says how many more may be", INPUT_FRAME >> 10)]
    TooFarAhead,
}

impl Sessions {
    /// Serves sessions with this engine, on connections that this dialer opens.
    #[must_use]
    pub fn new(engine: Engine, dialer: Arc<Dialer>) -> Self {
        Self {
            engine,
            dialer,
            places: Arc::new(Semaphore::new(MOST)),
            fast_inputs: Arc::new(Semaphore::new(FAST_INPUTS)),
        }
    }

    /// Opens a session and serves it on a task of its own.
    pub fn open(&self, id: String, work: SessionWork) {
        let sessions = self.clone();
        let place = Arc::clone(&self.places).try_acquire_owned();
        tokio::spawn(async move {
            sessions.run(&id, work, place.as_ref().err()).await;
            drop(place);
        });
    }

    async fn run(&self, id: &str, work: SessionWork, full: Option<&TryAcquireError>) {
        let (mut caller, pings) = match self.dialer.open(&format!("/v1/agent/sessions/{id}")).await
        {
            Ok(socket) => Caller::new(socket, PACE),
            Err(error) => return tracing::warn!("session: {error}"),
        };
        let work = async {
            if full.is_some() {
                Err(SessionError::Full)
            } else {
                self.work(&mut caller, work).await
            }
        };
        let done = tokio::select! {
            done = work => done,
            never = pings.send() => match never {},
        };
        let last = match done {
            Ok(code) => SessionNote::Exit { code },
            Err(SessionError::Cut(Cut)) => return tracing::debug!("session: the caller is gone"),
            Err(error) => SessionNote::Failed {
                message: error.to_string(),
            },
        };
        caller.end(&last).await;
    }

    async fn work(&self, caller: &mut Caller, work: SessionWork) -> Result<i64, SessionError> {
        let engine = &self.engine;
        match work {
            SessionWork::Exec {
                container,
                command,
                terminal,
                environment,
            } => {
                exec::run(
                    engine,
                    caller,
                    &container,
                    exec::Command {
                        command,
                        terminal,
                        environment,
                    },
                    &self.fast_inputs,
                )
                .await
            }
            SessionWork::CopyTo {
                container,
                path,
                archive,
            } => copy::to(engine, caller, &container, &path, archive).await,
            SessionWork::CopyFrom { container, path } => {
                copy::from(engine, caller, &container, &path).await
            }
            SessionWork::Stat { container, path } => {
                stat::send(engine, caller, &container, &path).await
            }
            SessionWork::PreviousLog {
                service,
                tail,
                since,
                timestamps,
            } => logs::previous(engine, caller, &service, tail, since, timestamps).await,
        }
    }
}
