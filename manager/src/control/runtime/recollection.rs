//! What a new core cannot see and is told from what is kept: who was killed for want of memory.

use super::Incoming;
use crate::{
    control::Event,
    metrics::{EventRecord, History, Order, RecallEvents},
};
use micado_api::agent::ContainerHappening;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::mpsc;

/// Events that are looked through, the latest: some megabytes. Of whose death was long ago, many a
/// start of others has been told since.
const MOST: usize = 10_000;

/// Tells the core of this life. It may have seen the engine, and heard of more, by then.
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

/// The last deaths of Swarm services that were for want of memory.
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
