//! What only node agents call.

use super::{
    super::{
        ApiState,
        caller::Agent,
        extract::{Body, Name},
        peer::Peer,
        refusal::{Answer, Refusal},
    },
    budget::Budget,
    health,
    silence::Socket,
};
use crate::{
    control::{Event, told_checks},
    metrics::PACE,
    pki::{Csr, MACHINE_LIFE},
};
use axum::{
    Json,
    extract::{
        FromRequestParts, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code, rejection::WebSocketUpgradeRejection},
    },
    http::request::Parts,
    response::Response,
};
use micado_api::{
    ErrorBody, ErrorCode, InstanceId,
    agent::{FromAgent, ToAgent, is_id},
    foreign::excerpt,
};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// Upper bound for a frame, in bytes: a batch of some thousands of containers.
const FRAME_MAX: usize = 2 << 20;
/// Read buffer of each agent's connection, in bytes. Larger frames take several reads; the library's
/// 128 KiB would be most of the manager's memory with many machines.
const READ_BUFFER: usize = 4 << 10;
/// Frames that an agent may send at once, and in a second from then on. After an outage it sends
/// what it kept, which takes 2 MiB of its memory. More is read later.
const FRAMES: (u32, u32) = (2000, 100);
/// The same in KiB.
const KIB: (u32, u32) = (16 << 10, 2 << 10);
/// Upper bound for what is logged of a frame that is not understood, in characters.
const EXCERPT: usize = 100;
/// The largest frame of a session, as the agent has it.
pub(super) const SESSION_FRAME_MAX: usize = 1 << 20;
/// Nothing came for this long, not even a ping: the agent or the way to it is gone.
const DEAD: Duration = Duration::from_secs(18);

/// A WebSocket that the caller wants to open, refused in our own words when it is none; and what it
/// is on, if that is TCP.
pub(in crate::api) struct Upgrade(
    pub(in crate::api) WebSocketUpgrade,
    pub(in crate::api) Option<Socket>,
);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let no_upgrade = |rejection: WebSocketUpgradeRejection| {
            ErrorBody::new(
                ErrorCode::BadRequest,
                format!("a WebSocket is opened here: {rejection}"),
            )
        };
        let socket = parts.extensions.get::<Peer>().map(|peer| peer.socket);
        Ok(Self(
            WebSocketUpgrade::from_request_parts(parts, state)
                .await
                .map_err(no_upgrade)?,
            socket,
        ))
    }
}

/// The agent's own connection.
pub(in crate::api) async fn agent(
    State(state): State<ApiState>,
    Agent(instance): Agent,
    Upgrade(upgrade, _): Upgrade,
) -> Answer<Response> {
    if !state.agents.may_connect(&instance) {
        return Err(ErrorBody::new(
            ErrorCode::Unavailable,
            "this agent connects too often; try again in some seconds",
        )
        .into());
    }
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(FRAME_MAX)
        .max_frame_size(FRAME_MAX)
        .on_upgrade(move |socket| async move {
            let (connection, orders) = state.agents.connect(&instance);
            tracing::info!(%instance, "its agent is connected");
            tell(&state, &instance).await;
            let end = tokio::select! {
                end = serve(&state, &instance, socket, orders) => end,
                () = ended(&state, &instance) => "the instance is not ours any more",
                () = state.stopping.cancelled() => "the manager stops",
            };
            state.agents.disconnect(&instance, connection);
            if !state.stopping.is_cancelled() {
                tell(&state, &instance).await;
            }
            tracing::info!(%instance, "its agent is not connected any more: {end}");
        }))
}

/// Tells the core whether the agent is there, until that is so: it may come and go while it is
/// told.
async fn tell(state: &ApiState, instance: &InstanceId) {
    loop {
        let connected = state.agents.is_connected(instance);
        state
            .handle
            .tell(Event::Agent {
                instance: instance.clone(),
                connected,
            })
            .await;
        if state.agents.is_connected(instance) == connected {
            return;
        }
    }
}

