//! The two listeners: the unix socket for the owner, and HTTPS.

use super::{
    ApiState, Token, admission::Admission, caller::Guard, certificate::LateToo, peer::PeerAcceptor,
    router,
};
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may go on when the manager stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone, Copy)]
pub struct Listen<'a> {
    /// The unix socket. Whoever may open it is trusted, so it is made for its owner only.
    pub socket: &'a Path,
    /// The HTTPS address; port 0 lets the system choose.
    pub https: SocketAddr,
    /// The server's certificate chain, PEM.
    pub certificate: &'a [u8],
    /// Its key, PEM.
    pub key: &'a [u8],
    /// The authority that has signed the certificates of those clients that show one, PEM.
    pub authority: &'a [u8],
}

/// Why the API cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The unix socket cannot be made.
    #[error("unix socket `{path}`: {cause}")]
    Socket { path: PathBuf, cause: io::Error },
    /// Another manager answers on the unix socket. Stop it, or give this one a state folder of its
    /// own.
    #[error("another manager answers on `{0}`")]
    Taken(PathBuf),
    /// The HTTPS address cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    Https {
        address: SocketAddr,
        cause: io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("the server's certificate or key: {0}")]
    Certificate(String),
}

/// An API that listens and does not answer yet.
#[derive(Debug)]
pub struct Api {
    socket: PathBuf,
    unix: UnixListener,
    tcp: TcpListener,
    tls: RustlsConfig,
    authority: Vec<u8>,
    pub(super) admission: Admission,
}

/// The certificate that the HTTPS listener shows.
#[derive(Debug, Clone)]
pub struct Certificate {
    shown: RustlsConfig,
    authority: Vec<u8>,
}

impl Certificate {
    /// Shows this one (chain and key, PEM) on every connection from now on.
    ///
    /// # Errors
    /// [`BindError::Certificate`]; the old one is shown then as before.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), BindError> {
        self.shown.reload_from_config(
            tls(certificate, key, &self.authority).map_err(BindError::Certificate)?,
        );
        Ok(())
    }
}

impl Api {
    /// Listens on both. A socket file that nobody answers on is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(listen: &Listen<'_>) -> Result<Self, BindError> {
        let tls = RustlsConfig::from_config(
            tls(listen.certificate, listen.key, listen.authority)
                .map_err(BindError::Certificate)?,
        );
        let https = |cause| BindError::Https {
            address: listen.https,
            cause,
        };
        let tcp = TcpListener::bind(listen.https).map_err(https)?;
        tcp.set_nonblocking(true).map_err(https)?;
        if UnixStream::connect(listen.socket).is_ok() {
            return Err(BindError::Taken(listen.socket.to_owned()));
        }
        let unix = private_socket(listen.socket).map_err(|cause| BindError::Socket {
            path: listen.socket.to_owned(),
            cause,
        })?;
        Ok(Self {
            socket: listen.socket.to_owned(),
            unix,
            tcp,
            tls,
            authority: listen.authority.to_owned(),
            admission: Admission::of_process(),
        })
    }

    /// Where HTTPS listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn https_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Its certificate and key, for another listener.
    #[must_use]
    pub fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// What HTTPS shows, to be replaced while it serves.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate {
            shown: self.tls.clone(),
            authority: self.authority.clone(),
        }
    }

    /// Answers until `stop` is there, then lets requests end for a few seconds, and takes the
    /// socket file away.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn serve(
        self,
        state: ApiState,
        token: Token,
        stop: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let (unix_handle, tcp_handle) = (
            axum_server::Handle::<UnixAddr>::new(),
            axum_server::Handle::<SocketAddr>::new(),
        );
        let mut unix = axum_server::from_unix(self.unix)?.handle(unix_handle.clone());
        let (admission, stopping) = (Arc::new(self.admission), state.stopping.clone());
        let counters = state.handle.counters().clone();
        let mut tcp = axum_server::from_tcp_rustls(self.tcp, self.tls)?
            .map(|tls| PeerAcceptor {
                tls,
                admission,
                counters,
                stopping,
            })
            .handle(tcp_handle.clone());
        // The servers' own `http1_only` would take WebSockets for plain requests.
        *unix.http_builder() = Builder::new(TokioExecutor::new()).http1_only();
        *tcp.http_builder() = Builder::new(TokioExecutor::new()).http1_only();
        unix.http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        tcp.http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);

        let stopping = state.stopping.clone();
        let unix = unix.serve(router(state.clone(), Guard::Socket).into_make_service());
        let tcp = tcp.serve(
            router(state, Guard::Token(token)).into_make_service_with_connect_info::<SocketAddr>(),
        );
        let stop = async {
            stop.await;
            stopping.cancel();
            unix_handle.graceful_shutdown(Some(STOP_TIMEOUT));
            tcp_handle.graceful_shutdown(Some(STOP_TIMEOUT));
            Ok(())
        };
        let ended = tokio::try_join!(unix, tcp, stop);
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => ended.map(drop),
        }
    }
}

/// A socket that never was open to others, not even between being made and being protected: it is
/// made in a private folder and then moved to its place.
fn private_socket(path: &Path) -> io::Result<UnixListener> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => DirBuilder::new().mode(0o700).create(&folder)?,
    }
    let aside = folder.join("s");
    let listener = UnixListener::bind(&aside)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&aside, Permissions::from_mode(0o600))?;
    fs::rename(&aside, path)?;
    fs::remove_dir(&folder)?;
    Ok(listener)
}

/// Clients may show a certificate of the authority, or none.
fn tls(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Arc<ServerConfig>, String> {
    fn words(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let chain = |pem| {
        CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(words)
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(words)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut clients = RootCertStore::empty();
    for authority in chain(authority)? {
        clients.add(authority).map_err(words)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(words)?;
    let verifier = Arc::new(LateToo(verifier));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(words)?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(certificate)?, key)
        .map_err(words)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
