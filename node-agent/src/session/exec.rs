//! Runs a command in a container, with a terminal or with pipes.

mod stdin;

use super::{
    SessionError,
    caller::{Caller, FromCaller, Input, Output, PIECE},
    process::{Exec, signal},
};
use crate::engine::{Engine, EngineError, broken, empty, json, multiplex::Demultiplexer, request};
use bytes::BytesMut;
use hyper::{Method, header, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use micado_api::agent::channel;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc, time::Duration};
use stdin::Stdin;
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    sync::Semaphore,
    time::timeout,
};

/// Time for a command without a terminal to end by itself, after its caller is gone and its input
/// was closed.
const GRACE: Duration = Duration::from_secs(2);

/// Command to run.
#[derive(Debug)]
pub struct Command {
    /// Program and arguments.
    pub command: Vec<String>,
    /// True to allocate a terminal.
    pub terminal: bool,
    /// Environment variables, `KEY=VALUE` each.
    pub environment: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Making {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    env: Vec<String>,
    cmd: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
}

type Stream = TokioIo<Upgraded>;

/// Runs the command and returns its exit code. When the caller goes, closes its input and sends
/// SIGHUP.
pub async fn run(
    engine: &Engine,
    caller: &mut Caller,
    container: &str,
    what: Command,
    fast_inputs: &Arc<Semaphore>,
) -> Result<i64, SessionError> {
    let Command {
        command,
        terminal,
        environment,
    } = what;
    let making = Making {
        attach_stdin: true,
        attach_stdout: true,
        attach_stderr: true,
        tty: terminal,
        env: environment,
        cmd: command,
    };
    let Made { id } = engine
        .post(
            &format!("/containers/{}/exec", crate::engine::encoded(container)),
            &making,
        )
        .await?;
    let (mut from, to) = tokio::io::split(start(engine, &id, terminal).await?);
    let Caller { output, input } = caller;
    let mut stdin = Stdin::new(to, output.clone(), terminal, Arc::clone(fast_inputs));
    let end = tokio::select! {
        biased;
        end = pass_on(&mut from, output, terminal) => end,
        Err(error) = steer(engine, &id, input, &mut stdin) => Err(error),
    };
    match end {
        Ok(start) => Ok(start.exit_code(Exec::ended(engine, &id).await?)),
        Err(error) => {
            stdin.end();
            hang_up(engine, &id, from, terminal).await;
            Err(error)
        }
    }
}

/// Applies messages of the caller until it goes or exceeds its flow-control window. Never waits for
/// the command to read its input: the end of the connection is noticed only while reading on.
async fn steer(
    engine: &Engine,
    id: &str,
    caller: &mut Input,
    stdin: &mut Stdin,
) -> Result<Infallible, SessionError> {
    loop {
        match caller.next().await? {
            FromCaller::Data(data) => stdin.add(data)?,
            FromCaller::End => stdin.end(),
            FromCaller::Resize { columns, rows } => log(resize(engine, id, columns, rows).await),
            FromCaller::Signal(name) => log(send_signal(engine, id, &name).await),
        }
    }
}

/// Starts an exec and returns the stream of its terminal or pipes.
async fn start(engine: &Engine, id: &str, terminal: bool) -> Result<Stream, EngineError> {
    let path = format!("/exec/{id}/start");
    let mut call = json(
        &path,
        &Start {
            detach: false,
            tty: terminal,
        },
    )?;
    call.headers_mut().insert(
        header::CONNECTION,
        header::HeaderValue::from_static("Upgrade"),
    );
    call.headers_mut()
        .insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
    let response = engine.send(call).await?;
    hyper::upgrade::on(response)
        .await
        .map(TokioIo::new)
        .map_err(|cause| broken(&path, cause))
}

/// Beginning of the engine's message, on standard output, for a command that does not start.
const REFUSED: &[u8] = b"OCI runtime exec failed";
/// Parts of that message for a command that is not there.
const ABSENT: [&[u8]; 2] = [b"executable file not found", b"no such file or directory"];

/// Exit codes of shells for a command that cannot be run, and for one that is not there. The engine
/// has the first for both.
const CANNOT_RUN: i64 = 126;
const NOT_FOUND: i64 = 127;

/// How the engine started a command, by its first output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    Unknown,
    Yes,
    /// The engine's message says that it did not; true if the command is not there.
    No {
        absent: bool,
    },
}

