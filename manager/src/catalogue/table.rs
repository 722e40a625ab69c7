//! The catalogue itself: read by many, changed by its keeper alone.

use super::{
    Entry, Indexed, Node, ServiceRows, Topic,
    row::dns_name,
    service::{Row, RowId, row_id},
};
use bytes::Bytes;
use micado_api::{ContainerName, InstanceId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};
use tokio::sync::watch;

/// Retention of the index of a removed service, in milliseconds.
const KEPT_MS: u64 = 3_600_000;

/// Answers about lists that are kept.
const ANSWERS: usize = 16;

/// Origin of entries: they change together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    Container(ContainerName),
    /// Made by hand, by id.
    Registration(String),
}

/// Changes of the catalogue that get one index.
#[derive(Debug, Default)]
pub struct Change {
    /// The present entries of these sources; none for one that is gone.
    pub entries: Vec<(Source, Vec<Entry>)>,
    /// The present state of these machines; `None` for one that is gone.
    pub nodes: HashMap<InstanceId, Option<Arc<Node>>>,
}

/// The catalogue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: RwLock<Table>,
    topics: [watch::Sender<u64>; 3],
    /// Answers about lists: topic, what was asked, and the index that they are of.
    answers: Mutex<VecDeque<(Topic, String, u64, Bytes)>>,
}

#[derive(Debug, Default)]
struct Table {
    /// True once all sources were read: before, nothing may be told.
    is_complete: bool,
    /// Index of the last change; 0 before the first.
    index: u64,
    /// Index of services that never were, and of those removed long ago.
    floor: u64,
    services: BTreeMap<String, watch::Sender<Arc<ServiceRows>>>,
    nodes: BTreeMap<InstanceId, Indexed<Arc<Node>>>,
    /// Name and row of each entry, by source.
    of_source: HashMap<Source, Vec<(String, RowId)>>,
    /// Services without entries, with the index of that, oldest first.
    removed: VecDeque<(u64, String)>,
    /// Services with entries, by their name as a label of a host's.
    by_dns: HashMap<String, BTreeSet<String>>,
    /// Names that somebody waits for, and that never were.
    unknown: BTreeSet<String>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self(Arc::new(Shared {
            table: RwLock::default(),
            topics: Topic::EVERY.map(|_| watch::Sender::new(0)),
            answers: Mutex::default(),
        }))
    }
}

impl Catalogue {
    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once the whole cluster was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.table().is_complete
    }

    /// Index of the last change.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.table().index
    }

    /// The entries of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Arc<ServiceRows> {
        let table = self.table();
        match table.services.get(name) {
            Some(service) => service.borrow().clone(),
            None => Arc::new(ServiceRows::empty(name, table.floor)),
        }
    }

    /// The entries of this name, now and with each change.
    #[must_use]
    pub fn watch(&self, name: &str) -> watch::Receiver<Arc<ServiceRows>> {
        if let Some(service) = self.table().services.get(name) {
            return service.subscribe();
        }
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let floor = table.floor;
        let empty = || watch::Sender::new(Arc::new(ServiceRows::empty(name, floor)));
        table.unknown.insert(name.to_owned());
        let service = table.services.entry(name.to_owned());
        service.or_insert_with(empty).subscribe()
    }

    /// Number of those who wait for a service.
    #[cfg(test)]
    pub(crate) fn waiting(&self, name: &str) -> usize {
        let table = self.table();
        let service = table.services.get(name);
        service.map_or(0, watch::Sender::receiver_count)
    }

    /// Index of a part of the catalogue, now and with each change.
    #[must_use]
    pub fn watch_topic(&self, topic: Topic) -> watch::Receiver<u64> {
        self.0.topics[topic.position()].subscribe()
    }

    /// Services with entries, by name.
    #[must_use]
    pub fn services(&self) -> Vec<Arc<ServiceRows>> {
        let table = self.table();
        let services = table.services.values().map(|it| it.borrow().clone());
        services.filter(|service| !service.is_empty()).collect()
    }

    /// The service of this name of a host, in lower case: its own, or the one with `-` for `_` and
    /// `.`, if only one service has that.
    #[must_use]
    pub fn by_dns(&self, name: &str) -> Option<Arc<ServiceRows>> {
        let table = self.table();
        let candidates = table.by_dns.get(&dns_name(name))?;
        let exact = candidates.iter().find(|it| it.to_lowercase() == name);
        let only = || match candidates.len() {
            1 if dns_name(name) == name => candidates.first(),
            _ => None,
        };
        let service = table.services.get(exact.or_else(only)?)?;
        Some(service.borrow().clone())
    }

    /// Machines, by their ids.
    #[must_use]
    pub fn nodes(&self) -> Vec<Indexed<Arc<Node>>> {
        self.table().nodes.values().cloned().collect()
    }

    pub(super) fn node(&self, id: &InstanceId) -> Option<Arc<Node>> {
        Some(self.table().nodes.get(id)?.value.clone())
    }

    pub(super) fn node_ids(&self) -> Vec<InstanceId> {
        self.table().nodes.keys().cloned().collect()
    }

    pub(super) fn sources(&self) -> Vec<Source> {
        self.table().of_source.keys().cloned().collect()
    }

    /// Present entries of a source.
    pub(super) fn entries(&self, source: &Source) -> Vec<Arc<Entry>> {
        let table = self.table();
        let ids = table.of_source.get(source).into_iter().flatten();
        let row = |(name, id): &(String, _)| -> Option<Arc<Entry>> {
            let service = table.services.get(name)?.borrow().clone();
            service.row(id).map(|row: &Row| row.value.clone())
        };
        ids.filter_map(row).collect()
    }

    /// An answer about a list, made once for all who ask for the same at the same index.
    pub fn answer(&self, topic: Topic, asked: &str, make: impl FnOnce() -> Bytes) -> (u64, Bytes) {
        // Read before the answer is made: an index may be older than its answer, and not newer.
        let index = *self.0.topics[topic.position()].borrow();
        let lock = || {
            let answers = self.0.answers.lock();
            answers.unwrap_or_else(PoisonError::into_inner)
        };
        let known = |(of, to, at, answer): &(Topic, String, u64, Bytes)| {
            (*of == topic && to == asked && *at == index).then(|| answer.clone())
        };
        let mut answers = lock();
        if let Some(answer) = answers.iter().find_map(known) {
            return (index, answer);
        }
        let answer = make();
        answers.retain(|(of, to, ..)| (of, to.as_str()) != (&topic, asked));
        if answers.len() >= ANSWERS {
            answers.pop_front();
        }
        answers.push_back((topic, asked.to_owned(), index, answer.clone()));
        (index, answer)
    }

    /// The index that a change at this time would get.
    pub(super) fn next_index(&self, now_ms: u64) -> u64 {
        now_ms.max(self.table().index + 1)
    }

    /// Takes over a change at this index, which is above all before, and wakes those who wait for
    /// a part of it. Nothing gets the index if nothing changes.
    pub(super) fn apply(&self, index: u64, change: Change) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let nodes = table.set_nodes(index, change.nodes);
        let (entries, services) = table.set_entries(index, change.entries);
        if nodes || entries {
            table.index = index;
        }
        table.forget(index);
        drop(table);
        let changed = [services, nodes, nodes || entries];
        for (topic, _) in self.0.topics.iter().zip(changed).filter(|(_, is)| *is) {
            topic.send_replace(index);
        }
    }

    /// Begins above this index, which an earlier manager may have given.
    pub(super) fn begin(&self, index: u64) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        table.index = table.index.max(index);
    }

    /// Notes that all sources were read. Everything gets this index, so that none falls below one
    /// of an earlier manager.
    pub(super) fn complete(&self, index: u64) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.is_complete {
            return;
        }
        (table.is_complete, table.floor) = (true, index);
        table.index = table.index.max(index);
        drop(table);
        for topic in &self.0.topics {
            topic.send_if_modified(|present| {
                let below = *present < index;
                *present = index.max(*present);
                below
            });
        }
    }
}

