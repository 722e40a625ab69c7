//! Identity of the client of an HTTPS connection. A certificate of the cluster's authority is
//! requested but not required.

use super::{
    admission::{Admission, Admitted},
    agents::silence::Socket,
    certificate::{common_name, end},
};
use crate::monitor::Counters;
use axum::{Extension, middleware::AddExtension};
use axum_server::{accept::Accept, tls_rustls::RustlsAcceptor};
use futures_util::{FutureExt, future::BoxFuture};
use rustix::{fs::fstat, net::sockopt};
use rustls::pki_types::UnixTime;
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

/// Interval of TCP keep-alive probes on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(8);
/// Number of unanswered probes after which the connection is closed.
const KEEPALIVE_QUESTIONS: u32 = 2;

/// Origin of a request.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Name in the client's certificate, which TLS has checked; `None` without one.
    pub(super) name: Option<Arc<str>>,
    /// Name in a certificate that was good until it expired, at most 90 days ago.
    pub(super) expired: Option<Arc<str>>,
    pub(super) address: IpAddr,
    pub(super) socket: Socket,
}

/// Accepts TLS, and attaches the peer to every request on the connection.
#[derive(Debug, Clone)]
pub(super) struct PeerAcceptor {
    pub(super) tls: RustlsAcceptor,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
    /// The manager stops: it waits for no first request any more.
    pub(super) stopping: CancellationToken,
}

impl<S: Send + 'static> Accept<TcpStream, S> for PeerAcceptor {
    type Stream = Admitted<TlsStream<TcpStream>>;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (acceptor, stopping) = (self.clone(), self.stopping.clone());
        async move {
            tokio::select! {
                accepted = acceptor.admit(stream, service) => accepted,
                () = stopping.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        .boxed()
    }
}

/// An admitted connection and the service of its requests.
type Accepted<S> = (Admitted<TlsStream<TcpStream>>, AddExtension<S, Peer>);

impl PeerAcceptor {
    async fn admit<S: Send + 'static>(
        self,
        stream: TcpStream,
        service: S,
    ) -> io::Result<Accepted<S>> {
        let refused = |_: &io::Error| self.counters.connection_refused();
        let permit = self.admission.enter(stream.peer_addr()?.ip());
        let mut permit = permit.inspect_err(refused)?;
        let patience = self.admission.limits.patience;
        let (stream, service) = timeout(patience, self.tls.accept(stream, service)).await??;
        // Interactive sessions send a key at a time.
        stream.get_ref().0.set_nodelay(true)?;
        watch(stream.get_ref().0)?;
        let peer = peer(&stream)?;
        let identified = permit.identify(peer.name.clone());
        identified.inspect_err(refused)?;
        let stream = timeout(patience, Admitted::begin(stream, permit)).await??;
        Ok((stream, Extension(peer).layer(service)))
    }
}

fn peer(stream: &TlsStream<TcpStream>) -> io::Result<Peer> {
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first);
    let name = certificate.and_then(common_name);
    let end = certificate.and_then(end).unwrap_or_default();
    let (name, expired) = match UnixTime::now().as_secs() <= end {
        true => (name, None),
        false => (None, name),
    };
    Ok(Peer {
        name,
        expired,
        address: stream.get_ref().0.peer_addr()?.ip(),
        socket: Socket(fstat(stream.get_ref().0)?.st_ino),
    })
}

/// A session may be silent for hours: the kernel asks whether its caller is still there. What is on
/// its way to one that is not, `agents/silence.rs` finds out.
fn watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 2)?;
    Ok(sockopt::set_tcp_keepcnt(stream, KEEPALIVE_QUESTIONS)?)
}
