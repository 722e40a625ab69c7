//! Where the cluster's records live: the trait, and what every store must keep.

mod record;

pub use record::{Id, KINDS, Key, Kind, Record};

/// The version of a record: 0 when there is none, and one more with every write.
pub type Version = u64;

/// One write: the record becomes this (or goes), if its version is still the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which record.
    pub key: Key,
    /// The version it must have; 0 when it must not exist.
    pub expected: Version,
    /// What it becomes; `None` deletes it.
    pub record: Option<Record>,
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record was not at the expected version; nothing was written. Load again and decide anew.
    #[error("record {0:?} was changed by someone else")]
    Conflict(Key),
    /// Another manager has the store open.
    #[error("{0}")]
    InUse(String),
    /// It was written by a newer micado, or is not a store.
    #[error("{0}")]
    Schema(String),
    /// The store failed; what was asked may or may not have been done.
    #[error("{0}")]
    Failed(String),
}

/// Everything a store holds, each record with its version.
pub type Contents = Vec<(Record, Version)>;

/// A durable home for records.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Everything there is.
    ///
    /// # Errors
    /// When the store cannot be read whole.
    async fn load(&self) -> Result<Contents, StoreError>;

    /// Writes all changes or none, durably before it returns.
    ///
    /// # Errors
    /// `Conflict` when an expected version does not hold; nothing was written then.
    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Comes back when it is no more sure that this manager alone has the store, with the reason:
    /// nothing may be done then before [`Store::load`] says that it is.
    async fn lost(&self) -> StoreError {
        std::future::pending().await
    }

    /// Leaves the store to whoever opens it next. Not being called, as in a crash, costs no more
    /// than a wait.
    async fn close(&self) {}
}

/// Takes the records of one kind out of the contents.
pub fn take<K: Kind>(contents: &mut Contents) -> Vec<(K, Version)> {
    let mut taken = Vec::new();
    for (record, version) in std::mem::take(contents) {
        match K::from_record(record) {
            Ok(record) => taken.push((record, version)),
            Err(other) => contents.push((other, version)),
        }
    }
    taken
}
