//! Scaling of services by their load: frames of metrics in, copies added or removed. Costs nothing
//! beyond the check while no count changes.

mod foresight;

pub use foresight::Foreseen;

use super::{
    Core,
    owner::{Known, Owner},
    policies::refused,
};
use crate::{
    model::{Container, Copy, Desired, ServicePolicy},
    scaling::{
        Candidate, Cause, Frame, HeldSpan, Host, Limits, Metric, Outlook, Policies, Policy,
        Resource, ServiceScaling, Verdict, Wish, victims,
    },
};
use jiff::tz::TimeZone;
use micado_api::{
    ContainerName, Critical, ErrorBody, InstanceId, MemoryBytes, NanoCpus, ServiceName, Timestamp,
    VerdictView,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Machines that a service keeps when it shrinks, if so many copies stay.
const MACHINES: u32 = 2;

/// Billionths of a core in a core.
const NANO: f64 = 1e9;

/// Load of one service, as the metrics show it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceLoad {
    /// Frame; of its copies, only warm and young ones are counted. The core adds the others.
    pub frame: Frame,
    /// Swarm services of running copies without a fresh sample.
    pub blind: Vec<String>,
    /// Swarm services of copies without work, if only such may go.
    pub quiet: Vec<String>,
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
    /// Swarm services of its running copies, with their machines.
    pub copies: Vec<(String, InstanceId)>,
}

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
    fn fill(&self, frame: &mut Frame) {
        let copies = &mut frame.copies;
        copies.warm = copies.warm.min(self.running);
        copies.young = copies.young.min(self.running - copies.warm);
        copies.blind = self.running - copies.warm - copies.young;
        copies.starting = self.starting;
        copies.failing = self.failing;
    }
}

/// State of the checks of each service.
#[derive(Debug, Clone, Default)]
pub(super) struct Scaling(BTreeMap<ServiceName, Note>);

#[derive(Debug, Clone)]
struct Note {
    /// Boxed: the rings are large beside the rest.
    scaling: Box<ServiceScaling>,
    outlook: Outlook,
    /// The last frame: an earlier one, or one of the same time, is a repetition.
    frame: Option<Frame>,
    span: Option<HeldSpan>,
    last_change: Option<Verdict>,
}

impl Owner for Scaling {
    fn prune(&mut self, known: &Known<'_>) {
        self.0
            .retain(|service, _| known.ledger.policies.get(service).is_some());
    }
}

impl Scaling {
    /// Returns the note of a service, made anew after a change of its policy.
    fn note(&mut self, policy: &ServicePolicy) -> Result<&mut Note, ErrorBody> {
        let service = &policy.service;
        let is_current = self
            .0
            .get(service)
            .is_some_and(|note| *note.scaling.policies() == policy.policies);
        if !is_current {
            let scaling = Box::new(fresh(policy)?);
            let note = match self.0.remove(service) {
                None => Note {
                    scaling,
                    outlook: Outlook::default(),
                    frame: None,
                    span: None,
                    last_change: None,
                },
                Some(before) => Note {
                    scaling,
                    span: None,
                    ..before
                },
            };
            self.0.insert(service.clone(), note);
        }
        Ok(self
            .0
            .get_mut(service)
            .expect("the note is there or was made above"))
    }

    /// The last verdict on a service, and the last that changed its count.
    pub(super) fn views(&self, name: &ServiceName) -> (Option<VerdictView>, Option<VerdictView>) {
        let Some(note) = self.0.get(name) else {
            return (None, None);
        };
        let now = note
            .span
            .as_ref()
            .map(|span| view(&span.last, span.first.at));
        let change = note.last_change.as_ref();
        (now, change.map(|verdict| view(verdict, verdict.at)))
    }
}

impl Note {
    fn took(&mut self, verdict: Verdict, is_changed: bool) {
        if is_changed {
            self.last_change = Some(verdict);
        }
        if !self.span.as_mut().is_some_and(|span| span.extend(verdict)) {
            self.span = Some(HeldSpan::new(verdict));
        }
    }
}

/// State for the policies of a service. Time zones are those of this machine's database.
fn fresh(policy: &ServicePolicy) -> Result<ServiceScaling, ErrorBody> {
    let zone = |name: &str| TimeZone::get(name).ok();
    let scaling = ServiceScaling::new(Arc::new(policy.policies.clone()), zone);
    scaling.map_err(|error| refused(&error))
}

fn view(verdict: &Verdict, since: Timestamp) -> VerdictView {
    VerdictView {
        at: verdict.at,
        since,
        text: verdict.to_string(),
        detail: serde_json::to_value(verdict).unwrap_or_default(),
    }
}

impl Core {
    /// Checks each service against its new load.
    pub(super) fn loads(&mut self, loads: Vec<(ServiceName, ServiceLoad)>) {
        // Without the engine, running copies cannot be told from others: all counts hold.
        if !self.sees() {
            return;
        }
        for (service, load) in loads {
            if let Some(policy) = self.ledger.policies.get(&service).cloned() {
                self.check_load(&policy, load);
            }
        }
    }