/// Talks with the agent until it is gone, and says why.
async fn serve(
    state: &ApiState,
    instance: &InstanceId,
    mut socket: WebSocket,
    mut orders: mpsc::Receiver<Box<ToAgent>>,
) -> &'static str {
    let run = match hello(&mut socket).await {
        Ok(Some(run)) => run,
        Ok(None) => {
            state.agents.blame(instance);
            return "its hello is not to be understood";
        }
        Err(end) => return end,
    };
    let mut stream = AgentStream {
        state,
        instance,
        run,
        received: 0,
        acknowledged: 0,
    };
    let (mut turns, mut alive) = (state.metrics.turns(), Instant::now());
    let (mut paced, mut is_paced) = (state.metrics.paced(), false);
    paced.mark_changed();
    let (mut checks, mut has_checks) = (state.handle.facts().follow_checks(instance), false);
    checks.mark_changed();
    let (mut frames, mut kib) = (Budget::new(FRAMES.0, FRAMES.1), Budget::new(KIB.0, KIB.1));
    loop {
        let ready = frames.ready().max(kib.ready());
        let next = async {
            sleep_until(ready).await;
            socket.recv().await
        };
        let answer = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => Some(*order),
                None => return "it has connected anew",
            },
            Ok(()) = turns.changed() => stream.acknowledgement(),
            Ok(()) = paced.changed() => {
                let is_listed = paced.borrow_and_update().contains(instance);
                let is_news = std::mem::replace(&mut is_paced, is_listed) != is_listed;
                is_news.then(|| pace(is_listed))
            }
            Ok(()) = checks.changed() => {
                let checks = told_checks(&checks.borrow_and_update());
                // An agent that has no check to make is not told so: an older one knows no checks.
                let is_news = !checks.is_empty() || has_checks;
                has_checks = !checks.is_empty();
                is_news.then_some(ToAgent::Checks { checks })
            }
            message = timeout_at(alive.max(ready) + DEAD, next) => match message {
                Err(_) => return "nothing came from it any more",
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return "the connection has ended",
                Ok(Some(Ok(message))) => {
                    alive = Instant::now();
                    frames.take(1);
                    kib.take(kib_of(&message));
                    match message {
                        Message::Text(text) => match stream.receive(&text).await {
                            Ok(answer) => answer,
                            Err(end) => {
                                // It is told why; whether that arrives is its own matter.
                                drop(socket.send(Message::Close(Some(CloseFrame { code: close_code::AGAIN, reason: end.into() }))).await);
                                return end;
                            }
                        },
                        _ => None,
                    }
                }
            },
        };
        let Some(Ok(text)) = answer.map(|answer| serde_json::to_string(&answer)) else {
            continue;
        };
        if socket.send(Message::text(text)).await.is_err() {
            return "the connection broke";
        }
    }
}

/// Asks an agent for the interval of machines with a policy, or for its own.
fn pace(is_paced: bool) -> ToAgent {
    let interval_ms = u64::try_from(PACE.as_millis()).ok();
    ToAgent::Pace {
        interval_ms: interval_ms.filter(|_| is_paced),
    }
}

/// Reads the first message: the agent's run, if it is one. The message is dropped here: it shares the
/// connection's read buffer, which would have to be replaced as long as it exists.
async fn hello(socket: &mut WebSocket) -> Result<Option<String>, &'static str> {
    let Ok(Some(Ok(Message::Text(hello)))) = timeout(DEAD, socket.recv()).await else {
        return Err("it did not say hello");
    };
    Ok(match serde_json::from_str(&hello) {
        Ok(FromAgent::Hello { run, .. }) => Some(run).filter(|run| is_id(run)),
        _ => None,
    })
}

/// Size of a frame, rounded up.
fn kib_of(message: &Message) -> u32 {
    let bytes = match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// State of one connection.
struct AgentStream<'a> {
    state: &'a ApiState,
    instance: &'a InstanceId,
    run: String,
    /// Highest sequence received; they begin at 1.
    received: u64,
    /// Highest sequence acknowledged to the agent.
    acknowledged: u64,
}

