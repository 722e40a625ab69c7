//! Storage of the cluster's records: the trait of crate `micado-core`, and its implementations.

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

/// Behaviour of opening where no store exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfNone {
    Make,
    Refuse,
}