    fn check_load(&mut self, policy: &ServicePolicy, load: ServiceLoad) {
        let (name, mut frame) = (&policy.service, load.frame);
        let counts = self.counts(name);
        if is_off(policy, &counts) {
            return;
        }
        let mut limits = self.limits_of(policy, &counts);
        // A policy of a newer micado, or of a time zone that is missing here, holds the count.
        let Ok(note) = self.scaling.note(policy) else {
            return;
        };
        if note.frame.is_some_and(|last| frame.at <= last.at) {
            return;
        }
        counts.fill(&mut frame);
        note.frame = Some(frame);
        limits.forecast = note.foresee(&policy.policies, &frame, &limits);
        let before = note.scaling.clone();
        let mut verdict = note.scaling.check(&frame, &limits, self.now);
        if verdict.count > verdict.from {
            verdict = self.within_room(policy, before, &frame, limits, verdict);
        }
        let is_changed = self.apply(policy, &counts, &verdict, &load);
        if let Ok(note) = self.scaling.note(policy) {
            note.took(verdict, is_changed);
        }
    }

    /// Checks a growth again with the number of copies that machines, present or to rent, can hold:
    /// more are not recorded as waiting.
    fn within_room(
        &mut self,
        policy: &ServicePolicy,
        before: Box<ServiceScaling>,
        frame: &Frame,
        limits: Limits,
        verdict: Verdict,
    ) -> Verdict {
        let room = self.room_for(&policy.service, verdict.count - verdict.from);
        let may = verdict.from + room;
        if may >= verdict.count {
            return verdict;
        }
        let limits = Limits {
            quota: Some(may),
            ..limits
        };
        match self.scaling.note(policy) {
            Ok(note) => {
                note.scaling = before;
                note.scaling.check(frame, &limits, self.now)
            }
            Err(_) => verdict,
        }
    }

    /// Executes a verdict. Returns true if the count changed.
    fn apply(
        &mut self,
        policy: &ServicePolicy,
        counts: &Counts,
        verdict: &Verdict,
        load: &ServiceLoad,
    ) -> bool {
        let name = &policy.service;
        if verdict.count > verdict.from {
            // Work that has ended is not begun again for the minimum.
            if counts.completed > 0 && verdict.cause == Cause::Minimum {
                return false;
            }
            self.decide_service(name, verdict.to_string());
            self.add_containers(name, verdict.count - verdict.from, None);
            return true;
        }
        let surplus = verdict.from - verdict.count;
        if surplus == 0 {
            return false;
        }
        let only_quiet = policy.policies.stops_only_quiet();
        let quiet = only_quiet.then_some(load.quiet.as_slice());
        let gone = self.shrink_by(name, surplus, &load.blind, quiet);
        if gone.is_empty() {
            return false;
        }
        let mut text = verdict.to_string();
        if gone.len() < surplus as usize {
            text = format!("{text}; the others may not go, {} did", gone.len());
        }
        self.decide_service(name, text);
        self.quit_containers(&gone, true);
        true
    }

    /// Verdict of other policies on the last load of a service.
    pub(super) fn try_policy(
        &self,
        name: &ServiceName,
        policies: &Policies,
    ) -> Result<Option<VerdictView>, ErrorBody> {
        let policy = ServicePolicy {
            policies: policies.clone(),
            ..match self.ledger.policies.get(name) {
                Some(present) => present.clone(),
                None => ServicePolicy::new(name.clone(), policies.clone(), self.now),
            }
        };
        let mut scaling = fresh(&policy)?;
        let frame = self.scaling.0.get(name).and_then(|note| note.frame);
        let limits = self.limits_of(&policy, &self.counts(name));
        let verdict = frame.map(|frame| scaling.check(&frame, &limits, self.now));
        Ok(verdict.map(|verdict| view(&verdict, verdict.at)))
    }

    /// Raises the counts of all services to their floors, without any metrics.
    pub(super) fn enforce_floors(&mut self) {
        let names: Vec<ServiceName> = self.ledger.policies.keys().cloned().collect();
        for name in names {
            self.enforce_floor(&name);
        }
    }

    /// Raises the count to the minimum, or to a person's floor.
    pub(super) fn enforce_floor(&mut self, name: &ServiceName) {
        let Some(policy) = self.ledger.policies.get(name).cloned() else {
            return;
        };
        let counts = self.counts(name);
        let from = counts.wanted();
        if is_off(&policy, &counts) || policy.is_pinned || counts.completed > 0 {
            return;
        }
        let Policies { min, max, .. } = policy.policies;
        let manual = policy.floor(self.now).filter(|manual| manual.floor > min);
        let floor = manual.map_or(min, |manual| manual.floor.min(max));
        if from >= floor || self.ledger.service(name).is_none() {
            return;
        }
        let cause = manual.map_or(Cause::Minimum, |manual| Cause::Manual {
            until: manual.until,
        });
        let verdict = Verdict {
            at: self.now,
            from,
            count: floor,
            asked: floor,
            cause,
            stop: None,
        };
        self.decide_service(name, verdict.to_string());
        self.add_containers(name, floor - from, None);
        if let Ok(note) = self.scaling.note(&policy) {
            note.took(verdict, true);
        }
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
    fn running_copy<'a>(&self, container: &'a Container) -> Option<&'a Copy> {
        let observed = self.observed.as_ref()?;
        let primary = container.primary().into_iter();
        primary
            .chain(container.replaced())
            .find(|copy| observed.runs(&copy.swarm_name))
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

