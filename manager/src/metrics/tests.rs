//! A place for points in memory that can be made to fail; and what is made of what agents say, with the real core behind it.

use super::*;
use crate::store::StoreError;
use micado_api::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// Points in memory.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) points: Mutex<BTreeMap<(Timestamp, InstanceId, Resolution), Point>>,
    /// It does not answer.
    pub(crate) silent: AtomicBool,
    /// How often a point was written that was there already.
    pub(crate) again: AtomicU32,
    /// How often it was asked to keep some.
    pub(crate) asked: watch::Sender<u32>,
}

impl Kept {
    pub(crate) fn times(&self, resolution: Resolution) -> Vec<u64> {
        self.all().into_iter().filter(|it| it.resolution == resolution).map(|it| it.at.0).collect()
    }
    pub(crate) fn all(&self) -> Vec<Point> {
        self.points.lock().expect("nobody panicked").values().cloned().collect()
    }
    fn answers(&self) -> Result<(), StoreError> {
        if self.silent.load(Ordering::SeqCst) { Err(StoreError::Failed("it does not answer".to_owned())) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl History for Kept {
    async fn record(&self, points: &[Point]) -> Result<(), StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        self.answers()?;
        for point in points {
            let before = self.points.lock().expect("nobody panicked").insert((point.at, point.instance.clone(), point.resolution), point.clone());
            self.again.fetch_add(u32::from(before.is_some()), Ordering::SeqCst);
        }
        Ok(())
    }
    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        self.answers()?;
        let among = |it: &Point| it.resolution == wanted.resolution && wanted.from <= it.at && it.at < wanted.until;
        let of = |mut it: Point| match &wanted.whose {
            Whose::Instance(id) => (it.instance == *id).then_some(it),
            Whose::Container(name) => {
                it.containers.retain(|known, _| known == name);
                (!it.containers.is_empty()).then_some(it)
            }
        };
        Ok(self.all().into_iter().filter(among).filter_map(of).collect())
    }
    async fn forget(&self, now: Timestamp) -> Result<(), StoreError> {
        self.answers()?;
        self.points.lock().expect("nobody panicked").retain(|(at, _, resolution), _| now.since(*at) <= resolution.kept());
        Ok(())
    }
}

/// A sample of a machine, at this moment.
pub(crate) fn sample(instance: &str, at: u64) -> Point {
    let (instance, at, resolution) = (InstanceId::trusted(instance), Timestamp(at), Resolution::Sample);
    Point { instance, resolution, at, machine: MachinePoint { measured_ms: 2000, ..MachinePoint::default() }, containers: BTreeMap::new() }
}

/// A way to a core that knows nobody, and the core's end of it.
fn handle() -> Handle {
    let (handle, mut inputs, _) = Handle::new();
    let core = crate::api::tests::core();
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            if let crate::control::Input::Read(read) = input {
                read(Ok(&core));
            }
        }
    });
    handle
}

#[tokio::test]
async fn what_is_recorded_is_rolled_up_once_its_time_is_over() {
    const MINUTE: u64 = 60_000;
    let (metrics, history) = (Arc::new(Metrics::default()), Arc::new(Kept::default()));
    let rollup = Rollup { metrics: metrics.clone(), handle: handle(), history: history.clone() };
    // Twenty minutes of two machines, the second of which says nothing in its second minute.
    let all: Vec<Point> =
        (0..600).flat_map(|n| ["i1", "i2"].map(|it| sample(it, n * 2000))).filter(|it| it.instance.as_str() == "i1" || it.at.0 / MINUTE != 1).collect();
    history.record(&all).await.expect("kept");
    metrics.inner().touched.touch(&all);

    history.silent.store(true, Ordering::SeqCst);
    rollup.turn(Timestamp(15 * MINUTE)).await.expect_err("it does not answer");
    history.silent.store(false, Ordering::SeqCst);
    rollup.turn(Timestamp(15 * MINUTE)).await.expect("it answers");
    let minutes = history.times(Resolution::Minute);
    assert_eq!((minutes.len(), minutes.first(), minutes.last()), (19 * 2 - 1, Some(&0), Some(&(18 * MINUTE))), "the machines' clocks go ahead of ours");
    assert_eq!(history.times(Resolution::TenMinutes), [0, 0]);
    let whole = history.all().into_iter().find(|it| it.resolution == Resolution::TenMinutes && it.instance.as_str() == "i2").expect("there");
    assert_eq!(whole.machine.measured_ms, 9 * MINUTE, "a minute is missing");

    // What comes late is in the minute and in the ten minutes, once.
    let late = [sample("i2", MINUTE), sample("i2", MINUTE + 2000)];
    history.record(&late).await.expect("kept");
    metrics.inner().touched.touch(&late);
    rollup.turn(Timestamp(15 * MINUTE)).await.expect("it answers");
    let whole = history.all().into_iter().find(|it| it.resolution == Resolution::TenMinutes && it.instance.as_str() == "i2").expect("there");
    assert_eq!(whole.machine.measured_ms, 9 * MINUTE + 4000);
    assert_eq!(history.times(Resolution::Minute).len(), 19 * 2);
}
