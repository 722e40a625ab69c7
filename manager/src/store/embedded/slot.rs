//! The open database. redb refuses everything after an I/O error, so the database is closed then
//! and opened again for the next use.

use super::{StoreError, explain};
use redb::{Database, TableDefinition};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};
use tokio::sync::watch;

/// Opens the database in the file.
type Open = Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>;

/// Content of a trial write. As large as a commit needs, so that a disk with a few free blocks does
/// not count as writable.
static TRIAL: [u8; 256 << 10] = [1; 256 << 10];
const TRIALS: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("trials");

/// A database that survives its own I/O errors.
pub(super) struct Slot {
    path: PathBuf,
    open: Open,
    database: RwLock<Option<Database>>,
    /// The last I/O error, until a trial write has succeeded.
    failure: watch::Sender<Option<StoreError>>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("path", &self.path).finish()
    }
}

impl Slot {
    pub(super) fn new(
        path: PathBuf,
        database: Database,
        open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            path,
            open: Box::new(open),
            database: RwLock::new(Some(database)),
            failure: watch::Sender::new(None),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Works on the database, opened again if need be.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let done = loop {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = &*database {
                break work(database);
            }
            drop(database);
            self.reopen()?;
        };
        done.map_err(|error| {
            let failure = explain(&self.path, &error);
            if is_latched(&error) {
                self.close(&failure);
            }
            failure
        })
    }

    /// Resolves with the reason once an I/O error has closed the database.
    pub(super) async fn failure(&self) -> StoreError {
        let mut failures = self.failure.subscribe();
        let failure = failures.wait_for(Option::is_some).await;
        let failure = failure.ok().and_then(|failure| (*failure).clone());
        match failure {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// After an I/O error: succeeds once the file takes writes again. Reading alone shows nothing,
    /// since a full disk can be read.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        if self.failure.borrow().is_none() {
            return Ok(());
        }
        self.with(|database| {
            let transaction = database.begin_write()?;
            transaction
                .open_table(TRIALS)?
                .insert("", TRIAL.as_slice())?;
            transaction.commit()?;
            let transaction = database.begin_write()?;
            transaction.delete_table(TRIALS)?;
            Ok(transaction.commit()?)
        })?;
        self.failure.send_replace(None);
        Ok(())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.open)()?);
        }
        Ok(())
    }

    fn close(&self, failure: &StoreError) {
        tracing::error!(error = %failure, "the store is closed, and opened again when it is used");
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.failure.send_replace(Some(failure.clone()));
    }
}

/// Errors after which redb refuses everything until it is opened again.
fn is_latched(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}
