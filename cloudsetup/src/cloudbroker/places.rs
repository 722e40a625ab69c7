//! Positions of clouds in the broker's catalogue, to find the owner of a machine that does not name
//! it.

use super::{
    account::Account,
    catalogue::{Entry, Kind},
    failure::Failure,
    records::{Instance, Job},
};
use crate::{Cloud, Rent};
use micado_api::{CloudName, FlavourName};
use std::collections::BTreeSet;

/// A cloud by the ids of everything with its parts' names, active or not: machines may have been
/// rented before that changed.
#[derive(Debug)]
struct Place {
    cloud: CloudName,
    resources: BTreeSet<String>,
    regions: BTreeSet<String>,
    /// Flavours, by their instance types.
    sizes: Vec<(String, FlavourName)>,
}

/// Positions of all clouds of an account, as far as the catalogue has them, and its deployments.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Place>,
    /// Deployments, each with the application that is rented as its instances.
    deployments: Vec<(Entry, Option<String>)>,
}

/// Owner and properties of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) cloud: CloudName,
    pub(super) flavour: Option<FlavourName>,
    pub(super) application: Option<String>,
}

impl Places {
    /// # Errors
    /// If the broker does not answer.
    pub(super) async fn of(account: &Account) -> Result<Self, Failure> {
        let entries = async |kind| account.catalogue.entries(&account.link, kind).await;
        let (resources, regions, types) = (
            entries(Kind::Resource).await?,
            entries(Kind::Region).await?,
            entries(Kind::InstanceType).await?,
        );
        let places = account
            .clouds
            .iter()
            .map(|cloud| place(cloud, &resources, &regions, &types))
            .collect();
        let rented: Vec<_> = account
            .applications
            .iter()
            .filter(|application| application.rent == Rent::Instances)
            .collect();
        let mut deployments = Vec::new();
        if !rented.is_empty() {
            let softwares = entries(Kind::Software).await?;
            let software = |id: Option<&str>| {
                softwares
                    .iter()
                    .find(|software| Some(software.id.as_str()) == id)
                    .map(|software| software.name.as_str())
            };
            for deployment in entries(Kind::Deployment).await?.iter() {
                let name = software(deployment.software.as_deref());
                let application = rented
                    .iter()
                    .find(|application| Some(application.software.as_str()) == name);
                deployments.push((
                    deployment.clone(),
                    application.map(|application| application.name.clone()),
                ));
            }
        }
        Ok(Self {
            places,
            deployments,
        })
    }

    /// The first cloud with this job's region, and if possible its instance type. The account's
    /// first cloud if none has it, so that no machine goes unseen.
    pub(super) fn of_job(&self, job: &Job) -> Option<Owner> {
        self.owner(
            job.resource.as_deref(),
            job.region.as_deref(),
            job.instance_type.as_deref(),
        )
    }

    /// The same for an instance, by its deployment.
    pub(super) fn of_instance(&self, instance: &Instance) -> Option<Owner> {
        let deployment = self
            .deployments
            .iter()
            .find(|(entry, _)| Some(&entry.id) == instance.deployment.as_ref());
        let (resource, region) = deployment.map_or((None, None), |(entry, _)| {
            (entry.resource.as_deref(), entry.region.as_deref())
        });
        let application = deployment.and_then(|(_, application)| application.clone());
        Some(Owner {
            application,
            ..self.owner(resource, region, instance.instance_type.as_deref())?
        })
    }

    fn owner(
        &self,
        resource: Option<&str>,
        region: Option<&str>,
        instance_type: Option<&str>,
    ) -> Option<Owner> {
        let has = |ids: &BTreeSet<String>, id: Option<&str>| id.is_some_and(|id| ids.contains(id));
        let here = || {
            self.places.iter().filter(|place| {
                has(&place.regions, region)
                    && (resource.is_none() || has(&place.resources, resource))
            })
        };
        let size = |place: &Place| {
            place
                .sizes
                .iter()
                .find(|(id, _)| Some(id.as_str()) == instance_type)
                .map(|(_, flavour)| flavour.clone())
        };
        let place = here()
            .find(|place| size(place).is_some())
            .or_else(|| here().next())
            .or_else(|| self.places.first())?;
        Some(Owner {
            cloud: place.cloud.clone(),
            flavour: size(place),
            application: None,
        })
    }
}

fn place(cloud: &Cloud, resources: &[Entry], regions: &[Entry], types: &[Entry]) -> Place {
    let resources: Vec<_> = resources
        .iter()
        .filter(|entry| entry.name == cloud.provider)
        .collect();
    let ours = |entry: &&Entry| resources.iter().any(|resource| belongs(entry, resource));
    let sizes = cloud.flavours.iter().flat_map(|flavour| {
        let types = types
            .iter()
            .filter(ours)
            .filter(|entry| entry.name == flavour.id);
        types.map(|entry| (entry.id.clone(), flavour.name.clone()))
    });
    Place {
        cloud: cloud.name.clone(),
        regions: regions
            .iter()
            .filter(ours)
            .filter(|entry| entry.name == cloud.region)
            .map(|entry| entry.id.clone())
            .collect(),
        sizes: sizes.collect(),
        resources: resources.iter().map(|entry| entry.id.clone()).collect(),
    }
}

/// True if an entry belongs to this resource, or names none.
pub(super) fn belongs(entry: &Entry, resource: &Entry) -> bool {
    entry.resource.as_ref().is_none_or(|id| *id == resource.id)
}