impl AgentStream<'_> {
    /// Handles a message. Returns the answer, or the reason to close the connection.
    async fn receive(&mut self, text: &str) -> Result<Option<ToAgent>, &'static str> {
        let (state, instance) = (self.state, self.instance);
        match serde_json::from_str(text) {
            Ok(FromAgent::Samples(batch)) => {
                let sequence = batch.sequence;
                state.metrics.take(instance, &self.run, batch)?;
                self.received = self.received.max(sequence);
                return Ok(self.acknowledgement());
            }
            Ok(FromAgent::Event(event)) if is_id(&event.id) => {
                tracing::debug!(%instance, container = event.id, "{:?}", event.what);
                state
                    .metrics
                    .take_event(instance, &self.run, event.clone())?;
                state
                    .handle
                    .tell(Event::Happened(instance.clone(), event))
                    .await;
            }
            Ok(FromAgent::Health { reports }) => health::take(state, instance, reports).await?,
            // No engine gives another id.
            Ok(FromAgent::Hello { .. } | FromAgent::Event(_)) => {}
            Err(error) => return Err(self.not_understood(&error.to_string())),
        }
        Ok(None)
    }

    /// Says so in one short line, because the connection ends with it: a machine may send anything.
    fn not_understood(&self, error: &str) -> &'static str {
        self.state.agents.blame(self.instance);
        tracing::warn!(
            instance = %self.instance,
            "its agent sent a frame that is not understood: {}",
            excerpt(error, EXCERPT)
        );
        "it sent a frame that is not understood"
    }

    /// What is durable the agent need not keep. Of what was sent before a cut it knows that only
    /// once it has sent it again.
    fn acknowledgement(&mut self) -> Option<ToAgent> {
        let sequence = self
            .state
            .metrics
            .recorded(self.instance, &self.run)?
            .min(self.received);
        let more = sequence > self.acknowledged;
        self.acknowledged = self.acknowledged.max(sequence);
        more.then_some(ToAgent::Ack { sequence })
    }
}

/// Resolves when the instance is not live any more.
async fn ended(state: &ApiState, instance: &InstanceId) {
    let life = state.handle.facts().read().life(instance);
    if let Some(life) = life {
        life.cancelled().await;
    }
}

/// A session's connection, which the agent was asked to open.
pub(in crate::api) async fn session(
    State(state): State<ApiState>,
    Agent(instance): Agent,
    Name(id): Name,
    Upgrade(upgrade, _): Upgrade,
) -> Answer<Response> {
    let nothing = || ErrorBody::new(ErrorCode::NotFound, "no session of this id waits for you");
    let open = state.agents.claim(&id, &instance).ok_or_else(nothing)?;
    Ok(upgrade
        .max_message_size(SESSION_FRAME_MAX)
        .max_frame_size(SESSION_FRAME_MAX)
        .on_upgrade(|socket| async move { drop(open.send(socket)) }))
}

/// A request for a certificate.
#[derive(Debug, serde::Deserialize)]
pub(in crate::api) struct Renewal {
    csr: String,
}

/// The certificate, PEM.
#[derive(Debug, serde::Serialize)]
pub(in crate::api) struct Renewed {
    certificate: String,
}

/// A new certificate for the instance that asks, whatever the request calls it.
pub(in crate::api) async fn renew(
    State(state): State<ApiState>,
    Agent(instance): Agent,
    Body(request): Body<Renewal>,
) -> Answer<Json<Renewed>> {
    let unusable = |words| {
        ErrorBody::new(
            ErrorCode::BadRequest,
            format!("the request for a certificate of `{instance}` is unusable: {words}"),
        )
    };
    let csr = Csr::parse(&request.csr).map_err(unusable)?;
    let certificate = state
        .gate
        .pki
        .sign_request(&csr, instance.as_str(), MACHINE_LIFE)
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
    Ok(Json(Renewed { certificate }))
}
