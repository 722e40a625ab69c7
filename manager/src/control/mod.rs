//! The control core (crate `micado-core`) and the loop around it that does the I/O.

mod facts;
mod handle;
pub mod runtime;
mod stale;

pub use facts::{Facts, Known, told_checks};
pub use handle::{Handle, Input, Missed, Read};
pub use micado_core::control::*;
pub use stale::StaleSubjects;
