//! Room that locations keep free for containers to come, and machines that they have at the least.
//! Placeholders are planned after all containers: they rent what is missing, and nothing of them is
//! recorded, so that a container takes their room at once.

use super::{Core, draining::Cancelled, promised::Growth};
use crate::planner::{Offer, Pool, Step, Waiting};
use micado_api::{
    AntiAffinity, CloudName, ContainerName, FlavourName, HeadroomView, InstanceId, InstanceState,
    Location, LocationView, MemoryBytes, NanoCpus, Resources, ServiceName, Tag,
};
use micado_cloudsetup::{Bounds, Headroom};
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound for the placeholders of a location.
const MOST: u32 = 1_000;

/// Placeholders of each location, as the last plan found them.
pub(super) type Found = BTreeMap<Location, Placeholders>;

/// Placeholders of a location, by where they have room.
#[derive(Debug, Clone, Default)]
pub(super) struct Placeholders {
    /// On machines that run.
    ready: u32,
    /// On machines that are on their way.
    coming: u32,
    missing: u32,
    /// Cause for which some are missing.
    reason: Option<String>,
}

impl Core {
    /// Returns true if some location keeps room or machines, so that a change of the pool may call
    /// for a plan although nothing waits.
    pub(super) fn keeps_room(&self) -> bool {
        let mut bounds = self.config.setup.locations.iter();
        bounds.any(|bounds| bounds.headroom.is_some() || bounds.min_machines > 0)
    }

    /// Finds room for the placeholders of all locations, and rents machines where there is none or
    /// where there are fewer than the minimum; nothing is rented with `look_only`, or where a
    /// container waits. Containers are on the pool already: they take room that is there although it
    /// was kept free.
    pub(super) fn plan_room(&mut self, waits: &BTreeSet<Location>, look_only: bool) {
        for bounds in self.config.setup.locations.clone() {
            let may_rent = !look_only && !waits.contains(&bounds.location);
            if let Some(asked) = &bounds.headroom {
                let found = self.plan_headroom(&bounds, asked, may_rent);
                self.headroom.insert(bounds.location.clone(), found);
            }
            if may_rent && bounds.min_machines > 0 {
                self.rent_minimum(&bounds);
            }
        }
    }

    fn plan_headroom(&mut self, bounds: &Bounds, asked: &Headroom, may_rent: bool) -> Placeholders {
        let mut found = Placeholders::default();
        let (sample, count) = match self.placeholder(bounds) {
            Ok(placeholder) => placeholder,
            Err(reason) => {
                (found.missing, found.reason) = (1, Some(reason));
                return found;
            }
        };
        let all = vec![sample; count as usize];
        let steps = self.ask_planner(&all);
        let used = steps.iter().filter_map(|step| match step {
            Step::Place { instance, .. } => Some(instance.clone()),
            _ => None,
        });
        let used: BTreeSet<InstanceId> = used.collect();
        for step in steps {
            match step {
                Step::Place { instance, .. } => {
                    if self.can_stay(&instance) {
                        let cause = Cancelled::Headroom(asked.to_string());
                        self.cancel_drain(&instance, &cause);
                    }
                    match self.ledger.instance(&instance) {
                        Some(instance) if instance.is_arriving() => found.coming += 1,
                        _ => found.ready += 1,
                    }
                }
                Step::Rent {
                    cloud,
                    flavour,
                    location,
                    containers,
                    ..
                } => {
                    let count = u32::try_from(containers.len()).unwrap_or(u32::MAX);
                    let empty = self.empty_one(&cloud, &flavour, &location, &used);
                    if let Some(tag) = empty {
                        found.missing += count;
                        found.reason = Some(format!(
                            "{tag} is an empty {flavour} and has too little room, so no other is rented"
                        ));
                    } else if may_rent {
                        let reason = format!("headroom of location {location} is {asked}");
                        self.rent(&cloud, &flavour, location, &[], &reason);
                        found.coming += count;
                    } else {
                        found.missing += count;
                        found.reason = Some("containers wait, and come first".to_owned());
                    }
                }
                Step::Wait { reason, .. } | Step::Refuse { reason, .. } => {
                    found.missing += 1;
                    found.reason = Some(reason);
                }
            }
        }
        found
    }

    /// A machine of this flavour that runs nothing and has no room for a placeholder either: tasks
    /// that are not micado's may take room on every machine, so that renting would not end.
    fn empty_one(
        &self,
        cloud: &CloudName,
        flavour: &FlavourName,
        location: &Location,
        used: &BTreeSet<InstanceId>,
    ) -> Option<Tag> {
        let mut active = self.in_location(InstanceState::Active, location);
        let empty = active.find(|it| {
            (&it.cloud, &it.flavour) == (cloud, flavour)
                && !used.contains(&it.id)
                && self.joins(&it.id)
                && self.ledger.containers_on(&it.id).next().is_none()
        });
        empty.map(|instance| instance.tag.clone())
    }

