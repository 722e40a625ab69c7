//! The entries of one name, with their index, and the answers that were made of them.

use super::{Entry, Indexed, Node, Status};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// An entry with its indexes.
pub type Row = Indexed<Arc<Entry>>;

/// Identifies a row: entries made by hand come last and have ids of their own.
pub(super) type RowId = (bool, String);

/// Answers kept for one state of a service.
const KEPT: usize = 16;

/// Form of an answer about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A row of the catalogue for each entry.
    Catalogue,
    /// Node, service and checks of each entry.
    Health,
    /// The check of each entry.
    Checks,
}

/// Selection among the entries of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those that pass.
    pub passing: bool,
    /// Tags that each must have, all of them.
    pub tags: Vec<String>,
    /// Metadata that the node must have, all of it.
    pub node_meta: Vec<(String, String)>,
}

impl Selection {
    /// Returns true if the entry is selected.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        (!self.passing || entry.is_passing())
            && self.tags.iter().all(|tag| entry.tags.contains(tag))
            && self.has_node(&entry.node)
    }

    /// Returns true if the node is selected.
    #[must_use]
    pub fn has_node(&self, node: &Node) -> bool {
        let mut wanted = self.node_meta.iter();
        wanted.all(|(key, value)| node.meta.get(key) == Some(value))
    }
}

impl Entry {
    /// Returns true if its own check and that of its node pass.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.status == Status::Passing && self.node.answers
    }
}

/// An answer with what it was made for.
type Answer = (Form, Selection, Bytes);

/// The entries of one name at one index. Without entries it was removed, or never there.
#[derive(Debug)]
pub struct ServiceRows {
    pub name: String,
    /// Index of the last change.
    pub index: u64,
    rows: BTreeMap<RowId, Row>,
    /// All tags of its entries.
    tags: Arc<BTreeSet<String>>,
    answers: Mutex<Vec<Answer>>,
}

impl ServiceRows {
    pub(super) fn empty(name: &str, index: u64) -> Self {
        Self {
            name: name.to_owned(),
            index,
            rows: BTreeMap::new(),
            tags: Arc::default(),
            answers: Mutex::default(),
        }
    }

    /// The state without these rows and with these entries, at this index; `None` if that changes
    /// nothing.
    pub(super) fn changed(&self, without: &[RowId], with: Vec<Entry>, index: u64) -> Option<Self> {
        let mut rows = self.rows.clone();
        let gone = without.iter().filter_map(|id| rows.remove(id));
        let gone: Vec<Row> = gone.collect();
        let stay = |tag: &String| with.iter().any(|entry| entry.tags.contains(tag));
        let same_tags = gone.iter().all(|row| row.value.tags.iter().all(stay))
            && with
                .iter()
                .all(|entry| entry.tags.iter().all(|tag| self.tags.contains(tag)));
        for entry in with {
            let id = row_id(&entry);
            let before = self.rows.get(&id);
            rows.insert(id, Indexed::next(before, Arc::new(entry), index));
        }
        if rows == self.rows {
            return None;
        }
        let all_tags = || rows.values().flat_map(|row| row.value.tags.iter().cloned());
        let tags = match same_tags {
            true => self.tags.clone(),
            false => Arc::new(all_tags().collect()),
        };
        Some(Self {
            name: self.name.clone(),
            index,
            rows,
            tags,
            answers: Mutex::default(),
        })
    }

    /// The entries.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    pub(super) fn row(&self, id: &RowId) -> Option<&Row> {
        self.rows.get(id)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All tags of its entries.
    #[must_use]
    pub fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// The answer in this form about these entries, made once for all who ask.
    pub fn answer(&self, form: Form, selection: &Selection, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = answers
            .iter()
            .find(|(of, to, _)| *of == form && to == selection);
        if let Some((_, _, answer)) = known {
            return answer.clone();
        }
        let answer = make();
        if answers.len() < KEPT {
            answers.push((form, selection.clone(), answer.clone()));
        }
        answer
    }
}

pub(super) fn row_id(entry: &Entry) -> RowId {
    (entry.copy.is_none(), entry.id.clone())
}
