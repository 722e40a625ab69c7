//! CloudBroker: machines rented through its XML API, as jobs or as instances.

mod account;
mod catalogue;
mod check;
mod cloud_init;
mod credentials;
mod description;
mod facts;
mod failure;
mod http;
mod inputs;
mod instances;
mod jobs;
mod link;
mod listing;
mod pace;
mod pages;
mod parts;
mod places;
mod poll;
mod records;
#[cfg(test)]
mod script;
mod wire;

use crate::{Broker, BrokerError, Cloud, CloudSetup, Machine, Order, Rent, dom};
use account::Account;
use failure::Failure;
use micado_api::{CloudName, ClusterId};
use places::{Owner, Places};
use poll::Progress;
use records::{Job, all, liveliest};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// Time-out of a termination, which is then to be repeated: callers give a broker call a minute.
const TERMINATION: Duration = Duration::from_secs(50);

/// One cloud of `cloudsetup.xml` that is rented through CloudBroker. Clouds of one account
/// (endpoint and credentials) share its connection, rate limit, catalogue and lists.
pub struct CloudBroker {
    cloud: Cloud,
    account: Arc<Account>,
}

impl fmt::Debug for CloudBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudBroker")
            .field("cloud", &self.cloud.name)
            .finish_non_exhaustive()
    }
}

/// One result of `cloud check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The cloud that was checked.
    pub cloud: CloudName,
    /// The thing checked, such as ``flavour `small` (instance type `CloudSigma Small`)``.
    pub what: String,
    /// Fault and correction; `None` if all is well.
    pub problem: Option<String>,
}

/// The machines of this cluster on a page of the broker's job list (`GET /jobs.xml`).
///
/// # Errors
/// If it is another document.
pub fn machines_on_page(page: &str, cluster: &ClusterId) -> Result<Vec<Machine>, BrokerError> {
    let root = dom::parse(page).map_err(|error| {
        BrokerError::Unknown(format!("line {}: {}", error.place.line, error.cause))
    })?;
    Ok(all::<Job>(&root)?
        .iter()
        .filter_map(|job| job.machine(cluster))
        .collect())
}

impl CloudBroker {
    /// All clouds of the set-up that are rented through CloudBroker. Connects to nothing yet.
    ///
    /// # Errors
    /// If an account is unusable as given: no credentials, a file that others may read, an endpoint
    /// without https. The error names the cloud.
    pub fn all(setup: &CloudSetup) -> Result<Vec<Self>, BrokerError> {
        Ok(Account::all(setup)?
            .into_iter()
            .map(|(cloud, account)| Self { cloud, account })
            .collect())
    }

    /// Checks the live service for everything that the set-up names: credentials, software,
    /// executable, region, flavours.
    pub async fn check(&self) -> Vec<Finding> {
        check::check(self).await
    }

    fn address(&self) -> &str {
        self.cloud
            .endpoint
            .as_deref()
            .unwrap_or(account::DEFAULT_ENDPOINT)
    }

    /// Owner of a machine that does not name it.
    async fn owner(
        &self,
        places: &mut Option<Places>,
        find: impl FnOnce(&Places) -> Option<Owner>,
    ) -> Result<Option<Owner>, Failure> {
        if places.is_none() {
            *places = Some(Places::of(&self.account).await?);
        }
        Ok(places.as_ref().and_then(find))
    }

