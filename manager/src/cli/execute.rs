//! `micado execute`: a command in a container that behaves like a local one.

use super::{
    args::ExecuteArgs,
    failure::Failure,
    outlet::{self, Said},
    terminal::{Raw, read_input},
};
use bytes::Bytes;
use futures_util::future::pending;
use micado_api::{
    Client, ClientError, SessionInput, SessionOutput, SessionPiece, agent::SessionNote,
};
use std::{convert::Infallible, io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{
        SetOnce,
        mpsc::{self, UnboundedSender},
    },
    time::{Instant, sleep},
};

/// Time for a reader that blocks our output, after we were asked to end.
const GRACE: Duration = Duration::from_secs(2);
/// Time after which a blocked reader is no longer related to a request to end: the command has
/// ignored that request and runs on.
const SOON: Duration = Duration::from_secs(10);
/// Exit code that a shell reports for a command that was killed by a write to a closed pipe: 128
/// and the number of SIGPIPE.
const READER_GONE: u8 = 141;

/// Time at which we were first asked to end.
type Asked = SetOnce<Instant>;

pub(super) async fn execute(args: ExecuteArgs, client: &Client) -> Result<(), Failure> {
    let raw = Raw::take()?;
    let environment: Vec<String> = raw
        .iter()
        .filter_map(|_| std::env::var("TERM").ok())
        .map(|term| format!("TERM={term}"))
        .collect();
    let session = client
        .execute(args.of.name(), &args.command, raw.is_some(), &environment)
        .await?;
    let signals = Signals::new(raw.is_some())?;
    let asked = SetOnce::new();
    let code = tokio::select! {
        biased;
        code = show(session.output, &asked) => code,
        error = steer(session.input, raw.as_ref(), signals, &asked) => Err(error),
    };
    // Restore the terminal: messages from here on need it.
    drop(raw);
    match code {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::Ended(u8::try_from(code).unwrap_or(u8::MAX))),
        Err(Failure::Closed) => Err(Failure::Ended(READER_GONE)),
        Err(failure) => Err(failure),
    }
}

/// Writes the output until the command has ended and all is written; returns its exit code.
async fn show(output: SessionOutput, asked: &Asked) -> Result<i64, Failure> {
    let (to, mut failed) = outlet::open();
    let code = tokio::select! {
        code = pass_on(output, to, asked) => code,
        Ok(error) = &mut failed => return Err(error.into()),
    };
    if matches!(code, Err(Failure::Interrupted(_))) {
        return code;
    }
    // The remaining output is written whatever the end of the session, unless its reader has closed
    // or blocks it.
    match unless_stuck(asked, failed).await {
        Some(Ok(error)) => Err(error.into()),
        Some(Err(_)) | None => code,
    }
}

async fn pass_on(
    mut output: SessionOutput,
    to: mpsc::Sender<Said>,
    asked: &Asked,
) -> Result<i64, Failure> {
    loop {
        let piece = match output.next().await? {
            SessionPiece::Out(piece) => Said::Out(piece),
            SessionPiece::Error(piece) => Said::Error(piece),
            SessionPiece::Exit(code) => return Ok(code),
        };
        match unless_stuck(asked, to.send(piece)).await {
            Some(Ok(())) => {}
            // The failure of the write is returned by the caller.
            Some(Err(_)) => pending().await,
            None => {
                return Err(Failure::Interrupted(
                    "nobody reads what the command says: it is hung up on".to_owned(),
                ));
            }
        }
    }
}

/// Waits for the reader of our output; `None` for one that has been blocking since about the time
/// when we were asked to end.
async fn unless_stuck<T>(asked: &Asked, taken: impl Future<Output = T>) -> Option<T> {
    let began = Instant::now();
    let stuck = async {
        if began > *asked.wait().await + SOON {
            pending::<Infallible>().await;
        }
        sleep(GRACE).await;
    };
    tokio::select! {
        taken = taken => Some(taken),
        () = stuck => None,
    }
}

struct Signals {
    terminal: bool,
    resized: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new(terminal: bool) -> io::Result<Self> {
        let (resized, interrupt) = (
            signal(SignalKind::window_change())?,
            signal(SignalKind::interrupt())?,
        );
        Ok(Self {
            terminal,
            resized,
            interrupt,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Forwards signals to the command, until we are asked to end a second time.
    async fn pass_on(
        mut self,
        raw: Option<&Raw>,
        notes: UnboundedSender<SessionNote>,
        asked: &Asked,
    ) {
        loop {
            let note = self.next(raw).await;
            if matches!(note, Some(SessionNote::Signal { .. }))
                && asked.set(Instant::now()).is_err()
            {
                return;
            }
            // The receiver is gone with the connection.
            note.map(|note| notes.send(note).ok());
        }
    }

    /// Returns the note for the next signal; `None` for a new size without a terminal.
    async fn next(&mut self, raw: Option<&Raw>) -> Option<SessionNote> {
        tokio::select! {
            _ = self.resized.recv(), if self.terminal => raw.and_then(|raw| raw.size().ok()),
            _ = self.interrupt.recv() => Some(SessionNote::Signal { name: "INT".to_owned() }),
            _ = self.terminate.recv() => Some(SessionNote::Signal { name: "TERM".to_owned() }),
        }
    }
}

/// Sends our input and signals to the session. Returns only when asked to end a second time, even
/// if sending is blocked.
async fn steer(
    mut input: SessionInput,
    raw: Option<&Raw>,
    signals: Signals,
    asked: &Asked,
) -> Failure {
    let (to, notes) = mpsc::unbounded_channel();
    let sending = async {
        // After a failure, the end of the output says more.
        drop(send(&mut input, raw, notes).await);
        pending::<Infallible>().await
    };
    tokio::select! {
        () = signals.pass_on(raw, to, asked) => Failure::Interrupted("the command is hung up on".to_owned()),
        never = sending => match never {},
    }
}

/// Sends until the connection is gone.
async fn send(
    input: &mut SessionInput,
    raw: Option<&Raw>,
    mut notes: mpsc::UnboundedReceiver<SessionNote>,
) -> Result<(), ClientError> {
    if let Some(size) = raw.and_then(|raw| raw.size().ok()) {
        input.note(&size).await?;
    }
    let mut from = Some(read_input());
    loop {
        tokio::select! {
            Some(note) = notes.recv() => input.note(&note).await?,
            piece = next(&mut from, input) => match piece {
                Some(piece) => input.data(&piece).await?,
                None => {
                    from = None;
                    input.note(&SessionNote::End).await?;
                }
            },
        }
    }
}

/// Returns the next piece of input, once there is credit for it, so that notes never wait behind
/// input. Never returns after its end.
async fn next(from: &mut Option<mpsc::Receiver<Bytes>>, to: &SessionInput) -> Option<Bytes> {
    match from {
        Some(from) => {
            to.room().await;
            from.recv().await
        }
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_reader_who_stops_about_when_we_are_asked_to_end_is_given_up() {
        let (asked, hour) = (Asked::new(), Duration::from_secs(3600));
        let reader = |pause| unless_stuck(&asked, sleep(pause));
        let interrupt = async {
            sleep(hour).await;
            asked.set(Instant::now()).expect("the first");
        };
        let (before, ()) = tokio::join!(reader(2 * hour), interrupt);
        assert_eq!(before, None, "one who had stopped before");
        assert_eq!(reader(GRACE / 2).await, Some(()), "one who goes on");
        assert_eq!(reader(hour).await, None, "one who stops soon after");
        sleep(SOON).await;
        assert_eq!(
            reader(hour).await,
            Some(()),
            "the command goes on, and so may its reader"
        );
    }
}
