//! The records in memory, with their versions; what was edited since the last commit comes out as
//! compare-and-set changes.

use crate::{
    model::{Container, Decision, Image, Instance, Service},
    store::{Change, Contents, Key, Record, Version},
};
use micado_api::{ContainerName, InstanceId, ServiceName};
use std::collections::BTreeMap;

/// Records of one kind.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, (V, Version)>,
    /// What a row was, and at which version, before the first edit since the last commit.
    before: BTreeMap<K, Option<(V, Version)>>,
}

impl<K: Ord + Clone, V: Clone + PartialEq> Table<K, V> {
    fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|(value, _)| value)
    }
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.rows.values().map(|(value, _)| value)
    }
    pub(super) fn keys(&self) -> Vec<K> {
        self.rows.keys().cloned().collect()
    }
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
    /// The row, to be changed. An edit that changes nothing costs no write.
    pub(super) fn edit(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.before
            .entry(key.clone())
            .or_insert_with(|| Some(row.clone()));
        Some(&mut row.0)
    }
    pub(super) fn insert(&mut self, key: K, value: V) {
        let old = self.rows.get(&key).cloned();
        let version = old.as_ref().map_or(0, |(_, version)| *version);
        self.before.entry(key.clone()).or_insert(old);
        self.rows.insert(key, (value, version));
    }
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(old) = self.rows.remove(key) {
            self.before.entry(key.clone()).or_insert(Some(old));
        }
    }
    fn changes(
        &mut self,
        name: impl Fn(&K) -> Key,
        record: impl Fn(&K, &V) -> Record,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, before) in std::mem::take(&mut self.before) {
            let expected = before.as_ref().map_or(0, |(_, version)| *version);
            match (self.rows.get_mut(&key), before) {
                (None, None) => {}
                (None, Some(_)) => changes.push(Change {
                    key: name(&key),
                    expected,
                    record: None,
                }),
                (Some((now, _)), Some((was, _))) if *now == was => {}
                (Some((now, version)), _) => {
                    *version = expected + 1;
                    changes.push(Change {
                        key: name(&key),
                        expected,
                        record: Some(record(&key, now)),
                    });
                }
            }
        }
        changes
    }
}

/// All records.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) instances: Table<InstanceId, Instance>,
    pub(super) services: Table<ServiceName, Service>,
    pub(super) containers: Table<ContainerName, Container>,
    pub(super) images: Table<String, Image>,
    pub(super) decisions: Table<u64, Decision>,
    pub(super) settings: Table<String, String>,
}

impl Ledger {
    pub(super) fn new(contents: Contents) -> Self {
        let mut ledger = Self {
            instances: Table::new(),
            services: Table::new(),
            containers: Table::new(),
            images: Table::new(),
            decisions: Table::new(),
            settings: Table::new(),
        };
        for (record, version) in contents {
            match record {
                Record::Instance(it) => {
                    drop(ledger.instances.rows.insert(it.id.clone(), (it, version)))
                }
                Record::Service(it) => {
                    drop(ledger.services.rows.insert(it.name.clone(), (it, version)))
                }
                Record::Container(it) => drop(
                    ledger
                        .containers
                        .rows
                        .insert(it.name.clone(), (it, version)),
                ),
                Record::Image(it) => {
                    drop(ledger.images.rows.insert(it.name.clone(), (it, version)))
                }
                Record::Decision(it) => {
                    drop(ledger.decisions.rows.insert(it.sequence, (it, version)))
                }
                Record::Setting(name, value) => {
                    drop(ledger.settings.rows.insert(name, (value, version)))
                }
            }
        }
        ledger
    }

    /// What was edited since the last call, to be committed together.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = self.instances.changes(
            |key| Key::Instance(key.clone()),
            |_, it| Record::Instance(it.clone()),
        );
        changes.extend(self.services.changes(
            |key| Key::Service(key.clone()),
            |_, it| Record::Service(it.clone()),
        ));
        changes.extend(self.containers.changes(
            |key| Key::Container(key.clone()),
            |_, it| Record::Container(it.clone()),
        ));
        changes.extend(self.images.changes(
            |key| Key::Image(key.clone()),
            |_, it| Record::Image(it.clone()),
        ));
        changes.extend(self.decisions.changes(
            |key| Key::Decision(*key),
            |_, it| Record::Decision(it.clone()),
        ));
        changes.extend(self.settings.changes(
            |key| Key::Setting(key.clone()),
            |name, value| Record::Setting(name.clone(), value.clone()),
        ));
        changes
    }

    /// The service of a container. Both are written together and a service goes last, so it is
    /// always there.
    pub(super) fn service_of(&self, container: &Container) -> &Service {
        self.services
            .get(&container.service)
            .expect("a container's service is in the ledger as long as the container is")
    }
}
