//! The panic rule: if checks would take more than half of a service's copies out of the catalogue,
//! those that were healthy last stay in it, up to half of all.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::model::{Container, Copy, Phase};
use micado_api::{ContainerName, ContainerState, HealthState, ServiceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Services with unhealthy copies.
#[derive(Debug, Clone, Default)]
pub(super) struct Panicking {
    /// Containers with an unhealthy copy.
    unhealthy: BTreeMap<ServiceName, BTreeSet<ContainerName>>,
    /// Swarm services of unhealthy copies that stay in the catalogue.
    kept: BTreeMap<ServiceName, BTreeSet<String>>,
}

impl Owner for Panicking {
    fn prune(&mut self, known: &Known<'_>) {
        let there = |name: &ServiceName| known.ledger.service(name).is_some();
        self.unhealthy.retain(|name, _| there(name));
        self.kept.retain(|name, _| there(name));
    }
}

impl Core {
    /// Applies the rule to the services of these containers, and marks what may be restarted now.
    /// Returns the containers whose copies stay in the catalogue from now on, or do not any more.
    pub(super) fn apply_panic_rule(
        &mut self,
        visited: &BTreeSet<ContainerName>,
    ) -> BTreeSet<ContainerName> {
        let mut services = BTreeSet::new();
        for name in visited {
            let container = self.ledger.container(name);
            let Some(container) = container.filter(|it| is_of_interest(it)) else {
                if !self.panicking.unhealthy.is_empty() {
                    self.panicking.forget(name, &mut services);
                }
                continue;
            };
            let service = container.service.clone();
            let is_unhealthy = container.copies.iter().any(is_unhealthy);
            let known = self.panicking.unhealthy.entry(service.clone()).or_default();
            match is_unhealthy {
                true => known.insert(name.clone()),
                false => known.remove(name),
            };
            services.insert(service);
        }
        let mut changed = BTreeSet::new();
        for service in services {
            self.judge(&service, &mut changed);
            self.mark_restarts(&service);
        }
        changed
    }

    /// Chooses the unhealthy copies of a service that stay.
    fn judge(&mut self, service: &ServiceName, changed: &mut BTreeSet<ContainerName>) {
        let unhealthy = self.panicking.unhealthy.get(service);
        let kept = match unhealthy.is_none_or(BTreeSet::is_empty) {
            true => {
                self.panicking.unhealthy.remove(service);
                None
            }
            false => {
                let copies = self.routable(service);
                let copies = copies
                    .into_iter()
                    .map(|(copy, since)| (copy.is_fit(), since, copy.swarm_name.as_str()));
                Some(kept(&copies.collect::<Vec<_>>()))
            }
        };
        let (all, out, kept) = kept.unwrap_or_default();
        let before = match kept.is_empty() {
            true => self.panicking.kept.remove(service),
            false => self.panicking.kept.insert(service.clone(), kept.clone()),
        };
        let before = before.unwrap_or_default();
        let unhealthy = self.panicking.unhealthy.get(service);
        let mut concerned: BTreeSet<ContainerName> = unhealthy.cloned().unwrap_or_default();
        for name in before.symmetric_difference(&kept) {
            let container = self.ledger.index.by_swarm_name(name).cloned();
            concerned.extend(container.clone());
            changed.extend(container);
        }
        let text = match (before.is_empty(), kept.is_empty()) {
            (true, false) => format!(
                "panic rule: health checks would take {out} of {all} copies out of the catalogue; {} that were healthy last stay",
                kept.len()
            ),
            (false, true) => {
                "panic rule over: health checks decide again which copies are in the catalogue"
                    .to_owned()
            }
            _ => return,
        };
        if self.ledger.service(service).is_some() {
            self.decide_growth(service, text, concerned.into_iter().collect());
        }
    }

    /// Copies of a service that would be in the catalogue without checks, and that were healthy
    /// once, with the time of their verdict.
    pub(super) fn routable(&self, service: &ServiceName) -> Vec<(&Copy, Timestamp)> {
        let Some(observed) = &self.observed else {
            return Vec::new();
        };
        let names = self.ledger.index.of_service(service);
        let containers = names.filter_map(|name| self.ledger.container(name));
        let wanted = containers.filter(|container| container.wants_room());
        let copies = wanted.flat_map(|container| {
            let copies = container.copies.iter();
            copies.map(move |copy| (container, copy))
        });
        // One that died a moment ago is out, whatever its check says.
        let runs = |container: &Container, copy: &Copy| {
            let state = || self.task_state(observed, container, copy).0;
            copy.phase == Phase::Serving
                && self.copy_runs(copy)
                && matches!(state(), ContainerState::Running | ContainerState::Unhealthy)
        };
        let running = copies.filter(|(container, copy)| runs(container, copy));
        let judged = running.filter_map(|(_, copy)| {
            let health = copy.health.as_ref();
            let since = health.map_or(Timestamp(0), |health| health.since);
            let starts = health.is_some_and(|health| health.state == HealthState::Starting);
            (!starts).then_some((copy, since))
        });
        judged.collect()
    }

    /// Returns true if a copy stays in the catalogue although it is unhealthy.
    pub(super) fn is_kept_routed(&self, service: &ServiceName, copy: &Copy) -> bool {
        let kept = self.panicking.kept.get(service);
        kept.is_some_and(|kept| kept.contains(&copy.swarm_name))
    }
}

impl Panicking {
    /// Containers of a service with an unhealthy copy.
    pub(super) fn unhealthy_of(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = &ContainerName> {
        self.unhealthy.get(service).into_iter().flatten()
    }

    /// Forgets a container that has no checked copy any more.
    fn forget(&mut self, name: &ContainerName, services: &mut BTreeSet<ServiceName>) {
        let service = name.as_str().rsplit_once('.');
        let service = service.map(|(service, _)| ServiceName::trusted(service));
        if let Some(service) = service
            && let Some(known) = self.unhealthy.get_mut(&service)
        {
            known.remove(name);
            services.insert(service);
        }
    }
}

fn is_of_interest(container: &Container) -> bool {
    container.copies.iter().any(|copy| copy.health.is_some())
}

fn is_unhealthy(copy: &Copy) -> bool {
    let health = copy.health.as_ref();
    copy.is_live() && health.is_some_and(|health| health.state == HealthState::Unhealthy)
}

/// Chooses among copies, each with true if it is healthy, the time of its verdict and its name:
/// their number, how many are unhealthy, and those of them that stay. Of equals the first stay.
fn kept(copies: &[(bool, Timestamp, &str)]) -> (usize, usize, BTreeSet<String>) {
    let mut unhealthy: Vec<_> = copies.iter().filter(|(healthy, ..)| !healthy).collect();
    let (all, out) = (copies.len(), unhealthy.len());
    if out * 2 <= all {
        return (all, out, BTreeSet::new());
    }
    unhealthy.sort_by_key(|(_, since, name)| (std::cmp::Reverse(*since), *name));
    let stay = all.div_ceil(2).saturating_sub(all - out);
    let kept = unhealthy.into_iter().take(stay);
    (
        all,
        out,
        kept.map(|(.., name)| (*name).to_owned()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(copies: &[(bool, u64, &str)]) -> Vec<String> {
        let copies: Vec<_> = copies
            .iter()
            .map(|(healthy, since, name)| (*healthy, Timestamp(*since), *name))
            .collect();
        kept(&copies).2.into_iter().collect()
    }

    #[test]
    fn the_half_that_was_healthy_last_stays() {
        let none: [&str; 0] = [];
        assert_eq!(names(&[]), none);
        assert_eq!(names(&[(true, 1, "a")]), none);
        assert_eq!(
            names(&[(false, 1, "a")]),
            ["a"],
            "one of one is more than half"
        );
        assert_eq!(
            names(&[(true, 1, "a"), (false, 2, "b")]),
            none,
            "half is not more"
        );
        assert_eq!(names(&[(false, 1, "a"), (false, 2, "b")]), ["b"]);
        assert_eq!(names(&[(false, 2, "a"), (false, 2, "b")]), ["a"]);
        let three = [(false, 1, "a"), (false, 2, "b"), (true, 9, "c")];
        assert_eq!(names(&three), ["b"]);
        let five =
            [1, 2, 3, 4, 5].map(|at| (false, at, ["a", "b", "c", "d", "e"][at as usize - 1]));
        assert_eq!(names(&five), ["c", "d", "e"]);
    }

    #[test]
    fn at_least_half_is_always_routed() {
        for all in 0..9_usize {
            for unhealthy in 0..=all {
                let copies: Vec<_> = (0..all)
                    .map(|at| (at >= unhealthy, at as u64, "abcdefghi".split_at(at).1))
                    .collect();
                let stay = names(&copies).len();
                let routed = all - unhealthy + stay;
                assert!(routed * 2 >= all, "{routed} of {all}");
                assert!(
                    stay == 0 || (routed - 1) * 2 < all,
                    "no more than half: {routed} of {all}"
                );
            }
        }
    }
}
