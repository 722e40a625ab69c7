//! Bounds on what agents report: each knows containers by their Swarm service, and may report only
//! about those on its own instance.

use super::Point;
use crate::control::Known;
use micado_api::{
    InstanceId,
    agent::{ContainerSample, is_id},
};
use std::collections::{BTreeMap, HashMap};

/// Upper bound for the name of a Swarm service.
pub(super) const LONGEST_NAME: usize = 63;
/// Upper bound for the containers of one Swarm service in a batch. It has one that runs, and those
/// that ended since the last sweep.
const MOST_OF_SERVICE: usize = 16;

/// Drops samples of services that are not placed on this instance, and those beyond the bound of
/// each service; of these, ended containers go first. So a batch is bounded by the number of
/// services that are placed there.
pub(super) fn admit(facts: &Known, instance: &InstanceId, samples: &mut Vec<ContainerSample>) {
    let is_ours = |service: &String| {
        let placed = facts.placed(service);
        placed.is_some_and(|placed| placed.instance == *instance)
    };
    samples.retain(|sample| is_id(&sample.id) && sample.service.as_ref().is_some_and(is_ours));
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

/// Renames the containers of a point from Swarm services to their own names. Two copies of a
/// container on one machine, which exist only for a moment, are represented by the larger one.
pub(super) fn renamed(facts: &Known, point: Point) -> Point {
    let mut containers = BTreeMap::new();
    for (service, figures) in point.containers {
        let Some(placed) = facts.placed(&service) else {
            continue;
        };
        let kept = containers
            .entry(placed.container.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::happening;
    use micado_api::agent::ContainerHappening::Started;

    #[test]
    fn a_batch_is_bounded_by_what_is_placed_on_its_machine() {
        let placed = [("i1", "web"), ("i1", "db"), ("i2", "other")];
        let placed =
            placed.map(|(instance, service)| happening(instance, service, 1, Started).placed);
        let services = placed.each_ref().map(|placed| placed.swarm_service.clone());
        let facts = Known::of(placed);
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
        admit(&facts, &InstanceId::trusted("i1"), &mut samples);
        assert_eq!(samples.len(), 2 * MOST_OF_SERVICE);
        assert!(samples[0].id == "running" && samples[1..].iter().all(|sample| sample.ended));
        assert!(
            samples
                .iter()
                .all(|sample| sample.service.as_ref() != Some(&services[2]))
        );
    }
}
