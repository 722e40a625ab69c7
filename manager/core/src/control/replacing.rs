//! A machine in the place of a dearer one, or of several: it is rented first, and the old ones are
//! drained once the new one has joined.

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
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// Upper bound for the price of the new machine, in hundredths of what the old ones cost.
const MOST_OF_PRICE: u64 = 95;

/// Machines whose containers are planned anew in one check, the dearest first.
const LOOKED_AT: usize = 20;

/// Most machines in whose place one is rented.
const TOGETHER: usize = 10;

/// Time within which a replacement must have earned twice what it costs.
const HORIZON: Duration = Duration::from_secs(30 * 60);

/// Time for which both machines are paid while containers move, and cost of the moves as time of
/// the old machines.
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
    olds: Vec<InstanceId>,
    cloud: CloudName,
    flavour: FlavourName,
    since: Timestamp,
}

impl Found {
    fn what(&self) -> (&[InstanceId], &CloudName, &FlavourName) {
        (&self.olds, &self.cloud, &self.flavour)
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

/// A machine to rent in the place of others.
struct Replacement {
    olds: Vec<InstanceId>,
    offer: Offer,
    /// Fall of the price per hour.
    saved: PricePerHour,
}

impl Core {
    /// Rents a machine in the place of a dearer one of a location, or of several that cost more
    /// together, once the same has been found twice.
    pub(super) fn replace_dear(&mut self, location: &Location) {
        let before = self.replacing.found.remove(location);
        let Some(Replacement { olds, offer, saved }) = self.replacement(location) else {
            return;
        };
        let mut found = Found {
            olds: olds.clone(),
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
        let tags = olds.iter().map(|id| self.tag_of(id));
        let tags = Tags(tags.collect());
        let reason = format!(
            "it takes the place of {tags}, whose containers fit there, for {saved} per hour less"
        );
        let (cloud, flavour) = (&offer.cloud, &offer.flavour);
        if let Some(id) = self.rent(cloud, flavour, location.clone(), &[], &reason) {
            let by = self.tag_of(&id);
            for old in &olds {
                let kept = Kept::Replaced { by: by.clone() };
                self.returns.kept.insert(old.clone(), kept);
                self.replacing.tries(old, self.now);
            }
            self.ledger
                .edit_instance(&id, |instance| instance.replaces = olds);
        }
    }

    /// The first replacement at a location that pays, if nothing changes there: of one machine, the
    /// dearest first, or else of several.
    fn replacement(&mut self, location: &Location) -> Option<Replacement> {
        if !self.is_quiet(location) || !self.replaced(location).is_empty() {
            return None;
        }
        let active = self.in_location(InstanceState::Active, location);
        let ids: Vec<InstanceId> = active.map(|instance| instance.id.clone()).collect();
        let shares = self.shares(&ids);
        let may_go = |id: &InstanceId| {
            let rests = self.replacing.rests(id, self.now);
            self.containers_at(id) > 0 && !rests && self.stays(id).is_none()
        };
        let mut ids: Vec<InstanceId> = ids.into_iter().filter(may_go).collect();
        ids.sort_by_cached_key(|id| {
            let instance = self.ledger.instance(id);
            instance.map(|it| (Reverse(it.price), it.created_at))
        });
        let offers = self.offers();
        let mut looks = 0;
        for id in &ids {
            let one = std::slice::from_ref(id);
            let cheaper = self.cheaper_for(one, &offers);
            if cheaper.is_empty() {
                continue;
            }
            looks += 1;
            if looks > LOOKED_AT {
                break;
            }
            let mut replacements = cheaper.iter();
            let first = replacements.find_map(|offer| self.replacement_of(one, offer, &shares));
            if first.is_some() {
                return first;
            }
        }
        ids.sort_by_cached_key(|id| self.containers_at(id));
        ids.truncate(TOGETHER);
        self.joint(&ids, &offers, &shares)
    }

    /// One machine in the place of at least two of these, the one that saves most. Those with the
    /// fewest containers come first.
    fn joint(
        &mut self,
        ids: &[InstanceId],
        offers: &[Offer],
        shares: &Shares,
    ) -> Option<Replacement> {
        let mut best: Option<Replacement> = None;
        for offer in offers.iter().filter(|offer| offer.unavailable.is_none()) {
            let fits = |count: &usize| self.reserved_on(&ids[..*count]).fits_in(&offer.capacity());
            let Some(most) = (2..=ids.len()).rev().find(fits) else {
                continue;
            };
            let found = (2..=most)
                .rev()
                .find_map(|count| self.replacement_of(&ids[..count], offer, shares));
            let saved = best.as_ref().map(|best| best.saved);
            best = found.filter(|new| saved < Some(new.saved)).or(best);
        }
        best
    }

    /// Sum of what is reserved on some machines.
    fn reserved_on(&self, ids: &[InstanceId]) -> Resources {
        let nodes = ids.iter().filter_map(|id| self.placing.pool.node(id));
        nodes.fold(Resources::default(), |sum, node| sum + node.reserved)
    }

    /// Sum of the prices of some machines.
    fn price_of(&self, ids: &[InstanceId]) -> PricePerHour {
        let instances = ids.iter().filter_map(|id| self.ledger.instance(id));
        PricePerHour(instances.map(|instance| instance.price.0).sum())
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

    /// Offers that can be had, cost less than some machines together, and hold all that runs there:
    /// the cheapest first.
    fn cheaper_for(&self, ids: &[InstanceId], offers: &[Offer]) -> Vec<Offer> {
        let (price, reserved) = (self.price_of(ids), self.reserved_on(ids));
        let offers = offers.iter().filter(|offer| {
            offer.unavailable.is_none()
                && price.0 > 0
                && offer.price.0 * 100 <= price.0 * MOST_OF_PRICE
                && reserved.fits_in(&offer.capacity())
        });
        let mut cheaper: Vec<Offer> = offers.cloned().collect();
        cheaper.sort_by_key(|offer| offer.price);
        cheaper
    }

    /// An offer in the place of those of some machines whose containers fit there and on the others,
    /// if that pays.
    fn replacement_of(
        &mut self,
        ids: &[InstanceId],
        offer: &Offer,
        shares: &Shares,
    ) -> Option<Replacement> {
        let cost = |price: PricePerHour, time: Duration| price.0 as f64 * time.as_secs_f64();
        let boot = self.boot_of(&offer.cloud, &offer.flavour);
        let saved_by = |price: PricePerHour| {
            let saved = PricePerHour(price.0.saturating_sub(offer.price.0));
            let costs = 2.0 * (cost(offer.price, boot) + cost(price, OVERLAP));
            let pays =
                offer.price.0 * 100 <= price.0 * MOST_OF_PRICE && cost(saved, HORIZON) >= costs;
            pays.then_some(saved)
        };
        // All of them save the most: the planner is asked only if that would pay.
        saved_by(self.price_of(ids))?;
        let location = self.ledger.instance(ids.first()?)?.location.clone();
        let olds = self.spare_with(ids, offer, &location);
        let saved = saved_by(self.price_of(&olds))?;
        // Nothing is saved in a period that is paid already.
        let free_at = self.now.plus(boot + OVERLAP);
        let is_free = |id: &InstanceId| {
            let paid_until = self.paid_until(id, self.containers_at(id));
            paid_until.is_none_or(|until| until <= free_at)
        };
        let containers = olds.iter().map(|id| self.containers_at(id)).sum();
        let pays = olds.iter().all(is_free)
            && shares.are_worth(saved, olds.len(), containers)
            && self.keeps_minimum(olds.len(), &location)
            && self.affords(offer, &location);
        pays.then(|| Replacement {
            olds,
            offer: offer.clone(),
            saved,
        })
    }

    /// Returns true if a location has its minimum of machines with one in the place of so many.
    fn keeps_minimum(&self, count: usize, location: &Location) -> bool {
        let bounds = self.config.setup.bounds(location);
        let least = bounds.map_or(0, |bounds| bounds.min_machines);
        let standing = self.standing(location) as usize;
        count == 1 || (standing + 1).saturating_sub(count) >= least as usize
    }

    fn affords(&self, offer: &Offer, location: &Location) -> bool {
        let bounds = self.config.setup.bounds(location);
        let here = bounds.map(|bounds| self.limits_at(bounds));
        let allows = |limits: &Limits| limits.allow(1, offer.price.0);
        allows(&self.limits()) && here.is_none_or(|here| allows(&here))
    }

    /// Returns those of some machines that nothing would need, all together, beside a new one of this
    /// offer.
    fn spare_with(
        &mut self,
        ids: &[InstanceId],
        offer: &Offer,
        location: &Location,
    ) -> Vec<InstanceId> {
        let new = InstanceId::trusted("new");
        self.placing.pool.put(Node {
            instance: new.clone(),
            tag: Tag::trusted("new"),
            location: location.clone(),
            readiness: Readiness::Ready,
            exhausted: None,
            platform: offer.platform.clone(),
            size: offer.size,
            reserve: offer.reserve,
            reserved: Resources::default(),
            containers: 0,
            published: 0,
            ports: BTreeSet::new(),
            volumes: BTreeSet::new(),
            services: BTreeMap::new(),
        });
        let mut question = Question::default();
        for id in ids {
            self.ask_about(&mut question, id.clone());
        }
        let spare = self.spare_of(&mut question, location, ids);
        self.placing.pool.remove(&new);
        spare.into_iter().map(|at| ids[at].clone()).collect()
    }

    /// Machines of a location whose place another takes, which is there or on its way.
    pub(super) fn replaced(&self, location: &Location) -> BTreeMap<InstanceId, InstanceId> {
        let live = self.ledger.index.live().iter();
        let live = live.filter_map(|id| self.ledger.instance(id));
        let here = live.filter(|it| it.location == *location && self.takes_a_place(it));
        let pairs = here.flat_map(|new| {
            let olds = new.replaces.iter().cloned();
            olds.map(|old| (old, new.id.clone()))
        });
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
        !new.replaces.is_empty() && new.accepts_work() && new.joined_at.is_none_or(in_time)
    }
}

/// Tags of machines, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tags(pub Vec<Tag>);

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else {
            return Ok(());
        };
        for (at, tag) in others.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{tag}")?;
        }
        let and = if others.is_empty() { "" } else { " and " };
        write!(f, "{and}{last}")
    }
}

#[cfg(test)]
mod tests;
