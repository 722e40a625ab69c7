//! Adds current use to views.

use super::{Inner, Metrics};
use crate::clock;
use micado_api::{
    ContainerUsage, ContainerView, InstanceState, InstanceView, ServiceView, Tag, Timestamp,
};

impl Metrics {
    /// Adds the use of each machine.
    pub fn measure_instances(&self, views: &mut [InstanceView]) {
        let (inner, now) = (self.inner(), clock::now());
        views
            .iter_mut()
            .for_each(|it| it.usage = inner.meter.machine(now, &it.id));
    }

    /// Adds the use of each container.
    pub fn measure_containers(&self, views: &mut [ContainerView]) {
        let (facts, inner, now) = (self.facts.read(), self.inner(), clock::now());
        views
            .iter_mut()
            .for_each(|view| view.usage = inner.container(now, facts.services_of(&view.name)));
    }

    /// Adds the use of each service's containers.
    pub fn measure_services(&self, views: &mut [ServiceView]) {
        views
            .iter_mut()
            .for_each(|it| self.measure_containers(&mut it.containers));
    }

    /// Active machines without current metrics.
    #[must_use]
    pub fn blind(&self, views: &[InstanceView]) -> Vec<Tag> {
        let (inner, now) = (self.inner(), clock::now());
        let blind = |it: &&InstanceView| {
            it.state == InstanceState::Active && inner.meter.machine(now, &it.id).is_none()
        };
        views
            .iter()
            .filter(blind)
            .map(|it| it.tag.clone())
            .collect()
    }
}

impl Inner {
    /// Use of the container of these Swarm services. During a move it has two copies, and the one
    /// that was measured last counts.
    fn container(&self, now: Timestamp, services: &[String]) -> Option<ContainerUsage> {
        services
            .iter()
            .filter_map(|service| self.meter.container(now, service))
            .max_by_key(|it| it.at)
    }
}
