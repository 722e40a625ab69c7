//! What a command says, on our standard output and standard error: written by a thread of its own,
//! so that a reader who does not read keeps us from nothing else.

use bytes::Bytes;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

/// Pieces that wait to be written.
const WAITING: usize = 4;

#[derive(Debug)]
pub(super) enum Said {
    /// To standard output.
    Out(Bytes),
    /// To standard error.
    Error(Bytes),
}

/// Where it goes, and why it goes no further; once the sender is dropped and all is written, that
/// can be waited for in vain. Nobody waits for the thread: a write cannot be given up.
pub(super) fn open() -> (mpsc::Sender<Said>, oneshot::Receiver<io::Error>) {
    let (to, mut pieces) = mpsc::channel(WAITING);
    let (fail, failed) = oneshot::channel();
    std::thread::spawn(move || {
        while let Some(piece) = pieces.blocking_recv() {
            if let Err(error) = write(&piece) {
                // Who does not want to know has ended.
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
