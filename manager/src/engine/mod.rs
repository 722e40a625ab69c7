//! The container engine: the trait of crate `micado-core`, and Docker in Swarm mode behind it.

pub(crate) mod docker;
pub(crate) mod login;
pub mod swarm;

pub use micado_core::engine::*;
