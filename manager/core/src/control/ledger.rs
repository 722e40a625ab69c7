//! The records in memory, with their versions and indexes. A change becomes a compare-and-set of
//! the next commit, and marks affected subjects as dirty.

use super::{
    dirty::{Dirty, unite},
    index::{self, Index},
};
use crate::{
    model::{
        Container, Decision, Image, Instance, Login, Registration, Service, ServicePolicy, Setting,
    },
    store::{Change, Contents, Kind, Record, Version},
};
use ahash::HashMap;
use micado_api::{ContainerName, InstanceId, ServiceName};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    ops::Bound,
};

/// Records of one kind.
#[derive(Debug, Clone)]
pub(super) struct Table<R: Kind> {
    rows: HashMap<R::Id, (R, Version)>,
    order: BTreeSet<R::Id>,
    /// Rows and versions before the first edit since the last commit.
    before: HashMap<R::Id, Option<Box<(R, Version)>>>,
}

impl<R: Kind> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: HashMap::default(),
            order: BTreeSet::new(),
            before: HashMap::default(),
        }
    }
}

impl<R: Kind> Table<R> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, id: &Q) -> Option<&R>
    where
        R::Id: std::borrow::Borrow<Q>,
    {
        self.rows.get(id).map(|(record, _)| record)
    }
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &R> {
        self.order.iter().map(|id| &self.rows[id].0)
    }
    /// The records after this one, in order; all without one.
    pub(super) fn after(&self, id: Option<&R::Id>) -> impl Iterator<Item = &R> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.order.range((from, Bound::Unbounded));
        ids.map(|id| &self.rows[id].0)
    }
    pub(super) fn keys(&self) -> impl Iterator<Item = &R::Id> {
        self.order.iter()
    }
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
    /// Returns the record for an edit. An edit that changes nothing costs no write.
    pub(super) fn edit(&mut self, id: &R::Id) -> Option<&mut R> {
        let row = self.rows.get_mut(id)?;
        if !self.before.contains_key(id) {
            self.before.insert(id.clone(), Some(Box::new(row.clone())));
        }
        Some(&mut row.0)
    }
    pub(super) fn insert(&mut self, record: R) {
        let id = record.id();
        let version = self.rows.get(&id).map_or(0, |(_, version)| *version);
        self.order.insert(id.clone());
        let old = self.rows.insert(id.clone(), (record, version));
        self.before.entry(id).or_insert(old.map(Box::new));
    }
    pub(super) fn remove(&mut self, id: &R::Id) -> Option<R> {
        let old = self.rows.remove(id)?;
        self.order.remove(id);
        if !self.before.contains_key(id) {
            self.before.insert(id.clone(), Some(Box::new(old.clone())));
        }
        Some(old.0)
    }
    fn load(&mut self, record: R, version: Version) {
        self.order.insert(record.id());
        self.rows.insert(record.id(), (record, version));
    }
    /// Adds new records. Their ids are sorted already.
    fn add(&mut self, records: Vec<R>, ids: BTreeSet<R::Id>) {
        for id in &ids {
            self.before.entry(id.clone()).or_insert(None);
        }
        let rows = records.into_iter().map(|record| (record.id(), (record, 0)));
        self.rows.extend(rows);
        unite(&mut self.order, ids);
    }
    /// Adds the edits since the last call, in order of their keys.
    fn take_changes(&mut self, changes: &mut Vec<Change>) {
        let mut rows_before = std::mem::take(&mut self.before);
        let mut edited: Vec<R::Id> = rows_before.keys().cloned().collect();
        edited.sort_unstable();
        changes.reserve(edited.len());
        for id in edited {
            let before = rows_before.remove(&id).flatten();
            let expected = before.as_ref().map_or(0, |row| row.1);
            let record = match (self.rows.get_mut(&id), before) {
                (None, None) => continue,
                (Some((now, _)), Some(row)) if *now == row.0 => continue,
                (None, Some(_)) => None,
                (Some((now, version)), _) => {
                    *version = expected + 1;
                    Some(now.clone().into_record())
                }
            };
            changes.push(Change {
                key: R::key(id),
                expected,
                record,
            });
        }
    }
}

