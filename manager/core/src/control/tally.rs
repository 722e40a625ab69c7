//! Counts of containers by state, of services with a policy. They are counted again only after a
//! change, so that the check of a frame costs the same for any number of copies.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::{
    model::{Container, Copy, Desired, ServicePolicy},
    scaling::{Frame, Limits, Metric, Policies, Policy, Resource, Span},
};
use micado_api::{ContainerName, Critical, InstanceId, MemoryBytes, NanoCpus, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// Billionths of a core in a core.
pub(super) const NANO: f64 = 1e9;

/// Containers of a service by state, as the records and the engine show them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) running: u32,
    pub(super) starting: u32,
    pub(super) failing: u32,
    /// Ended by themselves. They are not wanted, but no reason to start others.
    pub(super) completed: u32,
    /// A copy of it is being replaced by another.
    pub(super) is_moving: bool,
    /// Cores of the smallest machine with a running copy, in billionths.
    pub(super) least_cores: Option<u64>,
}

impl Counts {
    pub(super) const fn wanted(&self) -> u32 {
        self.running + self.starting + self.failing
    }

    /// Groups of the frame. Samples of more copies than run are cut off: the youngest first.
    pub(super) fn fill(&self, frame: &mut Frame) {
        let copies = &mut frame.copies;
        copies.warm = copies.warm.min(self.running);
        copies.young = copies.young.min(self.running - copies.warm);
        copies.blind = self.running - copies.warm - copies.young;
        copies.starting = self.starting;
        copies.failing = self.failing;
    }
}

/// Position in the sequence of changes of one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Tells cores apart: one is made anew whenever a commit fails.
    core: u64,
    number: u64,
}

impl Version {
    #[must_use]
    pub const fn new(core: u64, number: u64) -> Self {
        Self { core, number }
    }

    /// The number, if it is of this core.
    pub(super) fn number_of(self, core: u64) -> Option<u64> {
        (self.core == core).then_some(self.number)
    }
}

/// Running copies of a service with a policy, and how to weigh their use.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledService {
    pub service: ServiceName,
    /// Load that one copy carries at the CPU target, if there is one, in cores.
    pub cpu_share: Option<f64>,
    /// As `cpu_share`, in bytes of memory.
    pub memory_share: Option<f64>,
    /// Reservation of a copy, in cores.
    pub cpu: f64,
    /// Memory limit of a copy, in bytes.
    pub memory: f64,
    /// Critical usage of a copy, if a policy names one.
    pub critical: Critical,
    /// True if only copies without work may go.
    pub only_quiet: bool,
    /// Age from which on the use of a copy is no start-up work any more.
    pub warm_up: Span,
    /// Swarm services of its running copies, with their machines.
    pub copies: Vec<(String, InstanceId)>,
}

/// Services with a policy that changed since a version.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledChanges {
    pub version: Version,
    /// All services with a policy, if anything changed.
    pub names: BTreeSet<ServiceName>,
    pub changed: Vec<ScaledService>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    changed_at: u64,
    /// `None` until they are counted after the last change.
    counts: Option<Counts>,
}

/// Counts of each service with a policy, and the order of their changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Tallies {
    services: BTreeMap<ServiceName, Tally>,
    /// Number of the last change.
    number: u64,
}

impl Tallies {
    /// Notes a change of the policy or the copies of a service.
    pub(super) fn changed(&mut self, service: &ServiceName) {
        self.number += 1;
        let tally = Tally {
            changed_at: self.number,
            counts: None,
        };
        match self.services.get_mut(service) {
            Some(present) => *present = tally,
            None => drop(self.services.insert(service.clone(), tally)),
        }
    }
}

impl Owner for Tallies {
    fn prune(&mut self, known: &Known<'_>) {
        self.services
            .retain(|service, _| known.ledger.policies.get(service).is_some());
    }
}

impl Core {
    /// Notes changes of these containers.
    pub(super) fn tally(&mut self, containers: &BTreeSet<ContainerName>) {
        let Self {
            ledger, tallies, ..
        } = self;
        // Names of one service are neighbours.
        let mut last = None;
        for name in containers {
            let service = ledger.container(name).map(|container| &container.service);
            if let Some(service) = service.filter(|service| last != Some(*service))
                && ledger.policies.get(service).is_some()
            {
                tallies.changed(service);
                last = Some(service);
            }
        }
    }

    /// Notes changes that no pass has visited yet.
    pub(super) fn tally_pending(&mut self) {
        let pending = std::mem::take(&mut self.ledger.dirty.containers);
        self.tally(&pending);
        self.ledger.dirty.containers = pending;
    }

    /// Counts of a service with a policy.
    pub(super) fn counted(&mut self, name: &ServiceName) -> Counts {
        if let Some(tally) = self.tallies.services.get(name)
            && let Some(counts) = tally.counts
        {
            debug_assert_eq!(counts, self.counts(name), "`{name}` changed unnoticed");
            return counts;
        }
        let counts = self.counts(name);
        if !self.tallies.services.contains_key(name) {
            self.tallies.changed(name);
        }
        if let Some(tally) = self.tallies.services.get_mut(name) {
            tally.counts = Some(counts);
        }
        counts
    }

