//! Opens connections to the manager: TCP, TLS with certificates both ways, and on it a WebSocket or
//! one HTTP call.

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

/// For all of it together: name, TCP, TLS and handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that one frame from the manager may hold, in bytes.
pub const MOST_FRAME: usize = 1 << 20;
/// Of the library's buffers; by default they are eight times as large, for each connection.
const BUFFER: usize = 16 << 10;

/// A WebSocket to the manager.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// We cannot say who we are.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection, or one that does not prove that it leads to the manager.
    #[error("no connection to the manager at {manager}: {cause}")]
    Connect {
        /// Where.
        manager: String,
        /// The system's or the TLS library's words.
        cause: io::Error,
    },
    /// It took too long.
    #[error("the manager at {manager} does not answer in {} s", PATIENCE.as_secs())]
    Silent {
        /// Where.
        manager: String,
    },
    /// The manager does not want it.
    #[error("the manager at {manager} refuses {path}: {cause}")]
    Refused {
        /// Where.
        manager: String,
        /// What.
        path: String,
        /// Its words.
        cause: Box<tungstenite::Error>,
    },
}

/// Knows the way to the manager.
#[derive(Debug)]
pub struct Dialer {
    files: Files,
    /// As last read: sessions go where the agent's own connection went.
    identity: Mutex<Option<Arc<Identity>>>,
}

impl Dialer {
    /// By these files.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self {
            files,
            identity: Mutex::new(None),
        }
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Reads the files anew.
    ///
    /// # Errors
    /// When one is missing or damaged.
    pub fn refresh(&self) -> Result<Arc<Identity>, IdentityError> {
        let identity = Arc::new(self.files.identity()?);
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&identity));
        Ok(identity)
    }

    /// Who we are, as last read.
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

    /// A WebSocket at this path of the manager's.
    ///
    /// # Errors
    /// When there is no connection, it does not lead to our manager, or it refuses.
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
