//! The micado manager: the daemon that plans, rents and places, and the `micado` command line.

pub mod api;
pub mod archive;
pub mod build;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod dns;
pub mod engine;
pub mod images;
pub mod metrics;
pub mod monitor;
mod pieces;
pub mod pki;
pub mod query;
pub mod registry;
pub mod store;

pub use micado_core::{model, planner};
