//! Output of a command to our standard output and standard error. A thread of its own writes it, so
//! that a blocked reader blocks nothing else.

use bytes::Bytes;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

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
