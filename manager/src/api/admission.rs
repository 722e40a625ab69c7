//! Bounds on HTTPS connections, so that callers without a credential leave room for machines, the
//! unix socket, the engine and the store.

use rustix::process::{Resource, getrlimit};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Descriptors that are left to the unix socket, the engine, the store and files.
const RESERVED: usize = 256;
/// At most one line about refused connections is logged in this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Upper bounds for open connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of callers that have not finished the TLS handshake: in all, and of one address.
    pub(super) handshakes: Limit,
    /// Of callers without a client certificate: in all, and of one address.
    pub(super) strangers: Limit,
    /// Of machines: in all, and with one certificate. Many may share an address.
    pub(super) machines: Limit,
    /// Time for the handshake, and then for the first bytes of a request.
    pub(super) patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) total: usize,
    pub(super) of_one: usize,
}

impl Limits {
    /// For a process that may open this many descriptors.
    fn within(descriptors: usize) -> Self {
        let room = descriptors.saturating_sub(RESERVED).max(RESERVED);
        let limit = |share: usize, most: usize, of_one: usize| {
            let total = (room / share).min(most);
            let of_one = of_one.min(total / 2);
            Limit { total, of_one }
        };
        Self {
            handshakes: limit(8, 512, 64),
            strangers: limit(4, 2048, 256),
            machines: limit(2, 16_384, 128),
            patience: Duration::from_secs(10),
        }
    }

    /// For readers of the catalogue: a connection for each query that waits, and some more.
    fn of_readers(descriptors: usize) -> Self {
        let total = (descriptors / 4).min(8_192 + 512);
        let of_one = (2_048 + 128).min(total / 2);
        Self {
            strangers: Limit { total, of_one },
            ..Self::within(descriptors)
        }
    }
}

/// Descriptors that this process may open.
fn descriptors() -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Handshake(IpAddr),
    Stranger(IpAddr),
    Machine(Arc<str>),
}

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<Holder, usize>,
    handshakes: usize,
    strangers: usize,
    machines: usize,
    /// Refusals since one was logged, and when that was.
    refused: u64,
    logged: Option<Instant>,
}

impl Counts {
    fn total(&mut self, holder: &Holder) -> &mut usize {
        match holder {
            Holder::Handshake(_) => &mut self.handshakes,
            Holder::Stranger(_) => &mut self.strangers,
            Holder::Machine(_) => &mut self.machines,
        }
    }

    fn release(&mut self, holder: &Holder) {
        *self.total(holder) -= 1;
        if let Some(count) = self.of.get_mut(holder) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(holder);
            }
        }
    }
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            counts: Mutex::default(),
        }
    }

    /// Within what this process may open.
    pub(super) fn of_process() -> Self {
        Self::new(Limits::within(descriptors()))
    }

    /// For readers of the catalogue, most of which wait, within what this process may open.
    pub(super) fn of_readers() -> Self {
        Self::new(Limits::of_readers(descriptors()))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection from this address to the handshake.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> io::Result<Permit> {
        let holder = Holder::Handshake(network(from));
        self.hold(&holder)?;
        Ok(Permit {
            admission: Arc::clone(self),
            from,
            holder,
        })
    }

    fn hold(&self, holder: &Holder) -> io::Result<()> {
        let limit = match holder {
            Holder::Handshake(_) => self.limits.handshakes,
            Holder::Stranger(_) => self.limits.strangers,
            Holder::Machine(_) => self.limits.machines,
        };
        let mut counts = self.counts();
        let of_one = counts.of.get(holder).copied().unwrap_or_default();
        if of_one >= limit.of_one || *counts.total(holder) >= limit.total {
            counts.refused += 1;
            let is_due = |at: Instant| at.elapsed() >= LOG_EVERY;
            if counts.logged.is_none_or(is_due) {
                counts.logged = Some(Instant::now());
                let refused = std::mem::take(&mut counts.refused);
                drop(counts);
                tracing::warn!(refused, "too many HTTPS connections are open: {holder:?}");
            }
            return Err(io::Error::other("too many connections are open"));
        }
        *counts.of.entry(holder.clone()).or_default() += 1;
        *counts.total(holder) += 1;
        Ok(())
    }
}

/// The right to one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    from: IpAddr,
    holder: Holder,
}

impl Permit {
    /// The handshake is over: the caller showed a certificate of this name, or none.
    pub(super) fn identify(&mut self, name: Option<Arc<str>>) -> io::Result<()> {
        let holder = name.map_or_else(|| Holder::Stranger(network(self.from)), Holder::Machine);
        self.admission.hold(&holder)?;
        let before = std::mem::replace(&mut self.holder, holder);
        self.admission.counts().release(&before);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.counts().release(&self.holder);
    }
}

/// The part of an address that one caller cannot choose: of IPv6 the first 64 bits.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// Bytes that tell HTTP/2 from HTTP/1.
const FIRST: usize = 4;

/// A connection whose first bytes have come. The server would wait for them without a limit, and
/// speak HTTP/2 with whoever asks for it, on which it sets no limits either.
#[derive(Debug)]
pub(super) struct Admitted<S> {
    stream: S,
    first: [u8; FIRST],
    given: usize,
    _permit: Permit,
}

impl<S: AsyncRead + Unpin> Admitted<S> {
    /// Waits for the first bytes of a request.
    pub(super) async fn begin(mut stream: S, permit: Permit) -> io::Result<Self> {
        let mut first = [0; FIRST];
        let mut buffer = ReadBuf::new(&mut first);
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            let mut read = |cx: &mut Context<'_>| Pin::new(&mut stream).poll_read(cx, &mut buffer);
            std::future::poll_fn(&mut read).await?;
            if buffer.filled().len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if first == *b"PRI " {
            return Err(io::Error::other("HTTP/2 is not spoken here"));
        }
        Ok(Self {
            stream,
            first,
            given: 0,
            _permit: permit,
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given < FIRST {
            let count = buffer.remaining().min(FIRST - self.given);
            buffer.put_slice(&self.first[self.given..self.given + count]);
            self.given += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
