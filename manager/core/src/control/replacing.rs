//! A machine in the place of a dearer one: it is rented first, and the old one is drained once the
//! new one has joined.

use super::{
    Core,
    kept::Kept,
    owner::{Known, Owner},
    spare::{Question, Shares},
};
use crate::{
    model::Instance,
    planner::{Limits, Node, Offer, Readiness},
};
use micado_api::{
    CloudName, FlavourName, InstanceId, InstanceState, Location, PricePerHour, Resources, Tag,
    Timestamp,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Upper bound for the price of the new machine, in hundredths of the old one's.
const MOST_OF_PRICE: u64 = 95;

/// Machines whose containers are planned anew in one check, the dearest first.
const LOOKED_AT: usize = 20;

/// Time within which a replacement must have earned twice what it costs.
const HORIZON: Duration = Duration::from_secs(30 * 60);

/// Time for which both machines are paid while containers move, and cost of the moves as time of
/// the old machine.
const OVERLAP: Duration = Duration::from_secs(30 + 60);

/// Lower bound for the time between two looks that find the same replacement.
const APART: Duration = Duration::from_secs(15);

/// Time from its join after which a machine has missed its purpose, and is one like others.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Time for which a machine is not replaced again after it was; doubles with each time.
const REST: Duration = Duration::from_secs(3600);
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// A replacement that was found, and when for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    old: InstanceId,
    cloud: CloudName,
    flavour: FlavourName,
    since: Timestamp,
}

impl Found {
    fn what(&self) -> (&InstanceId, &CloudName, &FlavourName) {
        (&self.old, &self.cloud, &self.flavour)
    }
}

/// Notes about replacements.
#[derive(Debug, Clone, Default)]
pub(super) struct Replacing {
    /// The last that was found at each location.
    found: BTreeMap<Location, Found>,
    /// Machines in whose place others were rented: how often, and until when they are left alone.
    tried: BTreeMap<InstanceId, (u32, Timestamp)>,
}

impl Owner for Replacing {
    fn lost_sight(&mut self) {
        self.found.clear();
    }
    fn prune(&mut self, known: &Known<'_>) {
        let live = |id: &InstanceId| known.ledger.instance(id).is_some_and(Instance::is_live);
        self.tried.retain(|id, _| live(id));
    }
}

impl Replacing {
    /// Notes that another machine is rented in the place of this one, which may fail.
    fn tries(&mut self, id: &InstanceId, now: Timestamp) {
        let (times, until) = self.tried.entry(id.clone()).or_default();
        let rest = REST.saturating_mul(1 << (*times).min(8)).min(LONGEST_REST);
        (*times, *until) = (*times + 1, now.plus(rest));
    }

    fn rests(&self, id: &InstanceId, now: Timestamp) -> bool {
        self.tried.get(id).is_some_and(|(_, until)| *until > now)
    }
}

/// A machine to rent in the place of another.
struct Replacement {
    old: InstanceId,
    offer: Offer,
    /// Fall of the price per hour.
    saved: PricePerHour,
}

impl Core {
    /// Rents a machine in the place of a dearer one of a location, once the same has been found
    /// twice.
    pub(super) fn replace_dear(&mut self, location: &Location) {
        let before = self.replacing.found.remove(location);
        let Some(Replacement { old, offer, saved }) = self.replacement(location) else {
            return;
        };
        let mut found = Found {
            old: old.clone(),
            cloud: offer.cloud.clone(),
            flavour: offer.flavour.clone(),
            since: self.now,
        };
        let same = before.filter(|before| before.what() == found.what());
        found.since = same.map_or(self.now, |before| before.since);
        let due = found.since.plus(APART);
        if self.now < due {
            self.replacing.found.insert(location.clone(), found);
            return self.wake(due);
        }
        let tag = self.tag_of(&old);
        let reason = format!(
            "it takes the place of {tag}, whose containers fit there, for {saved} per hour less"
        );
        let (cloud, flavour) = (&offer.cloud, &offer.flavour);
        if let Some(id) = self.rent(cloud, flavour, location.clone(), &[], &reason) {
            let kept = Kept::Replaced {
                by: self.tag_of(&id),
            };
            self.returns.kept.insert(old.clone(), kept);
            self.replacing.tries(&old, self.now);
            self.ledger
                .edit_instance(&id, |instance| instance.replaces = Some(old));
        }
    }

    /// The first replacement at a location that pays, if nothing changes there.
    fn replacement(&mut self, location: &Location) -> Option<Replacement> {
        if !self.is_quiet(location) || !self.replaced(location).is_empty() {
            return None;
        }
        let active = self.in_location(InstanceState::Active, location);
        let mut ids: Vec<InstanceId> = active.map(|instance| instance.id.clone()).collect();
        let shares = self.shares(&ids);
        ids.sort_by_cached_key(|id| {
            let instance = self.ledger.instance(id);
            instance.map(|it| (Reverse(it.price), it.created_at))
        });
        let offers = self.offers();
        let mut looks = 0;
        for id in ids {
            let cheaper = self.cheaper_for(&id, &offers);
            let rests = self.replacing.rests(&id, self.now);
            if cheaper.is_empty() || rests || self.stays(&id).is_some() {
                continue;
            }
            looks += 1;
            if looks > LOOKED_AT {
                return None;
            }
            if let Some(replacement) = self.replacement_of(&id, &cheaper, &shares) {
                return Some(replacement);
            }
        }
        None
    }