    /// Number of wanted copies of a service.
    pub(super) fn count_of(&self, name: &ServiceName) -> u32 {
        let containers = self.ledger.index.of_service(name);
        let wanted = containers.filter(|name| {
            let container = self.ledger.container(name);
            container.is_some_and(Container::wants_room)
        });
        u32::try_from(wanted.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn counts(&self, name: &ServiceName) -> Counts {
        let mut counts = Counts::default();
        for name in self.ledger.index.of_service(name) {
            let Some(container) = self.ledger.container(name) else {
                continue;
            };
            if !container.wants_room() {
                counts.completed += u32::from(container.desired == Desired::Running);
                continue;
            }
            counts.is_moving |= container.replaced().next().is_some();
            if let Some(copy) = self.running_copy(container) {
                counts.running += 1;
                let cores = self.ledger.instance(&copy.instance);
                let cores = cores.map(|instance| instance.size.cpu.0);
                counts.least_cores = counts.least_cores.into_iter().chain(cores).min();
            } else if self.copy_fails(container) {
                counts.failing += 1;
            } else {
                counts.starting += 1;
            }
        }
        counts
    }

    /// The copy of a container that runs as far as the engine knows: during a move, the old one
    /// until the new one does.
    pub(super) fn running_copy<'a>(&self, container: &'a Container) -> Option<&'a Copy> {
        let observed = self.observed.as_ref()?;
        let primary = container.primary().into_iter();
        primary
            .chain(container.replaced())
            .find(|copy| observed.runs(&copy.swarm_name) && !copy.is_starting())
    }

    fn copy_fails(&self, container: &Container) -> bool {
        let Some(copy) = container.primary() else {
            return false;
        };
        let observed = self.observed.as_ref();
        observed.is_some_and(|observed| observed.failure(&copy.swarm_name).is_some())
            || self.copies.refused.contains_key(&copy.swarm_name)
            || self.copies.push_errors.contains_key(&container.service)
    }

    /// Services with a policy that changed since this version, for the task that sums up their
    /// load. `None` while the engine cannot be observed.
    #[must_use]
    pub fn scaled_since(&self, seen: Option<Version>) -> Option<ScaledChanges> {
        if !self.sees() {
            return None;
        }
        let version = Version::new(self.seed, self.tallies.number);
        let since = seen.and_then(|seen| seen.number_of(self.seed));
        if since == Some(version.number) {
            return Some(ScaledChanges {
                version,
                names: BTreeSet::new(),
                changed: Vec::new(),
            });
        }
        let is_news = |policy: &&ServicePolicy| {
            let tally = self.tallies.services.get(&policy.service);
            since.is_none_or(|since| tally.is_none_or(|tally| tally.changed_at > since))
        };
        let policies = self.ledger.policies.values();
        let changed = policies.filter(is_news);
        Some(ScaledChanges {
            version,
            names: self.ledger.policies.keys().cloned().collect(),
            changed: changed.map(|policy| self.scaled_service(policy)).collect(),
        })
    }

    fn scaled_service(&self, policy: &ServicePolicy) -> ScaledService {
        let name = &policy.service;
        let limits = self.limits_of(policy, &Counts::default());
        let containers = self.ledger.index.of_service(name);
        let copies = containers
            .filter_map(|name| self.ledger.container(name))
            .filter(|container| container.wants_room())
            .filter_map(|container| self.running_copy(container))
            .map(|copy| (copy.swarm_name.clone(), copy.instance.clone()));
        let share = |metric| share(&policy.policies, metric, &limits);
        ScaledService {
            service: name.clone(),
            cpu_share: share(Metric::Cpu),
            memory_share: share(Metric::Memory),
            cpu: limits.cpu,
            memory: limits.memory,
            critical: critical(&policy.policies),
            only_quiet: policy.policies.stops_only_quiet(),
            warm_up: self.warm_up_of(name),
            copies: copies.collect(),
        }
    }
}

/// Critical usage of the first policies that name one.
fn critical(policies: &Policies) -> Critical {
    let usage = |of: Resource| {
        policies.policies.iter().find_map(|policy| match policy {
            Policy::Critical(critical) if critical.resource == of => Some(critical.usage),
            _ => None,
        })
    };
    Critical {
        memory: usage(Resource::Memory).map(|bytes| MemoryBytes(bytes as u64)),
        cpu: usage(Resource::Cpu).map(|cores| NanoCpus((cores * NANO) as u64)),
    }
}

/// Load that one copy carries at the first target of this metric.
pub(super) fn share(policies: &Policies, metric: Metric, limits: &Limits) -> Option<f64> {
    policies.policies.iter().find_map(|policy| match policy {
        Policy::Target(target) if target.metric == metric => Some(target.share(limits)),
        _ => None,
    })
}
