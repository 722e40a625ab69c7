//! An in-memory history that can be made to fail, and the handling of agents' reports with the real
//! core behind it.

use super::*;
use crate::{
    control::{Handle, Input},
    store::StoreError,
};
use micado_api::{
    ContainerName, ErrorBody, ErrorCode, ServiceName, Tag, Timestamp, VerdictSpan,
    agent::{ContainerHappening, ContainerSample, MachineSample},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// An in-memory history.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) points: Mutex<BTreeMap<(Timestamp, InstanceId, Resolution), Point>>,
    pub(crate) events: Mutex<Vec<EventRecord>>,
    pub(crate) verdicts: Mutex<Vec<VerdictSpan>>,
    /// Does not answer.
    pub(crate) silent: AtomicBool,
    /// Accepts no events.
    pub(crate) deaf: AtomicBool,
    /// Cannot read this resolution and time.
    pub(crate) bad: Mutex<Option<(Resolution, Timestamp)>>,
    /// Number of points written repeatedly.
    pub(crate) again: AtomicU32,
    /// Number of calls to record.
    pub(crate) asked: watch::Sender<u32>,
}

impl Kept {
    pub(crate) fn times(&self, resolution: Resolution) -> Vec<u64> {
        self.all()
            .into_iter()
            .filter(|it| it.resolution == resolution)
            .map(|it| it.at.0)
            .collect()
    }
    pub(crate) fn all(&self) -> Vec<Point> {
        self.points
            .lock()
            .expect("nobody panicked")
            .values()
            .cloned()
            .collect()
    }
    fn answers(&self) -> Result<(), StoreError> {
        if self.silent.load(Ordering::SeqCst) {
            Err(StoreError::Failed("it does not answer".to_owned()))
        } else {
            Ok(())
        }
    }
}

#[async_trait::async_trait]
impl History for Kept {
    async fn record(&self, points: &[Point]) -> Result<(), StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        self.answers()?;
        for point in points {
            let before = self.points.lock().expect("nobody panicked").insert(
                (point.at, point.instance.clone(), point.resolution),
                point.clone(),
            );
            self.again
                .fetch_add(u32::from(before.is_some()), Ordering::SeqCst);
        }
        Ok(())
    }
    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        self.answers()?;
        let bad = *self.bad.lock().expect("nobody panicked");
        if bad.is_some_and(|(resolution, at)| {
            resolution == wanted.resolution && wanted.from <= at && at < wanted.until
        }) {
            return Err(StoreError::Failed("it cannot be read".to_owned()));
        }
        Ok(self.all().iter().filter_map(|it| wanted.of(it)).collect())
    }
    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError> {
        let of = self
            .all()
            .into_iter()
            .filter(|it| it.resolution == resolution)
            .map(|it| it.instance);
        Ok(of.collect::<BTreeSet<_>>().into_iter().collect())
    }
    async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        self.answers()?;
        if self.deaf.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("it takes no events".to_owned()));
        }
        for event in events {
            let mut kept = self.events.lock().expect("nobody panicked");
            kept.retain(|it| it.identity() != event.identity());
            kept.push(event.clone());
        }
        Ok(())
    }
    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<EventRecord>, StoreError> {
        self.answers()?;
        Ok(wanted.of(self.events.lock().expect("nobody panicked").clone()))
    }
    async fn record_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError> {
        self.answers()?;
        self.verdicts
            .lock()
            .expect("nobody panicked")
            .extend_from_slice(spans);
        Ok(())
    }
    async fn recall_verdicts(
        &self,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        self.answers()?;
        Ok(wanted.of(self.verdicts.lock().expect("nobody panicked").clone()))
    }
    async fn forget(&self, now: Timestamp) -> Result<(), StoreError> {
        self.answers()?;
        self.points
            .lock()
            .expect("nobody panicked")
            .retain(|(at, _, resolution), _| now.since(*at) <= resolution.kept());
        Ok(())
    }
}

/// A sample of a machine at this time.
pub(crate) fn sample(instance: &str, at: u64) -> Point {
    let (instance, at, resolution) = (
        InstanceId::trusted(instance),
        Timestamp(at),
        Resolution::Sample,
    );
    Point {
        instance,
        resolution,
        at,
        machine: MachinePoint {
            measured_ms: 2000,
            ..MachinePoint::default()
        },
        containers: BTreeMap::new(),
    }
}

/// An event of this service's container. Its id is the service's name.
pub(crate) fn happening(
    instance: &str,
    service: &str,
    at: u64,
    what: ContainerHappening,
) -> EventRecord {
    let placed = Placed {
        swarm_service: format!("c-{service}"),
        container: ContainerName::trusted(format!("{service}.1")),
        service: ServiceName::trusted(service),
        image: "web".to_owned(),
        instance: InstanceId::trusted(instance),
        tag: Tag::trusted(format!("tag-of-{instance}")),
    };
    EventRecord {
        placed,
        engine_id: service.to_owned(),
        at: Timestamp(at),
        what,
    }
}

/// A handle to a core that answers reads and refuses requests.
fn handle() -> Handle {
    let (handle, mut inputs, _) = Handle::new();
    let core = crate::api::tests::core();
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Read(read) => read(Ok(&core)),
                Input::Request(_, _, answer) => {
                    let refusal = ErrorBody::new(ErrorCode::Unavailable, "it does not answer");
                    drop(answer.send(Err(refusal)));
                }
                Input::Tell(_) => {}
            }
        }
    });
    handle
}

/// Metrics without any placement.
fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(Facts::default()))
}

