//! Where the cluster's records live: the trait of crate `micado-core`, and the stores behind it.

#[cfg(test)]
pub(crate) mod conformance;
mod copy;
mod embedded;
mod mongodb;
mod place;
mod points;
mod seal;

pub use copy::{Copied, copy};
pub use embedded::EmbeddedStore;
pub use micado_core::store::*;
pub use mongodb::MongoStore;
pub use place::{Place, Url};
pub use seal::KeyFile;

/// Whether opening a place that holds no store makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfNone {
    Make,
    Refuse,
}
