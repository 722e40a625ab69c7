//! Machines that nothing needs are returned: first held for as long as it would take to get them
//! back, then drained.

use super::{
    Core,
    draining::Cancelled,
    kept::Kept,
    moves::PER_MACHINE,
    owner::{Known, Owner},
    pace::Failures,
};
use crate::{
    model::{BegunBy, Container, Desired, Instance, Phase},
    planner::Readiness,
};
use micado_api::{
    ContainerName, InstanceId, InstanceState, Location, Origin, RestartPolicy, ReturnView,
    Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// Time between two checks.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// Lower bound for the time between two checks, however many machines fall empty.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Whole observations of the engine, and lists of a cloud, before anything is returned.
const LOOKS: u32 = 2;

/// First time for which a machine is left alone after a drain failed; doubles with each.
const REST: Duration = Duration::from_secs(30 * 60);
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);

/// Upper bound for the time from a shrink until its machine is found spare: its copies stop, and the
/// next check comes.
const SHED: Duration = Duration::from_secs(60);

/// Estimated time of one round of moves, and time to spare at the end of a paid period.
const MOVE: Duration = Duration::from_secs(45);
const SPARE: Duration = Duration::from_secs(60);

/// Notes about machines that may be returned.
#[derive(Debug, Clone, Default)]
pub(super) struct Returns {
    /// Whole observations since the start, or since the engine last did not answer.
    looks: u32,
    /// Machines that nothing needs, and since when.
    spare_since: BTreeMap<InstanceId, Timestamp>,
    /// Machines that shed load last: when, and since when that load was gone.
    shed: BTreeMap<InstanceId, (Timestamp, Timestamp)>,
    /// Why the others that were looked at stay, by the last check.
    pub(super) kept: BTreeMap<InstanceId, Kept>,
    /// Machines with failed drains: their number, and until when each is left alone.
    rests: BTreeMap<InstanceId, (u32, Timestamp)>,
    pub(super) failures: BTreeMap<Location, Failures>,
    checked_at: Timestamp,
}

impl Owner for Returns {
    fn lost_sight(&mut self) {
        self.looks = 0;
        self.spare_since.clear();
        self.shed.clear();
        self.kept.clear();
    }
    fn prune(&mut self, known: &Known<'_>) {
        let live = |id: &InstanceId| known.ledger.instance(id).is_some_and(Instance::is_live);
        self.rests.retain(|id, _| live(id));
        self.kept.retain(|id, _| live(id));
        self.spare_since.retain(|id, _| live(id));
        self.shed.retain(|id, _| live(id));
    }
}

impl Returns {
    /// The whole engine was observed.
    pub(super) fn looked(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    /// Something needs a machine, or it is blind: its time begins anew.
    pub(super) fn needed(&mut self, id: &InstanceId) {
        self.spare_since.remove(id);
        self.shed.remove(id);
    }

    /// Machines that nothing needs at present.
    pub(super) fn spare(&self) -> impl Iterator<Item = &InstanceId> {
        self.spare_since.keys()
    }
}

impl Core {
    /// Looks for machines that nothing needs, and drains those that have been held long enough.
    pub(super) fn check_returns(&mut self) {
        let due = self.returns.checked_at.plus(AT_MOST_EVERY);
        if self.now < due {
            return self.wake(due);
        }
        self.returns.checked_at = self.now;
        self.returns.kept.clear();
        let mut locations: BTreeMap<Location, Vec<InstanceId>> = BTreeMap::new();
        for id in self.ledger.index.in_state(InstanceState::Active) {
            if let Some(instance) = self.ledger.instance(id) {
                let location = instance.location.clone();
                locations.entry(location).or_default().push(id.clone());
            }
        }
        let before = std::mem::take(&mut self.returns.spare_since);
        for (location, ids) in locations {
            let spare = self.spare_machines(&location, ids);
            for id in &spare {
                let since = before.get(id).copied().unwrap_or(self.now);
                self.returns.spare_since.insert(id.clone(), since);
            }
            if spare.is_empty() {
                self.replace_dear(&location);
            }
            self.return_held(&location, spare);
        }
        self.wake(self.now.plus(CHECK_EVERY));
    }

