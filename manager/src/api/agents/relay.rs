//! Passes the frames of a session on between its caller and its agent, as they are. Who does not
//! read makes the other side wait.

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use micado_api::agent::SessionNote;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long each side may take to read the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// To one side.
pub(super) trait Takes: Sink<Message> + Unpin {}
impl<S: Sink<Message> + Unpin> Takes for S {}

/// From one side.
pub(super) trait Says<E>: Stream<Item = Result<Message, E>> + Unpin {}
impl<E, S: Stream<Item = Result<Message, E>> + Unpin> Says<E> for S {}

/// How a session finds out that one side is gone without a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The agent is asked so often whether it is there, and hears by that that we are; and so often
    /// the caller's connection is looked at.
    pub(super) ping: Duration,
    /// The agent is gone when nothing came for this long, though we waited for it.
    pub(super) dead: Duration,
}

/// As the agent has it.
pub(super) const PACE: Pace = Pace {
    ping: Duration::from_secs(6),
    dead: Duration::from_secs(18),
};

/// Until the work has ended or one side is gone.
pub(super) async fn relay<E>(
    (mut to_caller, mut from_caller): (impl Takes, impl Says<E>),
    (mut to_agent, mut from_agent): (impl Takes, impl Says<E>),
    pace: Pace,
) {
    let ended = tokio::select! {
        ended = answers(&mut from_agent, &mut to_caller, pace) => ended,
        // The caller is gone: the agent sees its own connection go, and ends the work.
        () = pass_on(&mut from_caller, &mut to_agent, pace) => return,
    };
    let farewell = async {
        if !ended {
            say_failed(
                &mut to_caller,
                "the connection to the machine broke; is it still there? `micado list` shows it",
            )
            .await;
        }
        drop(to_agent.close().await);
        drop(to_caller.close().await);
        // Closed with something unread, TCP would throw away what the caller has not read yet.
        while let Some(Ok(_)) = from_caller.next().await {}
    };
    drop(timeout(FAREWELL, farewell).await);
}

/// Tells a caller that there is no session, and why.
pub(super) async fn refuse(caller: WebSocket, message: &str) {
    let (mut to_caller, mut from_caller) = caller.split();
    let farewell = async {
        say_failed(&mut to_caller, message).await;
        drop(to_caller.close().await);
        while let Some(Ok(_)) = from_caller.next().await {}
    };
    drop(timeout(FAREWELL, farewell).await);
}

async fn say_failed(to: &mut impl Takes, message: &str) {
    if let Ok(text) = serde_json::to_string(&SessionNote::Failed {
        message: message.to_owned(),
    }) {
        drop(to.send(Message::text(text)).await);
    }
}

/// From the agent to the caller; whether the agent has said its last word.
async fn answers<E>(from: &mut impl Says<E>, to: &mut impl Takes, pace: Pace) -> bool {
    let mut ended = false;
    while let Ok(Some(Ok(message))) = timeout(pace.dead, from.next()).await {
        match message {
            Message::Text(_) => ended = true,
            Message::Binary(_) => {}
            Message::Close(_) => break,
            _ => continue,
        }
        if to.send(message).await.is_err() {
            return true;
        }
    }
    ended
}

/// From the caller to the agent, until the caller closes. What the agent does not take makes the
/// caller wait, and then there is no need to ask whether it is there.
async fn pass_on<E>(from: &mut impl Says<E>, to: &mut impl Takes, pace: Pace) {
    let mut pings = interval(pace.ping);
    loop {
        let message = tokio::select! {
            message = from.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        if to.send(message).await.is_err() {
            // What the agent says, or that it is gone, decides.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests;