impl Table {
    /// Returns true if a machine changed.
    fn set_nodes(&mut self, index: u64, nodes: HashMap<InstanceId, Option<Arc<Node>>>) -> bool {
        let mut changed = false;
        for (id, node) in nodes {
            let before = self.nodes.get(&id);
            match node {
                Some(node) if before.is_none_or(|before| before.value != node) => {
                    let node = Indexed::next(before, node, index);
                    self.nodes.insert(id, node);
                    changed = true;
                }
                Some(_) => {}
                None => changed |= self.nodes.remove(&id).is_some(),
            }
        }
        changed
    }

    /// Returns true if an entry changed, and if the names or tags of services did.
    fn set_entries(&mut self, index: u64, sources: Vec<(Source, Vec<Entry>)>) -> (bool, bool) {
        let mut touched: BTreeMap<String, (Vec<RowId>, Vec<Entry>)> = BTreeMap::new();
        for (source, entries) in sources {
            for (name, id) in self.of_source.remove(&source).into_iter().flatten() {
                touched.entry(name).or_default().0.push(id);
            }
            let ids = entries.iter();
            let ids: Vec<_> = ids
                .map(|entry| (entry.service.clone(), row_id(entry)))
                .collect();
            if !ids.is_empty() {
                self.of_source.insert(source, ids);
            }
            for entry in entries {
                let service = touched.entry(entry.service.clone()).or_default();
                service.1.push(entry);
            }
        }
        let (mut changed, mut named) = (false, false);
        for (name, (without, with)) in touched {
            let service = self.services.entry(name.clone());
            let floor = self.floor;
            let service = service
                .or_insert_with(|| watch::Sender::new(Arc::new(ServiceRows::empty(&name, floor))));
            let before = service.borrow().clone();
            let Some(after) = before.changed(&without, with, index) else {
                continue;
            };
            changed = true;
            named |= before.is_empty() != after.is_empty() || before.tags() != after.tags();
            let is_gone = after.is_empty();
            service.send_replace(Arc::new(after));
            self.name_host(&name, is_gone);
            if is_gone {
                self.removed.push_back((index, name));
            }
        }
        (changed, named)
    }

    fn name_host(&mut self, service: &str, is_gone: bool) {
        let host = dns_name(service);
        let names = self.by_dns.entry(host.clone()).or_default();
        match is_gone {
            true => drop(names.remove(service)),
            false => drop(names.insert(service.to_owned())),
        }
        if names.is_empty() {
            self.by_dns.remove(&host);
        }
    }

    /// Drops services that were removed long ago. Unknown names get the index of the last of them.
    fn forget(&mut self, index: u64) {
        let is_old = |removed: &mut (u64, String)| removed.0 + KEPT_MS <= index;
        while let Some((at, name)) = self.removed.pop_front_if(is_old) {
            let is_over = self.services.get(&name).is_some_and(|service| {
                let service = service.borrow();
                service.is_empty() && service.index == at
            });
            if is_over {
                self.services.remove(&name);
                self.floor = self.floor.max(at);
            }
        }
        let unknown = std::mem::take(&mut self.unknown);
        for name in unknown {
            match self.services.get(&name) {
                Some(service) if service.receiver_count() > 0 => {
                    self.unknown.insert(name);
                }
                Some(service) if service.borrow().is_empty() => drop(self.services.remove(&name)),
                _ => {}
            }
        }
    }
}
