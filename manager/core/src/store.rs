//! Storage of the cluster's records: the trait, and the guarantees of every store.

mod record;

pub use record::{Id, KINDS, Key, Kind, Record};

/// Version of a record: 0 if it does not exist, and one more with every write.
pub type Version = u64;

/// One write. It takes effect only if the record's version is still the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    /// Version that the record must have; 0 if it must not exist.
    pub expected: Version,
    /// New content; `None` deletes the record.
    pub record: Option<Record>,
}

/// Failure of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record was not at the expected version; nothing was written. Load again, then decide anew.
    #[error("record {0:?} was changed by someone else")]
    Conflict(Key),
    /// Another manager has the store open.
    #[error("{0}")]
    InUse(String),
    /// Written by a newer micado, or not a store.
    #[error("{0}")]
    Schema(String),
    /// The store failed; the outcome of the operation is unknown.
    #[error("{0}")]
    Failed(String),
}

/// All records of a store, each with its version.
pub type Contents = Vec<(Record, Version)>;

/// Durable storage of records.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Returns all records.
    ///
    /// # Errors
    /// If the store cannot be read completely.
    async fn load(&self) -> Result<Contents, StoreError>;

    /// Writes all changes or none, durably before it returns.
    ///
    /// # Errors
    /// `Conflict` if an expected version does not hold; nothing was written then.
    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Resolves with the reason once exclusive ownership is lost. Stop acting until [`Store::load`]
    /// succeeds.
    async fn lost(&self) -> StoreError {
        std::future::pending().await
    }

    /// Releases the store for the next manager. Optional: after a crash the next one merely waits.
    async fn close(&self) {}
}

/// Removes the records of one kind from the contents and returns them.
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