fn batch(sequence: u64, services: &[String]) -> SampleBatch {
    let containers = services
        .iter()
        .map(|it| ContainerSample {
            id: it.clone(),
            service: Some(it.clone()),
            ..ContainerSample::default()
        })
        .collect();
    SampleBatch {
        sequence,
        at: clock::now(),
        late: false,
        machine: MachineSample::default(),
        containers,
    }
}

#[tokio::test]
async fn what_the_core_could_not_be_told_is_told_the_next_time() {
    let metrics = metrics();
    let refresh = Refresh {
        metrics: metrics.clone(),
        handle: handle(),
        history: Arc::new(Kept::default()),
        shown: None,
    };
    metrics.inner().meter.take(
        clock::now(),
        &InstanceId::trusted("i1"),
        "a",
        batch(1, &["c-web".to_owned()]),
    );
    refresh.turn(&mut super::refresh::Outage::default()).await;
    assert_eq!(
        metrics
            .inner()
            .meter
            .used()
            .iter()
            .map(|it| &*it.service)
            .collect::<Vec<_>>(),
        ["c-web"]
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_and_the_rest_is_rolled_up() {
    const MINUTE: u64 = 60_000;
    let (metrics, history) = (metrics(), Arc::new(Kept::default()));
    let rollup = Rollup {
        metrics: metrics.clone(),
        handle: handle(),
        history: history.clone(),
    };
    let all: Vec<Point> = (0..4)
        .flat_map(|minute| ["i1", "i2"].map(|it| sample(it, minute * MINUTE)))
        .collect();
    history.record(&all).await.expect("kept");
    metrics.inner().dirty.touch(&all);
    *history.bad.lock().expect("nobody panicked") =
        Some((Resolution::Sample, Timestamp(2 * MINUTE)));
    rollup
        .turn(Timestamp(4 * MINUTE))
        .await
        .expect("the others");
    assert_eq!(
        history.times(Resolution::Minute),
        [0, 0, 1, 1, 3, 3].map(|it| it * MINUTE)
    );
    assert_eq!(
        metrics
            .inner()
            .dirty
            .finished(Resolution::Minute, Timestamp(4 * MINUTE)),
        [],
        "it is not tried for ever"
    );
}

#[tokio::test]
async fn old_points_go_whether_figures_can_be_rolled_up_or_not_and_later_if_the_store_is_silent() {
    const HOUR: u64 = 3_600_000;
    let history = Arc::new(Kept::default());
    let rollup = Rollup {
        metrics: metrics(),
        handle: handle(),
        history: history.clone(),
    };
    history.record(&[sample("i1", 1)]).await.expect("kept");
    let mut cleaned = Timestamp(0);
    history.silent.store(true, Ordering::SeqCst);
    rollup
        .clean(Timestamp(2 * HOUR), &mut cleaned)
        .await
        .expect_err("it does not answer");
    history.silent.store(false, Ordering::SeqCst);
    *history.bad.lock().expect("nobody panicked") = Some((Resolution::Sample, Timestamp(1)));
    rollup
        .clean(Timestamp(2 * HOUR + 1), &mut cleaned)
        .await
        .expect("it answers");
    assert_eq!((history.all().len(), cleaned), (0, Timestamp(2 * HOUR + 1)));
}

#[tokio::test]
async fn what_is_recorded_is_rolled_up_once_its_time_is_over() {
    const MINUTE: u64 = 60_000;
    let (metrics, history) = (metrics(), Arc::new(Kept::default()));
    let rollup = Rollup {
        metrics: metrics.clone(),
        handle: handle(),
        history: history.clone(),
    };
    // Twenty minutes of two machines; the second reports nothing in its second minute.
    let all: Vec<Point> = (0..600)
        .flat_map(|n| ["i1", "i2"].map(|it| sample(it, n * 2000)))
        .filter(|it| it.instance.as_str() == "i1" || it.at.0 / MINUTE != 1)
        .collect();
    history.record(&all).await.expect("kept");
    metrics.inner().dirty.touch(&all);

    history.silent.store(true, Ordering::SeqCst);
    rollup
        .turn(Timestamp(15 * MINUTE))
        .await
        .expect_err("it does not answer");
    history.silent.store(false, Ordering::SeqCst);
    rollup
        .turn(Timestamp(15 * MINUTE))
        .await
        .expect("it answers");
    let minutes = history.times(Resolution::Minute);
    assert_eq!(
        (minutes.len(), minutes.first(), minutes.last()),
        (19 * 2 - 1, Some(&0), Some(&(18 * MINUTE))),
        "the machines' clocks go ahead of ours"
    );
    assert_eq!(history.times(Resolution::TenMinutes), [0, 0]);
    let whole = history
        .all()
        .into_iter()
        .find(|it| it.resolution == Resolution::TenMinutes && it.instance.as_str() == "i2")
        .expect("there");
    assert_eq!(whole.machine.measured_ms, 9 * MINUTE, "a minute is missing");

    // A late sample is counted in its minute and its ten minutes, once.
    let late = [sample("i2", MINUTE), sample("i2", MINUTE + 2000)];
    history.record(&late).await.expect("kept");
    metrics.inner().dirty.touch(&late);
    rollup
        .turn(Timestamp(15 * MINUTE))
        .await
        .expect("it answers");
    let whole = history
        .all()
        .into_iter()
        .find(|it| it.resolution == Resolution::TenMinutes && it.instance.as_str() == "i2")
        .expect("there");
    assert_eq!(whole.machine.measured_ms, 9 * MINUTE + 4000);
    assert_eq!(history.times(Resolution::Minute).len(), 19 * 2);
}
