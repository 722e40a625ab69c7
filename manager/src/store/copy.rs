//! Copies a cluster's records and history from one store to another.

mod past;

use super::{
    Change, Contents, EmbeddedStore, IfNone, KINDS, KeyFile, MongoStore, Place, Record, Store,
    StoreError,
};
use crate::clock;
use micado_core::metrics::History;
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, sync::Arc};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Number of records of each kind, samples (points) and events; and of samples that were left
    /// out because they cannot be read.
    pub records: BTreeMap<&'static str, usize>,
}

/// Copies points and events, and then all records or none, into a store without records, and reads
/// the records back. Neither store may be in use. The source stays unchanged, and so does a target
/// with records. `state` is the folder with the key of both.
///
/// # Errors
/// If one of the stores cannot be opened, if there is nothing to copy, if the target has records,
/// or if the records read back differ.
pub async fn copy(from: Place, to: Place, state: &Path) -> Result<Copied, StoreError> {
    let (from, to) = (from.resolve()?, to.resolve()?);
    let refused = |words: String| Err(StoreError::Failed(words));
    if from == to {
        return refused(format!("{from} cannot be copied to itself"));
    }
    let keys = Arc::new(KeyFile::open(state)?);
    let Opened {
        store: source,
        history: past,
    } = open(&from, &keys, IfNone::Refuse).await?;
    let contents = source.load().await?;
    if contents.is_empty() {
        return refused(format!("there is nothing in the store {from}"));
    }
    let Opened {
        store: target,
        history,
    } = open(&to, &keys, IfNone::Make).await?;
    if !target.load().await?.is_empty() {
        return refused(format!("the store {to} is not empty: name another"));
    }
    // Before the records: without those the target is an empty store, so that an interrupted copy
    // can be started again.
    let (points, events, verdicts) = (
        past::points(&*past, &*history, clock::now()).await?,
        past::events(&*past, &*history).await?,
        past::verdicts(&*past, &*history).await?,
    );
    let changes: Vec<Change> = contents
        .iter()
        .map(|(record, _)| Change {
            key: record.key(),
            expected: 0,
            record: Some(record.clone()),
        })
        .collect();
    target.commit(&changes).await?;
    let same = sorted(target.load().await?) == sorted(contents);
    source.close().await;
    target.close().await;
    if !same {
        return refused(format!(
            "what is read from {to} is not what was written there: do not use it"
        ));
    }
    let count = |kind| {
        (
            kind,
            changes
                .iter()
                .filter(|change| change.key.kind() == kind)
                .count(),
        )
    };
    let unreadable =
        (points.unreadable > 0).then_some(("samples that cannot be read", points.unreadable));
    Ok(Copied {
        records: KINDS
            .into_iter()
            .map(count)
            .chain([
                ("samples", points.copied),
                ("events", events),
                ("verdicts", verdicts),
            ])
            .chain(unreadable)
            .collect(),
    })
}

fn sorted(contents: Contents) -> Vec<Record> {
    let mut records: Vec<Record> = contents.into_iter().map(|(record, _)| record).collect();
    records.sort_by_key(Record::key);
    records
}

/// One store, under both of its traits.
struct Opened {
    store: Arc<dyn Store>,
    history: Arc<dyn History>,
}

impl Opened {
    fn new<S: Store + History + 'static>(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            store: store.clone(),
            history: store,
        }
    }
}

async fn open(place: &Place, keys: &Arc<KeyFile>, if_none: IfNone) -> Result<Opened, StoreError> {
    let keys = keys.clone();
    Ok(match place {
        Place::MongoDb(url) => Opened::new(MongoStore::open_for_copy(url, keys, if_none).await?),
        Place::File(file) | Place::Written(file) => {
            Opened::new(EmbeddedStore::open_for_copy(file, keys, if_none).await?)
        }
    })
}
