//! The brain of micado: what is known, what is wanted and what to do next, as pure functions of
//! values. It does no I/O, reads no clock and starts no thread; the traits of the things that do
//! are here, their implementations in the manager.

pub mod control;
pub mod engine;
pub mod lease;
pub mod metrics;
pub mod model;
pub mod planner;
pub mod store;