    /// The cluster's machines in this cloud.
    async fn machines(&self, cluster: &ClusterId) -> Result<Vec<Machine>, Failure> {
        self.stop_strays().await;
        let (account, mut places) = (&self.account, None);
        let listed = account.listing.get(&account.link).await?;
        account.facts.keep(&listed.jobs);
        let mut machines = Vec::new();
        for (job, machine) in listed
            .jobs
            .iter()
            .filter_map(|job| Some((job, job.machine(cluster)?)))
        {
            // A description with an unknown cloud counts as none: the cloud may have been renamed.
            let known = account
                .clouds
                .iter()
                .any(|cloud| job.says_cloud(&cloud.name) == Some(true));
            if known {
                machines
                    .extend((job.says_cloud(&self.cloud.name) == Some(true)).then_some(machine));
            } else {
                let owner = self.owner(&mut places, |places| places.of_job(job)).await?;
                machines.extend(self.mine(machine, owner));
            }
        }
        account.facts.complete(&account.link, &mut machines).await;
        // A job's instance may have the job's name; both are one machine.
        let named: BTreeSet<_> = listed.jobs.iter().map(|job| &job.name).collect();
        let alone = listed
            .instances
            .iter()
            .filter(|instance| !named.contains(&instance.name));
        for (instance, machine) in
            alone.filter_map(|instance| Some((instance, instance.machine(cluster)?)))
        {
            let owner = self
                .owner(&mut places, |places| places.of_instance(instance))
                .await?;
            machines.extend(self.mine(machine, owner));
        }
        let mut by_name: BTreeMap<String, Vec<Machine>> = BTreeMap::new();
        machines.into_iter().for_each(|machine| {
            by_name
                .entry(machine.name.clone())
                .or_default()
                .push(machine)
        });
        Ok(by_name
            .into_values()
            .filter_map(|same| liveliest(same, |machine| machine.state))
            .collect())
    }

    /// The machine with its owner's data, if the owner is this cloud.
    fn mine(&self, machine: Machine, owner: Option<Owner>) -> Option<Machine> {
        let owner = owner?;
        let (flavour, application) = (
            machine.flavour.clone().or(owner.flavour),
            machine.application.clone().or(owner.application),
        );
        (owner.cloud == self.cloud.name).then_some(Machine {
            flavour,
            application,
            ..machine
        })
    }

    async fn order(&self, order: &Order) -> Result<Machine, Failure> {
        let unknown = |error: crate::LookupError| Failure::no(error.to_string());
        let application = self
            .account
            .applications
            .iter()
            .find(|application| application.name == order.application);
        let application = application.ok_or_else(|| {
            Failure::no(format!(
                "there is no application `{}` in cloudsetup.xml",
                order.application
            ))
        })?;
        let flavour = self
            .cloud
            .flavour(order.flavour.as_str())
            .map_err(unknown)?;
        match application.rent {
            Rent::Jobs => self.launch_job(order, application, flavour).await,
            Rent::Instances => self.launch_instance(order, application, flavour).await,
        }
    }

    async fn end(&self, name: &str, progress: &Progress) -> Result<(), Failure> {
        progress.note(format!("`{name}` is not found out yet"));
        let listed = self.account.listing.get(&self.account.link).await?;
        for job in listed.jobs.iter().filter(|job| job.name == name) {
            self.end_job(job, progress).await?;
        }
        for instance in listed
            .instances
            .iter()
            .filter(|instance| instance.name == name)
        {
            self.end_instance(instance, progress).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Broker for CloudBroker {
    fn cloud(&self) -> &CloudName {
        &self.cloud.name
    }

    async fn list(&self, cluster: &ClusterId) -> Result<Vec<Machine>, BrokerError> {
        Ok(self.machines(cluster).await?)
    }

    async fn launch(&self, order: &Order) -> Result<Machine, BrokerError> {
        let launched = self.order(order).await;
        if matches!(launched, Err(Failure::No(..))) {
            self.account.catalogue.forget().await;
        }
        Ok(launched?)
    }

    async fn terminate(&self, name: &str) -> Result<(), BrokerError> {
        let progress = Progress::default();
        let late = |_| {
            Err(Failure::Lost(format!(
                "{} after {} s: it is asked again",
                progress.text(),
                TERMINATION.as_secs()
            )))
        };
        Ok(tokio::time::timeout(TERMINATION, self.end(name, &progress))
            .await
            .unwrap_or_else(late)?)
    }
}

#[cfg(test)]
mod tests;
