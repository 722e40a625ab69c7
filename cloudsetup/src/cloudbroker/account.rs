//! One account at a broker, possibly shared by several clouds of `cloudsetup.xml`: its connection,
//! its catalogue, its lists.

use super::{
    catalogue::Catalogue, credentials::CredentialsFile, facts::Facts, http::Http, link::Link,
    listing::Listing,
};
use crate::{Application, BrokerError, BrokerKind, Cloud, CloudSetup};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// The public service.
pub(super) const DEFAULT_ENDPOINT: &str = "https://platform.cloudbroker.com";

/// Shared state of the clouds with one endpoint and one credentials file.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) link: Link,
    pub(super) catalogue: Catalogue,
    pub(super) listing: Listing,
    pub(super) facts: Facts,
    /// Its clouds, in the file's order.
    pub(super) clouds: Vec<Cloud>,
    pub(super) applications: Vec<Application>,
    /// Ids of instances that do not have the name they were given and could not be stopped yet.
    pub(super) strays: Mutex<BTreeSet<String>>,
}

impl Account {
    /// Each cloud that is rented through CloudBroker, with its account.
    ///
    /// # Errors
    /// See [`super::CloudBroker::all`].
    pub(super) fn all(setup: &CloudSetup) -> Result<Vec<(Cloud, Arc<Self>)>, BrokerError> {
        let mut accounts: Vec<(String, CredentialsFile, Vec<Cloud>)> = Vec::new();
        for cloud in setup
            .clouds
            .iter()
            .filter(|cloud| cloud.broker == BrokerKind::CloudBroker)
        {
            let endpoint = cloud
                .endpoint
                .as_deref()
                .unwrap_or(DEFAULT_ENDPOINT)
                .trim_end_matches('/')
                .to_owned();
            let file = credentials(cloud).map_err(|cause| refused(cloud, &cause))?;
            match accounts
                .iter_mut()
                .find(|(other, others, _)| (other, others) == (&endpoint, &file))
            {
                Some((_, _, clouds)) => clouds.push(cloud.clone()),
                None => accounts.push((endpoint, file, vec![cloud.clone()])),
            }
        }
        let mut all = Vec::new();
        for (endpoint, file, clouds) in accounts {
            let authorities: BTreeSet<_> = clouds
                .iter()
                .filter_map(|cloud| cloud.authority.clone())
                .collect();
            let http = Http::new(&endpoint, &authorities.into_iter().collect::<Vec<_>>())
                .map_err(|cause| refused(&clouds[0], &cause))?;
            // The most careful setting among its clouds.
            let calls = clouds
                .iter()
                .map(|cloud| cloud.wire.calls_per_second)
                .min()
                .unwrap_or(1);
            let limit = clouds
                .iter()
                .map(|cloud| cloud.wire.call_timeout)
                .max()
                .unwrap_or_default();
            let account = Arc::new(Self::new(
                Link::new(Box::new(http), file, calls, limit),
                clouds.clone(),
                setup.applications.clone(),
            ));
            all.extend(clouds.into_iter().map(|cloud| (cloud, account.clone())));
        }
        Ok(all)
    }

    pub(super) fn new(link: Link, clouds: Vec<Cloud>, applications: Vec<Application>) -> Self {
        let listing = Listing::new(&applications);
        Self {
            link,
            catalogue: Catalogue::default(),
            listing,
            facts: Facts::default(),
            clouds,
            applications,
            strays: Mutex::default(),
        }
    }
}

/// The cloud's credentials file, readable at present.
fn credentials(cloud: &Cloud) -> Result<CredentialsFile, String> {
    let none = "it has no `credentials`: add <credentials>FILE</credentials>, a file with the account's user in its first line and the password in its second";
    let path = cloud.credentials.as_ref().ok_or(none)?;
    let file = CredentialsFile(path.canonicalize().unwrap_or_else(|_| path.clone()));
    file.read().map(|_| file)
}

fn refused(cloud: &Cloud, cause: &str) -> BrokerError {
    BrokerError::Refused(format!("cloud `{}`: {cause}", cloud.name))
}
