//! Checks the live service for everything that `cloudsetup.xml` names of a cloud.

use super::{
    CloudBroker, Finding,
    catalogue::Kind,
    failure::{Failure, No},
    parts::Site,
};
use crate::{Application, Rent};
use futures_util::future::join_all;

/// Results so far.
struct Findings<'a> {
    broker: &'a CloudBroker,
    all: Vec<Finding>,
}

impl Findings<'_> {
    /// Records the result of one check, and returns what it found.
    fn note<T>(&mut self, what: String, looked: Result<T, Failure>) -> Option<T> {
        let (found, problem) = match looked {
            Ok(found) => (Some(found), None),
            Err(failure) => (None, Some(failure.words().to_owned())),
        };
        self.all.push(Finding {
            cloud: self.broker.cloud.name.clone(),
            what,
            problem,
        });
        found
    }
}

/// Result of a check that depends on another one.
fn waits_for(what: &str) -> Failure {
    Failure::no(format!(
        "not looked for, because the {what} was not found: correct that first"
    ))
}

pub(super) async fn check(broker: &CloudBroker) -> Vec<Finding> {
    let account = &broker.account;
    account.catalogue.forget().await;
    let reached = match account
        .catalogue
        .entries(&account.link, Kind::Software)
        .await
    {
        // A refusal of this list says nothing about the others.
        Err(failure) if failure.is(No::Other) => Ok(()),
        other => other.map(drop),
    };
    let mut findings = Findings {
        broker,
        all: Vec::new(),
    };
    if findings
        .note(
            format!("endpoint and credentials ({})", broker.address()),
            reached,
        )
        .is_none()
    {
        return findings.all;
    }
    // Concurrently, so that a broker that ignores some of them costs one time-out.
    join_all(Kind::ALL.map(|kind| account.catalogue.entries(&account.link, kind))).await;
    let site = places(&mut findings, broker).await;
    for application in &account.applications {
        programs(&mut findings, broker, application, site.as_ref()).await;
    }
    if account
        .applications
        .iter()
        .any(|application| application.rent == Rent::Jobs)
    {
        findings.note("data type `input`".to_owned(), broker.input_type().await);
    }
    findings.all
}

/// Resource, region, and each flavour's instance type.
async fn places(findings: &mut Findings<'_>, broker: &CloudBroker) -> Option<Site> {
    let cloud = &broker.cloud;
    let resource = findings.note(
        format!("resource `{}`", cloud.provider),
        broker.resource().await,
    );
    let region = match &resource {
        Some(resource) => broker.region(resource).await,
        None => Err(waits_for("resource")),
    };
    let region = findings.note(format!("region `{}`", cloud.region), region);
    for flavour in &cloud.flavours {
        let instance_type = match &resource {
            Some(resource) => broker.instance_type(flavour, resource).await,
            None => Err(waits_for("resource")),
        };
        findings.note(
            format!(
                "flavour `{}` (instance type `{}`)",
                flavour.name, flavour.id
            ),
            instance_type,
        );
    }
    Some(Site {
        resource: resource?,
        region: region?,
    })
}

/// An application's software and executable, and for instances its deployment.
async fn programs(
    findings: &mut Findings<'_>,
    broker: &CloudBroker,
    application: &Application,
    site: Option<&Site>,
) {
    let name = &application.name;
    let software = findings.note(
        format!("application `{name}` (software `{}`)", application.software),
        broker.software(application).await,
    );
    match application.rent {
        Rent::Jobs => {
            let executable = match &software {
                Some(software) => broker.executable(application, software).await,
                None => Err(waits_for("software")),
            };
            findings.note(
                format!(
                    "application `{name}` (executable `{}`)",
                    application.executable
                ),
                executable,
            );
        }
        Rent::Instances => {
            let deployment = match (&software, site) {
                (Some(software), Some(site)) => broker.deployment(software, site).await,
                (None, _) => Err(waits_for("software")),
                (_, None) => Err(waits_for("region")),
            };
            findings.note(
                format!(
                    "application `{name}` (deployment in region `{}`)",
                    broker.cloud.region
                ),
                deployment,
            );
        }
    }
}

#[cfg(test)]
mod tests;
