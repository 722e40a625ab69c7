//! The agent as a process of its own, against a small manager with real TLS, and containers on the
//! engine of this machine.

mod authority;
mod bed;
mod figures;
mod link;
mod manager;
mod sessions;
