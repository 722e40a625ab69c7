//! Where the cluster's records live: the trait, and what every store must keep.

pub mod codec;

use crate::model::{Container, Decision, Image, Instance, Service};
use micado_api::{ContainerName, InstanceId, ServiceName};

/// What identifies a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An instance.
    Instance(InstanceId),
    /// A service.
    Service(ServiceName),
    /// A container.
    Container(ContainerName),
    /// An image, by the name it is launched by.
    Image(String),
    /// A decision, by sequence.
    Decision(u64),
    /// A setting, by name.
    Setting(String),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An instance.
    Instance(Instance),
    /// A service.
    Service(Service),
    /// A container.
    Container(Container),
    /// An image.
    Image(Image),
    /// A decision.
    Decision(Decision),
    /// A setting: name and value.
    Setting(String, String),
}

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

impl Record {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Instance(it) => Key::Instance(it.id.clone()),
            Self::Service(it) => Key::Service(it.name.clone()),
            Self::Container(it) => Key::Container(it.name.clone()),
            Self::Image(it) => Key::Image(it.name.clone()),
            Self::Decision(it) => Key::Decision(it.sequence),
            Self::Setting(name, _) => Key::Setting(name.clone()),
        }
    }
}
