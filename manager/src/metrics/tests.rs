//! A place for points in memory that can be made to fail; and what is made of what agents say, with the real core behind it.

use super::*;
use crate::{metrics::refresh::Outage, store::StoreError};
use micado_api::Timestamp;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Points in memory.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) points: Mutex<BTreeMap<(Timestamp, InstanceId, Resolution), Point>>,
    /// It does not answer.
    pub(crate) silent: AtomicBool,
    /// How often a point was written that was there already.
    pub(crate) again: AtomicU32,
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
            Whose::All => Some(it),
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
