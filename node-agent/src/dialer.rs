//! Opens connections to the manager: TCP, TLS with certificates on both sides, and a WebSocket or
//! one HTTP call on it.

use crate::identity::{Files, Identity, IdentityError};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// Time-out of name look-up, TCP, TLS and handshake together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Upper bound for one frame from the manager, in bytes.
pub const MOST_FRAME: usize = 1 << 20;
/// Size of the library's buffers. The default is eight times as large, for each connection.
const BUFFER: usize = 16 << 10;

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A failed connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Our own certificate or key is unreadable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection, or the server is not our manager.
    #[error("no connection to the manager at {manager}: {cause}")]
    Connect {
        manager: String,
        /// Error of the system or the TLS library.
        cause: io::Error,
    },
    /// No answer in time.
    #[error("the manager at {manager} does not answer in {} s", PATIENCE.as_secs())]
    Silent { manager: String },
    /// The manager refused.
    #[error("the manager at {manager} refuses {path}: {cause}")]
    Refused {
        manager: String,
        path: String,
        cause: Box<tungstenite::Error>,
    },
}

/// Opens connections to one manager.
#[derive(Debug)]
pub struct Dialer {
    files: Files,
    /// As last read: sessions use the same one as the agent's own connection.
    identity: Mutex<Option<Arc<Identity>>>,
}

impl Dialer {
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self {
            files,
            identity: Mutex::new(None),
        }
    }

    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Reads the files anew.
    ///
    /// # Errors
    /// If one is missing or damaged.
    pub fn refresh(&self) -> Result<Arc<Identity>, IdentityError> {
        let identity = Arc::new(self.files.identity()?);
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&identity));
        Ok(identity)
    }

    /// The identity as last read.
    ///
    /// # Errors
    /// As [`Dialer::refresh`].
    pub fn identity(&self) -> Result<Arc<Identity>, IdentityError> {
        let known = self
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.map_or_else(|| self.refresh(), Ok)
    }

    /// A WebSocket at this path of the manager.
    ///
    /// # Errors
    /// If there is no connection, the server is not our manager, or it refuses.
    pub async fn open(&self, path: &str) -> Result<Socket, DialError> {
        let identity = self.identity()?;
        let manager = identity.manager.to_string();
        let refused = |cause| DialError::Refused {
            manager: manager.clone(),
            path: path.to_owned(),
            cause: Box::new(cause),
        };
        let request = format!("wss://{manager}{path}")
            .into_client_request()
            .map_err(refused)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(MOST_FRAME))
            .max_frame_size(Some(MOST_FRAME));
        let open = async {
            let stream = tls(&identity).await.map_err(|cause| DialError::Connect {
                manager: manager.clone(),
                cause,
            })?;
            let (socket, _) = client_async_with_config(request, stream, Some(config))
                .await
                .map_err(refused)?;
            Ok(socket)
        };
        timeout(PATIENCE, open).await.unwrap_or_else(|_| {
            Err(DialError::Silent {
                manager: manager.clone(),
            })
        })
    }

    /// A TLS connection, for one HTTP call.
    ///
    /// # Errors
    /// As [`Dialer::open`].
    pub async fn connect(&self) -> Result<(TlsStream<TcpStream>, Arc<Identity>), DialError> {
        let identity = self.identity()?;
        let manager = identity.manager.to_string();
        match timeout(PATIENCE, tls(&identity)).await {
            Ok(Ok(stream)) => Ok((stream, identity)),
            Ok(Err(cause)) => Err(DialError::Connect { manager, cause }),
            Err(_) => Err(DialError::Silent { manager }),
        }
    }
}

async fn tls(identity: &Identity) -> io::Result<TlsStream<TcpStream>> {
    let stream =
        TcpStream::connect((identity.manager.host.as_str(), identity.manager.port)).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(&identity.tls))
        .connect(identity.name.clone(), stream)
        .await
}
