//! The agent's own connection to the manager: kept open, and reopened when it breaks.

use crate::{
    backoff::Backoff,
    dialer::{DialError, Dialer, Socket},
    health::Checker,
    mailbox::Mailbox,
    session::Sessions,
};
use futures_util::{SinkExt, StreamExt};
use micado_api::agent::{FromAgent, ToAgent};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

const PATH: &str = "/v1/agent";
const PING: Duration = Duration::from_secs(6);
/// Upper bound for silence, pongs included: after it, the manager or the connection is gone.
const DEAD: Duration = Duration::from_secs(18);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The agent's own connection.
pub struct Link {
    pub dialer: Arc<Dialer>,
    /// Frames to send.
    pub mailbox: Arc<Mailbox>,
    /// The first frame.
    pub hello: FromAgent,
    /// Opens the sessions that the manager requests.
    pub sessions: Sessions,
    /// Makes the checks that the manager asks for.
    pub checker: Checker,
    /// Notified of a new certificate: reconnect with it.
    pub renewed: Arc<Notify>,
    /// Interval between sweeps that the manager asks for; `None` while there is no connection.
    pub pace: watch::Sender<Option<Duration>>,
}

/// Upper bound for the payload of a WebSocket frame, in bytes. The manager keeps a buffer of the
/// largest one for each agent.
const PIECE: usize = 2 << 10;

/// The WebSocket frames of a message.
fn pieces(text: &str) -> impl Iterator<Item = Message> {
    let pieces = text.as_bytes().chunks(PIECE);
    let last = pieces.len().saturating_sub(1);
    pieces.enumerate().map(move |(number, piece)| {
        let data = if number == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let frame = Frame::message(piece.to_vec(), OpCode::Data(data), number == last);
        Message::Frame(frame)
    })
}

/// End of a connection.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the connection to the manager broke: {0}")]
    Broken(#[from] tungstenite::Error),
    #[error("the manager closed the connection")]
    Closed,
    #[error("nothing came from the manager for {} s", DEAD.as_secs())]
    Silent,
    #[error("there is a new certificate")]
    Renewed,
    #[error("the first frame cannot be written: {0}")]
    Hello(#[from] serde_json::Error),
}

impl Link {
    /// Keeps the connection open until the process ends.
    pub async fn keep(self) {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            let Err(end) = self.once(&mut backoff).await;
            self.mailbox.outbox().disconnected();
            self.pace.send_replace(None);
            if matches!(end, End::Renewed) {
                tracing::info!("{end}: connecting with it");
                continue;
            }
            let pause = backoff.pause();
            tracing::warn!("{end}; trying again in {} ms", pause.as_millis());
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, End> {
        self.dialer.refresh().map_err(DialError::from)?;
        let mut socket = self.dialer.open(PATH).await?;
        socket
            .send(Message::text(serde_json::to_string(&self.hello)?))
            .await?;
        tracing::info!("connected to the manager");
        self.mailbox.connected();
        let end = self.serve(&mut socket, backoff).await;
        if matches!(end, Err(End::Renewed)) {
            // Tells the manager that this is no failure; else it learns from the new connection.
            timeout(Duration::from_secs(1), socket.close(None))
                .await
                .ok();
        }
        end
    }

    async fn serve(
        &self,
        socket: &mut Socket,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, End> {
        let (mut sink, mut stream) = socket.split();
        let send = async {
            let mut ping = interval(PING);
            ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    text = self.mailbox.next() => {
                        for piece in pieces(&text) {
                            sink.feed(piece).await?;
                        }
                        sink.flush().await?;
                    }
                    _ = ping.tick() => sink.send(Message::Ping(Default::default())).await?,
                }
                self.tell_dropped();
            }
        };
        let receive = async {
            loop {
                let message = timeout(DEAD, stream.next())
                    .await
                    .map_err(|_| End::Silent)?
                    .ok_or(End::Closed)??;
                match message {
                    Message::Text(text) => self.received(&text, backoff),
                    Message::Close(_) => return Err(End::Closed),
                    _ => {}
                }
            }
        };
        tokio::select! {
            end = send => end,
            end = receive => end,
            () = self.renewed.notified() => Err(End::Renewed),
        }
    }

    fn received(&self, text: &str, backoff: &mut Backoff) {
        match serde_json::from_str(text) {
            Ok(ToAgent::Ack { sequence }) => {
                // Only now has this connection proved useful.
                backoff.reset();
                self.mailbox.outbox().acknowledged(sequence);
            }
            Ok(ToAgent::Session { id, work }) => self.sessions.open(id, work),
            Ok(ToAgent::Checks { checks }) => {
                // First the checks: of those that end, nothing is reported any more.
                self.checker.set(checks);
                self.mailbox.asked_for_checks();
            }
            Ok(ToAgent::Pace { interval_ms }) => {
                self.pace
                    .send_replace(interval_ms.map(Duration::from_millis));
            }
            Err(error) => tracing::warn!(
                "the manager said something that this agent (version {}) does not understand: {error}",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }

    fn tell_dropped(&self) {
        let dropped = self.mailbox.outbox().take_dropped();
        if dropped > 0 {
            tracing::warn!(
                "{dropped} batches and events could not be kept until the manager could be reached; the oldest were dropped"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> (Vec<u8>, Vec<(Data, bool)>) {
        let frames = pieces(text).map(|message| match message {
            Message::Frame(frame) => frame,
            other => panic!("{other:?}"),
        });
        let (mut whole, mut heads) = (Vec::new(), Vec::new());
        for frame in frames {
            let OpCode::Data(data) = frame.header().opcode else {
                panic!("{frame:?}")
            };
            heads.push((data, frame.header().is_final));
            whole.extend_from_slice(frame.payload());
        }
        (whole, heads)
    }

    #[test]
    fn a_long_message_goes_in_pieces() {
        let short = "a".repeat(PIECE);
        assert_eq!(sent(&short), (short.into_bytes(), vec![(Data::Text, true)]));
        let long = "\u{e4}".repeat(PIECE + 1);
        let heads = vec![
            (Data::Text, false),
            (Data::Continue, false),
            (Data::Continue, true),
        ];
        assert_eq!(sent(&long), (long.into_bytes(), heads));
    }
}
