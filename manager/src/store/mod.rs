//! Where the cluster's records live: the trait of crate `micado-core`, and the embedded store behind it.

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;

pub use embedded::EmbeddedStore;
pub use micado_core::store::*;