    fn limits_of(&self, policy: &ServicePolicy, counts: &Counts) -> Limits {
        let reservation = self.ledger.service(&policy.service);
        let reservation = reservation.map(|service| service.spec.reservation);
        let reservation = reservation.unwrap_or_default();
        let cpu = reservation.cpu.0 as f64 / NANO;
        let cpu_most = counts.least_cores.map_or(cpu, |cores| cores as f64 / NANO);
        Limits {
            cpu,
            cpu_most: cpu_most.max(cpu),
            memory: reservation.memory.0 as f64,
            manual: policy.manual,
            is_pinned: policy.is_pinned,
            is_draining: counts.is_moving,
            ..Limits::default()
        }
    }

    /// Services with a policy and running copies, for the task that sums up their load.
    #[must_use]
    pub fn scaled_services(&self) -> Vec<ScaledService> {
        if !self.sees() {
            return Vec::new();
        }
        let policies = self.ledger.policies.values();
        policies.map(|policy| self.scaled_service(policy)).collect()
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
        ScaledService {
            service: name.clone(),
            cpu_share: share(&policy.policies, Metric::Cpu, &limits),
            memory_share: share(&policy.policies, Metric::Memory, &limits),
            cpu: limits.cpu,
            memory: limits.memory,
            critical: critical(&policy.policies),
            only_quiet: policy.policies.stops_only_quiet(),
            copies: copies.collect(),
        }
    }

    /// Copies of a service that go when it shrinks by this many; fewer if the others may not. With
    /// `quiet`, only these may go.
    pub(super) fn shrink_by(
        &self,
        name: &ServiceName,
        count: u32,
        blind: &[String],
        quiet: Option<&[String]>,
    ) -> Vec<ContainerName> {
        let names = self.ledger.index.of_service(name);
        let wanted: Vec<&Container> = names
            .filter_map(|name| self.ledger.container(name))
            .filter(|container| container.wants_room())
            .collect();
        let blind: BTreeSet<&String> = blind.iter().collect();
        let quiet_copies: BTreeSet<&String> = quiet.unwrap_or_default().iter().collect();
        let mut hosts: Vec<(&InstanceId, Host)> = Vec::new();
        let candidates: Vec<Candidate> = wanted
            .iter()
            .map(|container| {
                let copy = self.running_copy(container);
                let placed = copy.or(container.primary());
                let is_named =
                    |set: &BTreeSet<&String>| copy.is_some_and(|it| set.contains(&it.swarm_name));
                Candidate {
                    machine: placed.map(|copy| self.host_index(&mut hosts, &copy.instance)),
                    is_useless: copy.is_none(),
                    is_protected: container.bound_to.is_some()
                        || is_named(&blind)
                        || copy.is_some_and(|copy| self.is_silent(&copy.instance)),
                    is_quiet: is_named(&quiet_copies),
                    started_at: container.created_at.0,
                    ..Candidate::default()
                }
            })
            .collect();
        let hosts: Vec<Host> = hosts.into_iter().map(|(_, host)| host).collect();
        let wish = Wish {
            count,
            machines: MACHINES,
            only_quiet: quiet.is_some(),
        };
        let gone = victims(&candidates, &hosts, wish);
        gone.into_iter().map(|at| wanted[at].name.clone()).collect()
    }

    /// Index of a machine in the list, which grows by it if it is missing.
    fn host_index<'a>(
        &'a self,
        hosts: &mut Vec<(&'a InstanceId, Host)>,
        id: &'a InstanceId,
    ) -> u32 {
        let at = hosts.iter().position(|(known, _)| *known == id);
        let at = at.unwrap_or_else(|| {
            let on = self.ledger.containers_on(id).count();
            let instance = self.ledger.instance(id);
            let host = Host {
                containers: u32::try_from(on).unwrap_or(u32::MAX),
                price: instance.map_or(0.0, |instance| instance.price.0 as f64),
                ordered_at: instance.map_or(0, |instance| instance.created_at.0),
                is_draining: instance.is_none_or(|instance| !instance.accepts_work()),
            };
            hosts.push((id, host));
            hosts.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

/// A service that a person stopped: no copy is wanted, and no policy keeps it at none.
fn is_off(policy: &ServicePolicy, counts: &Counts) -> bool {
    counts.wanted() == 0 && policy.policies.min > 0
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
fn share(policies: &Policies, metric: Metric, limits: &Limits) -> Option<f64> {
    policies.policies.iter().find_map(|policy| match policy {
        Policy::Target(target) if target.metric == metric => Some(target.share(limits)),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
