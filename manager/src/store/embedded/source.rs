//! A store's file that is copied from: read as it is, an earlier micado's too, so that it stays
//! that micado's and of whatever key it will be.

use super::{
    CACHE_BYTES, Change, Contents, EmbeddedStore, KeyFile, Slot, Store, StoreError, blocking,
    explain, is_blank, lock, read_all, schema,
};
use micado_api::{InstanceId, Timestamp};
use micado_core::metrics::{Happening, History, Point, Recall, RecallEvents, Resolution};
use redb::Database;
use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is in a file, which is locked while this lives.
#[derive(Debug)]
pub(in crate::store) struct Source {
    path: PathBuf,
    contents: Contents,
    /// Of which only the past is read. `None` in a file that redb has not laid out.
    past: Option<EmbeddedStore>,
}

impl Source {
    /// Reads the store in a file that is there.
    ///
    /// # Errors
    /// `InUse` when a manager has it open, `Schema` when it is no store, of a newer micado or of
    /// another key, `Failed` when it cannot be read.
    pub(in crate::store) async fn open(
        path: &Path,
        keys: Arc<KeyFile>,
    ) -> Result<Self, StoreError> {
        let path = path.to_owned();
        blocking(move || {
            let database = database(&path)?;
            let contents = database
                .as_ref()
                .map_or(Ok(vec![]), |database| read(&path, database, &keys))?;
            let file = path.clone();
            let reopen = move || {
                self::database(&file)?.ok_or_else(|| {
                    StoreError::Failed(format!("the store {} is empty now", file.display()))
                })
            };
            let past = database
                .map(|database| EmbeddedStore::of(Slot::new(path.clone(), database, reopen), keys));
            Ok(Self {
                path,
                contents,
                past,
            })
        })
        .await
    }

    fn refusal(&self) -> StoreError {
        StoreError::Failed(format!("the store {} is only read", self.path.display()))
    }
}

#[async_trait::async_trait]
impl Store for Source {
    async fn load(&self) -> Result<Contents, StoreError> {
        Ok(self.contents.clone())
    }

    async fn commit(&self, _changes: &[Change]) -> Result<(), StoreError> {
        Err(self.refusal())
    }
}

#[async_trait::async_trait]
impl History for Source {
    async fn record(&self, _points: &[Point]) -> Result<(), StoreError> {
        Err(self.refusal())
    }

    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let Some(past) = &self.past else {
            return Ok(vec![]);
        };
        past.recall(wanted).await
    }

    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError> {
        let Some(past) = &self.past else {
            return Ok(vec![]);
        };
        past.instances(resolution).await
    }

    async fn record_events(&self, _events: &[Happening]) -> Result<(), StoreError> {
        Err(self.refusal())
    }

    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<Happening>, StoreError> {
        let Some(past) = &self.past else {
            return Ok(vec![]);
        };
        past.recall_events(wanted).await
    }

    async fn forget(&self, _now: Timestamp) -> Result<(), StoreError> {
        Err(self.refusal())
    }
}

/// The database; `None` in a file that redb has not laid out, nor does it now.
fn database(path: &Path) -> Result<Option<Database>, StoreError> {
    let file = lock(path, OpenOptions::new().read(true).write(true))?;
    if is_blank(&file).map_err(|error| explain(path, &error.into()))? {
        return Ok(None);
    }
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_file(file)
        .map(Some)
        .map_err(|error| explain(path, &error.into()))
}

fn read(path: &Path, database: &Database, keys: &KeyFile) -> Result<Contents, StoreError> {
    match schema::check(path, database, schema::MIGRATIONS.len() as u64 + 1)? {
        None => Ok(vec![]),
        Some(schema::IN_CLEAR) => read_all(path, database, None),
        Some(_) => {
            schema::prove(path, database, keys)?;
            read_all(path, database, Some(keys))
        }
    }
}
