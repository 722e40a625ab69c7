//! Points in a table of their own, by resolution, instance and time: points of one machine are
//! adjacent, as the roll-up reads them.

use super::{EmbeddedStore, blocking, events, verdicts};
use crate::store::{StoreError, points};
use micado_api::{InstanceId, Timestamp, VerdictSpan};
use micado_core::metrics::{
    EVENTS_MOST, EventRecord, History, Point, Recall, RecallEvents, RecallVerdicts, Resolution,
    Series, VERDICTS_MOST,
};
use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};

/// Resolution in seconds, instance and time.
type Key = (u64, &'static str, u64);

/// A point as stored.
type Row = (Resolution, InstanceId, Timestamp, Vec<u8>);

const POINTS: TableDefinition<'static, Key, &'static [u8]> = TableDefinition::new("samples");

/// Upper bound for points or events that one transaction deletes while commits wait: tens of
/// milliseconds.
pub(super) const PIECE: usize = 10_000;

#[async_trait::async_trait]
impl History for EmbeddedStore {
    async fn record(&self, points: &[Point]) -> Result<(), StoreError> {
        if points.is_empty() {
            return Ok(());
        }
        let rows = points.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        self.write(move |store| store.record_all(&rows)).await
    }

    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        blocking(move || store.recall_all(&wanted)).await
    }

    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError> {
        let store = self.clone();
        blocking(move || store.instances_of(resolution)).await
    }

    async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let events = events.to_vec();
        self.write(move |store| store.record_all_events(&events))
            .await
    }

    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<EventRecord>, StoreError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        blocking(move || {
            store
                .database
                .with(|database| events::recall(database, &wanted))
        })
        .await
    }

    async fn record_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError> {
        if spans.is_empty() {
            return Ok(());
        }
        let spans = spans.to_vec();
        self.write(move |store| store.record_all_verdicts(&spans))
            .await
    }

    async fn recall_verdicts(
        &self,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        blocking(move || {
            store
                .database
                .with(|database| verdicts::recall(database, &wanted))
        })
        .await
    }

    /// Deletes in pieces, so that others can write in between.
    async fn forget(&self, now: Timestamp) -> Result<(), StoreError> {
        for resolution in Resolution::ALL {
            let until = now
                .0
                .saturating_sub(u64::try_from(resolution.kept().as_millis()).unwrap_or(u64::MAX));
            let mut left = self.instances(resolution).await?;
            while !left.is_empty() {
                left = self
                    .write(move |store| store.forget_some(resolution, until, left))
                    .await?;
            }
        }
        // The last commit makes those before it durable.
        while self
            .write(move |store| store.forget_some_events(now, EVENTS_MOST))
            .await?
        {}
        while self
            .write(move |store| store.forget_some_verdicts(now, VERDICTS_MOST))
            .await?
        {}
        Ok(())
    }
}

impl EmbeddedStore {
    fn record_all(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.database.with(|database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(POINTS)?;
            for (resolution, instance, at, figures) in rows {
                table.insert(
                    (seconds(*resolution), instance.as_str(), at.0),
                    figures.as_slice(),
                )?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    fn recall_all(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let instances = match &wanted.series {
            _ if wanted.from >= wanted.until => vec![],
            Series::Instance(instance) => vec![instance.clone()],
            Series::Container(_) | Series::Service(_) => self.instances_of(wanted.resolution)?,
        };
        let mut points = Vec::new();
        for instance in &instances {
            let walked = self.walk(wanted, instance, |at, figures| {
                points.extend(self.point(wanted, instance, at, figures)?);
                Ok(())
            });
            walked?;
        }
        // The sort is stable: points of the same time stay ordered by instance.
        points.sort_by_key(|it| it.at);
        Ok(points)
    }

    /// `None` if the point lacks the selected containers.
    fn point(
        &self,
        wanted: &Recall,
        instance: &InstanceId,
        at: Timestamp,
        figures: &[u8],
    ) -> Result<Option<Point>, StoreError> {
        let of_containers = match &wanted.series {
            Series::Instance(_) => None,
            Series::Container(name) => Some(name.as_str()),
            Series::Service(name) => Some(name.as_str()),
        };
        if of_containers.is_some_and(|name| !points::may_hold(figures, name)) {
            return Ok(None);
        }
        let unreadable = || {
            StoreError::Failed(format!(
                "what {instance} used at {} cannot be read in the store {}",
                at.0,
                self.path.display()
            ))
        };
        let (machine, mut containers) = points::decode(figures).ok_or_else(unreadable)?;
        if of_containers.is_some() {
            containers.retain(|name, _| wanted.series.has(name));
            if containers.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(Point {
            instance: instance.clone(),
            resolution: wanted.resolution,
            at,
            machine,
            containers,
        }))
    }

    /// Passes an instance's points of that time on, until one is refused.
    fn walk(
        &self,
        wanted: &Recall,
        instance: &InstanceId,
        mut take: impl FnMut(Timestamp, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (finely, instance) = (seconds(wanted.resolution), instance.as_str());
        let wanted = (finely, instance, wanted.from.0)..(finely, instance, wanted.until.0);
        self.database.with(|database| {
            let table = database.begin_read()?.open_table(POINTS)?;
            for row in table.range(wanted)? {
                let (key, figures) = row?;
                if let Err(error) = take(Timestamp(key.value().2), figures.value()) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// All instances with points, in order.
    fn instances_of(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError> {
        self.database
            .with(|database| instances_with_points(database, resolution))
    }

    /// Deletes a piece of these instances' points before that time; returns the instances that may
    /// have more.
    fn forget_some(
        &self,
        resolution: Resolution,
        until: u64,
        of: Vec<InstanceId>,
    ) -> Result<Vec<InstanceId>, StoreError> {
        self.database
            .with(|database| forget_piece(database, resolution, until, of))
    }
}

fn instances_with_points(
    database: &Database,
    resolution: Resolution,
) -> Result<Vec<InstanceId>, redb::Error> {
    let table = database.begin_read()?.open_table(POINTS)?;
    let finely = seconds(resolution);
    let mut instances: Vec<InstanceId> = Vec::new();
    loop {
        let after = (
            finely,
            instances.last().map_or("", InstanceId::as_str),
            u64::MAX,
        );
        let Some(row) = table
            .range(after..(finely + 1, "", 0))?
            .find(|row| row.as_ref().map_or(true, |(key, _)| key.value() != after))
        else {
            return Ok(instances);
        };
        instances.push(InstanceId::trusted(row?.0.value().1));
    }
}

fn forget_piece(
    database: &Database,
    resolution: Resolution,
    until: u64,
    mut of: Vec<InstanceId>,
) -> Result<Vec<InstanceId>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let (mut table, finely, mut room) =
        (transaction.open_table(POINTS)?, seconds(resolution), PIECE);
    while room > 0
        && let Some(instance) = of.last()
    {
        let old = (finely, instance.as_str(), 0)..(finely, instance.as_str(), until);
        for row in table.extract_from_if(old, |_, _| true)?.take(room) {
            row?;
            room -= 1;
        }
        if room > 0 {
            of.pop();
        }
    }
    drop(table);
    transaction.commit()?;
    Ok(of)
}

/// Makes the table if it is missing.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(POINTS)?;
    Ok(())
}

fn seconds(resolution: Resolution) -> u64 {
    resolution.span().as_secs()
}

fn row(point: &Point) -> Result<Row, StoreError> {
    Ok((
        point.resolution,
        point.instance.clone(),
        point.at,
        points::encode(point)?,
    ))
}
