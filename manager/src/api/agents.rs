//! The node agents that are connected, and the sessions that wait for them to open a connection.

mod budget;
mod health;
mod link;
mod program;
mod relay;
pub(super) mod sessions;
pub(super) mod silence;

use super::{ApiState, Routes};
use axum::{
    Router,
    extract::ws::WebSocket,
    routing::{get, post},
};
use budget::Budget;
use micado_api::{
    InstanceId,
    agent::{SessionWork, ToAgent},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot};
use utoipa_axum::routes;

/// What may wait to be said to one agent: one that does not take so much is as good as gone.
const WAITING: usize = 64;
/// Connections that an agent may open at once, and in a second from then on. Each of them is
/// logged and told to the core.
const CONNECTIONS: (u32, u32) = (20, 1);
/// The price of a connection on which an agent sent what is not understood, in connections.
const BAD_CONNECTION: u32 = 10;

/// Routes for node agents alone.
pub(super) fn agent_routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/agent", get(link::agent))
        .route("/v1/agent/sessions/{id}", get(link::session))
        .route("/v1/agent/program", get(program::program))
}

/// The route by which agents renew their certificates.
pub(super) fn renewal_routes() -> Router<ApiState> {
    Router::new().route("/v1/agent/renew", post(link::renew))
}

/// Sessions in containers, for people and programs.
pub(super) fn session_routes() -> Routes {
    Routes::default()
        .routes(routes!(sessions::exec))
        .routes(routes!(sessions::copy_to))
        .routes(routes!(sessions::copy_from))
        .routes(routes!(sessions::stat))
}

/// All agents; shared by the routes.
#[derive(Debug, Default)]
pub(super) struct Agents(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Boxed, because a channel allocates places for 32 messages at once.
    connected: HashMap<InstanceId, (Connection, mpsc::Sender<Box<ToAgent>>)>,
    connections: u64,
    /// Of agents that connected lately.
    budgets: HashMap<InstanceId, Budget>,
    sessions: HashMap<String, (InstanceId, oneshot::Sender<WebSocket>)>,
}

/// Tells an agent's connections apart. It holds no sender: the channel ends when the last one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection(u64);

/// A session that its agent has not opened yet. Dropping it makes its id good for nothing.
#[derive(Debug)]
struct Pending {
    agents: Arc<Agents>,
    id: String,
    opened: oneshot::Receiver<WebSocket>,
}

impl Agents {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this agent may connect now: not if it connects all the time.
    fn may_connect(&self, instance: &InstanceId) -> bool {
        let mut inner = self.inner();
        inner.budgets.retain(|_, budget| !budget.is_full());
        let budget = budget_of(&mut inner.budgets, instance);
        let may = budget.ready() <= tokio::time::Instant::now();
        if may {
            budget.take(1);
        }
        may
    }

    /// This agent sent what is not understood: it will do so again on its next connection.
    fn blame(&self, instance: &InstanceId) {
        let mut inner = self.inner();
        budget_of(&mut inner.budgets, instance).take(BAD_CONNECTION);
    }

    /// An agent is there. What is to be said to it comes out of the channel, which ends when a
    /// newer connection of the same instance takes its place.
    fn connect(&self, instance: &InstanceId) -> (Connection, mpsc::Receiver<Box<ToAgent>>) {
        let (to, from) = mpsc::channel(WAITING);
        let mut inner = self.inner();
        inner.connections += 1;
        let connection = Connection(inner.connections);
        inner.connected.insert(instance.clone(), (connection, to));
        (connection, from)
    }

    /// This connection is gone. One that took its place stays.
    fn disconnect(&self, instance: &InstanceId, connection: Connection) {
        let mut inner = self.inner();
        if inner
            .connected
            .get(instance)
            .is_some_and(|(present, _)| *present == connection)
        {
            inner.connected.remove(instance);
        }
    }

    /// Number of agents with an open connection.
    pub(super) fn connected(&self) -> usize {
        self.inner().connected.len()
    }

    fn is_connected(&self, instance: &InstanceId) -> bool {
        self.inner().connected.contains_key(instance)
    }

    /// Asks the agent of this instance to open a session; nothing when it is not connected.
    fn open(self: &Arc<Self>, instance: &InstanceId, work: SessionWork) -> Option<Pending> {
        let id: String = rand::random::<[u8; 16]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (open, opened) = oneshot::channel();
        let mut inner = self.inner();
        inner
            .connected
            .get(instance)?
            .1
            .try_send(Box::new(ToAgent::Session {
                id: id.clone(),
                work,
            }))
            .ok()?;
        inner.sessions.insert(id.clone(), (instance.clone(), open));
        drop(inner);
        Some(Pending {
            agents: Arc::clone(self),
            id,
            opened,
        })
    }

    /// The session of this id, if it waits for this instance: once.
    fn claim(&self, id: &str, instance: &InstanceId) -> Option<oneshot::Sender<WebSocket>> {
        let mut inner = self.inner();
        inner.sessions.get(id).filter(|(of, _)| of == instance)?;
        inner.sessions.remove(id).map(|(_, open)| open)
    }
}

fn budget_of<'a>(
    budgets: &'a mut HashMap<InstanceId, Budget>,
    instance: &InstanceId,
) -> &'a mut Budget {
    let fresh = || Budget::new(CONNECTIONS.0, CONNECTIONS.1);
    budgets.entry(instance.clone()).or_insert_with(fresh)
}

impl Pending {
    async fn opened(mut self) -> Option<WebSocket> {
        (&mut self.opened).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.agents.inner().sessions.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
