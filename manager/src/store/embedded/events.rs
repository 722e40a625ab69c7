//! Events in a table of their own, by time: most queries ask for the latest.

use super::{EmbeddedStore, history::PIECE};
use crate::store::StoreError;
use micado_api::{
    ContainerName, InstanceId, ServiceName, Tag, Timestamp, agent::ContainerHappening,
};
use micado_core::metrics::{EVENTS_KEPT, EventRecord, Identity, Order, Placed, RecallEvents};
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Identity of an event.
type Key = (u64, &'static str, &'static str, &'static str);

const EVENTS: TableDefinition<'static, Key, &'static [u8]> = TableDefinition::new("events");

/// Rest of an event beside its key, as JSON.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    container: Cow<'a, str>,
    service: Cow<'a, str>,
    image: Cow<'a, str>,
    tag: Cow<'a, str>,
    swarm_service: Cow<'a, str>,
    #[serde(flatten)]
    what: ContainerHappening,
}

impl EmbeddedStore {
    pub(super) fn record_all_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        let rows = events
            .iter()
            .map(|it| Ok((it.identity(), encode(it)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.database.with(|database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(EVENTS)?;
            for (identity, row) in &rows {
                table.insert(key(identity), row.as_slice())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    /// Deletes a piece of the events that are expired or not among the newest `most`; true if more
    /// may be left.
    pub(super) fn forget_some_events(&self, now: Timestamp, most: u64) -> Result<bool, StoreError> {
        let until = now
            .0
            .saturating_sub(u64::try_from(EVENTS_KEPT.as_millis()).unwrap_or(u64::MAX));
        self.database
            .with(|database| forget_piece(database, until, most))
    }
}

fn forget_piece(database: &Database, until: u64, most: u64) -> Result<bool, redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(EVENTS)?;
    let mut gone = 0;
    for row in table
        .extract_from_if(..(until, "", "", ""), |_, _| true)?
        .take(PIECE)
    {
        row?;
        gone += 1;
    }
    while gone < PIECE && table.len()? > most && table.pop_first()?.is_some() {
        gone += 1;
    }
    drop(table);
    transaction.commit()?;
    Ok(gone == PIECE)
}

/// Returns the selected events of a file.
pub(super) fn recall(
    database: &Database,
    wanted: &RecallEvents,
) -> Result<Vec<EventRecord>, redb::Error> {
    let table = database.begin_read()?.open_table(EVENTS)?;
    if wanted.from >= wanted.until {
        return Ok(vec![]);
    }
    let mut rows = table.range((wanted.from.0, "", "", "")..(wanted.until.0, "", "", ""))?;
    let next = || match wanted.order {
        Order::OldestFirst => rows.next(),
        Order::NewestFirst => rows.next_back(),
    };
    let mut found = Vec::new();
    for row in std::iter::from_fn(next) {
        if found.len() >= wanted.most {
            break;
        }
        let (key, row) = row?;
        // Skip unreadable rows: the others are still of use.
        found.extend(decode(key.value(), row.value()).filter(|it| wanted.wants(it)));
    }
    Ok(found)
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(EVENTS)?;
    Ok(())
}

fn key<'a>((at, instance, engine_id, word): &Identity<'a>) -> (u64, &'a str, &'a str, &'a str) {
    (at.0, instance, engine_id, word)
}

fn encode(it: &EventRecord) -> Result<Vec<u8>, StoreError> {
    let placed = &it.placed;
    let row = Row {
        container: placed.container.as_str().into(),
        service: placed.service.as_str().into(),
        image: placed.image.as_str().into(),
        tag: placed.tag.as_str().into(),
        swarm_service: placed.swarm_service.as_str().into(),
        what: it.what,
    };
    serde_json::to_vec(&row).map_err(|error| {
        StoreError::Failed(format!(
            "an event of `{}` cannot be written as JSON: {error}",
            placed.container
        ))
    })
}

fn decode(
    (at, instance, engine_id, _): (u64, &str, &str, &str),
    row: &[u8],
) -> Option<EventRecord> {
    let row: Row<'_> = serde_json::from_slice(row).ok()?;
    let placed = Placed {
        swarm_service: row.swarm_service.into_owned(),
        container: ContainerName::trusted(row.container),
        service: ServiceName::trusted(row.service),
        image: row.image.into_owned(),
        instance: InstanceId::trusted(instance),
        tag: Tag::trusted(row.tag),
    };
    Some(EventRecord {
        placed,
        engine_id: engine_id.to_owned(),
        at: Timestamp(at),
        what: row.what,
    })
}
