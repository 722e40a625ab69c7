//! Output of a command to our standard output and standard error. A thread of its own writes it, so
//! that a blocked reader blocks nothing else.

use super::failure::Failure;
use bytes::Bytes;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

/// Exit code that a shell reports for a command that was killed by a write to a closed pipe.
const READER_GONE: u8 = 141;
/// Upper bound for buffered pieces.
const WAITING: usize = 4;

#[derive(Debug)]
pub(super) enum Said {
    /// To standard output.
    Out(Bytes),
    /// To standard error.
    Error(Bytes),
}

/// Returns the sender of pieces, and a receiver of the first error of writing. The receiver ends
/// without a value once the sender is dropped and all is written. The thread is never joined,
/// because a blocked write cannot be cancelled.
pub(super) fn open() -> (mpsc::Sender<Said>, oneshot::Receiver<io::Error>) {
    let (to, mut pieces) = mpsc::channel(WAITING);
    let (fail, failed) = oneshot::channel();
    std::thread::spawn(move || {
        while let Some(piece) = pieces.blocking_recv() {
            if let Err(error) = write(&piece) {
                // The receiver may be dropped already.
                fail.send(error).ok();
                return;
            }
        }
    });
    (to, failed)
}

/// Writes what is sent by `produce`, until it ends or a write fails.
pub(super) async fn write_all(
    produce: impl AsyncFnOnce(mpsc::Sender<Said>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (to, mut failed) = open();
    let written = tokio::select! {
        produced = produce(to) => {
            produced?;
            failed.await
        }
        failed = &mut failed => failed,
    };
    match written.map(Failure::from) {
        Ok(Failure::Closed) => Err(Failure::Ended(READER_GONE)),
        Ok(failure) => Err(failure),
        // It ended without an error.
        Err(_) => Ok(()),
    }
}

fn write(piece: &Said) -> io::Result<()> {
    match piece {
        Said::Out(piece) => {
            let mut out = io::stdout().lock();
            out.write_all(piece)?;
            out.flush()
        }
        Said::Error(piece) => io::stderr().lock().write_all(piece),
    }
}