/// All records.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    instances: Table<Instance>,
    services: Table<Service>,
    containers: Table<Container>,
    pub(super) policies: Table<ServicePolicy>,
    pub(super) images: Table<Image>,
    pub(super) decisions: Table<Decision>,
    pub(super) settings: Table<Setting>,
    /// Services by their plain names on the network.
    aliases: BTreeMap<String, ServiceName>,
    pub(super) registrations: Table<Registration>,
    pub(super) logins: Table<Login>,
    pub(super) index: Index,
    /// Subjects to visit because of changes.
    pub(super) dirty: Dirty,
}

impl Ledger {
    pub(super) fn new(contents: Contents) -> Self {
        let mut ledger = Self::default();
        for (record, version) in contents {
            match record {
                Record::Instance(it) => {
                    ledger.index.instance(None, Some(&it));
                    ledger.instances.load(it, version);
                }
                Record::Service(it) => {
                    ledger.note_alias(&it);
                    ledger.services.load(it, version);
                }
                Record::Container(it) => {
                    ledger.index.container(None, Some(&it));
                    ledger.containers.load(it, version);
                }
                Record::ServicePolicy(it) => ledger.policies.load(it, version),
                Record::Image(it) => ledger.images.load(it, version),
                Record::Decision(it) => ledger.decisions.load(it, version),
                Record::Setting(it) => ledger.settings.load(it, version),
                Record::Registration(it) => ledger.registrations.load(it, version),
                Record::Login(it) => ledger.logins.load(it, version),
            }
        }
        ledger
    }

