//! Points in a table of their own, by resolution, time and instance: what is old is at the beginning, and so is quickly let go of.

use super::{EmbeddedStore, blocking, explain};
use crate::store::{StoreError, points};
use micado_api::{InstanceId, Timestamp};
use micado_core::metrics::{History, Point, Recall, Resolution, Whose};
use redb::{ReadableDatabase, TableDefinition, WriteTransaction};

/// Its resolution in seconds, its time and its instance.
type Key = (u64, u64, &'static str);

const POINTS: TableDefinition<'static, Key, &'static [u8]> = TableDefinition::new("samples");

/// A point with its figures as they are kept.
struct Row {
    resolution: Resolution,
    at: Timestamp,
    instance: InstanceId,
    figures: Vec<u8>,
}

#[async_trait::async_trait]
impl History for EmbeddedStore {
    async fn record(&self, points: &[Point]) -> Result<(), StoreError> {
        if points.is_empty() {
            return Ok(());
        }
        let rows = points.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let store = self.clone();
        blocking(move || store.record_all(&rows).map_err(|error| explain(&store.path, &error))).await
    }

    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        blocking(move || store.recall_all(&wanted)).await
    }

    async fn forget(&self, now: Timestamp) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || store.forget_all(now).map_err(|error| explain(&store.path, &error))).await
    }
}

impl EmbeddedStore {
    fn record_all(&self, rows: &[Row]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(POINTS)?;
        for row in rows {
            table.insert((seconds(row.resolution), row.at.0, row.instance.as_str()), row.figures.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn recall_all(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let rows = self.rows_of(wanted).map_err(|error| explain(&self.path, &error))?;
        let mut points = Vec::new();
        for Row { resolution, at, instance, figures } in rows {
            let (machine, mut containers) = points::decode(&figures)
                .ok_or_else(|| StoreError::Failed(format!("what {instance} used at {} cannot be read in the store {}", at.0, self.path.display())))?;
            if let Whose::Container(name) = &wanted.whose {
                containers.retain(|it, _| it == name);
                if containers.is_empty() {
                    continue;
                }
            }
            points.push(Point { instance, resolution, at, machine, containers });
        }
        Ok(points)
    }

    fn rows_of(&self, wanted: &Recall) -> Result<Vec<Row>, redb::Error> {
        if wanted.from >= wanted.until {
            return Ok(vec![]);
        }
        let transaction = self.database.begin_read()?;
        let (table, finely) = (transaction.open_table(POINTS)?, seconds(wanted.resolution));
        let mut rows = Vec::new();
        for row in table.range((finely, wanted.from.0, "")..(finely, wanted.until.0, ""))? {
            let (key, figures) = row?;
            let (_, at, instance) = key.value();
            if !matches!(&wanted.whose, Whose::Instance(id) if id.as_str() != instance) {
                let instance = InstanceId::trusted(instance);
                rows.push(Row { resolution: wanted.resolution, at: Timestamp(at), instance, figures: figures.value().to_vec() });
            }
        }
        Ok(rows)
    }

    fn forget_all(&self, now: Timestamp) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(POINTS)?;
        for resolution in Resolution::ALL {
            let kept = u64::try_from(resolution.kept().as_millis()).unwrap_or(u64::MAX);
            let finely = seconds(resolution);
            table.retain_in((finely, 0, "")..(finely, now.0.saturating_sub(kept), ""), |_, _| false)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

/// Makes the table where there is none.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(POINTS)?;
    Ok(())
}

fn seconds(resolution: Resolution) -> u64 {
    resolution.span().as_secs()
}

fn row(point: &Point) -> Result<Row, StoreError> {
    Ok(Row { resolution: point.resolution, at: point.at, instance: point.instance.clone(), figures: points::encode(point)? })
}
