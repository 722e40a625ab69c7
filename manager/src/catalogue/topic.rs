//! Parts of the catalogue that change together, and values with the index of their last change.

/// A part of the catalogue that a query is about. Each has an index of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Names and tags of services.
    Services,
    /// Machines.
    Nodes,
    /// Everything.
    All,
}

impl Topic {
    pub(super) const EVERY: [Self; 3] = [Self::Services, Self::Nodes, Self::All];

    pub(super) const fn position(self) -> usize {
        match self {
            Self::Services => 0,
            Self::Nodes => 1,
            Self::All => 2,
        }
    }
}

/// A value with the indexes of its first and last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed<T> {
    pub value: T,
    pub created: u64,
    pub modified: u64,
}

impl<T: PartialEq> Indexed<T> {
    /// The value at this index. An equal one keeps the indexes of the one before.
    pub(super) fn next(before: Option<&Self>, value: T, index: u64) -> Self {
        let created = before.map_or(index, |before| before.created);
        let same = before.filter(|before| before.value == value);
        let modified = same.map_or(index, |same| same.modified);
        Self {
            value,
            created,
            modified,
        }
    }
}
