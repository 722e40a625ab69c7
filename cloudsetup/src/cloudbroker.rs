//! CloudBroker: machines rented through its XML API, as jobs or as instances.

use crate::{Broker, BrokerError, CloudSetup, Machine, Order};
use micado_api::{CloudName, ClusterId};

/// One cloud of `cloudsetup.xml` that is rented through CloudBroker. Clouds of one account (endpoint and credentials) share its connection, rate limit, catalogue and lists.
#[derive(Debug)]
pub struct CloudBroker {
    cloud: CloudName,
}

/// One thing that `cloud check` looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which cloud it is about.
    pub cloud: CloudName,
    /// What was looked for, such as ``flavour `small` (instance type `CloudSigma Small`)``.
    pub what: String,
    /// What is wrong with it and what to do; nothing when all is well.
    pub problem: Option<String>,
}

impl CloudBroker {
    /// All clouds of the set-up that are rented through CloudBroker. Contacts nothing yet.
    ///
    /// # Errors
    /// When an account cannot be used as it is given: no credentials, a file that others may read, an endpoint without https. Names the cloud.
    pub fn all(setup: &CloudSetup) -> Result<Vec<Self>, BrokerError> {
        let _ = setup;
        Ok(Vec::new())
    }

    /// Looks at the live service for everything that the set-up names: credentials, software, executable, region, flavours.
    pub async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl Broker for CloudBroker {
    fn cloud(&self) -> &CloudName {
        &self.cloud
    }
    async fn list(&self, _cluster: &ClusterId) -> Result<Vec<Machine>, BrokerError> {
        Err(BrokerError::Unknown("not built yet".to_owned()))
    }
    async fn launch(&self, _order: &Order) -> Result<Machine, BrokerError> {
        Err(BrokerError::Unknown("not built yet".to_owned()))
    }
    async fn terminate(&self, _name: &str) -> Result<(), BrokerError> {
        Err(BrokerError::Unknown("not built yet".to_owned()))
    }
}
