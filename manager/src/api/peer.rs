//! Identity of the client of an HTTPS connection. A certificate of the cluster's authority is
//! requested but not required.

use super::agents::silence::Socket;
use axum::{Extension, middleware::AddExtension};
use axum_server::{accept::Accept, tls_rustls::RustlsAcceptor};
use futures_util::{FutureExt, future::BoxFuture};
use rustix::{fs::fstat, net::sockopt};
use rustls::pki_types::CertificateDer;
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower_layer::Layer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Interval of TCP keep-alive probes on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(8);
/// Number of unanswered probes after which the connection is closed.
const KEEPALIVE_QUESTIONS: u32 = 2;

/// Origin of a request.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Name in the client's certificate, which TLS has checked; `None` without one.
    pub(super) name: Option<Arc<str>>,
    pub(super) socket: Socket,
}

/// Accepts TLS, and attaches the peer to every request on the connection.
#[derive(Debug, Clone)]
pub(super) struct PeerAcceptor(pub(super) RustlsAcceptor);

impl<S: Send + 'static> Accept<TcpStream, S> for PeerAcceptor {
    type Stream = TlsStream<TcpStream>;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        async move {
            let (stream, service) = accepting.await?;
            // Interactive sessions send a key at a time.
            stream.get_ref().0.set_nodelay(true)?;
            watch(stream.get_ref().0)?;
            let name = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first)
                .and_then(common_name);
            let socket = Socket(fstat(stream.get_ref().0)?.st_ino);
            Ok((stream, Extension(Peer { name, socket }).layer(service)))
        }
        .boxed()
    }
}

/// A session may be silent for hours: the kernel asks whether its caller is still there. What is on
/// its way to one that is not, `agents/silence.rs` finds out.
fn watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 2)?;
    Ok(sockopt::set_tcp_keepcnt(stream, KEEPALIVE_QUESTIONS)?)
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    certificate
        .subject()
        .iter_common_name()
        .next()?
        .as_str()
        .ok()
        .map(Arc::from)
}
