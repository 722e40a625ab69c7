//! The decision logic of micado: observed state, desired state and next actions as pure functions
//! of values. It does no I/O, reads no clock and starts no thread. Traits for everything with
//! effects are here; their implementations are in the manager.

pub mod control;
pub mod engine;
pub mod lease;
pub mod metrics;
pub mod model;
pub mod planner;
pub mod scaling;
pub mod simulate;
pub mod store;
