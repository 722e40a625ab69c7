//! Which Swarm service is which container's, and on which instance: what agents know services by, and whether they may speak of them.

use super::Point;
use micado_api::{ContainerName, InstanceId, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

/// A service is known for so long after its place was given up: its last figures come a moment later, and may have waited for the store.
const KEPT: Duration = Duration::from_secs(600);

/// What is placed where, as the core last said.
#[derive(Debug, Default)]
pub(super) struct Places {
    services: HashMap<String, Place>,
    of: BTreeMap<ContainerName, Vec<String>>,
    /// Services that the core does not know.
    strangers: HashSet<String>,
}

#[derive(Debug)]
struct Place {
    container: ContainerName,
    instance: InstanceId,
    /// When the core last said so.
    seen: Timestamp,
}

impl Places {
    /// What is placed now.
    pub(super) fn settle(&mut self, now: Timestamp, services: Vec<(String, ContainerName, InstanceId)>) {
        self.services.extend(services.into_iter().map(|(service, container, instance)| (service, Place { container, instance, seen: now })));
        self.services.retain(|_, place| now.since(place.seen) <= KEPT);
        self.of.clear();
        for (service, place) in &self.services {
            self.of.entry(place.container.clone()).or_default().push(service.clone());
        }
    }

    /// Whether each of these was known or a stranger when the core was last asked.
    pub(super) fn has_heard_of(&self, services: &[&str]) -> bool {
        services.iter().all(|it| self.services.contains_key(*it) || self.strangers.contains(*it))
    }

    /// Those of these that are not known are strangers.
    pub(super) fn note_strangers(&mut self, services: &[&str]) {
        self.strangers.extend(services.iter().filter(|it| !self.services.contains_key(**it)).map(|it| (*it).to_owned()));
    }

    /// Who is a stranger may be asked again.
    pub(super) fn forget_strangers(&mut self) {
        self.strangers.clear();
    }

    pub(super) fn is_on(&self, service: &str, instance: &InstanceId) -> bool {
        self.services.get(service).is_some_and(|place| place.instance == *instance)
    }

    /// The Swarm services of a container.
    pub(super) fn of(&self, container: &ContainerName) -> &[String] {
        self.of.get(container).map_or(&[], Vec::as_slice)
    }

    /// The same point with its containers by their own names. Of two copies on one machine, which are there for a moment at most, the larger stands for both.
    pub(super) fn renamed(&self, point: Point) -> Point {
        let mut containers = BTreeMap::new();
        for (service, figures) in point.containers {
            let Some(place) = self.services.get(&service) else { continue };
            let kept = containers.entry(place.container.to_string()).or_insert(figures);
            if figures.memory > kept.memory {
                *kept = figures;
            }
        }
        Point { containers, ..point }
    }
}