    /// One placeholder of a location, and their number.
    ///
    /// # Errors
    /// The cause for which there can be none.
    pub(super) fn placeholder(&self, bounds: &Bounds) -> Result<(Waiting, u32), String> {
        let of_size = |needs| of_size(&bounds.location, needs);
        match &bounds.headroom {
            None => Ok((of_size(Resources::default()), 0)),
            Some(Headroom::Copies { count, of }) => {
                let service = self.ledger.service(of);
                let service = service.ok_or_else(|| format!("there is no service `{of}`"))?;
                if service.spec.location != bounds.location {
                    return Err(format!("{of} is at location {}", service.spec.location));
                }
                let any = ContainerName::trusted(of.as_str());
                Ok((self.kind_of(&any, service), *count))
            }
            Some(Headroom::Percent(share)) => {
                let (mean, containers) = self.mean_at(&bounds.location);
                let count = (u64::from(containers) * u64::from(*share)).div_ceil(100);
                let count = u32::try_from(count).unwrap_or(MOST).min(MOST);
                Ok((of_size(mean), count))
            }
            Some(Headroom::Auto) => {
                let growth = match self.promised.growth(&bounds.location) {
                    Growth::Learning(_) => Resources::default(),
                    Growth::Room(growth) => growth,
                };
                let (mean, count) = self.pieces(growth, &bounds.location);
                Ok((of_size(mean), count))
            }
            Some(Headroom::Room(size)) => Ok((of_size(*size), 1)),
            Some(Headroom::Machines(count)) => {
                let cheapest = self.cheapest_machine();
                let cheapest = cheapest.ok_or("no flavour can be rented")?;
                Ok((of_size(cheapest), *count))
            }
        }
    }

    /// The largest container that a machine of the cheapest flavour holds.
    pub(super) fn cheapest_machine(&self) -> Option<Resources> {
        let offers = self.offers();
        let size = |offer: &&Offer| (offer.price, offer.size.memory, offer.size.cpu);
        offers.iter().min_by_key(size).map(Offer::largest_container)
    }

    /// This room in pieces of the mean size of the location's reservations, or in one piece if there
    /// are none.
    fn pieces(&self, room: Resources, location: &Location) -> (Resources, u32) {
        let (mean, _) = self.mean_at(location);
        let pieces = |room: u64, mean: u64| (mean > 0).then(|| room.div_ceil(mean));
        let memory = pieces(room.memory.0, mean.memory.0);
        let count = memory.max(pieces(room.cpu.0, mean.cpu.0));
        match count {
            _ if room == Resources::default() => (room, 0),
            Some(count) => (mean, u32::try_from(count).unwrap_or(MOST).min(MOST)),
            None => (room, 1),
        }
    }

    /// Mean size of the reservations at a location, and their number.
    fn mean_at(&self, location: &Location) -> (Resources, u32) {
        let (sum, containers) = self.reserved_at(location);
        let part = |amount: u64| amount / u64::from(containers.max(1));
        let mean = Resources::new(MemoryBytes(part(sum.memory.0)), NanoCpus(part(sum.cpu.0)));
        (mean, containers)
    }

    /// Sum of the reservations at a location, and their number.
    fn reserved_at(&self, location: &Location) -> (Resources, u32) {
        let nodes = self.placing.pool.nodes();
        let here = nodes.filter(|node| node.location == *location && node.readiness.is_open());
        here.fold((Resources::default(), 0), |(sum, count), node| {
            (sum + node.reserved, count + node.containers)
        })
    }

    fn rent_minimum(&mut self, bounds: &Bounds) {
        let location = &bounds.location;
        let missing = bounds.min_machines.saturating_sub(self.standing(location));
        let sample = Waiting {
            apart: AntiAffinity::Require,
            ..of_size(location, Resources::default())
        };
        let all = vec![sample; missing as usize];
        // Without any machine in sight, each needs one of its own.
        for step in self.plan_on(&mut Pool::default(), &all) {
            if let Step::Rent { cloud, flavour, .. } = step {
                let least = bounds.min_machines;
                let reason = format!("the minimum of location {location} is {least}");
                self.rent(&cloud, &flavour, location.clone(), &[], &reason);
            }
        }
    }

    /// Bounds of locations, and how they are used.
    pub(super) fn locations_view(&self) -> Vec<LocationView> {
        let all = self.config.setup.locations.iter();
        all.map(|bounds| {
            let (machines, price) = self.ledger.index.live_at(&bounds.location);
            let asked = bounds.headroom.as_ref();
            let found = self.headroom.get(&bounds.location).cloned();
            let headroom = asked.zip(found).map(|(asked, found)| HeadroomView {
                asked: self.headroom_words(asked, &bounds.location),
                ready: found.ready,
                coming: found.coming,
                missing: found.missing,
                reason: found.reason,
            });
            LocationView {
                location: bounds.location.clone(),
                machines,
                min_machines: bounds.min_machines,
                max_machines: bounds.max_machines,
                price,
                max_price: bounds.max_price,
                headroom,
            }
        })
        .collect()
    }

    /// A headroom as it was configured, and its present size if that is learned.
    fn headroom_words(&self, asked: &Headroom, location: &Location) -> String {
        if *asked != Headroom::Auto {
            return asked.to_string();
        }
        match self.promised.growth(location) {
            Growth::Learning(minutes) => format!("auto (it learns, {} of 24 h)", minutes / 60),
            Growth::Room(room) if room == Resources::default() => "auto (nothing now)".to_owned(),
            Growth::Room(room) => format!("auto ({room} now)"),
        }
    }

    /// Number of machines of a location that take containers, or will.
    pub(super) fn standing(&self, location: &Location) -> u32 {
        let live = self.ledger.index.live().iter();
        let live = live.filter_map(|id| self.ledger.instance(id));
        let here = live.filter(|it| it.location == *location);
        let stands = here.filter(|it| it.is_arriving() || it.state == InstanceState::Active);
        u32::try_from(stands.count()).unwrap_or(u32::MAX)
    }
}

/// A placeholder of this size.
fn of_size(location: &Location, needs: Resources) -> Waiting {
    Waiting {
        container: ContainerName::trusted(format!("{location}/")),
        service: ServiceName::trusted(format!("{location}/")),
        location: location.clone(),
        needs,
        ports: BTreeSet::new(),
        published: 0,
        bound_to: None,
        avoid: None,
        platforms: BTreeSet::new(),
        apart: AntiAffinity::default(),
        volumes: BTreeSet::new(),
    }
}
