//! Passes the frames of a session on between its caller and its agent, as they are. Who does not read makes the other side wait.

use axum::extract::ws::{Message, WebSocket};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use micado_api::agent::SessionNote;
use std::time::Duration;
use tokio::time::timeout;

/// How long each side may take to read the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Until the work has ended or one side is gone.
pub(super) async fn relay(caller: WebSocket, agent: WebSocket) {
    let (mut to_caller, mut from_caller) = caller.split();
    let (mut to_agent, mut from_agent) = agent.split();
    let ended = tokio::select! {
        ended = answers(&mut from_agent, &mut to_caller) => ended,
        // The caller is gone: the agent sees its own connection go, and ends the work.
        () = pass_on(&mut from_caller, &mut to_agent) => return,
    };
    if !ended {
        say_failed(&mut to_caller, "the connection to the machine broke; is it still there? `micado list` shows it").await;
    }
    let farewell = async {
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

async fn say_failed(to: &mut SplitSink<WebSocket, Message>, message: &str) {
    if let Ok(text) = serde_json::to_string(&SessionNote::Failed { message: message.to_owned() }) {
        drop(to.send(Message::text(text)).await);
    }
}

/// From the agent to the caller; whether the agent has said its last word.
async fn answers(from: &mut SplitStream<WebSocket>, to: &mut SplitSink<WebSocket, Message>) -> bool {
    let mut ended = false;
    while let Some(Ok(message)) = from.next().await {
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

/// From the caller to the agent, until the caller closes.
async fn pass_on(from: &mut SplitStream<WebSocket>, to: &mut SplitSink<WebSocket, Message>) {
    while let Some(Ok(message)) = from.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
        let passed_on = matches!(message, Message::Text(_) | Message::Binary(_));
        if passed_on && to.send(message).await.is_err() {
            // What the agent says, or that it is gone, decides.
            std::future::pending::<()>().await;
        }
    }
}
