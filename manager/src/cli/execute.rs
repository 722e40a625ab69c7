//! `micado execute`: a command in a container that behaves like one of ours.

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

/// Once we were asked to end, so long is waited for a reader who does not read what the command
/// says.
const GRACE: Duration = Duration::from_secs(2);
/// A reader who stops reading later than that after we were asked to end has nothing to do with it:
/// the command did not mean to end.
const SOON: Duration = Duration::from_secs(10);
/// What a shell says of a command that wrote to a reader who had gone: 128 and the number of
/// SIGPIPE.
const READER_GONE: u8 = 141;

/// When we were asked to end, first.
type Asked = SetOnce<Instant>;

pub(super) async fn execute(args: ExecuteArgs, client: &Client) -> Result<(), Failure> {
    let raw = Raw::take()?;
    let environment: Vec<String> = raw
        .iter()
        .filter_map(|_| std::env::var("TERM").ok())
        .map(|term| format!("TERM={term}"))
        .collect();
    let session = client
        .execute(&args.name, &args.command, raw.is_some(), &environment)
        .await?;
    let signals = Signals::new(raw.is_some())?;
    let asked = SetOnce::new();
    let code = tokio::select! {
        biased;
        code = show(session.output, &asked) => code,
        error = steer(session.input, raw.as_ref(), signals, &asked) => Err(error),
    };
    // What is said from here on is for the terminal as it was.
    drop(raw);
    match code {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::Ended(u8::try_from(code).unwrap_or(u8::MAX))),
        Err(Failure::Closed) => Err(Failure::Ended(READER_GONE)),
        Err(failure) => Err(failure),
    }
}

/// Its output, until it has ended and all is written: its exit code.
async fn show(output: SessionOutput, asked: &Asked) -> Result<i64, Failure> {
    let (to, mut failed) = outlet::open();
    let code = tokio::select! {
        code = pass_on(output, to, asked) => code,
        Ok(error) = &mut failed => return Err(error.into()),
    };
    if matches!(code, Err(Failure::Interrupted(_))) {
        return code;
    }
    // However the session ended: what came before is the reader's, who may not want it.
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
            // Why it takes no more is about to be said.
            Some(Err(_)) => pending().await,
            None => {
                return Err(Failure::Interrupted(
                    "nobody reads what the command says: it is hung up on".to_owned(),
                ));
            }
        }
    }
}

/// Waits for the reader of our output; but not for long for one who has stood still since about
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

    /// Has the command told of them, until we are asked to end a second time.
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
            // Nobody takes it once the connection is gone.
            note.map(|note| notes.send(note).ok());
        }
    }

    /// What is to be told of the next that comes: nothing of a window that is not the command's.
    async fn next(&mut self, raw: Option<&Raw>) -> Option<SessionNote> {
        tokio::select! {
            _ = self.resized.recv(), if self.terminal => raw.and_then(|raw| raw.size().ok()),
            _ = self.interrupt.recv() => Some(SessionNote::Signal { name: "INT".to_owned() }),
            _ = self.terminate.recv() => Some(SessionNote::Signal { name: "TERM".to_owned() }),
        }
    }
}

/// Our input and signals to it. Comes back only when it is asked to end a second time, wherever
/// what was sent before may be stuck.
async fn steer(
    mut input: SessionInput,
    raw: Option<&Raw>,
    signals: Signals,
    asked: &Asked,
) -> Failure {
    let (to, notes) = mpsc::unbounded_channel();
    let sending = async {
        // Where it fails, what the output ends with says more.
        drop(send(&mut input, raw, notes).await);
        pending::<Infallible>().await
    };
    tokio::select! {
        () = signals.pass_on(raw, to, asked) => Failure::Interrupted("the command is hung up on".to_owned()),
        never = sending => match never {},
    }
}

/// Until the connection is gone.
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

/// The next piece of input, once the command has taken so much that notes get past it; after its
/// end, never.
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
