//! Reads of the core for monitoring: small ones, and lists in parts, so that decisions wait for one
//! part only.

use super::Core;
use micado_api::{
    CloudName, ClusterId, ContainerName, ContainerView, InstanceId, InstanceView, LocationView,
    PricePerHour, ServiceName,
};
use std::{collections::BTreeMap, ops::Bound};

/// The cluster without its machines and containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    pub cluster: ClusterId,
    /// True while the engine answers.
    pub sees_engine: bool,
    /// Each cloud, with true if it answered its last call.
    pub clouds: BTreeMap<CloudName, bool>,
    /// Upper bound for instances.
    pub max_instances: Option<u32>,
    /// Upper bound for the price per hour.
    pub max_price: Option<PricePerHour>,
    pub locations: Vec<LocationView>,
    pub foreign_nodes: u32,
}

/// A container, with the parts of its service's spec that monitoring names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitoredContainer {
    pub view: ContainerView,
    pub client: String,
    pub domain: Option<String>,
}

impl MonitoredContainer {
    /// Returns true if it counts as wanted: it runs or is to run.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        use micado_api::ContainerState::{Completed, Removed, Stopped, Stopping};
        !matches!(self.view.state, Completed | Removed | Stopped | Stopping)
    }
}

/// Scaling of a service with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaledState {
    pub service: ServiceName,
    /// Bounds of its policy.
    pub min: u32,
    pub max: u32,
    pub is_pinned: bool,
    /// Word for the cause of the last verdict; `None` before the first check.
    pub cause: Option<String>,
    /// Word for the stage that held it, if one did.
    pub held: Option<String>,
}

impl Core {
    /// The cluster without its machines and containers.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let answers = |(cloud, record): (&CloudName, &super::clouds::CloudRecord)| {
            let answers = record.listed.is_some() && record.error.is_none();
            (cloud.clone(), answers)
        };
        let nodes = self.observed.iter().flat_map(|observed| observed.nodes());
        let foreign = nodes.filter(|node| self.is_foreign(node)).count();
        Overview {
            cluster: self.config.cluster.clone(),
            sees_engine: self.sees(),
            clouds: self.clouds.iter().map(answers).collect(),
            max_instances: self.config.max_instances,
            max_price: self.config.max_price,
            locations: self.locations_view(),
            foreign_nodes: u32::try_from(foreign).unwrap_or(u32::MAX),
        }
    }

    /// At most `most` live instances, by id, from after this one on.
    #[must_use]
    pub fn instances_after(&self, id: Option<&InstanceId>, most: usize) -> Vec<InstanceView> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        let live = self.ledger.index.live();
        let live = live.range::<InstanceId, _>((from, Bound::Unbounded));
        let live = live.filter_map(|id| self.ledger.instance(id));
        let views = live.map(|instance| self.instance_view(instance));
        views.take(most).collect()
    }

    /// At most `most` containers by name, stopped and completed ones too, from after this one on.
    #[must_use]
    pub fn monitored_after(
        &self,
        name: Option<&ContainerName>,
        most: usize,
    ) -> Vec<MonitoredContainer> {
        let there = self.ledger.containers().after(name);
        let there = there.filter(|container| container.removed_at.is_none());
        let monitored = there.filter_map(|container| {
            let spec = &self.ledger.service_of(container).spec;
            Some(MonitoredContainer {
                view: self.container_view(&container.name)?,
                client: spec.client.clone(),
                domain: spec.domain.clone(),
            })
        });
        monitored.take(most).collect()
    }

    /// Scaling of at most `most` services with a policy by name, from after this one on.
    #[must_use]
    pub fn scaled_after(&self, name: Option<&ServiceName>, most: usize) -> Vec<ScaledState> {
        let policies = self.ledger.policies.after(name);
        let scaled = policies.map(|policy| {
            let verdict = self.scaling.views(&policy.service).0;
            let word = |pointer: &str| {
                let detail = verdict.as_ref()?.detail.pointer(pointer)?;
                detail.as_str().map(str::to_owned)
            };
            ScaledState {
                service: policy.service.clone(),
                min: policy.policies.min,
                max: policy.policies.max,
                is_pinned: policy.is_pinned,
                cause: word("/cause"),
                held: word("/held/stage"),
            }
        });
        scaled.take(most).collect()
    }
}
