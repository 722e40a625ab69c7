//! A store's file that is copied from: read as it is, an earlier micado's too, so that it stays that micado's and of whatever key it will be.

use super::{CACHE_BYTES, Change, Contents, KeyFile, Store, StoreError, blocking, explain, is_blank, lock, read_all, schema};
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
    _locked: Option<Database>,
}

impl Source {
    /// Reads the store in a file that is there.
    ///
    /// # Errors
    /// `InUse` when a manager has it open, `Schema` when it is no store, of a newer micado or of another key, `Failed` when it cannot be read.
    pub(in crate::store) async fn open(path: &Path, keys: Arc<KeyFile>) -> Result<Self, StoreError> {
        let path = path.to_owned();
        blocking(move || {
            let database = database(&path)?;
            let contents = database.as_ref().map_or(Ok(vec![]), |database| read(&path, database, &keys))?;
            Ok(Self { path, contents, _locked: database })
        })
        .await
    }
}

#[async_trait::async_trait]
impl Store for Source {
    async fn load(&self) -> Result<Contents, StoreError> {
        Ok(self.contents.clone())
    }

    async fn commit(&self, _changes: &[Change]) -> Result<(), StoreError> {
        Err(StoreError::Failed(format!("the store {} is only read", self.path.display())))
    }
}

/// The database; `None` in a file that redb has not laid out, nor does it now.
fn database(path: &Path) -> Result<Option<Database>, StoreError> {
    let file = lock(path, OpenOptions::new().read(true).write(true))?;
    if is_blank(&file).map_err(|error| explain(path, &error.into()))? {
        return Ok(None);
    }
    Database::builder().set_cache_size(CACHE_BYTES).create_file(file).map(Some).map_err(|error| explain(path, &error.into()))
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
