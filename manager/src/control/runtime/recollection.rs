//! Replay of OOM kills from the history: a new core cannot observe them.

use super::Incoming;
use crate::{
    control::Event,
    metrics::{EventRecord, History, Order, RecallEvents},
};
use micado_api::agent::ContainerHappening;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::mpsc;

/// Number of the latest events that are read: some megabytes. A service with an older death has had
/// many newer events since.
const MOST: usize = 10_000;

/// Sends the kills to the core of this life, which may have observed the engine and received newer
/// events by then.
pub(super) async fn recollect(
    history: Arc<dyn History>,
    life: u64,
    core: mpsc::UnboundedSender<Incoming>,
) {
    match history
        .recall_events(&RecallEvents::any(Order::NewestFirst, MOST))
        .await
    {
        Ok(latest) => kills(&latest).for_each(|it| {
            drop(core.send((
                life,
                Event::Happened(it.placed.instance.clone(), it.event()),
            )))
        }),
        Err(error) => {
            tracing::warn!(%error, "what happened to containers before now cannot be read: OOM kills are not told from other failures")
        }
    }
}

/// Last deaths of Swarm services, if they were OOM kills.
fn kills(latest_first: &[EventRecord]) -> impl Iterator<Item = &EventRecord> {
    let mut known = HashSet::new();
    let deaths = latest_first.iter().filter_map(|it| {
        if let ContainerHappening::Died { oom, .. } = it.what {
            Some((it, oom))
        } else {
            None
        }
    });
    let last = deaths.filter(move |(it, _)| known.insert(it.placed.swarm_service.as_str()));
    last.filter_map(|(it, oom)| oom.then_some(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Kept, happening};

    #[tokio::test]
    async fn of_each_service_the_last_death_is_told_if_it_was_for_want_of_memory() {
        let died = |oom| ContainerHappening::Died {
            exit_code: 137,
            oom,
        };
        let history = Kept::default();
        let events = [
            happening("i1", "killed", 1, died(true)),
            happening("i1", "killed", 2, died(true)),
            happening("i1", "killed", 3, ContainerHappening::Started),
            happening("i1", "failed", 1, died(true)),
            happening("i1", "failed", 2, died(false)),
            happening("i2", "started", 9, ContainerHappening::Started),
        ];
        history.record_events(&events).await.expect("kept");
        let (sender, mut told) = mpsc::unbounded_channel();
        recollect(Arc::new(history), 7, sender).await;
        let (life, event) = told.recv().await.expect("one");
        assert!(
            life == 7
                && matches!(&event, Event::Happened(instance, event) if instance.as_str() == "i1" && *event == events[1].event()),
            "{event:?}"
        );
        assert!(told.recv().await.is_none());
    }
}
