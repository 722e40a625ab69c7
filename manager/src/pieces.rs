//! Streams of pieces between tasks and threads: `Write` and `Read` over channels.

use bytes::{Buf, Bytes};
use std::{
    cell::Cell,
    io::{self, Read, Write},
};
use tokio::sync::mpsc;

/// Upper bound for buffered pieces.
pub(crate) const WAITING: usize = 4;
/// Size of a piece, in bytes.
pub(crate) const PIECE: usize = 32 << 10;

/// A piece, or the reason why there is no further one.
pub(crate) type Piece = io::Result<Bytes>;

/// Writes pieces to a channel. Only for threads that may block.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    to: mpsc::Sender<T>,
    wrap: fn(Bytes) -> T,
}

impl Outlet<Bytes> {
    /// Ends of this stream look alike, complete or not.
    pub(crate) fn plain(to: mpsc::Sender<Bytes>) -> Self {
        Self {
            to,
            wrap: |piece| piece,
        }
    }
}

impl Outlet<Piece> {
    /// The stream can end with an error.
    pub(crate) fn fallible(to: mpsc::Sender<Piece>) -> Self {
        Self { to, wrap: Ok }
    }
}

impl<T> Write for Outlet<T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.to
            .blocking_send((self.wrap)(Bytes::copy_from_slice(data)))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Discards what is written while it is shut: the tar library writes the end of the archive when an
/// incomplete one is dropped, and a reader would take that for a complete one.
#[derive(Debug)]
pub(crate) struct Valve<'a, W> {
    to: W,
    shut: &'a Cell<bool>,
}

impl<'a, W> Valve<'a, W> {
    pub(crate) fn new(to: W, shut: &'a Cell<bool>) -> Self {
        Self { to, shut }
    }
}

impl<W: Write> Write for Valve<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.shut.get() {
            return Ok(data.len());
        }
        self.to.write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads pieces from a channel. Only for threads that may block.
#[derive(Debug)]
pub(crate) struct Inlet<T> {
    from: mpsc::Receiver<T>,
    unwrap: fn(T) -> Piece,
    piece: Bytes,
}

impl Inlet<Bytes> {
    pub(crate) fn plain(from: mpsc::Receiver<Bytes>) -> Self {
        Self {
            from,
            unwrap: Ok,
            piece: Bytes::new(),
        }
    }
}

impl Inlet<Piece> {
    pub(crate) fn fallible(from: mpsc::Receiver<Piece>) -> Self {
        Self {
            from,
            unwrap: |piece| piece,
            piece: Bytes::new(),
        }
    }
}

impl<T> Read for Inlet<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = (self.unwrap)(piece)?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