impl Started {
    fn by(output: &[u8]) -> Self {
        let has = |part: &&[u8]| output.windows(part.len()).any(|at| at == *part);
        match output.starts_with(REFUSED) {
            true => Self::No {
                absent: ABSENT.iter().any(has),
            },
            false => Self::Yes,
        }
    }

    fn exit_code(self, code: i64) -> i64 {
        match self {
            Self::No { absent: true } if code == CANNOT_RUN => NOT_FOUND,
            _ => code,
        }
    }
}

/// Copies the command's output to the caller until it ends. The engine's message about a command
/// that does not start goes to standard error.
async fn pass_on(
    from: &mut ReadHalf<Stream>,
    output: &mut Output,
    terminal: bool,
) -> Result<Started, SessionError> {
    let (mut read, mut streams) = (BytesMut::new(), Demultiplexer::default());
    let mut started = Started::Unknown;
    loop {
        read.reserve(PIECE);
        if from
            .read_buf(&mut read)
            .await
            .map_err(|cause| broken("the exec's stream", cause))?
            == 0
        {
            return Ok(started);
        }
        let mut come = read.split().freeze();
        if terminal {
            if started == Started::Unknown {
                started = Started::by(&come);
            }
            output.data(channel::OUT, &come).await?;
            continue;
        }
        while let Some((channel, piece)) = streams.next(&mut come) {
            if started == Started::Unknown {
                started = Started::by(&piece);
            }
            let channel = match started {
                Started::No { .. } => channel::ERROR,
                Started::Unknown | Started::Yes => channel,
            };
            output.data(channel, &piece).await?;
        }
    }
}

/// Resizes the terminal, once the command runs: before that, the engine refuses.
async fn resize(engine: &Engine, id: &str, columns: u16, rows: u16) -> Result<(), EngineError> {
    Exec::started(engine, id).await?;
    engine
        .send(request(
            Method::POST,
            &format!("/exec/{id}/resize?w={columns}&h={rows}"),
            empty(),
        )?)
        .await
        .map(drop)
}

async fn send_signal(engine: &Engine, id: &str, name: &str) -> Result<(), EngineError> {
    let signal =
        signal(name).ok_or_else(|| broken("a signal", format!("nobody knows `{name}`")))?;
    Exec::started(engine, id)
        .await?
        .signal(signal)
        .map_err(|cause| broken("a signal", cause))
}

fn log(done: Result<(), EngineError>) {
    if let Err(error) = done {
        tracing::debug!("session: {error}");
    }
}

/// Ends a command after its caller is gone. Its input is already closed and is still fed what was
/// buffered. A command on a terminal gets SIGHUP at once, another one if closing its input does not
/// end it.
async fn hang_up(engine: &Engine, id: &str, mut from: ReadHalf<Stream>, terminal: bool) {
    if !terminal {
        // Drain the output: a command that blocks on writing would never see the end of its input.
        let ended = async { while matches!(from.read(&mut [0; 4096]).await, Ok(1..)) {} };
        if timeout(GRACE, ended).await.is_ok() {
            return;
        }
    }
    match Exec::inspect(engine, id).await {
        Ok(exec) => log(exec
            .signal(Signal::HUP)
            .map_err(|cause| broken("a hang-up", cause))),
        Err(error) => tracing::debug!("session: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_ends_as_in_a_shell() {
        let absent = b"OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH: unknown\r\n";
        let denied =
            b"OCI runtime exec failed: exec failed: exec: \"/etc\": permission denied: unknown\r\n";
        assert_eq!(Started::by(absent).exit_code(126), 127);
        assert_eq!(Started::by(absent).exit_code(1), 1);
        assert_eq!(Started::by(denied).exit_code(126), 126);
        assert_eq!(
            Started::by(b"executable file not found").exit_code(126),
            126
        );
    }
}