    pub(super) fn instances(&self) -> &Table<Instance> {
        &self.instances
    }
    pub(super) fn services(&self) -> &Table<Service> {
        &self.services
    }
    pub(super) fn containers(&self) -> &Table<Container> {
        &self.containers
    }
    pub(super) fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }
    pub(super) fn container(&self, name: &ContainerName) -> Option<&Container> {
        self.containers.get(name)
    }
    pub(super) fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name)
    }

    /// Returns the service of a container. Both are written together and a service is removed last,
    /// so it always exists.
    pub(super) fn service_of(&self, container: &Container) -> &Service {
        self.services
            .get(&container.service)
            .expect("a container's service is in the ledger until the container has gone")
    }

    /// Containers with a copy that takes room on an instance.
    pub(super) fn containers_on<'a>(
        &'a self,
        instance: &'a InstanceId,
    ) -> impl Iterator<Item = &'a Container> {
        self.index
            .on(instance)
            .filter_map(|name| self.containers.get(name))
            .filter(|container| container.copies_on(instance).next().is_some())
    }

    /// Changes an instance.
    pub(super) fn edit_instance<R>(
        &mut self,
        id: &InstanceId,
        change: impl FnOnce(&mut Instance) -> R,
    ) -> Option<R> {
        let row = self.instances.edit(id)?;
        let old = row.clone();
        let done = change(row);
        if *row != old {
            let new = row.clone();
            self.index.instance(Some(&old), Some(&new));
            self.instance_changed(Some(&old), Some(&new));
        }
        Some(done)
    }

    pub(super) fn insert_instance(&mut self, instance: Instance) {
        let old = self.instances.get(&instance.id).cloned();
        self.index.instance(old.as_ref(), Some(&instance));
        self.instance_changed(old.as_ref(), Some(&instance));
        self.instances.insert(instance);
    }

    pub(super) fn remove_instance(&mut self, id: &InstanceId) {
        if let Some(old) = self.instances.remove(id) {
            self.index.instance(Some(&old), None);
            self.instance_changed(Some(&old), None);
            self.dirty.adopt = true;
            self.dirty.foreign = true;
        }
    }

    fn instance_changed(&mut self, old: Option<&Instance>, new: Option<&Instance>) {
        let Some(id) = new.or(old).map(|it| &it.id) else {
            return;
        };
        self.dirty.instances.insert(id.clone());
        self.dirty.plan = true;
        self.dirty.token = true;
        if old.map(|it| it.size) != new.map(|it| it.size) {
            let on: Vec<_> = self.index.on(id).cloned().collect();
            self.forget_gauges(&on);
        }
        if index::turned(old, new) {
            let on = self.index.on(id).chain(self.index.bound_to(id));
            self.dirty.containers.extend(on.cloned());
        }
    }

    /// Changes a service, and marks its containers.
    pub(super) fn edit_service<R>(
        &mut self,
        name: &ServiceName,
        change: impl FnOnce(&mut Service) -> R,
    ) -> Option<R> {
        let row = self.services.edit(name)?;
        let (spec, pull) = (row.spec.clone(), row.pull.clone());
        let done = change(row);
        if row.spec != spec || row.pull != pull {
            let theirs: Vec<_> = self.index.of_service(name).cloned().collect();
            self.forget_gauges(&theirs);
            self.dirty.containers.extend(theirs);
        }
        Some(done)
    }

    /// Adds a service, or replaces one without containers that are wanted.
    pub(super) fn insert_service(&mut self, service: Service) {
        let old = self.services.get(&service.name);
        if old.is_some_and(|old| (&old.spec, &old.pull) != (&service.spec, &service.pull)) {
            let theirs: Vec<_> = self.index.of_service(&service.name).cloned().collect();
            self.forget_gauges(&theirs);
        }
        self.note_alias(&service);
        self.services.insert(service);
    }

    fn note_alias(&mut self, service: &Service) {
        if let Some(alias) = &service.alias {
            self.aliases.insert(alias.clone(), service.name.clone());
        }
    }

    /// The service with this plain name on the network.
    pub(super) fn by_alias(&self, alias: &str) -> Option<&ServiceName> {
        self.aliases.get(alias)
    }

    fn forget_gauges(&mut self, containers: &[ContainerName]) {
        let containers = containers.iter().filter_map(|it| self.containers.get(it));
        for copy in containers.flat_map(|it| &it.copies) {
            self.index.gauges.swap_remove(&copy.swarm_name);
        }
    }

    /// Removes a service without containers.
    pub(super) fn remove_service(&mut self, name: &ServiceName) {
        let gone = self.services.remove(name);
        if let Some(alias) = gone.and_then(|service| service.alias) {
            self.aliases.remove(&alias);
        }
    }

    /// Changes a container.
    pub(super) fn edit_container<R>(
        &mut self,
        name: &ContainerName,
        change: impl FnOnce(&mut Container) -> R,
    ) -> Option<R> {
        let Self {
            containers,
            index,
            dirty,
            ..
        } = self;
        let row = containers.edit(name)?;
        let old = row.clone();
        let done = change(row);
        if *row != old {
            container_changed(index, dirty, Some(&old), Some(row));
        }
        Some(done)
    }

    /// Adds new containers of one launch, none of which has a copy.
    pub(super) fn add_containers(&mut self, containers: Vec<Container>) {
        let Some(one) = containers.first() else {
            return;
        };
        let names = containers.iter().map(|container| container.name.clone());
        let names: BTreeSet<ContainerName> = names.collect();
        self.index.launched(one, &names);
        unite(&mut self.dirty.containers, names.clone());
        self.containers.add(containers, names);
    }

    pub(super) fn insert_container(&mut self, container: Container) {
        let old = self.containers.get(&container.name);
        container_changed(&mut self.index, &mut self.dirty, old, Some(&container));
        self.containers.insert(container);
    }

    pub(super) fn remove_container(&mut self, name: &ContainerName) {
        if let Some(old) = self.containers.remove(name) {
            container_changed(&mut self.index, &mut self.dirty, Some(&old), None);
            self.dirty.adopt = true;
        }
    }

    /// Returns the edits since the last call, to be committed together.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.instances.take_changes(&mut changes);
        self.services.take_changes(&mut changes);
        self.containers.take_changes(&mut changes);
        self.policies.take_changes(&mut changes);
        self.images.take_changes(&mut changes);
        self.decisions.take_changes(&mut changes);
        self.settings.take_changes(&mut changes);
        self.registrations.take_changes(&mut changes);
        self.logins.take_changes(&mut changes);
        changes
    }
}

fn container_changed(
    index: &mut Index,
    dirty: &mut Dirty,
    old: Option<&Container>,
    new: Option<&Container>,
) {
    if let Some(it) = new.or(old) {
        dirty.containers.insert(it.name.clone());
    }
    if index::moved(old, new) {
        for it in old.into_iter().chain(new) {
            let on = it.copies.iter().map(|copy| &copy.instance);
            dirty.instances.extend(on.chain(&it.bound_to).cloned());
        }
        index.container(old, new);
    } else if old.map(|it| it.removed_at) != new.map(|it| it.removed_at) {
        index.container(old, new);
    }
}
