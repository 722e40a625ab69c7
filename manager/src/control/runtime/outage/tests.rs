//! A store that does not answer blocks no caller, and is retried until it does.

use super::{Contents, ErrorCode, Event, InstanceId, Instant, Store, StoreError, load_again};
use crate::{
    control::{Handle, Reply, Request},
    store::Change,
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// First pause between attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Fails this many times, then is empty.
#[derive(Debug)]
struct Failing {
    left: AtomicU32,
    with: StoreError,
}

#[async_trait::async_trait]
impl Store for Failing {
    async fn load(&self) -> Result<Contents, StoreError> {
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            }) {
            Ok(_) => Err(self.with.clone()),
            Err(_) => Ok(vec![]),
        }
    }
    async fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
        Err(self.with.clone())
    }
}

fn silent() -> StoreError {
    StoreError::Failed("the store mongodb://db does not answer".into())
}

#[tokio::test]
async fn it_is_asked_again_and_everybody_is_told_why() {
    let store = Failing {
        left: 8.into(),
        with: silent(),
    };
    let (handle, mut inbox, _) = Handle::new();
    let (watcher, mut seen) = mpsc::channel(1);
    let (_stop, mut stopped) = watch::channel(false);
    let begun = Instant::now();
    let agent = |name, connected| {
        handle.tell(Event::Agent {
            instance: InstanceId::trusted(name),
            connected,
        })
    };
    let asking = async {
        for _ in 0..3 {
            agent("i1", false).await;
            agent("i2", false).await;
            agent("i2", true).await;
            let refused = handle
                .request::<Reply>(Request::Quit {
                    name: "acme_web.1".into(),
                    remove: false,
                })
                .await
                .expect_err("a refusal");
            assert_eq!(
                (refused.code, refused.message.as_str()),
                (
                    ErrorCode::Unavailable,
                    "the store mongodb://db does not answer"
                )
            );
            let unread = handle
                .read(|core| core.status())
                .await
                .expect_err("a refusal");
            assert!(unread.hint.is_some_and(|hint| hint.contains("runs on")));
            // More than the channel holds: the watcher must not block.
            watcher
                .send(Event::Blind("as the test wants it".into()))
                .await
                .expect("taken");
        }
        std::future::pending::<()>().await;
    };
    let loaded = tokio::select! {
        loaded = load_again(&store, silent(), PAUSE, &mut inbox, &mut seen, &mut stopped) => loaded,
        () = asking => unreachable!("it waits for ever"),
    };
    assert_eq!(
        loaded,
        Ok(Some((
            vec![],
            super::Agents {
                connected: [("i1", false), ("i2", true)]
                    .map(|(id, connected)| (InstanceId::trusted(id), connected))
                    .into(),
                healths: Default::default(),
            }
        ))),
        "agents that came and went are remembered"
    );
    assert!(
        begun.elapsed() >= PAUSE * (1 + 2 + 4 + 6 * 5),
        "the pause grows"
    );
}

#[tokio::test]
async fn a_store_that_is_somebody_elses_ends_it_and_so_does_stopping() {
    let taken = StoreError::InUse("taken".into());
    let (_handle, mut inbox, _) = Handle::new();
    let (_watcher, mut seen) = mpsc::channel(1);
    let (stop, mut stopped) = watch::channel(false);
    let store = Failing {
        left: 1.into(),
        with: taken.clone(),
    };
    assert_eq!(
        load_again(&store, silent(), PAUSE, &mut inbox, &mut seen, &mut stopped).await,
        Err(taken)
    );

    let store = Failing {
        left: u32::MAX.into(),
        with: silent(),
    };
    stop.send_replace(true);
    assert_eq!(
        load_again(&store, silent(), PAUSE, &mut inbox, &mut seen, &mut stopped).await,
        Ok(None)
    );
}

#[test]
fn the_last_report_on_each_copy_is_remembered() {
    let says = |instance: &str, service: &str, health| {
        let report = micado_api::agent::HealthReport {
            service: service.to_owned(),
            health,
            failure: None,
        };
        Event::Health(InstanceId::trusted(instance), vec![report])
    };
    use micado_api::HealthState::{Healthy, Unhealthy};
    let (mut early, mut late) = (super::Agents::default(), super::Agents::default());
    early.take(says("i1", "c-1", Healthy));
    early.take(says("i1", "c-2", Healthy));
    late.take(says("i1", "c-1", Healthy));
    late.take(says("i1", "c-1", Unhealthy));
    early.extend(late);
    let reports: Vec<_> = early
        .events()
        .filter_map(|event| match event {
            Event::Health(_, reports) => Some((reports[0].service.clone(), reports[0].health)),
            _ => None,
        })
        .collect();
    let expected = [("c-1", Unhealthy), ("c-2", Healthy)];
    assert_eq!(
        reports,
        expected.map(|(name, health)| (name.to_owned(), health))
    );
}
