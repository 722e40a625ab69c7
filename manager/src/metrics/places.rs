//! Placements of Swarm services: container and instance of each. Agents know services by their
//! Swarm name, and may report only about those on their own instance.

use super::{EventRecord, Placed, Point};
use micado_api::{
    ContainerName, InstanceId, Timestamp,
    agent::{ContainerEvent, ContainerSample, is_id},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

/// Retention of a placement that has ended: its last metrics arrive a moment later, and may have
/// waited for the store.
const KEPT: Duration = Duration::from_secs(600);

/// Upper bound for remembered foreign names. Beyond it, unknown services count as foreign without a
/// query.
const MOST_STRANGERS: usize = 10_000;
pub(super) const LONGEST_NAME: usize = 63;
/// Upper bound for the containers of one Swarm service in a batch. It has one that runs, and those
/// that ended since the last sweep.
const MOST_OF_SERVICE: usize = 16;

/// Placements as last returned by the core.
#[derive(Debug, Default)]
pub(super) struct Places {
    services: HashMap<String, Place>,
    of: BTreeMap<ContainerName, Vec<String>>,
    /// Services that the core does not know.
    strangers: HashSet<String>,
    /// Placements before the start of this manager, from recorded events.
    remembered: Option<HashMap<String, Placed>>,
}

#[derive(Debug)]
struct Place {
    placed: Placed,
    /// Time at which the core last returned it.
    seen: Timestamp,
}

impl Places {
    /// Takes over present placements. Drops expired ones, unless events are waiting for their
    /// look-up.
    pub(super) fn settle(&mut self, now: Timestamp, copies: Vec<Placed>, events_wait: bool) {
        self.services.extend(
            copies
                .into_iter()
                .map(|placed| (placed.swarm_service.clone(), Place { placed, seen: now })),
        );
        self.services
            .retain(|_, place| events_wait || now.since(place.seen) <= KEPT);
        self.of.clear();
        for (service, place) in &self.services {
            self.of
                .entry(place.placed.container.clone())
                .or_default()
                .push(service.clone());
        }
    }

    /// Returns true if no query of the core is needed for these: each was known or foreign at the
    /// last one.
    pub(super) fn has_heard_of(&self, services: &[&str]) -> bool {
        let is_full = self.strangers.len() >= MOST_STRANGERS;
        services.iter().all(|it| {
            is_full
                || it.len() > LONGEST_NAME
                || self.services.contains_key(*it)
                || self.strangers.contains(*it)
        })
    }

    /// Marks the unknown ones of these as foreign.
    pub(super) fn note_strangers(&mut self, services: &[&str]) {
        for it in services
            .iter()
            .filter(|it| it.len() <= LONGEST_NAME && !self.services.contains_key(**it))
        {
            if self.strangers.len() < MOST_STRANGERS {
                self.strangers.insert((*it).to_owned());
            }
        }
    }

    /// Allows foreign services to be looked up again.
    pub(super) fn forget_strangers(&mut self) {
        self.strangers.clear();
    }

    /// Returns true once recorded events were read.
    pub(super) fn has_memory(&self) -> bool {
        self.remembered.is_some()
    }

    /// Takes over placements from recorded events, latest first: agents may still report about
    /// containers that the core does not know any more.
    pub(super) fn remember(&mut self, kept: Vec<EventRecord>) {
        let remembered = self.remembered.get_or_insert_default();
        for it in kept {
            remembered
                .entry(it.placed.swarm_service.clone())
                .or_insert(it.placed);
        }
    }

    fn is_on(&self, service: &str, instance: &InstanceId) -> bool {
        self.services
            .get(service)
            .is_some_and(|place| place.placed.instance == *instance)
    }

    /// Drops samples of services that are not placed on this instance, and those beyond the bound
    /// of each service; of these, ended containers go first. So a batch is bounded by the number
    /// of services that are placed there.
    pub(super) fn admit(&self, instance: &InstanceId, samples: &mut Vec<ContainerSample>) {
        samples.retain(|sample| {
            let is_ours = |service: &String| self.is_on(service, instance);
            is_id(&sample.id) && sample.service.as_ref().is_some_and(is_ours)
        });
        samples.sort_by_key(|sample| sample.ended);
        let mut counts: HashMap<String, usize> = HashMap::new();
        samples.retain(|sample| {
            let Some(service) = &sample.service else {
                return false;
            };
            let count = match counts.get_mut(service) {
                Some(count) => count,
                None => counts.entry(service.clone()).or_default(),
            };
            *count += 1;
            *count <= MOST_OF_SERVICE
        });
    }

    /// Converts an agent's event into a record; `None` if the agent may not report about that
    /// container, or if the id is no engine's.
    pub(super) fn happening(
        &self,
        instance: &InstanceId,
        event: &ContainerEvent,
    ) -> Option<EventRecord> {
        let service = event.service.as_ref()?;
        let known = self.services.get(service).map(|place| &place.placed);
        let placed = known
            .or_else(|| self.remembered.as_ref()?.get(service))
            .filter(|placed| placed.instance == *instance)?;
        is_id(&event.id).then(|| EventRecord::new(placed.clone(), event))
    }

    pub(super) fn of(&self, container: &ContainerName) -> &[String] {
        self.of.get(container).map_or(&[], Vec::as_slice)
    }

    /// Renames the containers of a point from Swarm services to their own names. Two copies of a
    /// container on one machine, which exist only for a moment, are represented by the larger one.
    pub(super) fn renamed(&self, point: Point) -> Point {
        let mut containers = BTreeMap::new();
        for (service, figures) in point.containers {
            let Some(place) = self.services.get(&service) else {
                continue;
            };
            let kept = containers
                .entry(place.placed.container.to_string())
                .or_insert(figures);
            if figures.memory > kept.memory {
                *kept = figures;
            }
        }
        Point {
            containers,
            ..point
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::happening;
    use micado_api::agent::ContainerHappening::{Died, Started};

    #[test]
    fn what_was_placed_is_known_for_a_while_and_as_long_as_events_of_it_may_wait() {
        let (mut places, kept) = (
            Places::default(),
            u64::try_from(KEPT.as_millis()).expect("minutes"),
        );
        let died = happening(
            "i1",
            "web",
            9,
            Died {
                exit_code: 1,
                oom: false,
            },
        );
        let is_known = |places: &Places| {
            places
                .happening(&died.placed.instance, &died.event())
                .is_some()
        };
        places.settle(Timestamp(0), vec![died.placed.clone()], false);
        places.settle(Timestamp(kept), vec![], false);
        assert!(is_known(&places));
        places.settle(Timestamp(3 * kept), vec![], true);
        assert!(is_known(&places), "the store was away");
        places.settle(Timestamp(3 * kept), vec![], false);
        assert!(!is_known(&places));
        places.remember(vec![happening("i1", "web", 1, Started)]);
        assert!(
            is_known(&places)
                && places
                    .happening(&InstanceId::trusted("i2"), &died.event())
                    .is_none()
        );
    }

    #[test]
    fn a_batch_is_bounded_by_what_is_placed_on_its_machine() {
        let mut places = Places::default();
        let died = |instance, service| happening(instance, service, 1, Started).placed;
        let placed = vec![died("i1", "web"), died("i1", "db"), died("i2", "other")];
        let services: Vec<String> = placed.iter().map(|it| it.swarm_service.clone()).collect();
        places.settle(Timestamp(0), placed, false);
        let sample = |id: String, service: &str, ended| ContainerSample {
            id,
            service: Some(service.to_owned()),
            ended,
            ..ContainerSample::default()
        };
        let mut samples: Vec<_> = (0..10_000)
            .map(|n| sample(format!("made{n}up"), &services[n % 3], true))
            .collect();
        samples.push(sample("running".to_owned(), &services[0], false));
        samples.push(sample("x".repeat(65), &services[0], false));
        samples.push(sample("\u{1b}[2J".to_owned(), &services[0], false));
        samples.push(sample("c".to_owned(), "c-of-nobody", false));
        places.admit(&InstanceId::trusted("i1"), &mut samples);
        assert_eq!(samples.len(), 2 * MOST_OF_SERVICE);
        assert!(samples[0].id == "running" && samples[1..].iter().all(|sample| sample.ended));
        assert!(
            samples
                .iter()
                .all(|sample| sample.service.as_ref() != Some(&services[2]))
        );
    }

    #[test]
    fn the_memory_for_strangers_is_bounded() {
        let mut places = Places::default();
        assert!(!places.has_heard_of(&["c-new"]));
        let names: Vec<String> = (0..2 * MOST_STRANGERS)
            .map(|n| format!("c-{n}"))
            .chain(["x".repeat(LONGEST_NAME + 1)])
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(
            places.has_heard_of(&names[2 * MOST_STRANGERS..]),
            "no Swarm service is called so"
        );
        places.note_strangers(&names);
        assert_eq!(places.strangers.len(), MOST_STRANGERS);
        assert!(
            places.has_heard_of(&names) && places.has_heard_of(&["c-new"]),
            "there is no room to ask for more"
        );
        places.forget_strangers();
        assert!(!places.has_heard_of(&["c-new"]), "the next turn");
    }
}
