//! Indexes of the records, updated with each change, so that the cost of a query is that of its
//! answer, not of the cluster.

use super::dirty::unite;
use crate::model::{Container, Desired, Instance};
use ahash::{HashMap, RandomState};
use indexmap::IndexMap;
use micado_api::{
    CloudName, ContainerName, FlavourName, InstanceId, InstanceState, Location, Origin,
    PricePerHour, Resources, ServiceName, Tag, Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An image and one of its digests.
pub(super) type Build = (String, String);

/// Interpretation of a copy's measured use.
#[derive(Debug, Clone)]
pub(super) struct Gauge {
    /// Build that the use counts towards.
    pub(super) build: Arc<Build>,
    /// The copy's memory limit, and its machine's cores.
    pub(super) limit: Resources,
}

/// Machines of one flavour.
#[derive(Debug, Clone, Default)]
pub(super) struct FlavourRecord {
    /// Joined machines, by time.
    pub(super) joined: BTreeSet<(Timestamp, InstanceId)>,
    /// Joined machines that were not adopted: their size is the flavour's.
    pub(super) sized: BTreeSet<(Timestamp, InstanceId)>,
    /// Machines that failed before they joined, by time.
    pub(super) failed: BTreeSet<(Timestamp, InstanceId)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    by_service: BTreeMap<ServiceName, BTreeSet<ContainerName>>,
    on_instance: BTreeMap<InstanceId, BTreeSet<ContainerName>>,
    bound_to: BTreeMap<InstanceId, BTreeSet<ContainerName>>,
    by_request: HashMap<String, BTreeSet<ContainerName>>,
    by_swarm_name: HashMap<String, ContainerName>,
    /// Gauges by Swarm name, of copies that reported since their last change, in that order.
    pub(super) gauges: IndexMap<String, Gauge, RandomState>,
    /// Completely removed containers, by time.
    pub(super) removed: BTreeSet<(Timestamp, ContainerName)>,
    by_state: BTreeMap<InstanceState, BTreeSet<InstanceId>>,
    by_tag: BTreeMap<Tag, BTreeSet<InstanceId>>,
    by_node: HashMap<String, InstanceId>,
    by_flavour: BTreeMap<CloudName, BTreeMap<FlavourName, FlavourRecord>>,
    /// Instances without a machine, by time of their end.
    pub(super) ended: BTreeSet<(Timestamp, InstanceId)>,
    /// Instances that received the worker token and may not have used it yet.
    pub(super) trading: BTreeSet<InstanceId>,
    live: BTreeSet<InstanceId>,
    price: u64,
    /// Number and total price of the live instances of each location.
    live_at: BTreeMap<Location, (u32, u64)>,
    /// Number below which all tags are taken.
    tag_hint: BTreeMap<Location, u32>,
}

fn put<K: Ord + Clone, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: V) {
    match map.get_mut(key) {
        Some(set) => drop(set.insert(value)),
        None => drop(map.insert(key.clone(), BTreeSet::from([value]))),
    }
}