    /// Returns true if no machine of a location comes or goes, and no container waits there.
    fn is_quiet(&self, location: &Location) -> bool {
        use InstanceState::{Booting, Draining, Requested, Stopping, Submitted};
        let moving = [Requested, Submitted, Booting, Draining, Stopping];
        let mut moving = moving.into_iter();
        moving.all(|state| self.in_location(state, location).next().is_none())
            && !self.waits_at(location)
            && self.sick(location).is_none()
    }

    /// Offers that can be had, cost less than a machine with containers, and hold all of them: the
    /// cheapest first.
    fn cheaper_for(&self, id: &InstanceId, offers: &[Offer]) -> Vec<Offer> {
        let instance = self.ledger.instance(id);
        let Some((instance, node)) = instance.zip(self.placing.pool.node(id)) else {
            return Vec::new();
        };
        let offers = offers.iter().filter(|offer| {
            offer.unavailable.is_none()
                && offer.price.0 * 100 <= instance.price.0 * MOST_OF_PRICE
                && node.reserved.fits_in(&offer.capacity())
        });
        let offers = offers.filter(|_| node.containers > 0 && instance.price.0 > 0);
        let mut cheaper: Vec<Offer> = offers.cloned().collect();
        cheaper.sort_by_key(|offer| offer.price);
        cheaper
    }

    /// One of these offers in the place of a machine, if all that it holds fits there and on the
    /// others, and that pays.
    fn replacement_of(
        &mut self,
        id: &InstanceId,
        cheaper: &[Offer],
        shares: &Shares,
    ) -> Option<Replacement> {
        let instance = self.ledger.instance(id)?;
        let (location, price) = (instance.location.clone(), instance.price);
        let containers = self.containers_at(id);
        let paid_until = self.paid_until(id, containers);
        let cost = |price: PricePerHour, time: Duration| price.0 as f64 * time.as_secs_f64();
        for offer in cheaper {
            let saved = PricePerHour(price.0 - offer.price.0);
            let boot = self.boot_of(&offer.cloud, &offer.flavour);
            let costs = 2.0 * (cost(offer.price, boot) + cost(price, OVERLAP));
            // Nothing is saved in a period that is paid already.
            let is_free = paid_until.is_none_or(|until| until <= self.now.plus(boot + OVERLAP));
            let pays = cost(saved, HORIZON) >= costs && is_free;
            if pays
                && shares.are_worth(saved, containers)
                && self.affords(offer, &location)
                && self.is_spare_with(id, offer, &location)
            {
                return Some(Replacement {
                    old: id.clone(),
                    offer: offer.clone(),
                    saved,
                });
            }
        }
        None
    }

    fn affords(&self, offer: &Offer, location: &Location) -> bool {
        let bounds = self.config.setup.bounds(location);
        let here = bounds.map(|bounds| self.limits_at(bounds));
        let allows = |limits: &Limits| limits.allow(1, offer.price.0);
        allows(&self.limits()) && here.is_none_or(|here| allows(&here))
    }

    /// Returns true if nothing would need a machine beside a new one of this offer.
    fn is_spare_with(&mut self, id: &InstanceId, offer: &Offer, location: &Location) -> bool {
        let new = InstanceId::trusted("new");
        self.placing.pool.put(Node {
            instance: new.clone(),
            tag: Tag::trusted("new"),
            location: location.clone(),
            readiness: Readiness::Ready,
            platform: offer.platform.clone(),
            size: offer.size,
            reserve: offer.reserve,
            reserved: Resources::default(),
            containers: 0,
            ports: BTreeSet::new(),
            volumes: BTreeSet::new(),
            services: BTreeMap::new(),
        });
        let mut question = Question::default();
        self.ask_about(&mut question, id.clone());
        let spare = !self.spare_of(&mut question, location).is_empty();
        self.placing.pool.remove(&new);
        spare
    }

    /// Machines of a location whose place another takes, which is there or on its way.
    pub(super) fn replaced(&self, location: &Location) -> BTreeMap<InstanceId, InstanceId> {
        let live = self.ledger.index.live().iter();
        let live = live.filter_map(|id| self.ledger.instance(id));
        let here = live.filter(|it| it.location == *location && self.takes_a_place(it));
        let pairs = here.filter_map(|new| Some((new.replaces.clone()?, new.id.clone())));
        let stands = |old: &InstanceId| {
            let old = self.ledger.instance(old);
            old.is_some_and(|old| {
                matches!(old.state, InstanceState::Active | InstanceState::Draining)
            })
        };
        pairs.filter(|(old, _)| stands(old)).collect()
    }

    /// Returns true while a machine may still take the place that it was rented for.
    fn takes_a_place(&self, new: &Instance) -> bool {
        let in_time = |joined: Timestamp| self.now < joined.plus(PATIENCE);
        new.replaces.is_some() && new.accepts_work() && new.joined_at.is_none_or(in_time)
    }
}

#[cfg(test)]
mod tests;
