//! Moves a cluster's records from one store to another.

use super::{Change, Contents, EmbeddedStore, KeyFile, MongoStore, Place, Record, Store, StoreError, codec::KINDS, embedded::Source, mongodb::IfNone};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What was copied: records by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// How many records of each kind.
    pub records: BTreeMap<&'static str, usize>,
}

/// Copies all records into a store that has none, all or none of them, and reads them back. Neither store may be in use. The one that is copied from stays as it is, and so does one that has records. `state` is the folder with the key of both. Points are not copied.
///
/// # Errors
/// When one of the stores cannot be opened, when there is nothing to copy, when the target has records, or when what is read back is not what was written.
pub async fn copy(from: Place, to: Place, state: &Path) -> Result<Copied, StoreError> {
    let (from, to) = (from.resolve()?, to.resolve()?);
    let refused = |words: String| Err(StoreError::Failed(words));
    if from == to {
        return refused(format!("{from} cannot be copied to itself"));
    }
    if let Place::File(file) = &from
        && !file.is_file()
    {
        return refused(format!("there is no store at {from}"));
    }
    let keys = Arc::new(KeyFile::open(state)?);
    let source = open_source(&from, &keys).await?;
    let contents = source.load().await?;
    if contents.is_empty() {
        return refused(format!("there is nothing in the store {from}"));
    }
    let not_empty = || refused(format!("the store {to} is not empty: name another"));
    // Before it is opened, which may upgrade it.
    if let Place::File(file) = &to
        && file.exists()
        && !Source::open(file, keys.clone()).await?.load().await?.is_empty()
    {
        return not_empty();
    }
    let target = open_target(&to, &keys).await?;
    if !target.load().await?.is_empty() {
        return not_empty();
    }
    let changes: Vec<Change> = contents.iter().map(|(record, _)| Change { key: record.key(), expected: 0, record: Some(record.clone()) }).collect();
    target.commit(&changes).await?;
    let same = sorted(target.load().await?) == sorted(contents);
    source.close().await;
    target.close().await;
    if !same {
        return refused(format!("what is read from {to} is not what was written there: do not use it"));
    }
    let count = |kind| (kind, changes.iter().filter(|change| change.key.kind() == kind).count());
    Ok(Copied { records: KINDS.into_iter().map(count).collect() })
}

fn sorted(contents: Contents) -> Vec<Record> {
    let mut records: Vec<Record> = contents.into_iter().map(|(record, _)| record).collect();
    records.sort_by_key(Record::key);
    records
}

async fn open_source(place: &Place, keys: &Arc<KeyFile>) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match place {
        Place::MongoDb(url) => Arc::new(MongoStore::open_for_copy(url, keys.clone(), IfNone::Refuse).await?),
        Place::File(file) | Place::Written(file) => Arc::new(Source::open(file, keys.clone()).await?),
    })
}

async fn open_target(place: &Place, keys: &Arc<KeyFile>) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match place {
        Place::MongoDb(url) => Arc::new(MongoStore::open_for_copy(url, keys.clone(), IfNone::Make).await?),
        Place::File(file) | Place::Written(file) => Arc::new(EmbeddedStore::open(file, keys.clone()).await?),
    })
}
