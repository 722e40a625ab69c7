//! The broker trait: the manager's requests to any place that rents machines.

use micado_api::{CloudName, FlavourName, InstanceId, Location, Tag};
use std::{collections::BTreeMap, fmt};

/// One machine to rent. `name` is unique for ever, so the machine can be found again when the reply
/// to the order is lost.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// `micado-<cluster id>-<instance>`.
    pub name: String,
    /// The cluster of the machine, as in `name`.
    pub cluster: micado_api::ClusterId,
    /// The instance that the machine becomes.
    pub instance: InstanceId,
    /// The name that people use; also the host name.
    pub tag: Tag,
    /// Its role.
    pub location: Location,
    /// The application of `cloudsetup.xml` to run.
    pub application: String,
    /// Its size, by the flavour's name in `cloudsetup.xml`.
    pub flavour: FlavourName,
    /// Files under `/etc/micado` at boot, name to content, needed to join. Secret: never logged.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.keys().collect();
        f.debug_struct("Order")
            .field("name", &self.name)
            .field("flavour", &self.flavour)
            .field("files", &files)
            .finish_non_exhaustive()
    }
}

/// State of a machine as its broker reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// Ordered, not running yet.
    Pending,
    /// Running: paid for; its software should be up soon.
    Running,
    /// No longer running (crashed, powered off, out of quota), but not returned yet.
    Dead,
    /// Being returned.
    Stopping,
}

/// A machine of this cluster as a broker lists it. Returned machines are no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Our unique name.
    pub name: String,
    /// The instance, read from the name.
    pub instance: InstanceId,
    /// The broker's own id for it.
    pub id: String,
    /// Its state.
    pub state: MachineState,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Known part of the order, for a cluster with a lost store; `None` if the broker stores
    /// nothing.
    pub tag: Option<Tag>,
    /// See `tag`.
    pub location: Option<Location>,
    /// See `tag`.
    pub application: Option<String>,
    /// See `tag`.
    pub flavour: Option<FlavourName>,
    /// The broker's message about the state, shown to people.
    pub detail: Option<String>,
}

/// A failed request to a broker. The text is the broker's own, word for word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The broker refused: repeating the request unchanged is pointless (quota, unknown flavour,
    /// bad credentials). Try another flavour or cloud.
    #[error("{0}")]
    Refused(String),
    /// No answer, or an answer that leaves the effect open: the request may have been executed.
    /// List before asking again.
    #[error("{0}")]
    Unknown(String),
}

/// A place to rent machines. Every call may be repeated: launching an existing name returns the
/// existing machine; terminating a machine that is gone succeeds.
#[async_trait::async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// The cloud's name in `cloudsetup.xml`.
    fn cloud(&self) -> &CloudName;

    /// All machines of this cluster (`micado-<cluster id>-*`), in any state except returned.
    ///
    /// # Errors
    /// If the list is incomplete: a partial list is never returned.
    async fn list(&self, cluster: &micado_api::ClusterId) -> Result<Vec<Machine>, BrokerError>;

    /// Rents the machine of this name, or returns the one already rented under it. Resolves once
    /// the broker has accepted the order.
    ///
    /// # Errors
    /// `Refused`: nothing was rented. `Unknown`: list before asking again.
    async fn launch(&self, order: &Order) -> Result<Machine, BrokerError>;

    /// Returns the machine, whatever its state. Resolves once it is no longer listed (nor paid
    /// for).
    ///
    /// # Errors
    /// If that is not certain; ask again.
    async fn terminate(&self, name: &str) -> Result<(), BrokerError>;
}
