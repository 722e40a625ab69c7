//! Access to the core from the API: requests in, replies and views out, progress as a stream, and
//! the facts.

use super::{
    Core, Event, Facts, MonitoredContainer, Reply, Request, ScaledState, StaleSubjects, Ticket,
};
use crate::monitor::Counters;
use futures_util::{Stream, StreamExt};
use micado_api::{
    ContainerView, ErrorBody, ErrorCode, InstanceView, Progress, ServiceName, ServiceView,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_stream::wrappers::BroadcastStream;

/// Containers that one read of a list of them takes.
const PART: usize = 1_000;

/// Machines that one read of a list of them takes: each asks for the containers on it.
const MACHINES: usize = 200;

/// Services with a policy that one read of a list of them takes: each has a verdict as JSON.
const SCALED: usize = 200;

/// A read of the core, run on its own loop between two events; receives the reason if there is no
/// core at present.
pub type Read = Box<dyn FnOnce(Result<&Core, ErrorBody>) + Send>;

/// Input of the loop.
pub enum Input {
    /// A request, and the channel for its reply.
    Request(
        Ticket,
        Box<Request>,
        oneshot::Sender<Result<Reply, ErrorBody>>,
    ),
    Read(Read),
    Tell(Box<Event>),
}

/// Access to the core; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Input>,
    progress: broadcast::Sender<Progress>,
    facts: Facts,
    stale: StaleSubjects,
    counters: Arc<Counters>,
}

/// Steps were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed;

static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

impl Handle {
    /// A handle and the two ends that the loop keeps: the receiver of inputs and the sender of
    /// progress.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Input>, broadcast::Sender<Progress>) {
        let (inbox, outbox) = mpsc::channel(256);
        let (progress, _) = broadcast::channel(4096);
        (
            Self {
                inbox,
                progress: progress.clone(),
                facts: Facts::default(),
                stale: StaleSubjects::default(),
                counters: Arc::default(),
            },
            outbox,
            progress,
        )
    }

    /// The committed facts, which are read without the core.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The subjects that the catalogue of services has to read again.
    #[must_use]
    pub fn stale(&self) -> &StaleSubjects {
        &self.stale
    }

    /// Counts of this manager's own work, for monitoring.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Sends a request; returns its reply once its effect is durable. `T` is the reply that such a
    /// request has, or [`Reply`] for any.
    ///
    /// # Errors
    /// The core's refusal, or `Unavailable` if the manager is stopping or had to reload its store.
    /// The outcome is unknown then. `Internal` if such a request has another reply.
    pub async fn request<T: TryFrom<Reply>>(&self, request: Request) -> Result<T, ErrorBody> {
        let ticket = NEXT_TICKET.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.inbox
            .send(Input::Request(ticket, Box::new(request), answer))
            .await
            .map_err(|_| stopping())?;
        let reply = answered.await.map_err(|_| stopping())??;
        let other = |_| ErrorBody::new(ErrorCode::Internal, "the core gave another kind of reply");
        T::try_from(reply).map_err(other)
    }

    /// Reads from the core.
    ///
    /// # Errors
    /// `Unavailable` if the manager is stopping or its store does not answer.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |core| drop(answer.send(core.map(read))));
        self.inbox
            .send(Input::Read(read))
            .await
            .map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// All containers; with `all`, the stopped and completed ones too. They are read in parts, so
    /// that a decision waits for one part and not for the whole list.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn containers(&self, all: bool) -> Result<Vec<ContainerView>, ErrorBody> {
        let part = move |core: &Core, last: Option<&ContainerView>| {
            core.containers_after(last.map(|view| &view.name), PART, all)
        };
        self.in_parts(PART, part).await
    }

    /// All containers, for monitoring; read in parts.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn monitored(&self) -> Result<Vec<MonitoredContainer>, ErrorBody> {
        let part = |core: &Core, last: Option<&MonitoredContainer>| {
            core.monitored_after(last.map(|container| &container.view.name), PART)
        };
        self.in_parts(PART, part).await
    }

    /// All live instances, by id; read in parts.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn live_instances(&self) -> Result<Vec<InstanceView>, ErrorBody> {
        let part = |core: &Core, last: Option<&InstanceView>| {
            core.instances_after(last.map(|instance| &instance.id), MACHINES)
        };
        self.in_parts(MACHINES, part).await
    }

    /// Scaling of all services with a policy, by name; read in parts.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn scaled(&self) -> Result<Vec<ScaledState>, ErrorBody> {
        let part = |core: &Core, last: Option<&ScaledState>| {
            core.scaled_after(last.map(|scaled| &scaled.service), SCALED)
        };
        self.in_parts(SCALED, part).await
    }

    /// A list that is read in parts of at most `most`, each from the last one on.
    async fn in_parts<T: Clone + Send + 'static>(
        &self,
        most: usize,
        part: impl Fn(&Core, Option<&T>) -> Vec<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ErrorBody> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let (last, part) = (all.last().cloned(), part.clone());
            let part = self.read(move |core| part(core, last.as_ref())).await?;
            let is_last = part.len() < most;
            all.extend(part);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// All services that have a container, with all of them.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn services(&self) -> Result<Vec<ServiceView>, ErrorBody> {
        let services = self.read(Core::services).await?;
        let mut containers: HashMap<ServiceName, Vec<ContainerView>> = HashMap::new();
        for container in self.containers(true).await? {
            let service = container.service.clone();
            containers.entry(service).or_default().push(container);
        }
        let filled = services.into_iter().filter_map(|service| {
            Some(ServiceView {
                containers: containers.remove(&service.name)?,
                ..service
            })
        });
        Ok(filled.collect())
    }

    /// Sends an event; there is no reply. During an outage of the store there is no core, and
    /// events are dropped, except the end of an agent's connection.
    pub async fn tell(&self, event: Event) {
        // A stopping manager needs no events.
        drop(self.inbox.send(Input::Tell(Box::new(event))).await);
    }

    /// Returns the progress of everything from now on. Call this first and [`Core::progress`] after
    /// it, so that nothing is missed between the two. [`Missed`] stands for steps that were dropped
    /// because the receiver was too slow; then too, [`Core::progress`] returns those that matter.
    pub fn watch(&self) -> impl Stream<Item = Result<Progress, Missed>> + Send + use<> {
        BroadcastStream::new(self.progress.subscribe()).map(|step| step.map_err(|_| Missed))
    }
}

fn stopping() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unavailable,
        "the manager is stopping or starting over",
    )
    .hint("ask again in a moment; `micado list` shows whether it was done")
}
