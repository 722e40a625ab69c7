//! Facts: the committed placements and live instances, for readers that must not wait for the core.
//! The runtime publishes each commit before the calls and replies that follow it. During an outage
//! of the store, the last facts stay.

mod checks;

pub use checks::{MachineChecks, told as told_checks};

use super::Core;
use crate::store::{Change, Key};
use ahash::{HashMap, HashSet};
use micado_api::{ContainerName, InstanceId, Timestamp};
use micado_core::metrics::Placed;
use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Retention of a placement that has ended: its last metrics arrive a moment later.
const KEPT: Duration = Duration::from_secs(600);

/// The published facts; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Published>);

#[derive(Debug, Default)]
struct Published {
    known: RwLock<Known>,
    /// True once there was a core.
    begun: watch::Sender<bool>,
}

/// The facts at one moment.
#[derive(Debug, Default)]
pub struct Known {
    /// Instances that may have a machine, each with a token that is cancelled at its end.
    live: HashMap<InstanceId, CancellationToken>,
    /// By name of the Swarm service.
    placements: HashMap<String, Placement>,
    /// Swarm services of each container, ended ones included.
    of: HashMap<ContainerName, Vec<String>>,
    /// Ended placements, oldest first.
    ended: VecDeque<(Timestamp, String)>,
    /// Checks that agents are to make.
    checks: checks::Checks,
}

#[derive(Debug)]
struct Placement {
    placed: Arc<Placed>,
    ended: Option<Timestamp>,
}

impl Facts {
    /// Returns the facts of this moment. Publishing waits until they are dropped.
    pub fn read(&self) -> RwLockReadGuard<'_, Known> {
        let known = self.0.known.read();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once there was a core.
    pub async fn begun(&self) {
        let mut begun = self.0.begun.subscribe();
        // The sender is in `self`.
        drop(begun.wait_for(|begun| *begun).await);
    }

    /// Publishes the records of a new core.
    pub fn replace(&self, now: Timestamp, core: &Core) {
        self.change(|known| {
            let live: HashSet<InstanceId> = core.live_instances().cloned().collect();
            let before = known.live.keys().chain(&live).cloned();
            for instance in before.collect::<HashSet<_>>() {
                known.set_live(&instance, live.contains(&instance));
            }
            let mut placed: HashMap<ContainerName, Vec<Placed>> = HashMap::default();
            for container in known.of.keys() {
                placed.insert(container.clone(), Vec::new());
            }
            for copy in core.placed_copies() {
                placed.entry(copy.container.clone()).or_default().push(copy);
            }
            for (container, placed) in placed {
                known.place(now, &container, placed);
            }
            for container in known.checks.containers() {
                known.checks.set(&container, core.checks(&container));
            }
            for (container, checks) in core.all_checks() {
                known.checks.set(&container, checks);
            }
        });
        self.0.begun.send_replace(true);
    }

    /// Publishes these changes of the core's records, which are durable.
    pub fn publish(&self, now: Timestamp, core: &Core, changes: &[Change]) {
        self.change(|known| {
            let mut containers = HashSet::default();
            for change in changes {
                match &change.key {
                    Key::Instance(id) => {
                        known.set_live(id, core.is_live(id));
                        // A placement carries the instance's tag, and may be older than its record.
                        containers.extend(core.containers_on(id));
                    }
                    Key::Container(name) => drop(containers.insert(name)),
                    _ => {}
                }
            }
            for container in containers {
                known.place(now, container, core.placements(container));
                known.checks.set(container, core.checks(container));
            }
            known.prune(now);
        });
    }

    /// Follows the checks that a machine's agent is to make.
    pub fn follow_checks(&self, instance: &InstanceId) -> watch::Receiver<MachineChecks> {
        let known = self.0.known.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.checks.follow(instance)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let known = self.0.known.write();
        change(&mut known.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Known {
    /// Returns true if the instance may have a machine.
    #[must_use]
    pub fn is_live(&self, instance: &InstanceId) -> bool {
        self.live.contains_key(instance)
    }

    /// Returns a token that is cancelled when the instance is not live any more; `None` if it is
    /// not live.
    #[must_use]
    pub fn life(&self, instance: &InstanceId) -> Option<CancellationToken> {
        self.live.get(instance).cloned()
    }

    /// Returns the placement of a Swarm service, if it is present or ended a short time ago.
    /// Placements are published before services are created, so any other service is foreign or
    /// ended earlier.
    #[must_use]
    pub fn placed(&self, service: &str) -> Option<&Arc<Placed>> {
        Some(&self.placements.get(service)?.placed)
    }

    /// Placements that are present or ended a short time ago.
    pub fn all_placed(&self) -> impl Iterator<Item = &Placed> {
        self.placements.values().map(|placement| &*placement.placed)
    }

    /// Returns the Swarm services of a container, those that ended a short time ago included.
    #[must_use]
    pub fn services_of(&self, container: &ContainerName) -> &[String] {
        self.of.get(container).map_or(&[], Vec::as_slice)
    }

    /// Returns the checks that a machine's agent is to make, by Swarm service.
    #[must_use]
    pub fn checks(&self, instance: &InstanceId) -> MachineChecks {
        self.checks.on(instance)
    }

    fn set_live(&mut self, instance: &InstanceId, is_live: bool) {
        if is_live {
            self.live.entry(instance.clone()).or_default();
        } else if let Some(life) = self.live.remove(instance) {
            life.cancel();
            self.checks.forget(instance);
        }
    }

    /// Takes over the present placements of a container; its others have ended.
    fn place(&mut self, now: Timestamp, container: &ContainerName, present: Vec<Placed>) {
        for service in self.of.get(container).into_iter().flatten() {
            let is_present = present
                .iter()
                .any(|placed| placed.swarm_service == *service);
            if let Some(placement) = self.placements.get_mut(service)
                && !is_present
                && placement.ended.is_none()
            {
                placement.ended = Some(now);
                self.ended.push_back((now, service.clone()));
            }
        }
        for placed in present {
            let service = placed.swarm_service.clone();
            let placement = Placement {
                placed: Arc::new(placed),
                ended: None,
            };
            if self.placements.insert(service.clone(), placement).is_none() {
                let services = self.of.entry(container.clone()).or_default();
                services.reserve_exact(1);
                services.push(service);
            }
        }
    }

    /// Drops placements that ended long ago.
    fn prune(&mut self, now: Timestamp) {
        let old = |ended: &mut (Timestamp, String)| now.since(ended.0) > KEPT;
        while let Some((at, service)) = self.ended.pop_front_if(old) {
            // It may be present again.
            let is_over = |placement: &&Placement| placement.ended == Some(at);
            let Some(placement) = self.placements.get(&service).filter(is_over) else {
                continue;
            };
            let container = placement.placed.container.clone();
            self.placements.remove(&service);
            if let Some(services) = self.of.get_mut(&container) {
                services.retain(|other| *other != service);
                if services.is_empty() {
                    self.of.remove(&container);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
