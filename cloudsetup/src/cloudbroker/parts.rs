//! The catalogue entries that an order refers to.

use super::{
    CloudBroker,
    catalogue::{Entry, Kind},
    failure::Failure,
    places::belongs,
};
use crate::{Application, Flavour};

/// A cloud's resource and region.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) resource: Entry,
    pub(super) region: Entry,
}

impl CloudBroker {
    pub(super) async fn site(&self) -> Result<Site, Failure> {
        let resource = self.resource().await?;
        let region = self.region(&resource).await?;
        Ok(Site { resource, region })
    }

    pub(super) async fn resource(&self) -> Result<Entry, Failure> {
        self.entry(Kind::Resource, &self.cloud.provider, "", |_| true)
            .await
    }

    pub(super) async fn region(&self, resource: &Entry) -> Result<Entry, Failure> {
        self.entry(
            Kind::Region,
            &self.cloud.region,
            &of("resource", resource),
            |entry| belongs(entry, resource),
        )
        .await
    }

    pub(super) async fn instance_type(
        &self,
        flavour: &Flavour,
        resource: &Entry,
    ) -> Result<Entry, Failure> {
        self.entry(
            Kind::InstanceType,
            &flavour.id,
            &of("resource", resource),
            |entry| belongs(entry, resource),
        )
        .await
    }

    pub(super) async fn software(&self, application: &Application) -> Result<Entry, Failure> {
        self.entry(Kind::Software, &application.software, "", |_| true)
            .await
    }

    pub(super) async fn executable(
        &self,
        application: &Application,
        software: &Entry,
    ) -> Result<Entry, Failure> {
        let fits = |entry: &Entry| entry.software.as_ref().is_none_or(|id| *id == software.id);
        self.entry(
            Kind::Executable,
            &application.executable,
            &of("software", software),
            fits,
        )
        .await
    }

    pub(super) async fn deployment(&self, software: &Entry, site: &Site) -> Result<Entry, Failure> {
        let account = &self.account;
        account
            .catalogue
            .deployment(&account.link, software, &site.resource, &site.region)
            .await
    }

    /// The data type of a job's input files.
    pub(super) async fn input_type(&self) -> Result<Entry, Failure> {
        self.entry(Kind::DataType, "input", "", |_| true).await
    }

    async fn entry(
        &self,
        kind: Kind,
        name: &str,
        of: &str,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, Failure> {
        self.account
            .catalogue
            .find(&self.account.link, kind, name, of, fits)
            .await
    }
}

fn of(word: &str, whole: &Entry) -> String {
    format!(" of {word} `{}`", whole.name)
}