fn take<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Index {
    pub(super) fn container(&mut self, old: Option<&Container>, new: Option<&Container>) {
        if let Some(old) = old {
            let name = &old.name;
            if new.is_none() {
                take(&mut self.by_service, &old.service, name);
            }
            for copy in &old.copies {
                take(&mut self.on_instance, &copy.instance, name);
                self.by_swarm_name.remove(&copy.swarm_name);
                self.gauges.swap_remove(&copy.swarm_name);
            }
            if let Some(bound) = &old.bound_to {
                take(&mut self.bound_to, bound, name);
            }
            if let Some(request) = old.request.as_ref().filter(|_| new.is_none())
                && let Some(names) = self.by_request.get_mut(request)
            {
                names.remove(name);
                if names.is_empty() {
                    self.by_request.remove(request);
                }
            }
            if let Some(at) = old.removed_at {
                self.removed.remove(&(at, name.clone()));
            }
        }
        let Some(new) = new else { return };
        let name = &new.name;
        if old.is_none() {
            put(&mut self.by_service, &new.service, name.clone());
            if let Some(request) = &new.request {
                self.by_request
                    .entry(request.clone())
                    .or_default()
                    .insert(name.clone());
            }
        }
        for copy in &new.copies {
            put(&mut self.on_instance, &copy.instance, name.clone());
            self.by_swarm_name
                .insert(copy.swarm_name.clone(), name.clone());
        }
        if let Some(bound) = &new.bound_to {
            put(&mut self.bound_to, bound, name.clone());
        }
        if let Some(at) = new.removed_at {
            self.removed.insert((at, name.clone()));
        }
    }

    /// Adds containers of one launch, like this one of them, none of which has a copy.
    pub(super) fn launched(&mut self, one: &Container, names: &BTreeSet<ContainerName>) {
        let of_service = self.by_service.entry(one.service.clone()).or_default();
        unite(of_service, names.clone());
        if let Some(request) = &one.request {
            let of_request = self.by_request.entry(request.clone()).or_default();
            unite(of_request, names.clone());
        }
    }

    pub(super) fn instance(&mut self, old: Option<&Instance>, new: Option<&Instance>) {
        if let Some(old) = old {
            let id = &old.id;
            take(&mut self.by_state, &old.state, id);
            take(&mut self.by_tag, &old.tag, id);
            if let Some(node) = &old.node
                && self.by_node.get(node) == Some(id)
            {
                self.by_node.remove(node);
            }
            self.flavour(old, false);
            self.trading.remove(id);
            if old.is_live() {
                self.live.remove(id);
                self.price -= old.price.0;
                if let Some((machines, price)) = self.live_at.get_mut(&old.location) {
                    *machines -= 1;
                    *price -= old.price.0;
                }
            } else {
                self.ended.remove(&(old.state_since, id.clone()));
            }
            if new.is_none() {
                self.tag_hint.clear();
            }
        }
        let Some(new) = new else { return };
        let id = new.id.clone();
        put(&mut self.by_state, &new.state, id.clone());
        put(&mut self.by_tag, &new.tag, id.clone());
        if let Some(node) = &new.node {
            self.by_node.insert(node.clone(), id.clone());
        }
        self.flavour(new, true);
        let unused = |trade: &crate::model::Trade| {
            new.is_arriving() || new.joined_at.is_some_and(|at| trade.at > at)
        };
        if new.joining.as_ref().is_some_and(unused) {
            self.trading.insert(id.clone());
        }
        if new.is_live() {
            self.live.insert(id);
            self.price += new.price.0;
            let (machines, price) = self.live_at.entry(new.location.clone()).or_default();
            *machines += 1;
            *price += new.price.0;
        } else {
            self.ended.insert((new.state_since, id));
        }
    }

    fn flavour(&mut self, instance: &Instance, there: bool) {
        let flavour = self
            .by_flavour
            .entry(instance.cloud.clone())
            .or_default()
            .entry(instance.flavour.clone())
            .or_default();
        let mut set = |set: fn(&mut FlavourRecord) -> &mut BTreeSet<_>, at: Timestamp| {
            let entry = (at, instance.id.clone());
            if there {
                set(flavour).insert(entry);
            } else {
                set(flavour).remove(&entry);
            }
        };
        if let Some(at) = instance.joined_at {
            set(|record| &mut record.joined, at);
            if instance.origin != Origin::Adopted {
                set(|record| &mut record.sized, at);
            }
        } else if instance.state == InstanceState::Failed {
            set(|record| &mut record.failed, instance.state_since);
        }
    }

    /// Containers of a service, removed ones included.
    pub(super) fn of_service(&self, service: &ServiceName) -> impl Iterator<Item = &ContainerName> {
        self.by_service.get(service).into_iter().flatten()
    }

    /// Containers with a copy on an instance, ended ones included.
    pub(super) fn on(&self, instance: &InstanceId) -> impl Iterator<Item = &ContainerName> {
        self.on_instance.get(instance).into_iter().flatten()
    }

    /// Instances with copies.
    pub(super) fn used_instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.on_instance.keys()
    }

    /// Containers with volumes on an instance.
    pub(super) fn bound_to(&self, instance: &InstanceId) -> impl Iterator<Item = &ContainerName> {
        self.bound_to.get(instance).into_iter().flatten()
    }

    /// Containers of a launch request.
    pub(super) fn by_request(&self, request: &str) -> impl Iterator<Item = &ContainerName> {
        self.by_request.get(request).into_iter().flatten()
    }

    /// Container of a Swarm service.
    pub(super) fn by_swarm_name(&self, name: &str) -> Option<&ContainerName> {
        self.by_swarm_name.get(name)
    }

    /// Instance that a node is bound to.
    pub(super) fn by_node(&self, node: &str) -> Option<&InstanceId> {
        self.by_node.get(node)
    }

    pub(super) fn in_state(&self, state: InstanceState) -> impl Iterator<Item = &InstanceId> {
        self.by_state.get(&state).into_iter().flatten()
    }

    pub(super) fn tagged(&self, tag: &str) -> impl Iterator<Item = &InstanceId> {
        self.by_tag.get(tag).into_iter().flatten()
    }

    pub(super) fn of_flavour(
        &self,
        cloud: &CloudName,
        flavour: &FlavourName,
    ) -> Option<&FlavourRecord> {
        self.by_flavour.get(cloud)?.get(flavour)
    }

    /// Instances that may have a machine.
    pub(super) fn live(&self) -> &BTreeSet<InstanceId> {
        &self.live
    }

    /// Their total price.
    pub(super) fn price(&self) -> PricePerHour {
        PricePerHour(self.price)
    }

    /// Number and total price of those of a location.
    pub(super) fn live_at(&self, location: &Location) -> (u32, PricePerHour) {
        let (machines, price) = self.live_at.get(location).copied().unwrap_or_default();
        (machines, PricePerHour(price))
    }

    /// First tag that no record has: `application01` and so on.
    pub(super) fn fresh_tag(&mut self, location: &Location) -> Tag {
        let number = self.tag_hint.entry(location.clone()).or_insert(1);
        loop {
            let tag = format!("{location}{number:02}");
            if !self.by_tag.contains_key(tag.as_str()) {
                return Tag::trusted(tag);
            }
            *number += 1;
        }
    }
}

/// Returns true if a change of a container affects the machines of its copies.
pub(super) fn moved(old: Option<&Container>, new: Option<&Container>) -> bool {
    fn facts(it: &Container) -> (&[crate::model::Copy], &Option<InstanceId>, Desired, bool) {
        (&it.copies, &it.bound_to, it.desired, it.outcome.is_some())
    }
    old.map(facts) != new.map(facts)
}

/// Returns true if a change of an instance affects the containers on it.
pub(super) fn turned(old: Option<&Instance>, new: Option<&Instance>) -> bool {
    type Facts<'a> = (
        InstanceState,
        bool,
        bool,
        &'a Option<String>,
        &'a Option<String>,
        Option<Timestamp>,
    );
    fn facts(it: &Instance) -> Facts<'_> {
        let (state, released) = (it.state, it.released);
        (
            state,
            it.force,
            released,
            &it.reason,
            &it.node,
            it.joined_at,
        )
    }
    old.map(facts) != new.map(facts)
}
