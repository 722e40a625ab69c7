//! The other end of a session, as the works see it: data and notes from it, data and a last note to
//! it.

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

/// The most data that one of our frames carries, in bytes.
pub const PIECE: usize = 32 << 10;
/// How long the caller may take to read the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a session finds out that the manager is gone without a word: the cable was cut.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// It is asked so often whether it is there, and hears by that that we are.
    pub ping: Duration,
    /// It is gone when nothing came for this long, though we waited for it.
    pub dead: Duration,
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone")]
pub struct Cut;

/// What comes from the caller.
#[derive(Debug)]
pub enum FromCaller {
    /// Input.
    Data(Bytes),
    /// No more input comes.
    End,
    /// The terminal's size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// A signal, by its name without `SIG`.
    Signal(String),
}

/// The caller, in two halves that are used at the same time.
pub struct Caller {
    /// To it.
    pub output: Output,
    /// From it.
    pub input: Input,
}

/// To the caller. Who sends waits until the connection takes it.
#[derive(Clone)]
pub struct Output(Arc<Mutex<ToCaller>>);

/// From the caller. Who does not read makes the caller wait.
pub struct Input {
    from: Pin<Box<dyn Stream<Item = tungstenite::Result<Message>> + Send>>,
    dead: Duration,
}

/// Asks the other side whether it is there.
pub struct Pings {
    to: Arc<Mutex<ToCaller>>,
    every: Duration,
}

type ToCaller = Pin<Box<dyn Sink<Message, Error = tungstenite::Error> + Send>>;

impl Caller {
    /// On this connection.
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

    /// Says the last word, and closes when the caller has read it.
    pub async fn end(mut self, last: &SessionNote) {
        let farewell = async {
            let text = serde_json::to_string(last).map_err(|_| Cut)?;
            let mut to = self.output.0.lock().await;
            to.send(Message::text(text)).await.map_err(|_| Cut)?;
            to.close().await.map_err(|_| Cut)?;
            // Closed with something unread, TCP would throw away what the caller has not read yet.
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
    /// When the connection is gone.
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

    /// Says how many more frames of input may be sent, as the work has taken some.
    ///
    /// # Errors
    /// When the connection is gone.
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
    /// Sends them, as long as this is waited for.
    pub async fn send(self) -> Infallible {
        let mut ticks = interval(self.every);
        loop {
            ticks.tick().await;
            // While data is on its way nobody need be asked, and what is broken the work finds out.
            if let Ok(mut to) = self.to.try_lock() {
                to.send(Message::Ping(Bytes::new())).await.ok();
            }
        }
    }
}

impl Input {
    /// What comes next. Where the wait is given up, nothing is lost.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn next(&mut self) -> Result<FromCaller, Cut> {
        loop {
            // Only while it is waited for: a work that does not take what came says nothing about
            // the caller.
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

    /// Waits for the connection to go; what comes before is of no use to the work.
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
