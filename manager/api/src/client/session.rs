//! Sessions on containers: commands and copies, over a WebSocket that the manager relays to the
//! container's machine.

use super::{Client, ClientError};
use crate::{
    ErrorBody, ErrorCode, PathView,
    agent::{INPUT_AHEAD, INPUT_FRAME, SessionNote, channel},
};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use reqwest::{Method, Upgraded, header};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        handshake::client::generate_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// Size of the library's buffers, in bytes: upper bound for unsent data while the other side does
/// not read.
const BUFFER: usize = 64 << 10;

/// A session in two halves, for concurrent use.
pub struct Session {
    /// To the work.
    pub input: SessionInput,
    /// From the work.
    pub output: SessionOutput,
}

/// To the work. Sending waits until the frame is taken.
pub struct SessionInput {
    to: SplitSink<WebSocketStream<Upgraded>, Message>,
    ahead: Ahead,
}

/// From the work. An unread session blocks the work.
pub struct SessionOutput {
    from: SplitStream<WebSocketStream<Upgraded>>,
    ahead: Ahead,
}

/// Flow-control credit: further frames that the work accepts. `None` where the connection alone
/// decides.
type Ahead = Option<Arc<Semaphore>>;

/// Output of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionPiece {
    /// Standard output, or a tar.
    Out(Bytes),
    /// Standard error.
    Error(Bytes),
    /// The last piece: the exit code.
    Exit(i64),
}

impl Client {
    /// Runs a command in a container.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn execute(
        &self,
        name: &str,
        command: &[String],
        terminal: bool,
        environment: &[String],
    ) -> Result<Session, ClientError> {
        let mut query = vec![("terminal", terminal.to_string())];
        query.extend(command.iter().map(|word| ("command", word.clone())));
        query.extend(environment.iter().map(|pair| ("environment", pair.clone())));
        self.session(
            &["v1", "containers", name, "exec"],
            &query,
            Some(Arc::new(Semaphore::new(INPUT_AHEAD))),
        )
        .await
    }

    /// Unpacks a tar, sent as input, into a folder of a container. With `archive`, files belong to
    /// the container's user.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn copy_to(
        &self,
        name: &str,
        path: &str,
        archive: bool,
    ) -> Result<Session, ClientError> {
        self.session(
            &["v1", "containers", name, "copy-to"],
            &[("path", path.to_owned()), ("archive", archive.to_string())],
            None,
        )
        .await
    }

    /// Entry at a path of a container.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stat(&self, name: &str, path: &str) -> Result<PathView, ClientError> {
        let query = [("path", path.to_owned())];
        self.get(&["v1", "containers", name, "path"], &query).await
    }

    /// Reads a file or folder of a container, as a tar in the output. Lines of its standard error name
    /// entries that the tar lacks.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn copy_from(&self, name: &str, path: &str) -> Result<Session, ClientError> {
        self.session(
            &["v1", "containers", name, "copy-from"],
            &[("path", path.to_owned())],
            None,
        )
        .await
    }

    async fn session(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        ahead: Ahead,
    ) -> Result<Session, ClientError> {
        let request = self
            .request(Method::GET, path, query)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key());
        let response = self.answered(request).await.map_err(ClientError::cut)?;
        let upgraded = response
            .upgrade()
            .await
            .map_err(|error| ClientError::from_http(&self.address, &error))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER);
        let (to, from) = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config))
            .await
            .split();
        Ok(Session {
            input: SessionInput {
                to,
                ahead: ahead.clone(),
            },
            output: SessionOutput { from, ahead },
        })
    }
}

impl SessionInput {
    /// Waits for flow-control credit for one frame, which precedes any later note. Read the output
    /// meanwhile. Cancel-safe.
    pub async fn room(&self) {
        if let Some(ahead) = &self.ahead {
            // The semaphore is never closed.
            drop(ahead.acquire().await);
        }
    }

    /// Sends input, as [room](Self::room) permits.
    ///
    /// # Errors
    /// If the connection is gone; the work's own end then takes precedence.
    pub async fn data(&mut self, data: &[u8]) -> Result<(), ClientError> {
        for piece in data.chunks(INPUT_FRAME) {
            self.room().await;
            if let Some(ahead) = &self.ahead {
                ahead.forget_permits(1);
            }
            let mut frame = Vec::with_capacity(1 + piece.len());
            frame.push(channel::IN);
            frame.extend_from_slice(piece);
            self.to.send(Message::binary(frame)).await.map_err(broken)?;
        }
        Ok(())
    }

    /// Sends a note: end of input, the terminal's size, or a signal.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn note(&mut self, note: &SessionNote) -> Result<(), ClientError> {
        let text = serde_json::to_string(note).map_err(ClientError::unreadable)?;
        self.to.send(Message::text(text)).await.map_err(broken)
    }
}

impl SessionOutput {
    /// The next piece of output. Cancel-safe.
    ///
    /// # Errors
    /// If the work failed (with the agent's message) or the connection is gone.
    pub async fn next(&mut self) -> Result<SessionPiece, ClientError> {
        loop {
            let message = self
                .from
                .next()
                .await
                .unwrap_or(Err(Error::ConnectionClosed))
                .map_err(broken)?;
            match message {
                Message::Binary(mut frame) => match frame.first() {
                    Some(&channel::OUT) => return Ok(SessionPiece::Out(frame.split_off(1))),
                    Some(&channel::ERROR) => return Ok(SessionPiece::Error(frame.split_off(1))),
                    Some(&channel::IN) => self.more_room(frame.get(1).copied()),
                    _ => {}
                },
                Message::Text(text) => {
                    match serde_json::from_str(&text).map_err(ClientError::unreadable)? {
                        SessionNote::Exit { code } => return Ok(SessionPiece::Exit(code)),
                        SessionNote::Failed { message } => {
                            return Err(ClientError::Refused(ErrorBody::new(
                                ErrorCode::Unsatisfiable,
                                message,
                            )));
                        }
                        _ => {}
                    }
                }
                Message::Close(_) => return Err(broken(Error::ConnectionClosed)),
                _ => {}
            }
        }
    }
}

impl SessionOutput {
    fn more_room(&self, frames: Option<u8>) {
        if let Some(ahead) = &self.ahead {
            ahead.add_permits(frames.map_or(1, usize::from));
        }
    }
}

fn broken(cause: Error) -> ClientError {
    let cause = match cause {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => "it has ended".to_owned(),
        other => other.to_string(),
    };
    ClientError::Cut(format!("the connection to the manager broke: {cause}"))
}
