//! The broker trait: what the manager asks of any place that rents machines.

use micado_api::{CloudName, FlavourName, InstanceId, Location, Tag};
use std::{collections::BTreeMap, fmt};

/// One machine to rent. `name` is unique for ever, so that the machine can be found again when the
/// answer to the order is lost.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// `micado-<cluster id>-<instance>`.
    pub name: String,
    /// The cluster the machine is for, as it stands in `name`.
    pub cluster: micado_api::ClusterId,
    /// Which of our instances this is.
    pub instance: InstanceId,
    /// What a person calls it; also its host name.
    pub tag: Tag,
    /// Its role.
    pub location: Location,
    /// The application of `cloudsetup.xml` that it runs.
    pub application: String,
    /// Its size, by the flavour's name in `cloudsetup.xml`.
    pub flavour: FlavourName,
    /// Files that the machine finds under `/etc/micado` at boot, name to content: how it joins.
    /// Secret: never logged.
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

/// How far a machine is, as its broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// Ordered, not running yet.
    Pending,
    /// Running: paid for, and its software should be up soon.
    Running,
    /// It no longer runs (crashed, powered off, out of quota) but still has to be given back.
    Dead,
    /// Being given back.
    Stopping,
}

/// A machine of this cluster as a broker lists it. A machine that is given back is no longer
/// listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Our unique name.
    pub name: String,
    /// Which of our instances it is, read from the name.
    pub instance: InstanceId,
    /// The broker's own id for it.
    pub id: String,
    /// How far it is.
    pub state: MachineState,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// What the broker can tell of the order when the store has been lost, if anything.
    pub tag: Option<Tag>,
    /// See `tag`.
    pub location: Option<Location>,
    /// See `tag`.
    pub application: Option<String>,
    /// See `tag`.
    pub flavour: Option<FlavourName>,
    /// The broker's own words about its state, shown to people.
    pub detail: Option<String>,
}

/// Why a broker did not do what it was asked. The text is the broker's own, word for word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The broker said no: asking again as it stands is pointless (quota, unknown flavour, bad
    /// credentials). Try another flavour or cloud.
    #[error("{0}")]
    Refused(String),
    /// No answer, or one that says nothing of the effect: it may have been done. List before asking
    /// again.
    #[error("{0}")]
    Unknown(String),
}

/// A place to rent machines. Every call may be repeated: launching a name that exists gives the
/// machine that exists, terminating one that is gone succeeds.
#[async_trait::async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// The cloud's name in `cloudsetup.xml`.
    fn cloud(&self) -> &CloudName;

    /// All machines of this cluster (`micado-<cluster id>-*`), in any state but given back.
    ///
    /// # Errors
    /// When the list could not be had whole; a partial list is never returned.
    async fn list(&self, cluster: &micado_api::ClusterId) -> Result<Vec<Machine>, BrokerError>;

    /// Rents the machine of this name, or returns the one that is already rented under it. Returns
    /// when the broker has accepted the order.
    ///
    /// # Errors
    /// `Refused`: nothing was rented. `Unknown`: list before asking again.
    async fn launch(&self, order: &Order) -> Result<Machine, BrokerError>;

    /// Gives the machine back, whatever state it is in, and returns when it is no longer listed
    /// (nor paid for).
    ///
    /// # Errors
    /// When that is not sure; ask again.
    async fn terminate(&self, name: &str) -> Result<(), BrokerError>;
}
