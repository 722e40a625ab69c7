//! Outage of the store: the loop retries it, and refuses requests with the reason meanwhile.

use crate::{
    control::{Core, Event, Input},
    store::{Contents, Store, StoreError},
};
use micado_api::{ErrorBody, ErrorCode, InstanceId, agent::HealthReport};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Pause before the first retry, so that a permanent failure, such as a full disk, causes no busy
/// loop.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Upper bound for pauses, as a multiple of the first.
const LONGEST: u32 = 5;

/// News of agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agents {
    /// Instances, with true if their agent is connected.
    connected: BTreeMap<InstanceId, bool>,
    /// Last report on each copy's health, by instance and Swarm service.
    healths: BTreeMap<(InstanceId, String), HealthReport>,
}

impl Agents {
    /// Connections and health of all agents, as a core knows them.
    pub(super) fn of(core: &Core) -> Self {
        let healths = core.healths().into_iter();
        Self {
            connected: core.agents().collect(),
            healths: healths.map(by_service).collect(),
        }
    }

    /// Adds later news.
    pub(super) fn extend(&mut self, later: Self) {
        self.connected.extend(later.connected);
        self.healths.extend(later.healths);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Agent {
                instance,
                connected,
            } => drop(self.connected.insert(instance, connected)),
            Event::Health(instance, reports) => {
                let reports = reports.into_iter();
                let reports = reports.map(|report| by_service((instance.clone(), report)));
                self.healths.extend(reports);
            }
            _ => {}
        }
    }

    /// The news as events.
    pub(super) fn events(self) -> impl Iterator<Item = Event> {
        let connected = self.connected.into_iter();
        let connected = connected.map(|(instance, connected)| Event::Agent {
            instance,
            connected,
        });
        let healths = self.healths.into_iter();
        let healths = healths.map(|((instance, _), report)| Event::Health(instance, vec![report]));
        connected.chain(healths)
    }
}

fn by_service(
    (instance, report): (InstanceId, HealthReport),
) -> ((InstanceId, String), HealthReport) {
    ((instance, report.service.clone()), report)
}

/// Waits until the store can be loaded, and returns its content and the agents that connected or
/// disconnected meanwhile; `None` if `stop` came first. Observations of the engine are dropped,
/// because they are outdated by then.
///
/// # Errors
/// If retrying is pointless: the store is another manager's, or of another schema.
pub(super) async fn load_again(
    store: &dyn Store,
    mut error: StoreError,
    first_pause: Duration,
    inbox: &mut mpsc::Receiver<Input>,
    seen: &mut mpsc::Receiver<Event>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<(Contents, Agents)>, StoreError> {
    let begun = Instant::now();
    let mut pause = first_pause;
    let mut agents = Agents::default();
    loop {
        if matches!(error, StoreError::InUse(_) | StoreError::Schema(_)) {
            return Err(error);
        }
        let attempt = async move {
            tokio::time::sleep(pause).await;
            store.load().await
        };
        tokio::pin!(attempt);
        let loaded = loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
                loaded = &mut attempt => break loaded,
                Some(_) = seen.recv() => {}
                Some(input) = inbox.recv() => refuse(input, &error, &mut agents),
            }
        };
        match loaded {
            Ok(contents) => {
                tracing::info!(after_s = begun.elapsed().as_secs_f32(), "the store answers");
                return Ok(Some((contents, agents)));
            }
            Err(again) => {
                tracing::warn!(error = %again, "the store is asked again");
                error = again;
                pause = (pause * 2).min(first_pause * LONGEST);
            }
        }
    }
}

fn refuse(input: Input, error: &StoreError, agents: &mut Agents) {
    let refusal = ErrorBody::new(ErrorCode::Unavailable, error.to_string())
        .hint("the cluster runs on as it is, and nothing was done; the store is asked again every few seconds");
    match input {
        Input::Request(_, _, answer) => drop(answer.send(Err(refusal))),
        Input::Read(read) => read(Err(refusal)),
        // Use of containers and OOM kills are reported again once the store answers. The Swarm
        // itself shows everything else that an agent reported.
        Input::Tell(event) => agents.take(*event),
    }
}

/// Reply to requests with a commit in flight when the store failed: outcome unknown.
pub(super) fn unsure(error: &StoreError) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, error.to_string())
        .hint("whether it was done is not known: `micado list` shows it once the store answers")
}

#[cfg(test)]
mod tests;