    /// Drains machines that have been spare for their time, as far as the pace allows.
    fn return_held(&mut self, location: &Location, spare: Vec<InstanceId>) {
        let mut held = Vec::new();
        let replaced = self.replaced(location);
        for id in spare {
            match self.held_until(&id) {
                Some((since, until)) if until > self.now && !replaced.contains_key(&id) => {
                    self.wake(until);
                    self.returns.kept.insert(id, Kept::Held { since, until });
                }
                Some((since, _)) => held.push((id, since)),
                None => {}
            }
        }
        if held.is_empty() {
            return;
        }
        if let Some(sick) = self.sick(location) {
            let kept = held.into_iter().map(|(id, _)| (id, Kept::Sick { sick }));
            return self.returns.kept.extend(kept);
        }
        let mut pace = self.pace(location);
        for (id, since) in held {
            let containers = self.ledger.containers_on(&id).count();
            if let Some(until) = self.paid_until(&id, containers) {
                self.wake(until);
                self.returns.kept.insert(id, Kept::Paid { until });
                continue;
            }
            if pace.above_minimum == 0 {
                let machines = self.minimum_of(location);
                self.returns.kept.insert(id, Kept::Minimum { machines });
                continue;
            }
            let left = match containers {
                0 => &mut pace.empty,
                _ => &mut pace.used,
            };
            if *left == 0 {
                self.returns.kept.insert(id, Kept::Budget);
                continue;
            }
            *left -= 1;
            pace.above_minimum -= 1;
            let time = self.now.since(since).as_secs();
            let why = match containers {
                0 => format!("returned: not needed for {time} s"),
                1 => format!("drained: others had room for its container for {time} s"),
                more => format!("drained: others had room for its {more} containers for {time} s"),
            };
            self.returns.needed(&id);
            self.begin_drain(&id, why, BegunBy::Manager);
        }
    }

    /// Time until which a machine is kept because it is paid for: until its drain would end with a
    /// minute to spare in the paid period.
    pub(super) fn paid_until(&self, id: &InstanceId, containers: usize) -> Option<Timestamp> {
        let instance = self.ledger.instance(id)?;
        let period = self.config.billing(instance)?;
        let rounds = u32::try_from(containers.div_ceil(PER_MACHINE)).unwrap_or(u32::MAX);
        let drain = MOVE.saturating_mul(rounds).saturating_add(SPARE);
        let paid = self.now.since(instance.created_at).as_millis() % period.as_millis();
        let left = period.saturating_sub(Duration::from_millis(u64::try_from(paid).ok()?));
        (left > drain).then(|| self.now.plus(left - drain))
    }

    /// Time since which nothing has needed a machine, without a gap in what was seen, and the end
    /// of its hold. The look-back of the shrink that freed it is a part of the hold.
    fn held_until(&self, id: &InstanceId) -> Option<(Timestamp, Timestamp)> {
        let instance = self.ledger.instance(id)?;
        let steady = self.clouds.get(&instance.cloud)?.steady;
        let gaps = [
            self.nodes.seen_since,
            self.nodes.answers_since(id),
            steady.map(|(since, _)| since),
            instance.joined_at,
        ];
        let seen_since = gaps.into_iter().flatten().max().unwrap_or_default();
        let spare_since = *self.returns.spare_since.get(id)?;
        let since = spare_since.max(seen_since);
        let shed = self.returns.shed.get(id);
        let shed = shed.filter(|(at, _)| spare_since.since(*at) <= SHED);
        let idle_since = shed.map_or(spare_since, |(_, gone)| spare_since.min(*gone));
        let until = idle_since.max(seen_since).plus(self.hold_of(instance));
        Some((since, until.max(since.plus(self.least_hold()))))
    }

    /// Reason for which a machine stays, whatever room there is elsewhere.
    pub(super) fn stays(&self, id: &InstanceId) -> Option<Kept> {
        let instance = self.ledger.instance(id)?;
        let cloud = self.clouds.get(&instance.cloud);
        let lists = cloud.and_then(|cloud| cloud.steady);
        let rest = self.returns.rests.get(id).map(|(_, until)| *until);
        let is_used = self.ledger.containers_on(id).next().is_some();
        let is_ready = self
            .placing
            .pool
            .node(id)
            .is_some_and(|node| node.readiness == Readiness::Ready);
        if !self.config.return_machines {
            Some(Kept::Off)
        } else if instance.protected {
            Some(Kept::Protected)
        } else if self.returns.looks < LOOKS || lists.is_none_or(|(_, lists)| lists < LOOKS) {
            Some(Kept::Unsure)
        } else if !is_ready || is_used && self.is_unreported(id) {
            Some(Kept::Blind)
        } else if !instance.worked && instance.origin == Origin::User {
            Some(Kept::Unused)
        } else if let Some(until) = rest.filter(|until| is_used && *until > self.now) {
            Some(Kept::Rests { until })
        } else if let Some((resource, since)) = self.rebalancing.of(id) {
            Some(Kept::Saturated { resource, since })
        } else {
            self.holds_fast(instance)
        }
    }

