//! The listeners of Consul's interface: plain HTTP on loopback, and TLS.

use super::{Catalogue, ConsulState, Node, Tokens, router};
use crate::{
    api::{
        admission::{Admission, Admitted},
        peer::PeerAcceptor,
    },
    control::Handle,
    monitor::Counters,
};
use axum_server::{accept::Accept, tls_rustls::RustlsConfig};
use futures_util::{FutureExt, future::BoxFuture};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

/// Time for the head of a request; an idle connection is closed after it. Clients keep theirs for
/// as long as the pauses between their queries.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Time for requests in progress when the manager stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Addresses of the listeners.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsulListen {
    /// Plain HTTP: a loopback address.
    pub plain: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
}

impl ConsulListen {
    /// True if there is nothing to listen on.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.plain.is_none() && self.tls.is_none()
    }
}

/// Listeners that do not answer yet.
#[derive(Debug)]
pub struct Consul {
    plain: Option<TcpListener>,
    tls: Option<TcpListener>,
    certificate: RustlsConfig,
    catalogue: Catalogue,
    tokens: Tokens,
    /// The manager as a node.
    own: Node,
}

impl Consul {
    /// Listens on these addresses.
    ///
    /// # Errors
    /// The address that cannot be had, with the system's message.
    pub fn bind(
        listen: &ConsulListen,
        certificate: RustlsConfig,
        catalogue: Catalogue,
        tokens: Tokens,
        own: Node,
    ) -> io::Result<Self> {
        let bind = |address: SocketAddr| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            io::Result::Ok(listener)
        };
        let bind = |address: SocketAddr| {
            let named = |error| io::Error::other(format!("cannot listen on {address}: {error}"));
            bind(address).map_err(named)
        };
        Ok(Self {
            plain: listen.plain.map(bind).transpose()?,
            tls: listen.tls.map(bind).transpose()?,
            certificate,
            catalogue,
            tokens,
            own,
        })
    }

    /// The addresses that it listens on: plain HTTP, and TLS.
    ///
    /// # Errors
    /// The system's message.
    pub fn addresses(&self) -> io::Result<[Option<SocketAddr>; 2]> {
        let address = |listener: &Option<TcpListener>| {
            let address = listener.as_ref().map(TcpListener::local_addr);
            address.transpose()
        };
        Ok([address(&self.plain)?, address(&self.tls)?])
    }

    /// Answers until `stop` resolves. Queries that wait are answered then.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn serve(
        self,
        handle: Handle,
        stop: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let stopping = CancellationToken::new();
        let counters = handle.counters().clone();
        let admission = Arc::new(Admission::of_readers());
        let state = ConsulState {
            handle,
            catalogue: self.catalogue,
            waiters: Arc::default(),
            tokens: Arc::new(self.tokens),
            stopping: stopping.clone(),
            own: Arc::new(self.own),
        };
        let servers = axum_server::Handle::<SocketAddr>::new();
        let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
        let plain = async {
            let Some(listener) = self.plain else {
                return Ok(());
            };
            let acceptor = PlainAcceptor {
                admission: admission.clone(),
                counters: counters.clone(),
                stopping: stopping.clone(),
            };
            let server = axum_server::from_tcp(listener)?.acceptor(acceptor);
            let mut server = server.handle(servers.clone());
            *server.http_builder() = http();
            server.serve(service.clone()).await
        };
        let tls = async {
            let Some(listener) = self.tls else {
                return Ok(());
            };
            let server = axum_server::from_tcp_rustls(listener, self.certificate)?;
            let server = server.map(|tls| PeerAcceptor {
                tls,
                admission: admission.clone(),
                counters: counters.clone(),
                stopping: stopping.clone(),
            });
            let mut server = server.handle(servers.clone());
            *server.http_builder() = http();
            server.serve(service.clone()).await
        };
        let stop = async {
            stop.await;
            stopping.cancel();
            servers.graceful_shutdown(Some(STOP_TIMEOUT));
            Ok(())
        };
        tokio::try_join!(plain, tls, stop).map(drop)
    }
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
}

/// Accepts plain connections within the bounds.
#[derive(Debug, Clone)]
struct PlainAcceptor {
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
}

impl<S: Send + 'static> Accept<TcpStream, S> for PlainAcceptor {
    type Stream = Admitted<TcpStream>;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        async move {
            tokio::select! {
                admitted = acceptor.admit(stream) => Ok((admitted?, service)),
                () = acceptor.stopping.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        .boxed()
    }
}

impl PlainAcceptor {
    async fn admit(&self, stream: TcpStream) -> io::Result<Admitted<TcpStream>> {
        let refused = |_: &io::Error| self.counters.connection_refused();
        let permit = self.admission.enter(stream.peer_addr()?.ip());
        let mut permit = permit.inspect_err(refused)?;
        permit.identify(None).inspect_err(refused)?;
        stream.set_nodelay(true)?;
        let patience = self.admission.limits.patience;
        timeout(patience, Admitted::begin(stream, permit)).await?
    }
}
