//! The `micado` command line.
pub mod args;
