//! The simulated store: compare-and-set on typed records, as the store trait requires.

use micado_api::{ContainerName, InstanceId, ServiceName};
use micado_core::{
    model::{Container, Decision, Image, Instance, Service, ServicePolicy},
    store::{Change, Contents, Key, Record, Version},
};
use std::collections::BTreeMap;

/// Records and their versions.
#[derive(Default)]
pub struct Store {
    records: BTreeMap<Key, (Record, Version)>,
    /// Number of commits.
    pub revision: u64,
}

/// Effect of a commit on one record.
pub struct Written {
    pub key: Key,
    pub before: Option<Record>,
}

impl Store {
    /// Writes all changes or none; `Err` names the record that was not at its expected version.
    pub fn commit(&mut self, changes: &[Change]) -> Result<Vec<Written>, Key> {
        for change in changes {
            let version = self
                .records
                .get(&change.key)
                .map_or(0, |(_, version)| *version);
            let named_as_it_is = change
                .record
                .as_ref()
                .is_none_or(|record| record.key() == change.key);
            if version != change.expected || !named_as_it_is {
                return Err(change.key.clone());
            }
        }
        self.revision += 1;
        Ok(changes.iter().map(|change| self.write(change)).collect())
    }

    fn write(&mut self, change: &Change) -> Written {
        let before = match &change.record {
            Some(record) => self
                .records
                .insert(change.key.clone(), (record.clone(), change.expected + 1)),
            None => self.records.remove(&change.key),
        };
        Written {
            key: change.key.clone(),
            before: before.map(|(record, _)| record),
        }
    }

    pub fn contents(&self) -> Contents {
        self.records.values().cloned().collect()
    }
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        match self.records.get(&Key::Instance(id.clone())) {
            Some((Record::Instance(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn container(&self, name: &ContainerName) -> Option<&Container> {
        match self.records.get(&Key::Container(name.clone())) {
            Some((Record::Container(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        match self.records.get(&Key::Service(name.clone())) {
            Some((Record::Service(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn policy(&self, name: &ServiceName) -> Option<&ServicePolicy> {
        match self.records.get(&Key::ServicePolicy(name.clone())) {
            Some((Record::ServicePolicy(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn decision(&self, sequence: u64) -> Option<&Decision> {
        match self.records.get(&Key::Decision(sequence)) {
            Some((Record::Decision(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn image(&self, name: &str) -> Option<&Image> {
        match self.records.get(&Key::Image(name.to_owned())) {
            Some((Record::Image(it), _)) => Some(it),
            _ => None,
        }
    }
    pub fn policies(&self) -> impl Iterator<Item = &ServicePolicy> {
        let records = self.records.values();
        records.filter_map(|(record, _)| match record {
            Record::ServicePolicy(it) => Some(it),
            _ => None,
        })
    }
    // Keys are ordered by kind first: each kind is one range of the map.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        let first = Key::Instance(InstanceId::trusted(""));
        self.records
            .range(first..)
            .map_while(|(_, (record, _))| match record {
                Record::Instance(it) => Some(it),
                _ => None,
            })
    }
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let first = Key::Container(ContainerName::trusted(""));
        self.records
            .range(first..)
            .map_while(|(_, (record, _))| match record {
                Record::Container(it) => Some(it),
                _ => None,
            })
    }
}
