//! `micado execute`: a command in a container that behaves like one of ours.

use super::{
    args::ExecuteArgs,
    failure::Failure,
    printer::Printer,
    terminal::{Raw, read_input},
};
use bytes::Bytes;
use futures_util::future::pending;
use micado_api::{Client, ClientError, SessionInput, SessionOutput, SessionPiece, agent::SessionNote};
use std::{convert::Infallible, io};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, UnboundedSender},
};

pub(super) async fn execute(args: ExecuteArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let raw = Raw::take()?;
    let environment: Vec<String> = raw.iter().filter_map(|_| std::env::var("TERM").ok()).map(|term| format!("TERM={term}")).collect();
    let session = client.execute(&args.name, &args.command, raw.is_some(), &environment).await?;
    let signals = Signals::new(raw.is_some())?;
    let code = tokio::select! {
        biased;
        code = show(session.output, printer) => code,
        error = steer(session.input, raw.as_ref(), signals) => Err(error),
    };
    // What is said from here on is for the terminal as it was.
    drop(raw);
    match code? {
        0 => Ok(()),
        code => Err(Failure::Ended(u8::try_from(code).unwrap_or(u8::MAX))),
    }
}

/// Its output, until it has ended: its exit code.
async fn show(mut output: SessionOutput, printer: &Printer) -> Result<i64, Failure> {
    loop {
        match output.next().await? {
            SessionPiece::Out(piece) => printer.piece(&piece)?,
            SessionPiece::Error(piece) => printer.error_piece(&piece)?,
            SessionPiece::Exit(code) => return Ok(code),
        }
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
        let (resized, interrupt) = (signal(SignalKind::window_change())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminal, resized, interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Has the command told of them, until we are asked to end a second time.
    async fn pass_on(mut self, raw: Option<&Raw>, notes: UnboundedSender<SessionNote>) {
        let mut asked = false;
        loop {
            let note = self.next(raw).await;
            if matches!(note, Some(SessionNote::Signal { .. })) && std::mem::replace(&mut asked, true) {
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

/// Our input and signals to it. Comes back only when it is asked to end a second time, wherever what was sent before may be stuck.
async fn steer(mut input: SessionInput, raw: Option<&Raw>, signals: Signals) -> Failure {
    let (to, notes) = mpsc::unbounded_channel();
    let sending = async {
        // Where it fails, what the output ends with says more.
        drop(send(&mut input, raw, notes).await);
        pending::<Infallible>().await
    };
    tokio::select! {
        () = signals.pass_on(raw, to) => Failure::Interrupted("the command is hung up on".to_owned()),
        never = sending => match never {},
    }
}

/// Until the connection is gone.
async fn send(input: &mut SessionInput, raw: Option<&Raw>, mut notes: mpsc::UnboundedReceiver<SessionNote>) -> Result<(), ClientError> {
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

/// The next piece of input, once the command has taken so much that notes get past it; after its end, never.
async fn next(from: &mut Option<mpsc::Receiver<Bytes>>, to: &SessionInput) -> Option<Bytes> {
    match from {
        Some(from) => {
            to.room().await;
            from.recv().await
        }
        None => pending().await,
    }
}