    /// Reason for which the containers of a machine do not move.
    fn holds_fast(&self, instance: &Instance) -> Option<Kept> {
        let mut bound = self.ledger.index.bound_to(&instance.id);
        let kept = |name: &&ContainerName| {
            let container = self.ledger.container(name);
            container.is_some_and(|container| container.desired != Desired::Removed)
        };
        if let Some(container) = bound.find(kept).cloned() {
            return Some(Kept::Volume { container });
        }
        let foreign = self.foreign_on(instance).containers;
        if foreign > 0 {
            return Some(Kept::Foreign {
                containers: foreign,
            });
        }
        let here = || self.ledger.containers_on(&instance.id);
        if let Some(protected) = here().find(|container| container.protected) {
            let container = protected.name.clone();
            return Some(Kept::Container { container });
        }
        if let Some(job) = here().find(|container| self.is_job(container)) {
            let container = job.name.clone();
            return Some(Kept::Job { container });
        }
        let unsettled = here().find(|container| !self.is_steady(container))?;
        let container = unsettled.name.clone();
        Some(Kept::Unsettled { container })
    }

    /// Returns true if a container is done once its process has ended well. Two copies of it would
    /// do the work twice.
    pub(super) fn is_job(&self, container: &Container) -> bool {
        let restart = self.ledger.service_of(container).spec.restart;
        container.wants_room() && restart != RestartPolicy::Always
    }

    /// Returns true if a container runs as its only copy.
    pub(super) fn is_steady(&self, container: &Container) -> bool {
        let copies = container.copies.iter().filter(|copy| copy.takes_room());
        container.wants_room()
            && copies.count() == 1
            && container
                .primary()
                .is_some_and(|copy| copy.phase == Phase::Serving && self.copy_serves(copy))
    }

    /// Notes that a shrink takes these containers, and since when their load has been gone.
    pub(super) fn shed(&mut self, names: &[ContainerName], since: Timestamp) {
        for name in names {
            let container = self.ledger.container(name);
            if let Some(copy) = container.and_then(Container::primary) {
                let id = copy.instance.clone();
                self.returns.shed.insert(id, (self.now, since));
            }
        }
    }

    /// Notes that a container has run on a machine.
    pub(super) fn note_work(&mut self, id: &InstanceId) {
        let unnoted = self.ledger.instance(id).is_some_and(|it| !it.worked);
        let served = |container: &Container| {
            let mut copies = container.copies_on(id);
            copies.any(|copy| copy.phase != Phase::Starting)
        };
        if unnoted && self.ledger.containers_on(id).any(served) {
            self.ledger
                .edit_instance(id, |instance| instance.worked = true);
        }
    }

    /// Notes the end of a drain that was cancelled. Returns until when the machine is left alone,
    /// if the drain failed.
    pub(super) fn drain_ended(&mut self, id: &InstanceId, cause: &Cancelled) -> Option<Timestamp> {
        if !cause.is_failure() {
            return None;
        }
        let location = self.ledger.instance(id)?.location.clone();
        let now = self.now;
        self.returns.failures.entry(location).or_default().note(now);
        let (failures, until) = self.returns.rests.entry(id.clone()).or_default();
        let rest = REST
            .saturating_mul(1 << (*failures).min(8))
            .min(LONGEST_REST);
        *failures += 1;
        *until = now.plus(rest);
        Some(*until)
    }

    /// Notes that a drain of the manager's own has emptied its machine.
    pub(super) fn drain_succeeded(&mut self, id: &InstanceId) {
        if let Some(instance) = self.ledger.instance(id) {
            self.returns.failures.remove(&instance.location);
        }
    }

    /// Why a machine in use is not returned, for people.
    pub(super) fn return_view(&self, instance: &Instance) -> Option<ReturnView> {
        if instance.state != InstanceState::Active {
            return None;
        }
        let kept = self.stays(&instance.id);
        let kept = kept.or_else(|| self.returns.kept.get(&instance.id).cloned());
        Some(kept.unwrap_or(Kept::Needed).view())
    }
}

#[cfg(test)]
mod tests;
