//! The caller's end of a session: data and notes from the caller, data and a final note to it.

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use micado_api::agent::{SessionNote, channel};
use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
    time::{interval, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

/// Upper bound for the data in one of our frames, in bytes.
pub const PIECE: usize = 32 << 10;
/// Time for the caller to read the final note and close.
const FAREWELL: Duration = Duration::from_secs(5);

/// Keep-alive times of a session: detect a manager that is gone without closing the connection,
/// such as after a cut.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Interval of pings. They also tell the manager that the agent is alive.
    pub ping: Duration,
    /// Upper bound for silence while waiting for the caller; after it, the connection counts as
    /// gone.
    pub dead: Duration,
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone")]
pub struct Cut;

/// A message from the caller.
#[derive(Debug)]
pub enum FromCaller {
    /// Data for the command's standard input, or of a tar.
    Data(Bytes),
    /// End of input.
    End,
    /// New size of the terminal.
    Resize { columns: u16, rows: u16 },
    /// A signal, by its name without `SIG`.
    Signal(String),
}

/// The caller, in two halves that are used concurrently.
pub struct Caller {
    pub output: Output,
    pub input: Input,
}

/// Sending half. A send waits until the connection accepts the frame.
#[derive(Clone)]
pub struct Output(Arc<Mutex<ToCaller>>);

/// Receiving half. While it is not read, backpressure stops the caller.
pub struct Input {
    from: Pin<Box<dyn Stream<Item = tungstenite::Result<Message>> + Send>>,
    dead: Duration,
}

/// Sender of keep-alive pings.
pub struct Pings {
    to: Arc<Mutex<ToCaller>>,
    every: Duration,
}

type ToCaller = Pin<Box<dyn Sink<Message, Error = tungstenite::Error> + Send>>;

impl Caller {
    /// Splits this connection.
    pub fn new(
        socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
        pace: Pace,
    ) -> (Self, Pings) {
        let (to, from) = socket.split();
        let to: ToCaller = Box::pin(to);
        let to = Arc::new(Mutex::new(to));
        let pings = Pings {
            to: Arc::clone(&to),
            every: pace.ping,
        };
        (
            Self {
                output: Output(to),
                input: Input {
                    from: Box::pin(from),
                    dead: pace.dead,
                },
            },
            pings,
        )
    }

    /// Sends the final note, and closes once the caller has read it.
    pub async fn end(mut self, last: &SessionNote) {
        let farewell = async {
            let text = serde_json::to_string(last).map_err(|_| Cut)?;
            let mut to = self.output.0.lock().await;
            to.send(Message::text(text)).await.map_err(|_| Cut)?;
            to.close().await.map_err(|_| Cut)?;
            // If the socket were closed with unread input, TCP would discard output that the caller
            // has not read yet.
            while self.input.next().await.is_ok() {}
            Ok::<(), Cut>(())
        };
        drop(timeout(FAREWELL, farewell).await);
    }
}

impl Output {
    /// Sends data of a channel.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn data(&mut self, channel: u8, data: &[u8]) -> Result<(), Cut> {
        for piece in data.chunks(PIECE) {
            let mut frame = Vec::with_capacity(1 + piece.len());
            frame.push(channel);
            frame.extend_from_slice(piece);
            self.0
                .lock()
                .await
                .send(Message::binary(frame))
                .await
                .map_err(|_| Cut)?;
        }
        Ok(())
    }

    /// Grants flow-control credit: this many more frames of input may be sent.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn more(&self, frames: u8) -> Result<(), Cut> {
        self.0
            .lock()
            .await
            .send(Message::binary(vec![channel::IN, frames]))
            .await
            .map_err(|_| Cut)
    }
}

impl Pings {
    /// Sends pings until it is dropped.
    pub async fn send(self) -> Infallible {
        let mut ticks = interval(self.every);
        loop {
            ticks.tick().await;
            // While data is being sent no ping is needed. A broken connection is noticed by the
            // session itself.
            if let Ok(mut to) = self.to.try_lock() {
                to.send(Message::Ping(Bytes::new())).await.ok();
            }
        }
    }
}

impl Input {
    /// Returns the next message. Cancel-safe.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn next(&mut self) -> Result<FromCaller, Cut> {
        loop {
            // The time-out runs only inside this call: a session that does not read its input
            // proves nothing about the caller.
            let message = timeout(self.dead, self.from.next())
                .await
                .map_err(|_| Cut)?
                .ok_or(Cut)?
                .map_err(|_| Cut)?;
            match message {
                Message::Binary(mut frame) if frame.first() == Some(&channel::IN) => {
                    return Ok(FromCaller::Data(frame.split_off(1)));
                }
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(SessionNote::End) => return Ok(FromCaller::End),
                    Ok(SessionNote::Resize { columns, rows }) => {
                        return Ok(FromCaller::Resize { columns, rows });
                    }
                    Ok(SessionNote::Signal { name }) => return Ok(FromCaller::Signal(name)),
                    Ok(note) => tracing::debug!(
                        "session: the caller says {note:?}, which is not for it to say"
                    ),
                    Err(error) => {
                        tracing::debug!("session: the caller says something unknown: {error}")
                    }
                },
                Message::Close(_) => return Err(Cut),
                _ => {}
            }
        }
    }

    /// Waits until the connection is gone, discarding messages.
    pub async fn cut(&mut self) -> Cut {
        loop {
            if let Err(cut) = self.next().await {
                return cut;
            }
        }
    }
}

#[cfg(test)]
mod tests;
