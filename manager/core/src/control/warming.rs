//! Learned times of images: from the order of a copy until it runs, and until it is warm.

use super::{Core, index::Build};
use crate::{
    model::{CopyTimes, Service},
    scaling::{Learned, Span, lead},
};
use ahash::HashMap;
use micado_api::{ServiceName, Timestamp};
use std::collections::BTreeMap;

/// Warm-up of an image that none was measured of.
const WARM_UP: Span = Span::seconds(30);

/// Start of an image that none was measured of.
const START: Span = Span::seconds(5);

/// Times of all builds that were measured since the start of the manager. A record is written only
/// after a change that matters.
#[derive(Debug, Clone, Default)]
pub(super) struct Warming {
    builds: BTreeMap<Build, CopyTimes>,
    /// Orders of Swarm services whose copies do not run yet.
    ordered: HashMap<String, Timestamp>,
}

impl Warming {
    pub(super) fn ordered(&mut self, swarm_name: &str, now: Timestamp) {
        self.ordered.entry(swarm_name.to_owned()).or_insert(now);
    }

    /// Drops orders without a copy, and builds without an image.
    pub(super) fn retain(
        &mut self,
        is_known: impl Fn(&str) -> bool,
        has_image: impl Fn(&str) -> bool,
    ) {
        self.ordered.retain(|name, _| is_known(name));
        self.builds.retain(|(image, _), _| has_image(image));
    }
}

impl Core {
    /// Age from which on the use of a copy is no start-up work any more.
    pub(super) fn warm_up_of(&self, service: &ServiceName) -> Span {
        self.learned_time(service, WARM_UP, |times| &times.warm_ups)
    }

    /// Time from a decision until one more copy is warm, on a machine that must be rented.
    pub(super) fn lead_of(&self, service: &ServiceName) -> Span {
        let record = self.ledger.service(service);
        let boot = record.map(|record| self.boot_for(record.spec.reservation));
        let start = self.learned_time(service, START, |times| &times.starts);
        lead(boot, start, self.warm_up_of(service))
    }

    /// Time of the digest that a service runs; of the one before it while none is measured.
    fn learned_time(
        &self,
        service: &ServiceName,
        default: Span,
        times: impl Fn(&CopyTimes) -> &Learned,
    ) -> Span {
        let service = self.ledger.service(service);
        let image = service.and_then(|service| self.ledger.images.get(&service.spec.image));
        let builds = image
            .into_iter()
            .flat_map(|image| image.learned.iter().rev());
        let mut learned = builds.map(|build| times(&build.times));
        let known = learned.find(|times| !times.is_empty());
        known.map_or(default, |times| times.value(default))
    }

    /// A copy runs for the first time: learns from its start if this manager ordered it.
    pub(super) fn copy_started(&mut self, service: &ServiceName, swarm_name: &str) {
        if let Some(at) = self.learning.warming.ordered.remove(swarm_name) {
            let took = Span(self.now.0.saturating_sub(at.0));
            self.learn_time(service, took, START, |times| &mut times.starts);
        }
    }

    /// Learns from the warm-ups of copies.
    pub(super) fn learn_warm_ups(&mut self, service: &ServiceName, warm_ups: &[Span]) {
        for took in warm_ups {
            self.learn_time(service, *took, WARM_UP, |times| &mut times.warm_ups);
        }
    }

    fn learn_time(
        &mut self,
        service: &ServiceName,
        took: Span,
        default: Span,
        times: impl Fn(&mut CopyTimes) -> &mut Learned,
    ) {
        let Some(build) = self.ledger.service(service).and_then(build_of) else {
            return;
        };
        let image = self.ledger.images.get(&build.0);
        let Some(written) = image.and_then(|image| image.learned_of(&build.1)) else {
            return;
        };
        let is_first = times(&mut written.times.clone()).is_empty();
        let builds = &mut self.learning.warming.builds;
        let measured = builds.entry(build.clone());
        let measured = measured.or_insert_with(|| written.times.clone());
        let is_news = times(measured).add(took, default);
        if !is_first && !is_news {
            return;
        }
        let measured = measured.clone();
        if let Some(image) = self.ledger.images.edit(&build.0) {
            image.took(&build.1, measured);
        }
        self.tallies.changed(service);
    }
}

fn build_of(service: &Service) -> Option<Build> {
    let digest = super::images::digest(service.pull.as_deref()?)?;
    Some((service.spec.image.clone(), digest.to_owned()))
}
